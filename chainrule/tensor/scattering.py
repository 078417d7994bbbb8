"""Writing elements at positions that are tensors themselves, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, did_you_mean
from ..graph.vertex import Vertex
from ..ops import indexing, movement
from ..ops.arithmetic import add
from ..ops.elementwise import cast
from ..types import float32, float64, int64, normalize_axis
from . import operations, reductions, shaping
from .gathering import check_index_shape, check_positions, flat_positions, gather_known
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all, from_array
from .recording import pending
from .remembered import remembered
from .sorting import argsort

METHODS = (
    "bincount", "diagonal_scatter", "histc", "index_add", "index_copy", "index_fill", "masked_scatter", "scatter",
    "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter",
)  # fmt: skip


def _fitting_source(input: Any, dim: int, index: Any, src: Any, name: str) -> tuple[Any, int, Any, Any]:
    """(tensor, axis, positions, values) after all checks; values have the shape of the positions."""
    x, positions = as_tensor(input), as_tensor(index)
    if not x.dim():
        x, positions = x.reshape(1), positions.reshape(1)
    axis = normalize_axis(dim, x.dim())
    check_index_shape(name, x.shape, positions.shape, axis)
    check_positions(positions, x.shape[axis], axis, name)
    values = as_tensor(src, x.dtype) if isinstance(src, bool | int | float) else as_tensor(src)
    values = values.reshape(1) if not values.dim() and hasattr(src, "dim") else values
    if not values.dim():
        return x, axis, positions, shaping.expand(values, *positions.shape)
    if values.dtype is not x.dtype:
        raise DTypeError(f"{name}(): Expected self.dtype to be equal to src.dtype, got {x.dtype} and {values.dtype}")
    if values.dim() != positions.dim() or any(i > n for i, n in zip(positions.shape, values.shape, strict=True)):
        raise ShapeError(f"{name}: index {tuple(positions.shape)} must not exceed src {tuple(values.shape)}")
    return x, axis, positions, values[tuple(slice(size) for size in positions.shape)]


@remembered
def _scattered(
    x: Any, positions: Any, values: Any, *, axis: int, write: Callable[[Vertex, Vertex, Vertex], Vertex]
) -> Any:
    """``write(flat tensor, values, flat positions)`` in the tensor's shape."""
    segment, (target, chosen, source) = enter_all(x, positions, values)
    flat = movement.reshape(target, (target.type.size,))
    at = flat_positions(cast(chosen, int64), target.shape, axis)
    return pending(movement.reshape(write(flat, source, at), target.shape), segment)


def _add_at(flat: Vertex, source: Vertex, at: Vertex) -> Vertex:
    return add(flat, indexing.scatter_add(source, at, 0, flat.type.size)) if flat.type.size else flat


def _write_at(flat: Vertex, source: Vertex, at: Vertex) -> Vertex:
    return indexing.scatter(flat, source, at, 0)


@pytorch_keywords
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``input`` with src[i, j, k] added at [index[i, j, k], j, k] for dim 0, and so on.

    >>> import chainrule as cr
    >>> cr.scatter_add(cr.zeros(3), 0, cr.tensor([0, 2, 2]), cr.ones(3))
    tensor([1., 0., 2.])
    """
    shape = as_tensor(input).shape
    x, axis, positions, values = _fitting_source(input, dim, index, src, "scatter_add")
    return _scattered(x, positions, values, axis=axis, write=_add_at).reshape(tuple(shape))


@pytorch_keywords
def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    """``input`` with src[i, j, k] (or a number) written at [index[i, j, k], j, k] for dim 0, and so on.

    Of several values for one place the last stays; with ``reduce="add"`` they are added to what is there.

    >>> import chainrule as cr
    >>> cr.scatter(cr.zeros(3), 0, cr.tensor([0, 2]), 1.0)
    tensor([1., 0., 1.])
    """
    source = value if src is None else src
    if reduce is not None:
        if reduce != "add":
            raise ArgumentError(f"scatter: reduce must be 'add' or None, got {reduce!r}. fix: see scatter_reduce")
        return scatter_add(input, dim, index, source)
    shape = as_tensor(input).shape
    x, axis, positions, values = _fitting_source(input, dim, index, source, "scatter")
    return _scattered(x, positions, values, axis=axis, write=_write_at).reshape(tuple(shape))


@pytorch_keywords
def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Any:
    """As `scatter`, where values for one place (and what was there, with ``include_self``) are reduced.

    ``reduce``: "sum", "mean", "amax", "amin" or "prod".

    >>> import chainrule as cr
    >>> cr.zeros(2).scatter_reduce(0, cr.tensor([0, 0, 1]), cr.tensor([1.0, 3.0, 2.0]), "mean", include_self=False)
    tensor([2., 2.])
    """
    known = ("sum", "mean", "amax", "amin")
    if reduce not in known:
        raise ArgumentError(
            f"unknown reduce {reduce!r}{did_you_mean(reduce, known)}; expected one of {', '.join(known)}"
        )
    shape = tuple(as_tensor(input).shape)
    x, axis, positions, values = _fitting_source(input, dim, index, src, "scatter_reduce")
    if reduce in ("amax", "amin"):
        return _scatter_extremum(x, axis, positions, values, reduce == "amax", include_self).reshape(shape)
    hits = _hits(x, axis, positions)
    start = x if include_self else operations.where(operations.gt(hits, 0), 0, x)
    total = scatter_add(start, axis, positions, values)
    if reduce == "mean":
        count = operations.add(hits, 1) if include_self else operations.clamp(hits, min=1)
        total = (operations.div if x.dtype.is_floating_point else operations.floor_divide)(total, count)
    return total.reshape(shape)


def _hits(x: Any, axis: int, positions: Any) -> Any:
    """How many positions mean each place of x, as numbers of its type."""
    zeros = operations.convert(shaping.expand(as_tensor(0), *x.shape), x.dtype)
    return scatter_add(zeros, axis, positions, 1)


def _scatter_extremum(x: Any, axis: int, positions: Any, values: Any, largest: bool, include_self: bool) -> Any:
    """The extremum of the values for each place: written in the order of their size, so that it comes last.

    Equal ones share the gradient evenly.
    """
    order = argsort(values.detach().reshape(-1), 0, not largest)
    at = _flat(x, axis, positions)
    written = scatter(
        x.detach().reshape(-1), 0, gather_known(at, 0, order), gather_known(values.detach().reshape(-1), 0, order)
    )
    extremum = written.reshape(tuple(x.shape))
    is_hit = operations.gt(_hits(x, axis, positions), 0)
    if include_self:
        choose = operations.maximum if largest else operations.minimum
        extremum = operations.where(is_hit, choose(extremum, x.detach()), extremum)
    wins = operations.eq(values, gather_known(extremum, axis, positions))
    stays = operations.eq(x, extremum) if include_self else operations.logical_not(is_hit)
    winners = operations.convert(stays, x.dtype)
    count = operations.clamp(scatter_add(winners, axis, positions, operations.convert(wins, x.dtype)), min=1)
    if not x.dtype.is_floating_point:
        return extremum
    # All of these differences are 0: they carry the gradient.
    rest = operations.where(stays, operations.sub(x, extremum), 0.0)
    differences = operations.where(wins, operations.sub(values, gather_known(extremum, axis, positions)), 0.0)
    return operations.add(extremum, operations.div(scatter_add(rest, axis, positions, differences), count))


def _flat(x: Any, axis: int, positions: Any) -> Any:
    segment, (chosen,) = enter_all(positions)
    at = flat_positions(cast(chosen, int64), tuple(x.shape), axis)
    return pending(movement.reshape(at, (at.type.size,)), segment)


@pytorch_keywords
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """``input`` with slice i of ``source`` along ``dim`` added, times ``alpha``, at index[i].

    >>> import chainrule as cr
    >>> cr.index_add(cr.zeros(3), 0, cr.tensor([0, 0]), cr.tensor([1.0, 2.0]))
    tensor([3., 0., 0.])
    """
    x, axis, positions, values = _slices(input, dim, index, source, "index_add")
    segment, (rows, at) = enter_all(values if alpha == 1 else operations.mul(values, alpha), positions)
    added = pending(indexing.scatter_add(rows, cast(at, int64), axis, x.shape[axis]), segment)
    return operations.add(x, added)


@pytorch_keywords
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """``input`` with slice i of ``source`` along ``dim`` written at index[i]."""
    x, axis, positions, values = _slices(input, dim, index, source, "index_copy")
    segment, (target, rows, at) = enter_all(x, values, positions)
    return pending(indexing.scatter(target, rows, cast(at, int64), axis), segment)


@pytorch_keywords
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """``input`` with a number written into the slices along ``dim`` at ``index``."""
    x, positions = as_tensor(input), as_tensor(index)
    axis = normalize_axis(dim, x.dim())
    shape = (*x.shape[:axis], positions.numel(), *x.shape[axis + 1 :])
    filling = operations.convert(as_tensor(value), x.dtype)
    return index_copy(x, axis, positions.reshape(-1), shaping.expand(filling, *shape))


def _slices(input: Any, dim: int, index: Any, source: Any, name: str) -> tuple[Any, int, Any, Any]:
    x, positions, values = as_tensor(input), as_tensor(index).reshape(-1), as_tensor(source)
    axis = normalize_axis(dim, x.dim())
    expected = (*x.shape[:axis], positions.numel(), *x.shape[axis + 1 :])
    if tuple(values.shape) != expected:
        raise ShapeError(
            f"{name}: source must have shape {expected} for {positions.numel()} positions, got {tuple(values.shape)}"
        )
    if values.dtype is not x.dtype:
        raise DTypeError(f"{name}(): self ({x.dtype}) and source ({values.dtype}) must have the same scalar type")
    check_positions(positions, x.shape[axis], axis, name)
    return x, axis, positions, values


def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """``input`` with the elements of ``source``, one after another, where the mask holds. The mask is read at once."""
    x, values = as_tensor(input), as_tensor(source).reshape(-1)
    places = np.flatnonzero(np.broadcast_to(as_tensor(mask)._array(), tuple(x.shape)))
    if places.size > values.numel():
        raise ShapeError(f"masked_scatter: source has {values.numel()} elements, the mask asks for {places.size}")
    written = index_copy(x.reshape(-1), 0, from_array(places), values[: places.size])
    return written.reshape(tuple(x.shape))


def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """``input`` with ``src`` in place of the slice at ``index`` along ``dim``."""
    x = as_tensor(input)
    return index_copy(x, dim, as_tensor([index % x.shape[dim]]), as_tensor(src).unsqueeze(normalize_axis(dim, x.dim())))


def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """``input`` with ``src`` in place of the slices start:end:step along ``dim``."""
    x = as_tensor(input)
    return index_copy(x, dim, as_tensor(np.arange(x.shape[dim])[start:end:step]), src)


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """``input`` with ``src`` in place of a diagonal."""
    x = as_tensor(input)
    places = from_array(np.arange(x.numel()).reshape(tuple(x.shape)))
    at = shaping.diagonal(places, offset, dim1, dim2)
    if tuple(at.shape) != tuple(as_tensor(src).shape):
        raise ShapeError(f"diagonal_scatter: expected src to have the diagonal's shape {tuple(at.shape)}")
    written = index_copy(x.reshape(-1), 0, at.reshape(-1), as_tensor(src).reshape(-1))
    return written.reshape(tuple(x.shape))


# Counting


@pytorch_keywords
def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number from 0 to the largest occurs, or the sum of the weights there. Reads the values at once.

    >>> import chainrule as cr
    >>> cr.bincount(cr.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    x = as_tensor(input)
    if x.dim() != 1 or x.dtype.kind != "int":
        raise ArgumentError(f"bincount only supports vectors of integers, got {x.dtype} of shape {tuple(x.shape)}")
    numbers = x._array()
    if numbers.size and numbers.min() < 0:
        raise ArgumentError(f"bincount only supports non-negative numbers, got {numbers.min()}")
    size = max(int(numbers.max(initial=-1)) + 1, minlength)
    if weights is None:
        return from_array(np.bincount(numbers, minlength=size).astype(np.int64))
    values = as_tensor(weights)
    values = values if values.dtype is float32 else operations.convert(values, float64)
    start = operations.convert(from_array(np.zeros(size)), values.dtype)
    return index_add(start, 0, x, values) if size else start


@pytorch_keywords
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """How many elements lie in each of ``bins`` equal parts of [min, max], by default of the range of the elements.

    >>> import chainrule as cr
    >>> cr.histc(cr.tensor([1.0, 2.0, 1.0]), 4, 0, 3)
    tensor([0., 2., 1., 0.])
    """
    x = as_tensor(input).detach().reshape(-1)
    if bins < 1 or max < min:
        raise ArgumentError(f"histc: bins must be > 0 and max must not be below min, got {bins}, {min}, {max}")
    low, high = min, max
    if low == high and x.numel():
        low, high = reductions.amin(x).item(), reductions.amax(x).item()
    low, high = (low - 1, high + 1) if low == high else (low, high)
    inside = operations.logical_and(operations.ge(x, low), operations.le(x, high))
    place = operations.mul(operations.sub(x, low), bins / (high - low))
    numbers = operations.clamp(operations.convert(operations.where(inside, place, 0.0), int64), 0, bins - 1)
    start = operations.convert(from_array(np.zeros(bins)), x.dtype)
    return index_add(start, 0, numbers, operations.convert(inside, x.dtype))
