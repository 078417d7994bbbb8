"""Reductions under their PyTorch names. Each function is also a method of `Tensor`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..graph.primitive import PRIMITIVES
from ..graph.vertex import Vertex, apply
from ..ops.arithmetic import divide, multiply, power, subtract
from ..ops.comparison import equal, not_equal, where
from ..ops.elementwise import absolute, cast, exp, log, sqrt, stop_gradient
from ..ops.movement import reshape
from ..ops.reduction import kept_shape
from ..ops.source import constant
from ..types import DType, Shape, as_dtype, bool_, float32, int32, int64, normalize_axis
from . import operations
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all
from .recording import pending
from .remembered import remembered_vertices

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


@remembered_vertices
def _mean(x: Vertex, *, dim: Axes, keepdim: bool, dtype: DType | None) -> Vertex:
    x = x if dtype is None else cast(x, dtype)
    return _mean_vertex(cast(x, _float_dtype(x)), dim, keepdim)


def _mean_vertex(x: Vertex, dim: Axes, keepdim: bool) -> Vertex:
    count = math.prod([x.shape[axis] for axis in normalize_axes(dim, len(x.shape))])
    total = _reduced_vertex("sum", x, dim, keepdim, None)
    return divide(total, count) if count else multiply(total, math.nan)


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


@remembered_vertices
def _var(x: Vertex, *, dim: Axes, correction: int, keepdim: bool) -> Vertex:
    return _var_vertex(x, dim, correction, keepdim)


def _var_vertex(x: Vertex, dim: Axes, correction: int, keepdim: bool) -> Vertex:
    x = cast(x, _float_dtype(x))
    count = math.prod([x.shape[axis] for axis in normalize_axes(dim, len(x.shape))]) - correction
    centred = subtract(x, _mean_vertex(x, dim, True))
    total = _reduced_vertex("sum", multiply(centred, centred), dim, keepdim, None)
    return multiply(total, 1 / count if count > 0 else math.nan)


@pytorch_keywords
def std(
    input: Any, dim: Axes = None, *, correction: int = 1, unbiased: bool | None = None, keepdim: bool = False
) -> Any:
    """The square root of `var`."""
    subtracted = correction if unbiased is None else int(unbiased)
    return _std(input, dim=_hashable(dim), correction=subtracted, keepdim=keepdim)


@remembered_vertices
def _std(x: Vertex, *, dim: Axes, correction: int, keepdim: bool) -> Vertex:
    return sqrt(_var_vertex(x, dim, correction, keepdim))


@pytorch_keywords
def norm(input: Any, p: float = 2, dim: Axes = None, keepdim: bool = False) -> Any:
    """(Σ |x|^p)^(1/p) over ``dim``; the largest |x| for p = inf, the number of elements other than 0 for p = 0.

    The gradient at 0, where there is none, is 0.
    """
    return _norm(input, p=p, dim=_hashable(dim), keepdim=keepdim)


@remembered_vertices
def _norm(x: Vertex, *, p: float, dim: Axes, keepdim: bool) -> Vertex:
    x = cast(x, _float_dtype(x))
    if p == 2:
        return _power_off_zero(_reduced_vertex("sum", multiply(x, x), dim, keepdim, None), 0.5)
    if p == 0:
        return cast(_reduced_vertex("sum", not_equal(x, 0), dim, keepdim, None), x.dtype)
    x = absolute(x)
    if p in (math.inf, -math.inf):
        return _reduced_vertex("max" if p > 0 else "min", x, dim, keepdim, None)
    if p == 1:
        return _reduced_vertex("sum", x, dim, keepdim, None)
    return _power_off_zero(_reduced_vertex("sum", _power_off_zero(x, p), dim, keepdim, None), 1 / p)


def _power_off_zero(x: Vertex, p: float) -> Vertex:
    """x to the power p with gradient 0 where x is 0."""
    is_zero = equal(x, 0)
    safe = where(is_zero, 1.0, x)
    return where(is_zero, 0.0 if p > 0 else math.inf, sqrt(safe) if p == 0.5 else power(safe, p))


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


@remembered_vertices
def _log_softmax(x: Vertex, *, dim: int) -> Vertex:
    x = cast(x, _float_dtype(x))
    if not x.type.size:
        return x
    shifted = _shifted(x, dim)
    return subtract(shifted, log(_reduced_vertex("sum", exp(shifted), dim, True, None)))


@remembered_vertices
def _softmax(x: Vertex, *, dim: int) -> Vertex:
    x = cast(x, _float_dtype(x))
    if not x.type.size:
        return x
    exponentials = exp(_shifted(x, dim))
    return divide(exponentials, _reduced_vertex("sum", exponentials, dim, True, None))


def _shifted(x: Vertex, dim: int) -> Vertex:
    """x less its largest element along ``dim``, so that no e^x overflows."""
    return subtract(x, stop_gradient(_reduced_vertex("max", x, dim, True, None)))


def _float_dtype(x: Any) -> DType:
    dtype: DType = x.dtype
    return dtype if dtype.is_floating_point else float32
