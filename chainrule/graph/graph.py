"""A graph: what one program computes from its inputs, and which inputs it overwrites."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .vertex import Vertex, make_vertex


@dataclass(frozen=True)
class Graph:
    """``outputs`` as functions of ``inputs``; after a run each input in ``updates`` holds its new value.

    ``inputs`` are vertices of the primitive ``input``, in the order in which values are passed. A graph can be an
    attribute of a vertex, as the body of a loop is: it is equal to a graph of the same vertices, and graphs that
    compute the same have the same hash.
    """

    inputs: tuple[Vertex, ...]
    outputs: tuple[Vertex, ...]
    updates: tuple[tuple[Vertex, Vertex], ...] = ()

    @classmethod
    def of(cls, outputs: tuple[Vertex, ...], updates: tuple[tuple[Vertex, Vertex], ...]) -> Graph:
        """The graph of these roots, whose inputs are all that they need, and the updated ones behind them."""
        order = tuple(topological_order((*outputs, *(value for _, value in updates))))
        sources = [vertex for vertex in order if vertex.primitive.name == "input"]
        known = set(sources)
        graph = cls((*sources, *(slot for slot, _ in updates if slot not in known)), outputs, updates)
        graph.__dict__["_order"] = order
        return graph

    def __hash__(self) -> int:
        return self._structure

    @cached_property
    def _structure(self) -> int:
        parts = (self.inputs, self.roots)
        return hash(tuple(tuple([vertex.structure for vertex in part]) for part in parts))

    @property
    def roots(self) -> tuple[Vertex, ...]:
        """Everything that must be computed: outputs, then the new values of updated inputs."""
        return self.outputs + tuple(value for _, value in self.updates)

    def order(self) -> tuple[Vertex, ...]:
        """All vertices, each after its inputs."""
        return self._order

    @cached_property
    def members(self) -> tuple[Vertex, ...]:
        """The inputs, then all other vertices in order: their places here are their numbers in the graph's text."""
        return tuple(dict.fromkeys((*self.inputs, *self.order())))

    @cached_property
    def _order(self) -> tuple[Vertex, ...]:
        return tuple(topological_order(self.roots))


def ancestors(root: Vertex) -> list[Vertex]:
    """All that one vertex needs, and itself, each after its inputs; found once."""
    found: Any = root.users.get("ancestors")
    if found is None:
        found = root.users["ancestors"] = topological_order([root])
    order: list[Vertex] = found
    return order


def topological_order(roots: Iterable[Vertex], given: Container[Vertex] = ()) -> list[Vertex]:
    """Return every vertex that the roots need, each after its inputs (an explicit stack: graphs may be deep).

    What ``given`` vertices were made from is not needed.
    """
    order: list[Vertex] = []
    done: set[Vertex] = set()
    stack = list(roots)[::-1]
    while stack:
        vertex = stack.pop()
        if vertex in done:
            continue
        if done.issuperset(vertex.inputs) or vertex in given:
            done.add(vertex)
            order.append(vertex)
        else:
            stack.append(vertex)
            stack += [operand for operand in vertex.inputs[::-1] if operand not in done]
    return order


Rule = Callable[[Vertex, tuple[Vertex, ...]], Vertex | None]


def rebuild(graph: Graph, rule: Rule) -> Graph:
    """Rebuild ``graph`` bottom-up. ``rule(vertex, new_inputs)`` gives a replacement, or None to keep the primitive."""
    new: dict[Vertex, Vertex] = {}
    for vertex in graph.order():
        inputs = tuple([new[operand] for operand in vertex.inputs])
        replacement = rule(vertex, inputs)
        if replacement is None:
            is_same = inputs == vertex.inputs
            replacement = vertex if is_same else make_vertex(vertex.primitive, inputs, vertex.attributes, vertex.site)
        new[vertex] = replacement
    return Graph(
        tuple(new.get(vertex, vertex) for vertex in graph.inputs),
        tuple(new[vertex] for vertex in graph.outputs),
        tuple((new.get(target, target), new[value]) for target, value in graph.updates),
    )
