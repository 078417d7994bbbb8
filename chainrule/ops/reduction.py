"""Reductions over axes. The reduced axes leave the shape; keeping them is a reshape, which costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.primitive import NOT_DIFFERENTIABLE, Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import DType, Shape, TensorType, bool_, float32, int64, tensor_type
from .arithmetic import divide, multiply
from .comparison import equal, where
from .elementwise import cast
from .movement import broadcast, reshape


def reduced_shape(shape: Shape, axes: Shape) -> Shape:
    """``shape`` without ``axes``."""
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def kept_shape(shape: Shape, axes: Shape) -> Shape:
    """``shape`` with 1 in place of each of ``axes``."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def expand_reduced(g: Vertex, shape: Shape, axes: Shape) -> Vertex:
    """Repeat a reduced vertex along the axes it lost."""
    return broadcast(reshape(g, kept_shape(shape, axes)), shape)


def _axes_rule(has_identity: bool, result: DType | None = None) -> Callable[..., TensorType]:
    def rule(x: TensorType, *, axes: Shape) -> TensorType:
        if x.dtype is bool_:
            raise DTypeError("expected float or int elements, got bool. fix: convert with .to(), or use any() / all()")
        if any(not 0 <= axis < x.rank for axis in axes) or len(set(axes)) != len(axes):
            raise ArgumentError(f"axes {axes} are not distinct dimensions of shape {x.shape}")
        if not has_identity and any(x.shape[axis] == 0 for axis in axes):
            raise ShapeError(f"cannot take the extremum over an empty dimension of shape {x.shape}")
        return tensor_type(result or x.dtype, reduced_shape(x.shape, axes))

    return rule


def _index_rule(x: TensorType, *, axes: Shape) -> TensorType:
    if len(axes) != 1:
        raise ArgumentError(f"expected exactly one axis, got {axes}")
    return _axes_rule(has_identity=False, result=int64)(x, axes=axes)


_CASES: tuple[tuple[Shape, Shape], ...] = (
    ((3, 4), (0,)), ((3, 4), (1,)), ((3, 4), (0, 1)), ((2, 3, 5), (0, 2)), ((2, 3, 5), (1,)), ((7,), ()), ((), ()),
    ((40, 19), (1,)), ((0, 3), (1,)), ((1, 1, 6), (0,)),
)  # fmt: skip


def _samples(rng: np.random.Generator) -> list[Sample]:
    """Distinct elements (an extremum has kinks at ties), then integers."""
    floats = [(rng.permutation(math.prod(shape)).reshape(shape) * 0.37 - 2, axes) for shape, axes in _CASES]
    integers = [(rng.integers(-9, 10, (5, 3)).astype(dtype), (0,)) for dtype in ("int64", "int32")]
    return [Sample((array,), {"axes": axes}) for array, axes in (*floats, *integers)]


def _sum_samples(rng: np.random.Generator) -> list[Sample]:
    """Also a sum of nothing, which is 0."""
    return [*_samples(rng), Sample((rng.normal(size=(0, 3)),), {"axes": (0,)})]


def _index_samples(rng: np.random.Generator) -> list[Sample]:
    ties = rng.integers(0, 3, (6, 9)).astype("float64")
    nan = ties.copy()
    nan[2, 3] = nan[2, 5] = np.nan
    return [Sample((array,), {"axes": (axis,)}) for array in (ties, nan) for axis in (0, 1)]


def _extremum_vjp(g: Vertex, out: Vertex, x: Vertex, *, axes: Shape) -> tuple[Vertex]:
    """Elements equal to the extremum share the gradient evenly (as PyTorch's amax)."""
    taken = cast(equal(x, expand_reduced(out, x.shape, axes)), x.dtype)
    share = divide(g, sum_(taken, axes))
    return (multiply(taken, expand_reduced(share, x.shape, axes)),)


def _prod_vjp(g: Vertex, out: Vertex, x: Vertex, *, axes: Shape) -> tuple[Vertex]:
    """The product of the others: out / x, where no element is 0; of all that are not 0, at the only element that is."""
    is_zero = equal(x, 0)
    count = expand_reduced(sum_(cast(is_zero, x.dtype), axes), x.shape, axes)
    filled = where(is_zero, 1, x)
    others = divide(expand_reduced(prod_(filled, axes), x.shape, axes), filled)
    counts = where(is_zero, equal(count, 1), equal(count, 0))
    return (multiply(expand_reduced(g, x.shape, axes), where(counts, others, 0)),)


def _prod_samples(rng: np.random.Generator) -> list[Sample]:
    """Away from 0, where the second derivative would be wrong; then a single 0, two of them, and no elements."""
    smooth = [Sample((rng.uniform(0.5, 1.5, shape),), {"axes": axes}) for shape, axes in _CASES]
    zeros = rng.normal(size=(3, 4))
    zeros[1, 2] = zeros[2, 0] = zeros[2, 3] = 0.0
    integers = [Sample((rng.integers(-9, 10, (5, 3)).astype(dtype),), {"axes": (0,)}) for dtype in ("int64", "int32")]
    kinks = Sample((zeros,), {"axes": (1,)}, differentiable=False)
    return [*smooth, *integers, kinks, Sample((rng.normal(size=(0, 3)),), {"axes": (0,)})]


_INVALID = (
    Invalid((tensor_type(bool_, (3,)),), "got bool", {"axes": (0,)}),
    Invalid((tensor_type(float32, (3,)),), "not distinct dimensions", {"axes": (1,)}),
)
_NO_EXTREMUM = Invalid((tensor_type(float32, (0, 3)),), "over an empty dimension", {"axes": (0,)})
_TWO_AXES = Invalid((tensor_type(float32, (2, 3)),), "exactly one axis", {"axes": (0, 1)})


def _record(
    name: str, meaning: str, reference: Callable[..., Any], vjp: Callable[..., Any] | str, **fields: Any
) -> Primitive:
    return register(
        Primitive(
            name=name, family="reduction", meaning=meaning, attributes=("axes",), reference=reference, vjp=vjp,
            native=name, cost=lambda out, x: x.size, **fields,
        )
    )  # fmt: skip


SUM = _record(
    "sum", "Σ x over `axes`, in an order fixed by the shape",
    lambda x, *, axes: np.sum(x, axes, dtype=x.dtype),
    lambda g, out, x, *, axes: (expand_reduced(g, x.shape, axes),),
    type_rule=_axes_rule(has_identity=True), samples=_sum_samples, xla="reduce_sum", invalid=_INVALID,
)  # fmt: skip
PROD = _record(
    "prod", "Π x over `axes`, in an order fixed by the shape",
    lambda x, *, axes: np.prod(x, axes, dtype=x.dtype), _prod_vjp,
    type_rule=_axes_rule(has_identity=True), samples=_prod_samples, xla="reduce_prod", invalid=_INVALID,
)  # fmt: skip
MAX = _record(
    "max", "the largest element over `axes`; NaN if one is", lambda x, *, axes: np.max(x, axes), _extremum_vjp,
    type_rule=_axes_rule(has_identity=False), samples=_samples, xla="reduce_max", invalid=(*_INVALID, _NO_EXTREMUM),
)  # fmt: skip
MIN = _record(
    "min", "the smallest element over `axes`; NaN if one is", lambda x, *, axes: np.min(x, axes), _extremum_vjp,
    type_rule=_axes_rule(has_identity=False), samples=_samples, xla="reduce_min", invalid=(*_INVALID, _NO_EXTREMUM),
)  # fmt: skip
ARGMAX = _record(
    "argmax", "the index of the first largest element along the one axis in `axes`; a NaN counts as largest",
    lambda x, *, axes: np.argmax(x, axes[0]), NOT_DIFFERENTIABLE,
    type_rule=_index_rule, samples=_index_samples, xla="argmax", invalid=(*_INVALID, _NO_EXTREMUM, _TWO_AXES),
)  # fmt: skip
ARGMIN = _record(
    "argmin", "the index of the first smallest element along the one axis in `axes`; a NaN counts as smallest",
    lambda x, *, axes: np.argmin(x, axes[0]), NOT_DIFFERENTIABLE,
    type_rule=_index_rule, samples=_index_samples, xla="argmin", invalid=(*_INVALID, _NO_EXTREMUM, _TWO_AXES),
)  # fmt: skip


def sum_(x: Vertex, axes: Shape) -> Vertex:
    """Σ x over ``axes``; x itself for none."""
    return apply(SUM, x, axes=axes) if axes else x


def prod_(x: Vertex, axes: Shape) -> Vertex:
    """Π x over ``axes``; x itself for none."""
    return apply(PROD, x, axes=axes) if axes else x


def max_(x: Vertex, axes: Shape) -> Vertex:
    """The largest element over ``axes``"""
    return apply(MAX, x, axes=axes)


def argmax_(x: Vertex, axis: int) -> Vertex:
    """The index of the first largest element along an axis"""
    return apply(ARGMAX, x, axes=(axis,))
