"""Sorting, and what follows from it, under PyTorch's names: the k largest, medians, quantiles, searching."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, IndexOutOfRangeError, ShapeError
from ..ops import scan
from ..types import bool_, int32, int64, normalize_axis
from . import elementwise, operations, partition, reductions, shaping
from .cumulative import record_scan
from .gathering import gather_known, index_select
from .keywords import pytorch_keywords
from .operands import as_tensor, from_array
from .reductions import ValuesAndIndices

METHODS = (
    "argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "nanquantile", "quantile", "sort", "topk", "unique",
    "unique_consecutive",
)  # fmt: skip


@pytorch_keywords
def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The positions along ``dim`` in the order of their elements. NaN is the largest; equal elements keep their order.

    >>> import chainrule as cr
    >>> cr.argsort(cr.tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    x = as_tensor(input)
    return _first_positions(x, dim, x.shape[normalize_axis(dim, x.dim())] if x.dim() else 1, descending)


def _first_positions(x: Any, dim: int, count: int, descending: bool) -> Any:
    """The first positions that `argsort` gives; where they are few it does not take a sort to find them."""
    ranked = operations.convert(x, int32) if x.dtype is bool_ else x
    return record_scan(scan.argsort, ranked, dim, count, bool(descending))


@pytorch_keywords
def sort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> ValuesAndIndices:
    """(values, indices): the elements along ``dim`` in order, and where each was. NaN is the largest.

    >>> import chainrule as cr
    >>> cr.sort(cr.tensor([3, 1, 2]), descending=True).values
    tensor([3, 2, 1])
    """
    indices = argsort(input, dim, descending, stable)
    return ValuesAndIndices(gather_known(as_tensor(input), dim, indices), indices)


def msort(input: Any) -> Any:
    """The elements in order along the first dimension."""
    return sort(input, 0).values


@pytorch_keywords
def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """(values, indices) of the ``k`` largest (or smallest) elements along ``dim``, in order.

    Errors: `IndexOutOfRangeError` for more than there are.

    >>> import chainrule as cr
    >>> cr.topk(cr.tensor([1.0, 3.0, 2.0]), 2).indices
    tensor([1, 2])
    """
    x = as_tensor(input)
    axis = normalize_axis(dim, x.dim())
    extent = x.shape[axis] if x.dim() else 1
    if not 0 <= k <= extent:
        raise IndexOutOfRangeError(f"selected index k out of range: k is {k}, dimension {dim} has size {extent}")
    if k == 1 or not x.dim():  # no need to sort
        find = reductions.argmax if largest else reductions.argmin
        indices = find(x, axis, True) if x.dim() else find(x)
    else:
        indices = _first_positions(x, axis, k, largest)
    return ValuesAndIndices(gather_known(x, axis, indices), indices)


@pytorch_keywords
def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """(value, index) of the ``k``-th smallest element along ``dim``, counted from 1."""
    x = as_tensor(input)
    extent = x.shape[normalize_axis(dim, x.dim())] if x.dim() else 1
    if not 1 <= k <= extent:
        raise IndexOutOfRangeError(f"kthvalue(): selected number k out of range for dimension {dim}: {k} of {extent}")
    return _at_ranks(x, as_tensor(k - 1), dim, keepdim, k)


def _at_ranks(x: Any, rank: Any, dim: int, keepdim: bool, count: int) -> ValuesAndIndices:
    """(values, indices) of the elements with a rank that broadcasts to x with one element along ``dim``.

    No rank is ``count`` or more.
    """
    axis = normalize_axis(dim, x.dim())
    if not x.dim():
        return ValuesAndIndices(x.clone(), argsort(x))
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    indices = gather_known(_first_positions(x, axis, count, False), axis, shaping.expand(rank, *shape))
    values = gather_known(x, axis, indices)
    if keepdim:
        return ValuesAndIndices(values, indices)
    return ValuesAndIndices(values.squeeze(axis), indices.squeeze(axis))


@pytorch_keywords
def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle, of two the lower; with ``dim``, (values, indices) along it. NaN if one is NaN.

    >>> import chainrule as cr
    >>> cr.median(cr.tensor([4.0, 1.0, 3.0, 2.0]))
    tensor(2.)
    """
    return _median(input, dim, keepdim, ignores_nan=False)


@pytorch_keywords
def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The `median` of the elements that are not NaN."""
    return _median(input, dim, keepdim, ignores_nan=True)


def _median(input: Any, dim: int | None, keepdim: bool, ignores_nan: bool) -> Any:
    x = as_tensor(input)
    if dim is None:
        return _shared(x, _median(x.reshape(-1), 0, False, ignores_nan).values.detach())
    count = x.shape[normalize_axis(dim, x.dim())] if x.dim() else 1
    if not count:
        raise IndexOutOfRangeError(f"median(): Expected reduction dim {dim} to have non-zero size")
    missing = reductions.sum(elementwise.isnan(x), dim, True)  # NaN comes last
    present = operations.reverse_subtract(missing, count)
    if ignores_nan:
        rank = operations.clamp(operations.floor_divide(operations.sub(present, 1), 2), min=0)
    else:
        rank = operations.where(operations.eq(missing, 0), (count - 1) // 2, present)
    return _at_ranks(x, rank, dim, keepdim, count)


def _shared(x: Any, value: Any) -> Any:
    """``value``, one of the elements; equal ones share its gradient evenly."""
    if not x.dtype.is_floating_point:
        return value
    both_nan = operations.logical_and(elementwise.isnan(x), elementwise.isnan(value))
    equal = operations.logical_or(operations.eq(x, value), both_nan)
    mean = operations.div(reductions.sum(operations.where(equal, x, 0.0)), reductions.sum(equal))
    exact = operations.add(value, operations.sub(mean, mean.detach()))  # the mean may be rounded
    return operations.where(elementwise.isfinite(value), exact, mean)


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """(values, indices) of the commonest element along ``dim``: of several the smallest, of its places the last."""
    x = as_tensor(input)
    axis = normalize_axis(dim, x.dim())
    if not x.dim():
        return ValuesAndIndices(x.clone(), argsort(x))
    lines = partition.movedim(x, axis, -1)
    same = operations.eq(lines.unsqueeze(-1), lines.unsqueeze(-2))
    counts = reductions.sum(same, -1)
    is_commonest = operations.eq(counts, reductions.amax(counts, -1, True))
    order = argsort(lines, -1)
    first = reductions.argmax(gather_known(operations.convert(is_commonest, int64), -1, order), -1, True)
    value = gather_known(lines, -1, gather_known(order, -1, first))
    places = operations.mul(operations.eq(lines, value), as_tensor(np.arange(1, x.shape[axis] + 1)))
    indices = reductions.argmax(places, -1, True)
    values, indices = (partition.movedim(t, -1, axis) for t in (gather_known(lines, -1, indices), indices))
    return ValuesAndIndices(*((t if keepdim else t.squeeze(axis)) for t in (values, indices)))


@pytorch_keywords
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    """The values below which a share ``q`` of the elements lies; between two elements by ``interpolation``.

    Shapes: with a vector q its dimension comes first. ``interpolation``: linear, lower, higher, midpoint or nearest.
    NaN if one is NaN. Errors: `ArgumentError` for q outside [0, 1].

    >>> import chainrule as cr
    >>> cr.quantile(cr.tensor([0.0, 1.0, 2.0]), 0.25)
    tensor(0.5000)
    """
    return _quantile(input, q, dim, keepdim, interpolation, ignores_nan=False)


@pytorch_keywords
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    """The `quantile` of the elements that are not NaN."""
    return _quantile(input, q, dim, keepdim, interpolation, ignores_nan=True)


_BETWEEN = {
    "linear": lambda rank: rank, "lower": operations.floor, "higher": operations.ceil, "nearest": operations.round,
    "midpoint": lambda rank: operations.mul(operations.add(operations.floor(rank), operations.ceil(rank)), 0.5),
}  # fmt: skip


def _quantile(input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignores_nan: bool) -> Any:
    x = as_tensor(input)
    if interpolation not in _BETWEEN:
        raise ArgumentError(f"quantile: unknown interpolation {interpolation!r}; expected one of {', '.join(_BETWEEN)}")
    shares = as_tensor(q, x.dtype) if not hasattr(q, "dim") else q
    if shares.dim() > 1:
        raise ShapeError(f"quantile() q must be a scalar or 1D tensor, got shape {tuple(shares.shape)}")
    if isinstance(q, int | float) and not 0 <= q <= 1:
        raise ArgumentError(f"quantile() q must be in the range [0, 1] but got {q}")
    lines = x.reshape(-1, 1).T if dim is None else partition.movedim(x, dim, -1) if x.dim() else x.reshape(1)
    if not lines.shape[-1]:
        raise ArgumentError("quantile() input tensor must be non-empty")
    missing = reductions.sum(elementwise.isnan(lines), -1, True)
    last = operations.convert(operations.reverse_subtract(missing, lines.shape[-1] - 1), x.dtype)
    if not ignores_nan:
        last = operations.convert(as_tensor(lines.shape[-1] - 1), x.dtype)
    ranks = _BETWEEN[interpolation](operations.mul(shaping.reshape(shares, -1), operations.clamp(last, min=0)))
    ordered = sort(lines, -1).values
    results = _between(ordered, ranks)
    if not ignores_nan:
        results = operations.where(operations.eq(missing, 0), results, math.nan)
    results = results.reshape(shares.numel()) if dim is None else partition.movedim(results, -1, 0)
    if keepdim:
        rank = x.dim()
        kept = (1,) * rank if dim is None else tuple(1 if a == dim % rank else n for a, n in enumerate(x.shape))
        results = results.reshape(shares.numel(), *kept)
    elif dim is None:
        results = results.reshape(shares.numel())
    return results if shares.dim() else results.reshape(results.shape[1:])


def _between(ordered: Any, ranks: Any) -> Any:
    """The elements at ranks, which may lie between two."""
    shape = (*ordered.shape[:-1], ranks.shape[-1])
    ranks = shaping.expand(ranks, *shape)
    low = operations.floor(ranks).detach()
    below, above = (
        gather_known(ordered, -1, operations.convert(rank, int64)) for rank in (low, operations.ceil(ranks))
    )
    return elementwise.lerp(below, above, operations.sub(ranks, low))


@pytorch_keywords
def searchsorted(
    sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None
) -> Any:
    """Where each element would be put into a sorted sequence: before equal ones, or (``right``) behind them.

    Shapes: the sequence is a vector, or has the dimensions of ``input`` but for the last. By bisection.

    >>> import chainrule as cr
    >>> cr.searchsorted(cr.tensor([1, 3, 5]), cr.tensor([3, 6]))
    tensor([1, 3])
    """
    sequence, x = as_tensor(sorted_sequence), as_tensor(input)
    behind = right or side == "right"
    size = sequence.shape[-1]
    if sequence.dim() > 1 and tuple(sequence.shape[:-1]) != tuple(x.shape[:-1]):
        raise ShapeError(
            f"searchsorted: boundaries must be a vector or match the input but for the last dimension, "
            f"got {tuple(sequence.shape)} and {tuple(x.shape)}"
        )
    lines = x.reshape(-1) if sequence.dim() == 1 else x
    position = operations.mul(operations.convert(elementwise.isnan(lines), int64), 0)
    step = 1 << max(size.bit_length() - 1, 0)
    while step and size:
        probe = operations.add(position, step)
        found = gather_known(sequence, -1, operations.sub(operations.clamp(probe, max=size), 1))
        passes = _comes_before(found, lines, behind)
        fits = operations.logical_and(operations.le(probe, size), passes)
        position = operations.where(fits, probe, position)
        step //= 2
    return operations.convert(position.reshape(tuple(x.shape)), int32 if out_int32 else int64)


def _comes_before(element: Any, value: Any, behind: bool) -> Any:
    """Whether ``value`` belongs behind ``element``; NaN comes last."""
    passes = operations.le(element, value) if behind else operations.lt(element, value)
    if not value.dtype.is_floating_point:
        return passes
    is_last = elementwise.isnan(value)
    return operations.logical_or(
        passes, is_last if behind else operations.logical_and(is_last, operations.eq(element, element))
    )


@pytorch_keywords
def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the interval between sorted boundaries in which each element lies.

    >>> import chainrule as cr
    >>> cr.bucketize(cr.tensor([0.5, 1.0]), cr.tensor([0.0, 1.0]))
    tensor([1, 1])
    """
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element is among the others."""
    x, others = as_tensor(elements), as_tensor(test_elements).reshape(-1)
    found = reductions.any(operations.eq(x.unsqueeze(-1), others), -1)
    return operations.logical_not(found) if invert else found


class Unique(NamedTuple):
    """What `unique` computes; ``unique`` returns the parts asked for."""

    output: Any
    inverse_indices: Any
    counts: Any


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different elements (slices along ``dim``) in order; where each element is among them; how many there are.

    The values are read at once.

    >>> import chainrule as cr
    >>> cr.unique(cr.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    x = as_tensor(input)
    axis = None if dim is None else normalize_axis(dim, x.dim())
    output, inverse, counts = np.unique(x._array(), return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(x.shape if axis is None else -1)
    return _asked(Unique(*map(from_array, (output, inverse, counts))), return_inverse, return_counts)


def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """As `unique`, but only neighbours count as equal; the order stays. The values are read at once."""
    x = as_tensor(input)
    lines = x.reshape(-1) if dim is None else x
    axis = 0 if dim is None else normalize_axis(dim, x.dim())
    slices = np.moveaxis(lines._array(), axis, 0)
    differs = (slices[1:] != slices[:-1]).reshape(max(len(slices) - 1, 0), -1).any(1)
    starts = np.flatnonzero(np.concatenate([[True], differs])) if len(slices) else np.zeros(0, np.int64)
    inverse = np.concatenate([[0], np.cumsum(differs)])[: len(slices)].astype(np.int64)
    inverse = inverse.reshape(x.shape if dim is None else -1)
    counts = np.diff(np.append(starts, len(slices)))
    output = index_select(lines.detach(), axis, from_array(starts))
    return _asked(Unique(output, from_array(inverse), from_array(counts)), return_inverse, return_counts)


def _asked(found: Unique, with_inverse: bool, with_counts: bool) -> Any:
    wanted = [
        found.output,
        *([found.inverse_indices] if with_inverse else []),
        *([found.counts] if with_counts else []),
    ]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)
