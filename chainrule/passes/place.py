"""Decide where results are written, and make every copy that this needs an explicit vertex.

After this pass each root is computed straight into the memory where it belongs, and every view can be read through an
affine access. What would break that is copied by a vertex ``stop_gradient`` (the identity; simplification has removed
all others), which later fuses with its producer: often the copy is one more store of a value that is in a register.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex, make_vertex
from ..ops.elementwise import STOP_GRADIENT
from ..types import Shape, contiguous_strides
from .access import VIEWS, alias_origin, is_alias, is_row_major

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

    Before: simplified. After: every reshape that cuts or joins axes reads a row-major buffer, operands
    of products have a buffer, and no buffer is the home of two vertices.
    """
    graph = rebuild(graph, _copy_unreadable)
    strides = output_strides or [None] * len(graph.outputs)
    homes: dict[Vertex, Home] = {}
    aliased = {alias_origin(vertex) for vertex in graph.order() if is_alias(vertex)}
    inputs = {vertex: number for number, vertex in enumerate(graph.inputs)}
    updates = []
    for target, value in graph.updates:
        if value is target:
            continue
        wanted = target.attributes["strides"] or contiguous_strides(target.shape)
        updates.append((target, _settle(value, True, inputs[target], wanted, homes, aliased)))
    outputs = []
    for number, value in enumerate(graph.outputs):
        wanted = strides[number] or contiguous_strides(value.shape)
        outputs.append(_settle(value, False, number, wanted, homes, aliased))
    return Placement(Graph(graph.inputs, tuple(outputs), tuple(updates)), homes)


def _copy(vertex: Vertex) -> Vertex:
    return make_vertex(STOP_GRADIENT, (vertex,), {}, vertex.site)


def _copy_unreadable(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
    """Copy operands that their reader could not address."""
    name = vertex.primitive.name
    if name == "reshape" and is_alias(vertex) and not _is_row_major_buffer(inputs[0]):
        return make_vertex(vertex.primitive, (_copy(inputs[0]),), vertex.attributes, vertex.site)
    if name in ("matmul", "tensordot") and any(_ends_without_buffer(operand) for operand in inputs):
        stored = tuple(_copy(operand) if _ends_without_buffer(operand) else operand for operand in inputs)
        return make_vertex(vertex.primitive, stored, vertex.attributes, vertex.site)
    return None


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
    value: Vertex, is_update: bool, number: int, strides: Shape, homes: dict[Vertex, Home], aliased: set[Vertex]
) -> Vertex:
    """Make the vertex behind ``value`` be computed at home; return ``value``, or a copy of it that is."""
    base, base_strides = _invert_views(value, strides)
    dense_enough = base not in aliased or is_row_major(base.shape, base_strides)
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
