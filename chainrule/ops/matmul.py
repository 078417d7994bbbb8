"""The matrix product over batches that broadcast, and the product that sums over several dimensions."""

from __future__ import annotations

import math

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import TensorType, broadcast_shapes, float32, int64, tensor_type
from .movement import reshape, swap_last_axes, transpose


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


def _tensordot_type_rule(x: TensorType, y: TensorType, *, axes: int) -> TensorType:
    if not 0 <= axes <= min(x.rank, y.rank):
        raise ArgumentError(f"tensordot over {axes} dimensions of shapes {x.shape} and {y.shape}")
    if x.dtype is not y.dtype or not x.dtype.is_floating_point:
        raise DTypeError(f"tensordot needs two float operands of one dtype, got {x.dtype} and {y.dtype}")
    kept = x.rank - axes
    if x.shape[kept:] != y.shape[:axes]:
        raise ShapeError(f"tensordot: the last {axes} sizes of {x.shape} are not the first of {y.shape}")
    return tensor_type(x.dtype, (*x.shape[:kept], *y.shape[axes:]))


def _tensordot_vjp(g: Vertex, out: Vertex, x: Vertex, y: Vertex, *, axes: int) -> tuple[Vertex, Vertex]:
    """dX = G Yᵀ, dY = Xᵀ G, with groups of dimensions in place of rows and columns."""
    kept, columns = len(x.shape) - axes, len(y.shape) - axes
    return tensordot(g, _turn(y, axes), columns), tensordot(_turn(x, kept), g, kept)


def _turn(x: Vertex, count: int) -> Vertex:
    """The first ``count`` dimensions put behind the others."""
    rank = len(x.shape)
    return transpose(x, (*range(count, rank), *range(count)))


_THREE = tensor_type(float32, (2, 3, 4))

TENSORDOT = register(
    Primitive(
        name="tensordot",
        family="matmul",
        meaning="the sum over the last `axes` dimensions of x and the first of y",
        attributes=("axes",),
        type_rule=_tensordot_type_rule,
        reference=lambda x, y, *, axes: np.tensordot(x, y, axes),
        vjp=_tensordot_vjp,
        native="matmul",
        xla="dot_general",
        samples=lambda rng: [
            Sample((rng.normal(size=(5, 3, 4)), rng.normal(size=(3, 4, 6))), {"axes": 2}),
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 2, 3))), {"axes": 1}),
            Sample((rng.normal(size=(7, 2, 3, 4)), rng.normal(size=(2, 3, 4, 17))), {"axes": 3}),
            Sample((rng.normal(size=(2, 0)), rng.normal(size=(0, 3))), {"axes": 1}),
        ],
        invalid=(
            Invalid((_THREE, tensor_type(float32, (4, 3))), "are not the first", {"axes": 2}),
            Invalid((_THREE, _THREE), "over 4 dimensions", {"axes": 4}),
            Invalid((_THREE, tensor_type(int64, (4, 3))), "float operands", {"axes": 1}),
        ),
        cost=lambda out, x, y: 2 * out.size * math.prod(y.shape[: (x.rank + y.rank - out.rank) // 2]),
    )
)


def tensordot(x: Vertex, y: Vertex, axes: int) -> Vertex:
    """The sum over the last ``axes`` dimensions of x and the first of y"""
    return apply(TENSORDOT, x, y, axes=axes)
