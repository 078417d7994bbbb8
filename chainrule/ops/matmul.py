"""The matrix product over batches that broadcast, and the product that sums over several dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import TensorType, broadcast_shapes, float32, int64, tensor_type
from .arithmetic import multiply
from .movement import reshape, swap_last_axes, transpose

Array = np.ndarray[Any, Any]


def _type_rule(x: TensorType, y: TensorType) -> TensorType:
    if x.rank < 2 or y.rank < 2:
        raise ShapeError(f"matmul needs matrices, got shapes {x.shape} and {y.shape}")
    if x.dtype is not y.dtype or not x.dtype.is_floating_point:
        raise DTypeError(f"matmul needs two float operands of one dtype, got {x.dtype} and {y.dtype}")
    if x.shape[-1] != y.shape[-2]:
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied ({x.shape[-2]}x{x.shape[-1]} and {y.shape[-2]}x{y.shape[-1]}): "
            f"the inner sizes {x.shape[-1]} and {y.shape[-2]} must be equal"
        )
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return tensor_type(x.dtype, (*batch, x.shape[-2], y.shape[-1]))


def _vjp(g: Vertex, out: Vertex, x: Vertex, y: Vertex) -> tuple[Vertex, Vertex]:
    """dX = G Yᵀ, dY = Xᵀ G."""
    return _gradient(g, swap_last_axes(y), x), _gradient(swap_last_axes(x), g, y)


def _gradient(left: Vertex, right: Vertex, operand: Vertex) -> Vertex:
    """The product, summed over the batch where an operand without batch is shared by all of it.

    That sum is one product, over batches and inner positions together: so the gradient of a weight that many time steps
    share is.
    """
    batch = left.shape[:-2]
    if len(operand.shape) > 2 or not batch or right.shape[:-2] != batch:
        return matmul(left, right)
    depth = math.prod(right.shape[:-1])
    tall = reshape(swap_last_axes(left), (depth, left.shape[-2]))
    return matmul(swap_last_axes(tall), reshape(right, (depth, right.shape[-1])))


MATMUL = register(
    Primitive(
        name="matmul",
        family="matmul",
        meaning="Σₖ x[..., i, k] · y[..., k, j]",
        type_rule=_type_rule,
        reference=np.matmul,
        vjp=_vjp,
        native="matmul",
        xla="dot_general",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(4, 5)))),
            Sample((rng.normal(size=(1, 1)), rng.normal(size=(1, 1)))),
            Sample((rng.normal(size=(17, 33)), rng.normal(size=(33, 19)))),
            Sample((rng.normal(size=(3, 0)), rng.normal(size=(0, 2)))),
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)))),
            Sample((rng.normal(size=(2, 1, 3, 4)), rng.normal(size=(5, 4, 2)))),
        ],
        invalid=(
            Invalid((tensor_type(float32, (3, 4)), tensor_type(float32, (5, 2))), "cannot be multiplied (3x4 and 5x2)"),
            Invalid((tensor_type(float32, (3,)), tensor_type(float32, (3, 2))), "needs matrices"),
            Invalid((tensor_type(int64, (3, 3)), tensor_type(int64, (3, 3))), "float operands"),
        ),
        cost=lambda out, x, y: 2 * out.size * x.shape[-1],
    )
)


def matmul(x: Vertex, y: Vertex) -> Vertex:
    """The matrix product"""
    return apply(MATMUL, x, y)


def _tensordot_type_rule(x: TensorType, y: TensorType, *, axes: int, by_column: bool) -> TensorType:
    columns = y.shape[axes:]
    shared = len(columns) if by_column else 0
    if not 0 <= axes <= min(x.rank - shared, y.rank):
        raise ArgumentError(f"tensordot over {axes} dimensions of shapes {x.shape} and {y.shape}")
    if x.dtype is not y.dtype or not x.dtype.is_floating_point:
        raise DTypeError(f"tensordot needs two float operands of one dtype, got {x.dtype} and {y.dtype}")
    kept = x.rank - axes - shared
    if x.shape[kept : kept + axes] != y.shape[:axes] or (by_column and x.shape[kept + axes :] != columns):
        raise ShapeError(f"tensordot: the last sizes of {x.shape} are not those of {y.shape} (axes={axes})")
    return tensor_type(x.dtype, (*x.shape[:kept], *columns))


def _tensordot_reference(x: Array, y: Array, *, axes: int, by_column: bool) -> Array:
    if not by_column:
        return np.tensordot(x, y, axes)
    rows = x.ndim - y.ndim
    result: Array = np.einsum(x, range(x.ndim), y, range(rows, x.ndim), [*range(rows), *range(rows + axes, x.ndim)])
    return result


def _tensordot_vjp(
    g: Vertex, out: Vertex, x: Vertex, y: Vertex, *, axes: int, by_column: bool
) -> tuple[Vertex, Vertex]:  # fmt: skip
    """dX = G Yᵀ, dY = Xᵀ G, with groups of dimensions in place of rows and columns."""
    columns = len(y.shape) - axes
    rows = len(g.shape) - columns
    turned = transpose(x, (*range(rows, rows + axes), *range(rows), *range(rows + axes, len(x.shape))))
    by_y = tensordot(turned, g, rows, by_column)
    if by_column:
        return multiply(reshape(g, (*g.shape[:rows], *(1,) * axes, *g.shape[rows:])), y), by_y
    return tensordot(g, transpose(y, (*range(axes, len(y.shape)), *range(axes))), columns), by_y


def _tensordot_cost(out: TensorType, x: TensorType, y: TensorType) -> int:
    rows, axes = x.rank - y.rank, x.rank - out.rank
    if axes < 0 or x.shape[rows:] != y.shape or out.shape[rows:] != y.shape[axes:]:  # not by column
        axes = (x.rank + y.rank - out.rank) // 2
    return 2 * out.size * math.prod(y.shape[:axes])


_THREE = tensor_type(float32, (2, 3, 4))

TENSORDOT = register(
    Primitive(
        name="tensordot",
        family="matmul",
        meaning="the sum over the last `axes` dimensions of x and the first of y; `by_column`: behind these, x has the "
        "other dimensions of y, which are not summed",
        attributes=("axes", "by_column"),
        type_rule=_tensordot_type_rule,
        reference=_tensordot_reference,
        vjp=_tensordot_vjp,
        native="matmul",
        xla="dot_general",
        samples=lambda rng: [
            Sample((rng.normal(size=(5, 3, 4)), rng.normal(size=(3, 4, 6))), {"axes": 2, "by_column": False}),
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 2, 3))), {"axes": 1, "by_column": False}),
            Sample((rng.normal(size=(7, 2, 3, 4)), rng.normal(size=(2, 3, 4, 17))), {"axes": 3, "by_column": False}),
            Sample((rng.normal(size=(2, 0)), rng.normal(size=(0, 3))), {"axes": 1, "by_column": False}),
            Sample((rng.normal(size=(5, 2, 3, 9)), rng.normal(size=(3, 9))), {"axes": 1, "by_column": True}),
            Sample((rng.normal(size=(4, 2, 3, 17)), rng.normal(size=(2, 3, 17))), {"axes": 2, "by_column": True}),
        ],
        invalid=(
            Invalid((_THREE, tensor_type(float32, (4, 3))), "are not those", {"axes": 2, "by_column": False}),
            Invalid((_THREE, _THREE), "over 4 dimensions", {"axes": 4, "by_column": False}),
            Invalid((_THREE, tensor_type(int64, (4, 3))), "float operands", {"axes": 1, "by_column": False}),
            Invalid((_THREE, tensor_type(float32, (3, 5))), "are not those", {"axes": 1, "by_column": True}),
        ),
        cost=_tensordot_cost,
    )
)


def tensordot(x: Vertex, y: Vertex, axes: int, by_column: bool = False) -> Vertex:
    """The sum over the last ``axes`` dimensions of x and the first of y: see `TENSORDOT`"""
    return apply(TENSORDOT, x, y, axes=axes, by_column=by_column)
