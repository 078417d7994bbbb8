"""Scans: primitives in which every element depends on the line of elements along one axis that it lies in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..graph.primitive import NOT_DIFFERENTIABLE, Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import DType, TensorType, bool_, float32, int64, tensor_type
from .arithmetic import divide, multiply
from .comparison import equal, less, logical_and, where
from .elementwise import cast
from .movement import flip

Array = np.ndarray[Any, Any]


def _rule(result: DType | None = None) -> Callable[..., TensorType]:
    def rule(x: TensorType, *, axis: int) -> TensorType:
        if x.dtype is bool_:
            raise DTypeError("expected float or int elements, got bool. fix: convert with .to()")
        if not 0 <= axis < x.rank:
            raise ArgumentError(f"axis {axis} is not a dimension of shape {x.shape}")
        return tensor_type(result or x.dtype, x.shape)

    return rule


def _samples(rng: np.random.Generator) -> list[Sample]:
    """Lines along each axis, of one and of many elements; then integers."""
    cases = (((5,), 0), ((3, 4), 0), ((3, 4), 1), ((2, 3, 5), 1), ((2, 1, 3), 1), ((0, 3), 1), ((3, 0), 1), ((300,), 0))
    floats = [Sample((rng.normal(size=shape) + 0.1,), {"axis": axis}) for shape, axis in cases]
    return [
        *floats,
        *(Sample((rng.integers(-9, 9, (4, 6)).astype(dtype),), {"axis": 1}) for dtype in ("int64", "int32")),
    ]


def _tied_samples(rng: np.random.Generator) -> list[Sample]:
    """Also with equal elements, NaN and infinities."""
    ties = rng.integers(0, 4, (5, 33)).astype("float64")
    ties[1, 3] = ties[1, 20] = ties[4, 0] = np.nan
    ties[2, 5], ties[2, 6], ties[3, 7] = -np.inf, np.inf, -0.0
    return [*_samples(rng), Sample((ties,), {"axis": 1}), Sample((ties,), {"axis": 0})]


def _in_float64(scan: Callable[..., Array], x: Array, axis: int) -> Array:
    """Floats accumulate in float64, integers as they are."""
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return np.asarray(scan(wide, axis, dtype=wide.dtype)).astype(x.dtype)


def _cumulative_argmax(x: Array, *, axis: int) -> Array:
    """Of equal elements the last; NaN is the largest."""
    lines = np.moveaxis(x, axis, -1)
    out = np.zeros(lines.shape, np.int64)
    for place in np.ndindex(lines.shape):
        best = out[(*place[:-1], place[-1] - 1)] if place[-1] else 0
        largest, new = lines[(*place[:-1], best)], lines[place]
        out[place] = place[-1] if new >= largest or new != new else best
    return np.moveaxis(out, -1, axis)


def _argsort(x: Array, *, axis: int, count: int, descending: bool) -> Array:
    if descending:  # the other way round twice, so that equal elements keep their order
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    return np.take(order, np.arange(count), axis)


def _argsort_rule(x: TensorType, *, axis: int, count: int, descending: bool) -> TensorType:
    line = _rule(int64)(x, axis=axis)
    if not 0 <= count <= x.shape[axis]:
        raise ArgumentError(f"count is {count}, but along axis {axis} there are {x.shape[axis]} elements")
    return tensor_type(int64, (*line.shape[:axis], count, *line.shape[axis + 1 :]))


def _argsort_samples(rng: np.random.Generator) -> list[Sample]:
    """All of each line, and the first few, both ways."""
    samples = []
    for number, (inputs, attributes) in enumerate((each.inputs, each.attributes) for each in _tied_samples(rng)):
        extent = inputs[0].shape[attributes["axis"]]
        for count in {extent, min(extent, 2)}:
            samples.append(Sample(inputs, {**attributes, "count": count, "descending": number % 2 == count % 2}))
    return samples


def _cumulative_sum_vjp(g: Vertex, out: Vertex, x: Vertex, *, axis: int) -> tuple[Vertex]:
    return (_sum_from_end(g, axis),)


def _sum_from_end(x: Vertex, axis: int) -> Vertex:
    """Σ of each element and those behind it."""
    return flip(cumulative_sum(flip(x, (axis,)), axis), (axis,))


def _cumulative_product_vjp(g: Vertex, out: Vertex, x: Vertex, *, axis: int) -> tuple[Vertex]:
    """dx[i] = Σⱼ≥ᵢ g[j] · out[j] / x[i]. At the first 0 of a line as if a 1 stood there; behind it nothing counts."""
    is_zero = equal(x, 0)
    zeros = cumulative_sum(cast(is_zero, int64), axis)
    is_first = logical_and(is_zero, equal(zeros, 1))
    without = cumulative_product(where(is_first, 1, x), axis)
    before = divide(_sum_from_end(multiply(g, out), axis), where(is_zero, 1, x))
    at_zero = _sum_from_end(multiply(g, without), axis)
    return (where(is_first, at_zero, where(less(zeros, 1), before, 0)),)


def _record(
    name: str, meaning: str, reference: Callable[..., Any], vjp: Callable[..., Any] | str, **fields: Any
) -> Primitive:
    invalid = (
        Invalid((tensor_type(bool_, (3,)),), "got bool", {"axis": 0}),
        Invalid((tensor_type(float32, (3,)),), "axis 1 is not a dimension", {"axis": 1}),
    )
    defaults = {"attributes": ("axis",), "invalid": invalid}
    return register(
        Primitive(
            name=name, family="scan", meaning=meaning, reference=reference, vjp=vjp, native=name, **defaults | fields
        )
    )


CUMULATIVE_SUM = _record(
    "cumulative_sum", "out[..., i, ...] = Σ x[..., j, ...] over j ≤ i along `axis`, in float64 for floats",
    lambda x, *, axis: _in_float64(np.cumsum, x, axis), _cumulative_sum_vjp,
    type_rule=_rule(), samples=_samples, xla="cumsum",
)  # fmt: skip
CUMULATIVE_PRODUCT = _record(
    "cumulative_product", "out[..., i, ...] = Π x[..., j, ...] over j ≤ i along `axis`, in float64 for floats",
    lambda x, *, axis: _in_float64(np.cumprod, x, axis), _cumulative_product_vjp,
    type_rule=_rule(), samples=_samples, xla="cumprod",
)  # fmt: skip
CUMULATIVE_ARGMAX = _record(
    "cumulative_argmax", "where along `axis` the last of the largest of x[..., j, ...] over j ≤ i is; NaN is largest",
    _cumulative_argmax, NOT_DIFFERENTIABLE, type_rule=_rule(int64), samples=_tied_samples, xla="cumulative_argmax",
)  # fmt: skip
ARGSORT = _record(
    "argsort",
    "the first `count` positions along `axis` in the order of their elements, NaN the largest; equal ones keep theirs",
    _argsort, NOT_DIFFERENTIABLE, attributes=("axis", "count", "descending"),
    type_rule=_argsort_rule, samples=_argsort_samples, xla="sort",
    invalid=(
        Invalid((tensor_type(bool_, (3,)),), "got bool", {"axis": 0, "count": 3, "descending": False}),
        Invalid((tensor_type(float32, (3,)),), "axis 1 is not a", {"axis": 1, "count": 3, "descending": False}),
        Invalid((tensor_type(float32, (3,)),), "along axis 0 there are 3", {"axis": 0, "count": 4, "descending": 1}),
    ),
)  # fmt: skip


def cumulative_sum(x: Vertex, axis: int) -> Vertex:
    """Σ over the elements up to each one along ``axis``"""
    return apply(CUMULATIVE_SUM, x, axis=axis)


def cumulative_product(x: Vertex, axis: int) -> Vertex:
    """Π over the elements up to each one along ``axis``"""
    return apply(CUMULATIVE_PRODUCT, x, axis=axis)


def cumulative_argmax(x: Vertex, axis: int) -> Vertex:
    """The position of the largest element so far along ``axis``"""
    return apply(CUMULATIVE_ARGMAX, x, axis=axis)


def argsort(x: Vertex, axis: int, count: int, descending: bool) -> Vertex:
    """The first ``count`` positions along ``axis`` in the order of their elements"""
    return apply(ARGSORT, x, axis=axis, count=count, descending=descending)
