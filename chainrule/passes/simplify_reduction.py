"""Rules for reductions and products."""

from __future__ import annotations

import math

from ..graph.vertex import Vertex
from .rewriting import build, filled, rule, value_of


@rule("sum", "prod", "max", "min", "argmax", "argmin")
def drop_reduction_of_one(vertex: Vertex) -> Vertex | None:
    """sum(x) over axes of size 1 → reshape(x); the index of the extremum there is 0"""
    x = vertex.inputs[0]
    if any(x.shape[axis] != 1 for axis in vertex.attributes["axes"]):
        return None
    if vertex.primitive.name in ("argmax", "argmin"):
        return filled(vertex, 0)
    return build(vertex, "reshape", x, shape=vertex.shape)


@rule("sum", "max", "min", "argmax", "argmin")
def reduce_constant(vertex: Vertex) -> Vertex | None:
    """sum(c) over n elements → n·c; max(c) → c; the first of equal elements has index 0"""
    x = vertex.inputs[0]
    value = value_of(x)
    if x.type.size == 0:
        return filled(vertex, 0)
    if value is None:
        return None
    if vertex.primitive.name in ("argmax", "argmin"):
        return filled(vertex, 0)
    count = math.prod(x.shape[axis] for axis in vertex.attributes["axes"]) if vertex.primitive.name == "sum" else 1
    if vertex.dtype.kind == "int" and abs(value * count) > 2 ** (8 * vertex.dtype.size - 1) - 1:
        return None
    return filled(vertex, value * count)


@rule("sum", "prod", "max", "min")
def join_reductions(vertex: Vertex) -> Vertex | None:
    """sum(sum(x, axes), axes) → sum(x, axes) for integers: with floats the order decides on bits"""
    x = vertex.inputs[0]
    if x.primitive is not vertex.primitive or vertex.dtype.kind == "float":
        return None
    inner = x.attributes["axes"]
    kept = [axis for axis in range(len(x.inputs[0].shape)) if axis not in inner]
    axes = tuple(sorted((*inner, *(kept[axis] for axis in vertex.attributes["axes"]))))
    return build(vertex, vertex.primitive.name, x.inputs[0], axes=axes)


@rule("matmul")
def drop_empty_product(vertex: Vertex) -> Vertex | None:
    """matmul(x, y) over an inner size of 0 → 0"""
    return filled(vertex, 0) if vertex.inputs[0].shape[-1] == 0 else None
