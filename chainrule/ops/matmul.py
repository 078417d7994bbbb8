"""The matrix product, over batches that broadcast."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import TensorType, broadcast_shapes, float32, int64, tensor_type
from .movement import reshape, swap_last_axes


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
