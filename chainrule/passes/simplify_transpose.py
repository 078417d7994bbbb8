"""Rules that move transposes of three and more dimensions towards the results.

A convolution gives images whose channels are last, under a transpose that puts them first. Where what follows is
computed before that transpose, memory is walked in the order in which it lies, and the next convolution finds its
channels last: the two transposes meet and vanish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..graph.primitive import PRIMITIVES
from ..graph.vertex import Vertex
from ..types import Shape
from .rewriting import build, rule

LEAST_RANK = 3
"""Matrices are read by rows as well as by columns: there is nothing to gain."""

SEARCHED = 32
"""Vertices among which a convolution is looked for: what lies between two of them is mostly less."""

_REARRANGED = {"slice", "flip", "pad", "reshape", "interleave", "concatenate", "broadcast"}


def moves(vertex: Vertex) -> bool:
    """Whether this is a transpose that rules here may move: of what a convolution left in memory."""
    is_large = vertex.primitive.name == "transpose" and len(vertex.shape) >= LEAST_RANK
    return is_large and _has_channels_last(vertex.inputs[0])


def _has_channels_last(x: Vertex) -> bool:
    """Whether x is computed, without a transpose, from a sum over windows."""
    waiting, seen = [x], 0
    while waiting and seen < SEARCHED:
        x = waiting.pop()
        seen += 1
        if x.primitive.name == "tensordot":
            return True
        if x.primitive.family == "elementwise":
            waiting += [operand for operand in x.inputs if operand.shape == x.shape]
        elif x.primitive.name in _REARRANGED:
            waiting += x.inputs
    return False


def _inverse(permutation: Shape) -> Shape:
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


@rule(*(name for name, record in PRIMITIVES.items() if record.family == "elementwise"))
def compute_before_transpose(vertex: Vertex) -> Vertex | None:
    """relu(transpose(x)) → transpose(relu(x)); other operands are transposed back"""
    whole = [x for x in vertex.inputs if x.shape == vertex.shape]
    moved = next(filter(moves, whole), None)
    if moved is None or any(map(_has_channels_last, whole)):
        return None
    permutation = moved.attributes["permutation"]
    operands = [_turned_back(x, permutation) for x in vertex.inputs]
    result = build(vertex, vertex.primitive.name, *operands, **vertex.attributes)
    return build(vertex, "transpose", result, permutation=permutation)


def _turned_back(x: Vertex, permutation: Shape) -> Vertex:
    """An operand, which may be repeated along some dimensions, for a result that is not transposed yet."""
    if not x.shape:
        return x
    full = build(x, "reshape", x, shape=(*(1,) * (len(permutation) - len(x.shape)), *x.shape))
    return build(x, "transpose", full, permutation=_inverse(permutation))


@rule("slice", "pad", "flip", "interleave", "concatenate", "broadcast")
def rearrange_before_transpose(vertex: Vertex) -> Vertex | None:
    """slice(transpose(x)) → transpose(slice(x)), if all operands are transposed alike"""
    if not all(map(moves, vertex.inputs)) or len(vertex.shape) != len(vertex.inputs[0].shape):
        return None
    permutation = vertex.inputs[0].attributes["permutation"]
    if any(x.attributes["permutation"] != permutation for x in vertex.inputs):
        return None
    back = _inverse(permutation)
    attributes = {name: _moved(name, value, permutation, back) for name, value in vertex.attributes.items()}
    result = build(vertex, vertex.primitive.name, *(x.inputs[0] for x in vertex.inputs), **attributes)
    return build(vertex, "transpose", result, permutation=permutation)


def _moved(name: str, value: Any, permutation: Shape, back: Shape) -> Any:
    """An attribute of an operation that comes before the transpose instead of behind it."""
    if name == "axis":
        return permutation[value]
    if name == "axes":
        return tuple(sorted(permutation[axis] for axis in value))
    if value and isinstance(value[0], tuple):
        return tuple(_moved(name, each, permutation, back) for each in value)
    return tuple(value[place] for place in back)


@rule(*(name for name, record in PRIMITIVES.items() if record.family == "reduction"))
def reduce_before_transpose(vertex: Vertex) -> Vertex | None:
    """sum(transpose(x)) → sum(x) over the same elements, transposed if more than one dimension is left"""
    if not moves(vertex.inputs[0]):
        return None
    permutation = vertex.inputs[0].attributes["permutation"]
    axes = tuple(sorted(permutation[axis] for axis in vertex.attributes["axes"]))
    result = build(vertex, vertex.primitive.name, vertex.inputs[0].inputs[0], axes=axes)
    left = [axis for axis in permutation if axis not in axes]
    return build(vertex, "transpose", result, permutation=tuple(sorted(left).index(axis) for axis in left))


@rule("reshape")
def reshape_before_transpose(vertex: Vertex) -> Vertex | None:
    """reshape(transpose(x)) → transpose(reshape(x)), if only neighbours in x are joined"""
    if not moves(vertex.inputs[0]):
        return None
    turned = vertex.inputs[0]
    permutation, x = turned.attributes["permutation"], turned.inputs[0]
    groups = []  # of every group its axes in x and its sizes after the reshape
    for axes, sizes in _common_factors(turned.shape, vertex.shape):
        places = [permutation[axis] for axis in axes]
        between = range(min(places), max(places) + 1)
        if places != sorted(places) or any(x.shape[axis] != 1 for axis in between if axis not in places):
            return None
        groups.append((min(places), sizes))
    order = sorted(range(len(groups)), key=lambda number: groups[number][0])
    shape = tuple(size for number in order for size in groups[number][1])
    starts, start = {}, 0
    for number in order:
        starts[number] = start
        start += len(groups[number][1])
    moved = tuple(starts[number] + i for number, (_, sizes) in enumerate(groups) for i in range(len(sizes)))
    return build(vertex, "transpose", build(vertex, "reshape", x, shape=shape), permutation=moved)


def _common_factors(old: Shape, new: Shape) -> Iterator[tuple[list[int], Shape]]:
    """Cut two shapes of the same elements into the shortest groups of one size: axes of the old, sizes of the new.

    Axes of size 1 belong to the group before them, or to the first.
    """
    axis = place = 0
    while axis < len(old) or place < len(new):
        axes: list[int] = []
        sizes: list[int] = []
        before = after = 1
        while before != after or not axes or 1 in (*old[axis : axis + 1], *new[place : place + 1]):
            takes_old = not axes or before < after or old[axis : axis + 1] == (1,)
            if axis < len(old) and takes_old:
                before *= old[axis]
                axes.append(axis)
                axis += 1
            else:
                after *= new[place]
                sizes.append(new[place])
                place += 1
        yield axes, tuple(sizes)
