"""Compute equal expressions once.

Vertices that nothing needs require no pass: a graph lists only what its roots need, so they vanish as soon as no root
leads to them. Inputs that nothing reads stay inputs.
"""

from __future__ import annotations

import struct
from typing import Any

from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex, make_vertex

_COMMUTATIVE = {"add", "multiply", "equal", "not_equal", "logical_and", "logical_or"}


def merge_equal(graph: Graph) -> Graph:
    """Merge vertices of one primitive, the same attributes and the same inputs (in any order where that is equal).

    Before: ``%1 = exp(%0)``, ``%2 = exp(%0)``, ``%3 = add(%1, %2)``. After: ``%1 = exp(%0)``, ``%2 = add(%1, %1)``.
    """
    first: dict[Any, Vertex] = {}

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.primitive.name == "input":
            return None
        key = _key(vertex, inputs)
        found = first.get(key)
        if found is None:
            unchanged = all(a is b for a, b in zip(inputs, vertex.inputs, strict=True))
            found = vertex if unchanged else make_vertex(vertex.primitive, inputs, vertex.attributes, vertex.site)
            first[key] = found
        return found

    return rebuild(graph, rule)


def _key(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Any:
    """What equal vertices have in common. Numbers are compared by their bits: 0.0 is not -0.0, NaN is itself."""
    if vertex.primitive.name == "constant":
        value = vertex.attributes["value"]
        return vertex.type, struct.pack("d", value) if isinstance(value, float) else value
    if vertex.primitive.name in _COMMUTATIVE:
        inputs = tuple(sorted(inputs, key=id))
    return vertex.primitive, inputs, tuple(vertex.attributes.items())
