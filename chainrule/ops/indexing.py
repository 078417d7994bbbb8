"""Reading and writing at positions that are known only when the program runs.

Positions outside the axis are clamped to it: a program never reads or writes foreign memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import TensorType, bool_, float32, int64, tensor_type
from .comparison import EQUAL, where
from .movement import reshape
from .source import constant, iota, zeros_like

Array = np.ndarray[Any, Any]
_VECTOR = tensor_type(float32, (3,))
_INDEX = tensor_type(int64, (2,))


def _check_index(index: TensorType) -> None:
    if index.dtype is not int64:
        raise DTypeError(f"an index must be int64, got {index.dtype}. fix: index.long()")


def _check_start(start: TensorType) -> None:
    _check_index(start)
    if start.shape:
        raise ShapeError(f"a start must be a scalar, got shape {start.shape}")


def _check_axis(x: TensorType, axis: int) -> None:
    if not 0 <= axis < x.rank:
        raise ArgumentError(f"axis {axis} is not a dimension of shape {x.shape}")


def _take_type_rule(x: TensorType, index: TensorType, *, axis: int) -> TensorType:
    _check_index(index)
    _check_axis(x, axis)
    if x.shape[axis] == 0 and index.size:
        raise ShapeError(f"cannot take elements from dimension {axis} of shape {x.shape}, which is empty")
    return tensor_type(x.dtype, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _scatter_add_type_rule(x: TensorType, index: TensorType, *, axis: int, size: int) -> TensorType:
    _check_index(index)
    end = axis + index.rank
    if x.dtype is bool_:
        raise DTypeError("scatter_add expected float or int elements, got bool. fix: convert with .to()")
    if not 0 <= axis <= x.rank or x.shape[axis:end] != index.shape:
        raise ShapeError(f"scatter_add needs values of the index's shape {index.shape} at axis {axis}, got {x.shape}")
    if size < (1 if index.size else 0):
        raise ShapeError(f"scatter_add cannot add {index.size} elements into {size} places")
    return tensor_type(x.dtype, (*x.shape[:axis], size, *x.shape[end:]))


def _scatter_add_reference(x: Array, index: Array, *, axis: int, size: int) -> Array:
    rows = np.moveaxis(x.reshape(*x.shape[:axis], index.size, *x.shape[axis + index.ndim :]), axis, 0)
    out = np.zeros((size, *rows.shape[1:]), x.dtype)
    np.add.at(out, np.clip(index.reshape(-1), 0, size - 1), rows)
    return np.moveaxis(out, 0, axis)


def _scatter_type_rule(x: TensorType, value: TensorType, index: TensorType, *, axis: int) -> TensorType:
    _check_index(index)
    _check_axis(x, axis)
    wanted = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    if value.shape != wanted:
        raise ShapeError(f"cannot write values of shape {value.shape} into {x} along axis {axis}, expected {wanted}")
    if value.dtype is not x.dtype:
        raise DTypeError(f"cannot write {value} into {x}: expected one dtype. fix: convert with .to()")
    if x.shape[axis] == 0 and index.size:
        raise ShapeError(f"cannot write into dimension {axis} of shape {x.shape}, which is empty")
    return x


def _scatter_reference(x: Array, value: Array, index: Array, *, axis: int) -> Array:
    out = x.copy()
    rows = np.moveaxis(value.reshape(*x.shape[:axis], index.size, *x.shape[axis + 1 :]), axis, 0)
    places = np.moveaxis(out, axis, 0)
    for at, row in zip(np.clip(index.reshape(-1), 0, x.shape[axis] - 1), rows, strict=True):
        places[at] = row
    return out


def _dynamic_slice_type_rule(x: TensorType, start: TensorType, *, axis: int, size: int) -> TensorType:
    _check_start(start)
    _check_axis(x, axis)
    if not 0 <= size <= x.shape[axis]:
        raise ShapeError(f"cannot take {size} elements of an axis of size {x.shape[axis]}")
    return tensor_type(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :]))


def _dynamic_slice_reference(x: Array, start: Array, *, axis: int, size: int) -> Array:
    first = int(np.clip(start, 0, x.shape[axis] - size))
    return np.take(x, np.arange(first, first + size), axis)


def _dynamic_update_type_rule(x: TensorType, value: TensorType, start: TensorType, *, axis: int) -> TensorType:
    _check_start(start)
    _check_axis(x, axis)
    fits = value.rank == x.rank and value.shape[axis] <= x.shape[axis]
    if not fits or value.shape != (*x.shape[:axis], value.shape[axis], *x.shape[axis + 1 :]):
        raise ShapeError(f"cannot write {value} into {x} along axis {axis}")
    if value.dtype is not x.dtype:
        raise DTypeError(f"cannot write {value} into {x}: expected one dtype. fix: convert with .to()")
    return x


def _dynamic_update_reference(x: Array, value: Array, start: Array, *, axis: int) -> Array:
    size = value.shape[axis]
    first = int(np.clip(start, 0, x.shape[axis] - size))
    out = x.copy()
    out[(slice(None),) * axis + (slice(first, first + size),)] = value
    return out


def _scatter_vjp(
    g: Vertex, out: Vertex, x: Vertex, value: Vertex, index: Vertex, *, axis: int
) -> tuple[Vertex, Vertex, None]:
    """Elements that were written over get no gradient, and neither do values that a later one was written over."""
    size, places = index.type.size, index.shape
    order = reshape(iota(int64, (size,)), places)
    stayed = take(scatter(constant(0, int64, (x.shape[axis],)), order, index, 0), index, 0)
    is_seen = reshape(apply(EQUAL, stayed, order), (*places, *(1 for _ in x.shape[axis + 1 :])))
    taken = take(g, index, axis)
    return scatter(g, zeros_like(value), index, axis), where(is_seen, taken, zeros_like(taken)), None


TAKE = register(
    Primitive(
        name="take", family="indexing", meaning="out[..., i, ...] = x[..., index[i], ...] along `axis`",
        attributes=("axis",), type_rule=_take_type_rule,
        reference=lambda x, index, *, axis: np.take(x, index, axis, mode="clip"),
        vjp=lambda g, out, x, index, *, axis: (scatter_add(g, index, axis, x.shape[axis]), None),
        native="take", xla="gather",
        samples=lambda rng: [
            Sample((rng.normal(size=(7, 3)), rng.integers(0, 7, (5,))), {"axis": 0}),
            Sample((rng.normal(size=(4, 6)), rng.integers(0, 6, (2, 3))), {"axis": 1}),
            Sample((rng.normal(size=(5,)), np.array([-3, 9, 2])), {"axis": 0}),
            Sample((rng.normal(size=(3, 5)), np.array(2)), {"axis": 1}),
            Sample((rng.normal(size=(0, 2)), np.zeros((0,), np.int64)), {"axis": 0}),
        ],
        invalid=(
            Invalid((_VECTOR, tensor_type(float32, (2,))), "must be int64", {"axis": 0}),
            Invalid((_VECTOR, _INDEX), "axis 1 is not a dimension", {"axis": 1}),
            Invalid((tensor_type(float32, (0,)), _INDEX), "which is empty", {"axis": 0}),
        ),
    )
)  # fmt: skip
SCATTER_ADD = register(
    Primitive(
        name="scatter_add", family="indexing",
        meaning="zeros of `size` along `axis`, to which x[..., i, ...] is added at index[i], in the order of i",
        attributes=("axis", "size"), type_rule=_scatter_add_type_rule, reference=_scatter_add_reference,
        vjp=lambda g, out, x, index, *, axis, size: (take(g, index, axis), None),
        native="scatter_add", xla="scatter_add",
        samples=lambda rng: [
            Sample((rng.normal(size=(9, 3)), rng.integers(0, 4, (9,))), {"axis": 0, "size": 4}),
            Sample((rng.normal(size=(2, 3, 2)), rng.integers(0, 5, (3, 2))), {"axis": 1, "size": 5}),
            Sample((rng.normal(size=(4,)), np.array([7, -2, 1, 1])), {"axis": 0, "size": 3}),
            Sample((rng.normal(size=(0, 2)), rng.integers(0, 3, (2,))), {"axis": 1, "size": 3}),
        ],
        invalid=(
            Invalid((_VECTOR, _INDEX), "index's shape", {"axis": 0, "size": 4}),
            Invalid((tensor_type(bool_, (2,)), _INDEX), "got bool", {"axis": 0, "size": 4}),
            Invalid((tensor_type(float32, (2,)), _INDEX), "into 0 places", {"axis": 0, "size": 0}),
        ),
        cost=lambda out, x, index: x.size,
    )
)  # fmt: skip
SCATTER = register(
    Primitive(
        name="scatter", family="indexing",
        meaning="x with out[..., index[i], ...] = value[..., i, ...] along `axis`, in the order of i: the last stays",
        attributes=("axis",), type_rule=_scatter_type_rule, reference=_scatter_reference,
        vjp=_scatter_vjp,
        native="scatter", xla="scatter",
        samples=lambda rng: [
            Sample((rng.normal(size=(9, 3)), rng.normal(size=(4, 3)), np.array([3, 0, 8, 5])), {"axis": 0}),
            Sample((rng.normal(size=(2, 9)), rng.normal(size=(2, 2, 2)), np.array([[3, 0], [8, 5]])), {"axis": 1}),
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(3,)), np.array(2)), {"axis": 1}),
            Sample((rng.normal(size=(0, 2)), rng.normal(size=(0, 2)), np.zeros((0,), np.int64)), {"axis": 0}),
        ],
        invalid=(
            Invalid((_VECTOR, tensor_type(float32, (3,)), _INDEX), "cannot write values of shape", {"axis": 0}),
            Invalid((_VECTOR, tensor_type(int64, (2,)), _INDEX), "one dtype", {"axis": 0}),
            Invalid((_VECTOR, tensor_type(float32, (2,)), _INDEX), "axis 1 is not a dimension", {"axis": 1}),
        ),
        cost=lambda out, x, value, index: x.size + value.size,
    )
)  # fmt: skip
DYNAMIC_SLICE = register(
    Primitive(
        name="dynamic_slice", family="indexing",
        meaning="`size` elements of x along `axis` from the position `start` on",
        attributes=("axis", "size"), type_rule=_dynamic_slice_type_rule, reference=_dynamic_slice_reference,
        vjp=lambda g, out, x, start, *, axis, size: (dynamic_update(zeros_like(x), g, start, axis), None),
        native="dynamic_slice", xla="dynamic_slice",
        samples=lambda rng: [
            Sample((rng.normal(size=(9, 3)), np.array(2)), {"axis": 0, "size": 4}),
            Sample((rng.normal(size=(3, 9)), np.array(7)), {"axis": 1, "size": 5}),
            Sample((rng.normal(size=(4,)), np.array(-1)), {"axis": 0, "size": 0}),
        ],
        invalid=(
            Invalid((_VECTOR, tensor_type(int64, ())), "cannot take", {"axis": 0, "size": 4}),
            Invalid((_VECTOR, _INDEX), "must be a scalar", {"axis": 0, "size": 1}),
        ),
    )
)  # fmt: skip
DYNAMIC_UPDATE = register(
    Primitive(
        name="dynamic_update", family="indexing",
        meaning="x with `value` written along `axis` from the position `start` on",
        attributes=("axis",), type_rule=_dynamic_update_type_rule, reference=_dynamic_update_reference,
        vjp=lambda g, out, x, value, start, *, axis: (
            dynamic_update(g, zeros_like(value), start, axis),
            dynamic_slice(g, start, axis, value.shape[axis]),
            None,
        ),
        native="dynamic_update", xla="dynamic_update_slice",
        samples=lambda rng: [
            Sample((rng.normal(size=(9, 3)), rng.normal(size=(4, 3)), np.array(2)), {"axis": 0}),
            Sample((rng.normal(size=(3, 9)), rng.normal(size=(3, 2)), np.array(8)), {"axis": 1}),
        ],
        invalid=(
            Invalid((_VECTOR, tensor_type(float32, (4,)), tensor_type(int64, ())), "cannot write", {"axis": 0}),
            Invalid((_VECTOR, tensor_type(int64, (2,)), tensor_type(int64, ())), "one dtype", {"axis": 0}),
            Invalid((_VECTOR, tensor_type(float32, ()), tensor_type(int64, ())), "cannot write", {"axis": 0}),
        ),
    )
)  # fmt: skip


def take(x: Vertex, index: Vertex, axis: int) -> Vertex:
    """Elements of x along ``axis`` at ``index``"""
    return apply(TAKE, x, index, axis=axis)


def scatter_add(x: Vertex, index: Vertex, axis: int, size: int) -> Vertex:
    """Sum x into ``size`` places along ``axis``"""
    return apply(SCATTER_ADD, x, index, axis=axis, size=size)


def scatter(x: Vertex, value: Vertex, index: Vertex, axis: int) -> Vertex:
    """x with ``value`` written along ``axis`` at ``index``; where positions are equal the last value stays"""
    return apply(SCATTER, x, value, index, axis=axis)


def dynamic_slice(x: Vertex, start: Vertex, axis: int, size: int) -> Vertex:
    """``size`` elements of x from ``start`` on"""
    return apply(DYNAMIC_SLICE, x, start, axis=axis, size=size)


def dynamic_update(x: Vertex, value: Vertex, start: Vertex, axis: int) -> Vertex:
    """x with ``value`` written from ``start`` on"""
    return apply(DYNAMIC_UPDATE, x, value, start, axis=axis)
