"""Replace composite vertices by the primitives that they stand for."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph.graph import Graph, topological_order
from ..graph.vertex import Vertex, make_vertex


def expand(graph: Graph) -> Graph:
    """Return the graph without composites.

    Before: ``%1 = softmax(%0, axis=1)``. After: ``%1 = max(%0, axes=(1,))`` ... ``%6 = divide(%3, %5)``.
    """
    if all(vertex.primitive.expand is None for vertex in graph.order()):
        return graph
    new = expand_vertices((*graph.inputs, *graph.roots))
    return Graph(
        graph.inputs,
        tuple(new[vertex] for vertex in graph.outputs),
        tuple((target, new[value]) for target, value in graph.updates),
    )


def expand_vertices(roots: Iterable[Vertex]) -> dict[Vertex, Vertex]:
    """Return what each vertex behind ``roots`` becomes; a vertex behind which no composite lies stays itself."""
    new: dict[Vertex, Vertex] = {}
    for vertex in topological_order(roots):
        inputs = tuple(new[operand] for operand in vertex.inputs)
        if vertex.primitive.expand is not None:
            expanded = vertex.primitive.expand(*inputs, **vertex.attributes)
            new[vertex] = expand_vertices([expanded])[expanded]
        elif all(a is b for a, b in zip(inputs, vertex.inputs, strict=True)):
            new[vertex] = vertex
        else:
            new[vertex] = make_vertex(vertex.primitive, inputs, vertex.attributes, vertex.site)
    return new
