"""Loops whose rows have nothing to do with one another: each part of a batch can go through all steps by itself.

A body that computes every row of its carries from the same row of what it reads is the body of fewer rows, too. Threads
then need not wait for one another at each step, and what one of them computes stays in its own caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.graph import Graph, topological_order
from ..graph.vertex import Vertex, make_vertex
from ..ops.loop import Run
from ..ops.source import constant, make_input
from ..types import Shape, tensor_type
from .fuse import LONG

FEWEST_ROWS, MOST_ROWS = 8, 16
"""Rows of a part: enough for a register tile, so few that there are several parts."""

LEAST_WORK = 1 << 15
"""Multiplications or elements of a part, at each step, below which it would not pay."""


class _DependentError(Exception):
    """Rows need other rows."""


def part_of_rows(run: Run, step: Graph) -> Graph:
    """The step of a loop for a part of its rows, an equal one of several; the step itself if there are no such parts.

    ``step`` computes next carries and what is stacked. Before: a body over ``h[32,128]``, ``x[32,64]``, ``w[64,128]``.
    After: over ``h[16,128]``, ``x[16,64]``, ``w[64,128]``.
    """
    cut = step.inputs[: run.carries + run.xs]
    extents, is_cut = {vertex.shape[:1] for vertex in cut}, all(vertex.shape for vertex in step.outputs)
    rows = next(iter(extents))[0] if len(extents) == 1 and () not in extents and is_cut else 1
    count = rows_of_part(rows)
    if count == rows or sum(map(_work, step.order())) * count < LEAST_WORK * rows:
        return step
    part = _Part(cut, rows, count)
    try:
        outputs = tuple(part.cut(output, 0) for output in step.outputs)
    except _DependentError:
        return step
    return Graph((*(part.cut(vertex, 0) for vertex in cut), *step.inputs[len(cut) :]), outputs)


def rows_of_part(rows: int) -> int:
    """How many of a loop's rows are a part; all if they cannot be cut."""
    return max((n for n in range(FEWEST_ROWS, MOST_ROWS + 1) if rows % n == 0 and n < rows), default=rows)


def _work(vertex: Vertex) -> int:
    return vertex.type.size * (vertex.inputs[0].shape[-1] if vertex.primitive.name == "matmul" else 1)


class _Part:
    """Vertices of a body with ``count`` of their ``rows`` along an axis."""

    def __init__(self, inputs: Sequence[Vertex], rows: int, count: int) -> None:
        self.rows, self.count = rows, count
        types = {x: tensor_type(x.dtype, (count, *x.shape[1:])) for x in inputs}
        self.inputs = {x: make_input(type, site=x.site) for x, type in types.items()}
        self._made: dict[tuple[Vertex, int], Vertex] = {}

    def cut(self, vertex: Vertex, axis: int) -> Vertex:
        """The vertex with fewer rows, which lie along this axis. Errors: `_DependentError`."""
        key = vertex, axis
        if key not in self._made:
            if vertex in self.inputs and axis == 0:
                self._made[key] = self.inputs[vertex]
            elif vertex.primitive.name == "constant":
                shape = self._fewer(vertex.shape, axis)
                self._made[key] = constant(vertex.attributes["value"], vertex.dtype, shape)
            else:
                operands, changed = self._operands(vertex, axis)
                attributes = {**vertex.attributes, **changed}
                self._made[key] = make_vertex(vertex.primitive, tuple(operands), attributes, vertex.site)
        return self._made[key]

    def _operands(self, vertex: Vertex, axis: int) -> tuple[list[Vertex], dict[str, Any]]:
        """The operands for fewer rows, and the attributes that change."""
        name, attributes, inputs, rank = vertex.primitive.name, vertex.attributes, vertex.inputs, len(vertex.shape)
        fewer = self._fewer(vertex.shape, axis)
        if vertex.primitive.family == "elementwise":
            return [self._aligned(x, axis - rank) for x in inputs], {}
        if name == "broadcast":
            return [self._aligned(inputs[0], axis - rank)], {"shape": fewer}
        if name == "matmul":  # rows of the result are those of the left operand alone, columns those of the right one
            others = {rank - 2: 1, rank - 1: 0}.get(axis)
            return [self._whole(x) if n == others else self._aligned(x, axis - rank) for n, x in enumerate(inputs)], {}
        if name == "transpose":
            return [self.cut(inputs[0], attributes["permutation"][axis])], {}
        if vertex.primitive.family == "reduction" and inputs[0].type.size < LONG:
            kept = [place for place in range(len(inputs[0].shape)) if place not in attributes["axes"]]
            return [self.cut(inputs[0], kept[axis])], {}
        if name == "slice" and inputs[0].shape[axis] == self.rows:
            return [self.cut(inputs[0], axis)], {"stops": self._fewer(attributes["stops"], axis)}
        if name == "concatenate" and axis != attributes["axis"]:
            return [self.cut(x, axis) for x in inputs], {}
        if name == "interleave" and all(x.shape[axis] == self.rows for x in inputs):
            return [self.cut(x, axis) for x in inputs], {"shape": fewer}
        if name == "pad" and inputs[0].shape[axis] == self.rows:
            return [self.cut(inputs[0], axis)], {}
        if name == "reshape" and axis == 0 and inputs[0].shape[:1] == (self.rows,):
            return [self.cut(inputs[0], 0)], {"shape": fewer}
        raise _DependentError

    def _aligned(self, x: Vertex, place: int) -> Vertex:
        """An operand that may be repeated along the axis of rows, which is counted from the last."""
        axis = place + len(x.shape)
        return self._whole(x) if axis < 0 or x.shape[axis] == 1 else self.cut(x, axis)

    def _whole(self, vertex: Vertex) -> Vertex:
        if not self.inputs.keys().isdisjoint(topological_order([vertex])):
            raise _DependentError
        return vertex

    def _fewer(self, shape: Shape, axis: int) -> Shape:
        fewer, rest = divmod(shape[axis] * self.count, self.rows)
        if rest:
            raise _DependentError
        return (*shape[:axis], fewer, *shape[axis + 1 :])
