"""Rules for vertices that only rearrange elements."""

from __future__ import annotations

from itertools import pairwise

from ..graph.vertex import Vertex
from .rewriting import build, filled, rule, value_of


@rule("reshape", "transpose", "broadcast", "slice", "flip")
def rearrange_constant(vertex: Vertex) -> Vertex | None:
    """broadcast(2) → 2 of the larger shape"""
    value = value_of(vertex.inputs[0])
    return None if value is None else filled(vertex, value)


@rule("reshape", "broadcast")
def drop_same_shape(vertex: Vertex) -> Vertex | None:
    """reshape(x, shape of x) → x"""
    x = vertex.inputs[0]
    return x if x.shape == vertex.shape else None


@rule("reshape", "broadcast")
def join_shapes(vertex: Vertex) -> Vertex | None:
    """reshape(reshape(x)) → reshape(x); broadcast(broadcast(x)) → broadcast(x)"""
    x = vertex.inputs[0]
    if x.primitive is not vertex.primitive:
        return None
    return build(vertex, vertex.primitive.name, x.inputs[0], shape=vertex.shape)


@rule("transpose")
def drop_identity_transpose(vertex: Vertex) -> Vertex | None:
    """transpose(x, (0, 1)) → x; a transpose that only moves axes of size 1 is a reshape"""
    x, permutation = vertex.inputs[0], vertex.attributes["permutation"]
    moved = [axis for axis in permutation if x.shape[axis] != 1]
    if permutation == tuple(range(len(permutation))):
        return x
    return build(vertex, "reshape", x, shape=vertex.shape) if moved == sorted(moved) else None


@rule("transpose")
def join_transposes(vertex: Vertex) -> Vertex | None:
    """transpose(transpose(x)) → transpose(x) or x"""
    x, permutation = vertex.inputs[0], vertex.attributes["permutation"]
    if x.primitive is not vertex.primitive:
        return None
    inner = x.attributes["permutation"]
    return build(vertex, "transpose", x.inputs[0], permutation=tuple(inner[axis] for axis in permutation))


@rule("slice")
def drop_whole_slice(vertex: Vertex) -> Vertex | None:
    """slice(x) of everything → x"""
    x = vertex.inputs[0]
    return x if x.shape == vertex.shape else None


@rule("slice")
def join_slices(vertex: Vertex) -> Vertex | None:
    """slice(slice(x)) → slice(x)"""
    x = vertex.inputs[0]
    if x.primitive is not vertex.primitive:
        return None
    inner, outer = x.attributes, vertex.attributes
    starts = tuple(a + b * c for a, b, c in zip(inner["starts"], outer["starts"], inner["steps"], strict=True))
    steps = tuple(a * b for a, b in zip(inner["steps"], outer["steps"], strict=True))
    stops = tuple(start + (size - 1) * step + 1 for start, size, step in zip(starts, vertex.shape, steps, strict=True))
    return build(vertex, "slice", x.inputs[0], starts=starts, stops=stops, steps=steps)


@rule("flip")
def drop_idle_flip(vertex: Vertex) -> Vertex | None:
    """flip(x, axes of size 1) → x"""
    x = vertex.inputs[0]
    return None if any(x.shape[axis] > 1 for axis in vertex.attributes["axes"]) else x


@rule("pad")
def drop_empty_padding(vertex: Vertex) -> Vertex | None:
    """pad(x) by nothing → x"""
    x = vertex.inputs[0]
    return x if x.shape == vertex.shape else None


@rule("pad")
def pad_nothing(vertex: Vertex) -> Vertex | None:
    """pad(x of size 0) → 0; pad(0.0) → 0.0"""
    x = vertex.inputs[0]
    is_zero = value_of(x) is not None and str(value_of(x)) in ("0", "0.0", "False")
    return filled(vertex, 0) if x.type.size == 0 or is_zero else None


@rule("concatenate")
def drop_empty_parts(vertex: Vertex) -> Vertex | None:
    """concatenate(x, empty) → x"""
    kept = [operand for operand in vertex.inputs if operand.type.size]
    if len(kept) == 1:
        return kept[0]
    if len(kept) == len(vertex.inputs):
        return None
    return build(vertex, "concatenate", *kept, axis=vertex.attributes["axis"])


@rule("concatenate")
def join_parts(vertex: Vertex) -> Vertex | None:
    """concatenate(concatenate(x, y), z) → concatenate(x, y, z) along one axis"""
    axis = vertex.attributes["axis"]

    def is_same(operand: Vertex) -> bool:
        return operand.primitive is vertex.primitive and operand.attributes["axis"] == axis

    if not any(map(is_same, vertex.inputs)):
        return None
    parts = [part for operand in vertex.inputs for part in (operand.inputs if is_same(operand) else (operand,))]
    return build(vertex, "concatenate", *parts, axis=axis)


@rule("add")
def concatenate_disjoint_pads(vertex: Vertex) -> Vertex | None:
    """add(pad(x), pad(y)) → pad(concatenate(x, y)), where x and y end up side by side, in any number of summands.

    So the gradient of something that is cut into slices is put together without adding zeros. (A zero of the sum may
    keep a minus sign that adding 0 would have taken away.)
    """
    pads = summed_pads(vertex)
    axes = {axis for part in pads for axis in _padded_axes(part)}
    if len(pads) < 2 or len(axes) != 1:
        return None
    axis = axes.pop()
    pads.sort(key=lambda part: part.attributes["low"][axis])
    for part, following in pairwise(pads):
        if part.attributes["low"][axis] + part.inputs[0].shape[axis] != following.attributes["low"][axis]:
            return None
    joined = build(vertex, "concatenate", *(part.inputs[0] for part in pads), axis=axis)
    low, high = pads[0].attributes["low"], pads[-1].attributes["high"]
    return build(vertex, "pad", joined, low=low, high=high, interior=(0,) * len(low))


def _padded_axes(pad: Vertex) -> set[int]:
    sizes = zip(pad.attributes["low"], pad.attributes["high"], strict=True)
    return {axis for axis, around in enumerate(sizes) if any(around)}


def summed_pads(vertex: Vertex) -> list[Vertex]:
    """The summands of a sum that has only pads without gaps as summands; empty for others."""
    found = []
    stack = list(vertex.inputs)
    while stack:
        operand = stack.pop()
        if operand.shape != vertex.shape or operand.primitive.name not in ("add", "pad"):
            return []
        if operand.primitive.name == "add":
            stack += operand.inputs
        elif any(operand.attributes["interior"]):
            return []
        else:
            found.append(operand)
    return found
