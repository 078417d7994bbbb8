"""Reductions under their PyTorch names. Each function is also a method of `Tensor`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..graph.primitive import PRIMITIVES
from ..graph.vertex import Vertex, apply
from ..ops.elementwise import cast
from ..ops.movement import reshape
from ..ops.reduction import kept_shape
from ..ops.source import constant
from ..types import DType, Shape, as_dtype, bool_, float32, int32, int64, normalize_axis
from . import operations
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all
from .recording import pending
from .remembered import remembered

Axes = int | tuple[int, ...] | list[int] | None


def normalize_axes(dim: Axes, rank: int) -> Shape:
    """Return the axes meant by ``dim``, counted from the front; None means all."""
    if dim is None or (isinstance(dim, tuple | list) and not dim):
        return tuple(range(rank))
    chosen = (dim,) if isinstance(dim, int) else tuple(dim)
    axes = tuple(normalize_axis(int(axis), rank) for axis in chosen)
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"dim {dim} names a dimension twice")
    return axes if rank else ()


def _reduce(name: str, x: Any, dim: Axes, keepdim: bool, dtype: DType | None = None) -> Any:
    segment, (vertex,) = enter_all(as_tensor(x))
    normalized = _hashable(dim)
    key = (name, normalized, keepdim, dtype)
    found = vertex.users.get(key)
    if found is None:
        found = vertex.users[key] = _reduced_vertex(name, vertex, normalized, keepdim, dtype)
    return pending(found, segment)


def _reduced_vertex(name: str, x: Vertex, dim: Axes, keepdim: bool, dtype: DType | None) -> Vertex:
    given = x.dtype
    if dtype is not None:
        x = cast(x, dtype)
    elif given is bool_ or (name == "sum" and given is int32):
        x = cast(x, int64)
    axes = normalize_axes(dim, len(x.shape))
    if name in ("argmax", "argmin") and not axes:
        return constant(0, int64)
    result = apply(PRIMITIVES[name], x, axes=axes) if axes else x
    if name in ("max", "min"):
        result = cast(result, given)
    return reshape(result, kept_shape(x.shape, axes)) if keepdim else result


@pytorch_keywords
def sum(input: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ input over ``dim`` (all dimensions by default). Booleans and integers are summed as int64."""
    return _reduce("sum", input, dim, keepdim, None if dtype is None else as_dtype(dtype))


@pytorch_keywords
def mean(input: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The arithmetic mean over ``dim`` (all dimensions by default)."""
    return _mean(input, dim=_hashable(dim), keepdim=keepdim, dtype=None if dtype is None else as_dtype(dtype))


def _hashable(dim: Axes) -> Any:
    return tuple(dim) if isinstance(dim, list) else dim


@remembered
def _mean(x: Any, *, dim: Axes, keepdim: bool, dtype: DType | None) -> Any:
    if dtype is not None:
        x = operations.convert(x, dtype)
    count = math.prod(x.shape[axis] for axis in normalize_axes(dim, x.dim()))
    total = _reduce("sum", x, dim, keepdim, None if x.dtype.is_floating_point else float32)
    return operations.div(total, count) if count else operations.mul(total, math.nan)


@pytorch_keywords
def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The product of all elements, or along ``dim``. Booleans and integers are multiplied as int64.

    >>> import chainrule as cr
    >>> cr.prod(cr.tensor([[1, 2], [3, 4]]), 1)
    tensor([ 2, 12])
    """
    x = as_tensor(input)
    if dtype is not None:
        x = operations.convert(x, as_dtype(dtype))
    elif not x.dtype.is_floating_point:
        x = operations.convert(x, int64)
    if dim is None:
        return _reduce("prod", x, None, False)
    return _reduce("prod", x, normalize_axis(dim, x.dim()), keepdim)


@pytorch_keywords
def amax(input: Any, dim: Axes = None, keepdim: bool = False) -> Any:
    """The largest element over ``dim``; equal elements share the gradient evenly."""
    return _reduce("max", input, dim, keepdim)


@pytorch_keywords
def amin(input: Any, dim: Axes = None, keepdim: bool = False) -> Any:
    """The smallest element over ``dim``; equal elements share the gradient evenly."""
    return _reduce("min", input, dim, keepdim)


def _arg_reduce(name: str, input: Any, dim: int | None, keepdim: bool) -> Any:
    x = as_tensor(input)
    if dim is None:
        flat = _reduce(name, x.reshape(-1), 0, False)
        return flat.reshape((1,) * x.dim()) if keepdim else flat
    return _reduce(name, x, dim, keepdim)


@pytorch_keywords
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the first largest element along ``dim``, or in the flattened tensor."""
    return _arg_reduce("argmax", input, dim, keepdim)


@pytorch_keywords
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the first smallest element along ``dim``, or in the flattened tensor."""
    return _arg_reduce("argmin", input, dim, keepdim)


class ValuesAndIndices(NamedTuple):
    """What ``max(dim)`` and ``min(dim)`` return."""

    values: Any
    indices: Any


def _extremum(
    name: str, arg_name: str, pairwise: Callable[[Any, Any], Any], input: Any, dim: Any, keepdim: bool
) -> Any:
    if dim is None:
        return _reduce(name, input, None, False)
    if not isinstance(dim, int):
        return pairwise(input, dim)
    return ValuesAndIndices(_reduce(name, input, dim, keepdim), _reduce(arg_name, input, dim, keepdim))


@pytorch_keywords
def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with ``dim``, (values, indices) along it; with a tensor, the larger of each pair."""
    return _extremum("max", "argmax", operations.maximum, input, dim, keepdim)


@pytorch_keywords
def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with ``dim``, (values, indices) along it; with a tensor, the smaller of each pair."""
    return _extremum("min", "argmin", operations.minimum, input, dim, keepdim)


@pytorch_keywords
def any(input: Any, dim: Axes = None, keepdim: bool = False) -> Any:
    """Whether some element is non-zero."""
    return operations.ne(sum(operations.to_bool(input), dim, keepdim), 0)


@pytorch_keywords
def all(input: Any, dim: Axes = None, keepdim: bool = False) -> Any:
    """Whether every element is non-zero."""
    return operations.eq(sum(operations.logical_not(as_tensor(input)), dim, keepdim), 0)


@pytorch_keywords
def var(
    input: Any, dim: Axes = None, *, correction: int = 1, unbiased: bool | None = None, keepdim: bool = False
) -> Any:
    """Σ (x - mean)² / (n - correction) over ``dim``. ``unbiased=False`` is PyTorch's older name of correction 0."""
    subtracted = correction if unbiased is None else int(unbiased)
    return _var(input, dim=_hashable(dim), correction=subtracted, keepdim=keepdim)


@remembered
def _var(x: Any, *, dim: Axes, correction: int, keepdim: bool) -> Any:
    axes = normalize_axes(dim, x.dim())
    count = math.prod(x.shape[axis] for axis in axes) - correction
    centred = operations.sub(x, mean(x, axes, True))
    return operations.mul(sum(operations.square(centred), axes, keepdim), 1 / count if count > 0 else math.nan)


@pytorch_keywords
def std(
    input: Any, dim: Axes = None, *, correction: int = 1, unbiased: bool | None = None, keepdim: bool = False
) -> Any:
    """The square root of `var`."""
    subtracted = correction if unbiased is None else int(unbiased)
    return _std(input, dim=_hashable(dim), correction=subtracted, keepdim=keepdim)


@remembered
def _std(x: Any, *, dim: Axes, correction: int, keepdim: bool) -> Any:
    return operations.sqrt(_var(x, dim=dim, correction=correction, keepdim=keepdim))


@pytorch_keywords
def norm(input: Any, p: float = 2, dim: Axes = None, keepdim: bool = False) -> Any:
    """(Σ |x|^p)^(1/p) over ``dim``; the largest |x| for p = inf, the number of elements other than 0 for p = 0.

    The gradient at 0, where there is none, is 0.
    """
    return _norm(input, p=p, dim=_hashable(dim), keepdim=keepdim)


@remembered
def _norm(x: Any, *, p: float, dim: Axes, keepdim: bool) -> Any:
    if p == 2:
        return _power_off_zero(sum(operations.square(x), dim, keepdim), 0.5)
    if p == 0:
        return operations.convert(sum(operations.ne(x, 0), dim, keepdim), x.dtype)
    x = operations.abs(x)
    if p in (math.inf, -math.inf):
        return (amax if p > 0 else amin)(x, dim, keepdim)
    if p == 1:
        return sum(x, dim, keepdim)
    return _power_off_zero(sum(_power_off_zero(x, p), dim, keepdim), 1 / p)


def _power_off_zero(x: Any, p: float) -> Any:
    """x to the power p with gradient 0 where x is 0."""
    is_zero = operations.eq(x, 0)
    safe = operations.where(is_zero, 1.0, x)
    power = operations.sqrt(safe) if p == 0.5 else operations.pow(safe, p)
    return operations.where(is_zero, 0.0 if p > 0 else math.inf, power)


@pytorch_keywords
def logsumexp(input: Any, dim: Axes, keepdim: bool = False) -> Any:
    """log Σ e^x over ``dim``, stable: the largest element is taken out first. Over nothing it is -inf."""
    x = as_tensor(input)
    x = operations.convert(x, _float_dtype(x))
    if 0 in (x.shape[axis] for axis in normalize_axes(dim, x.dim())):
        return operations.log(sum(x, dim, keepdim))
    largest = amax(x, dim, True).detach()
    shift = operations.where(operations.eq(operations.abs(largest), math.inf), 0.0, largest)
    total = operations.add(operations.log(sum(operations.exp(operations.sub(x, shift)), dim, True)), shift)
    return total if keepdim else sum(total, dim)


@pytorch_keywords
def log_softmax(input: Any, dim: int) -> Any:
    """x - log Σ e^x along ``dim``, stable."""
    return _log_softmax(input, dim=dim)


@pytorch_keywords
def softmax(input: Any, dim: int) -> Any:
    """e^x / Σ e^x along ``dim``, stable."""
    return _softmax(input, dim=dim)


@remembered
def _log_softmax(input: Any, *, dim: int) -> Any:
    if not input.numel():
        return operations.convert(input, _float_dtype(input))
    shifted = operations.sub(input, amax(input, dim, True).detach())
    return operations.sub(shifted, operations.log(sum(operations.exp(shifted), dim, True)))


@remembered
def _softmax(input: Any, *, dim: int) -> Any:
    if not input.numel():
        return operations.convert(input, _float_dtype(input))
    exponentials = operations.exp(operations.sub(input, amax(input, dim, True).detach()))
    return operations.div(exponentials, sum(exponentials, dim, True))


def _float_dtype(x: Any) -> DType:
    return x.dtype if x.dtype.is_floating_point else float32
