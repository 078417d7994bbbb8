"""Decide where results are written, and make every copy that this needs an explicit vertex.

After this pass each root is computed straight into the memory where it belongs, and every view can be read through an
affine access. What would break that is copied by a vertex ``stop_gradient`` (the identity; simplification has removed
all others), which later fuses with its producer: often the copy is one more store of a value that is in a register.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex, make_vertex
from ..ops.elementwise import STOP_GRADIENT
from ..types import Shape, contiguous_strides
from .access import VIEWS, alias_origin, find_base, full_map, is_alias, is_row_major

_WITHOUT_BUFFER = {"constant", "iota"}


@dataclass(frozen=True)
class Home:
    """The memory for which a vertex is computed: output or updated input ``number``, with ``strides`` over its axes."""

    is_update: bool
    number: int
    strides: Shape


@dataclass(frozen=True)
class Placement:
    """A graph in which every root is a vertex (or a bijective view of one) that has a home."""

    graph: Graph
    homes: dict[Vertex, Home]


def place(graph: Graph, output_strides: Sequence[Shape | None] | None = None) -> Placement:
    """Give each root a home and insert the copies that are needed.

    Before: simplified. After: every reshape that cuts or joins axes reads a row-major buffer, and so does a loop;
    operands of products have a buffer, and no buffer is the home of two vertices.
    """
    graph = rebuild(graph, partial(_copy_unreadable, copies={}))
    strides = output_strides or [None] * len(graph.outputs)
    homes: dict[Vertex, Home] = {}
    row_major = row_major_vertices(graph)
    inputs = {vertex: number for number, vertex in enumerate(graph.inputs)}
    updates = []
    for target, value in graph.updates:
        if value is target:
            continue
        wanted = target.attributes["strides"] or contiguous_strides(target.shape)
        updates.append((target, _settle(value, True, inputs[target], wanted, homes, row_major)))
    outputs = []
    for number, value in enumerate(graph.outputs):
        wanted = strides[number] or contiguous_strides(value.shape)
        outputs.append(_settle(value, False, number, wanted, homes, row_major))
    return Placement(Graph(graph.inputs, tuple(outputs), tuple(updates)), homes)


def _copy(vertex: Vertex) -> Vertex:
    return make_vertex(STOP_GRADIENT, (vertex,), {}, vertex.site)


def _copy_unreadable(vertex: Vertex, inputs: tuple[Vertex, ...], copies: dict[Vertex, Vertex]) -> Vertex | None:
    """Copy operands that their reader could not address; ``copies`` are those for loops, whose results share them."""
    name = vertex.primitive.name
    if name == "loop" and not all(map(_is_row_major_buffer, inputs)):
        for operand in inputs:
            if operand not in copies:
                copies[operand] = operand if _is_row_major_buffer(operand) else _copy(operand)
        copied = tuple(copies[operand] for operand in inputs)
        return make_vertex(vertex.primitive, copied, vertex.attributes, vertex.site)
    if name == "reshape" and is_alias(vertex) and not _is_row_major_buffer(inputs[0]):
        return make_vertex(vertex.primitive, (_copy(inputs[0]),), vertex.attributes, vertex.site)
    if name in ("matmul", "tensordot") and any(_ends_without_buffer(operand) for operand in inputs):
        stored = tuple(_copy(operand) if _ends_without_buffer(operand) else operand for operand in inputs)
        return make_vertex(vertex.primitive, stored, vertex.attributes, vertex.site)
    return None


def row_major_vertices(graph: Graph) -> set[Vertex]:
    """Vertices that must lie in row-major order of their own: under aliases, operands and results of loops."""
    found: set[Vertex] = set()
    for vertex in graph.order():
        if is_alias(vertex):
            found.add(alias_origin(vertex))
        elif vertex.primitive.name == "loop":
            found.add(vertex)
            found.update(find_base(operand, full_map(len(operand.shape)))[0] for operand in vertex.inputs)
    return found


def _is_row_major_buffer(vertex: Vertex) -> bool:
    """Whether the elements of this vertex, were it stored, would lie in row-major order."""
    while vertex.primitive.name == "reshape":
        vertex = vertex.inputs[0]
    if vertex.primitive.name == "input":
        return is_row_major(vertex.shape, vertex.attributes["strides"])
    return vertex.primitive.name not in VIEWS and vertex.primitive.name not in _WITHOUT_BUFFER


def _ends_without_buffer(vertex: Vertex) -> bool:
    while vertex.primitive.name in VIEWS:
        vertex = vertex.inputs[0]
    return vertex.primitive.name in _WITHOUT_BUFFER


def _settle(
    value: Vertex, is_update: bool, number: int, strides: Shape, homes: dict[Vertex, Home], row_major: set[Vertex]
) -> Vertex:
    """Make the vertex behind ``value`` be computed at home; return ``value``, or a copy of it that is."""
    base, base_strides = _invert_views(value, strides)
    dense_enough = base not in row_major or is_row_major(base.shape, base_strides)
    has_own_kernel = base.primitive.name not in {"input", *_WITHOUT_BUFFER, *VIEWS}
    if has_own_kernel and base not in homes and dense_enough:
        homes[base] = Home(is_update, number, base_strides)
        return value
    copied = _copy(value)
    homes[copied] = Home(is_update, number, strides)
    return copied


def _invert_views(value: Vertex, strides: Shape) -> tuple[Vertex, Shape]:
    """Walk down views that move every element exactly once; return the vertex there, with the strides it must have."""
    while True:
        name = value.primitive.name
        if name == "transpose":
            permutation = value.attributes["permutation"]
            strides = tuple(strides[permutation.index(axis)] for axis in range(len(permutation)))
        elif name == "reshape" and not is_alias(value):
            kept = iter(stride for stride, extent in zip(strides, value.shape, strict=True) if extent != 1)
            strides = tuple(1 if extent == 1 else next(kept) for extent in value.inputs[0].shape)
        elif name == "reshape" and is_row_major(value.shape, strides):
            strides = contiguous_strides(value.inputs[0].shape)
        else:
            return value, strides
        value = value.inputs[0]
