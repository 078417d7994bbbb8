"""Local rewriting: each rule replaces one vertex by a cheaper one of the same value.

No rule assumes that values are finite, or that zeros have no sign: ``x·0`` stays (it is NaN for infinite x), ``x + 0``
stays (it turns -0 into 0). Constants are combined where that changes at most the rounding of a result, never its
overflow. A rule sees a vertex whose operands are simplified already; what it builds is simplified in turn. Every rule
leaves fewer vertices, cheaper ones, or constants further to the right, so this ends.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex, make_vertex
from . import (  # entering their rules, which are tried in this order
    simplify_arithmetic,
    simplify_convolution,
    simplify_loop,
    simplify_movement,
    simplify_reduction,
    simplify_transpose,
)
from .rewriting import simplified

RULE_MODULES = (
    simplify_arithmetic, simplify_convolution, simplify_loop, simplify_movement, simplify_reduction, simplify_transpose,
)  # fmt: skip


def simplify(graph: Graph, inputs: Mapping[Vertex, Vertex] | None = None) -> Graph:
    """Apply the rules once to every vertex, operands first; ``inputs`` may say what takes the places of inputs.

    Before: ``%2 = transpose(transpose(%0))``, ``%3 = multiply(%2, 1)``. After: ``%0``.
    """
    if not inputs:
        return rebuild(graph, _simplify_rebuilt)
    return rebuild(graph, lambda vertex, operands: inputs.get(vertex) or _simplify_rebuilt(vertex, operands))


def _simplify_rebuilt(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex:
    if inputs != vertex.inputs:
        vertex = make_vertex(vertex.primitive, inputs, vertex.attributes, vertex.site)
    return simplified(vertex)
