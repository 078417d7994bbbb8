"""Chains: elementwise vertices over vectors of one length and single numbers, computed in one pass by one kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..backends.native.vector_math import ELEMENTWISE
from ..graph.graph import topological_order
from ..graph.vertex import Vertex
from .generic_kernels import run_chain


class Chain:
    """What is computed from ``vectors``, in place: ``results`` maps some of them to their new values.

    ``numbers`` are the vertices without dimensions that it reads; their values are given when it runs. ``order`` holds
    what it reads and what it computes.
    Errors: `ValueError` for vertices that are not elementwise, or whose bits depend on rules of simplification.
    """

    def __init__(self, vectors: Sequence[Vertex], results: Mapping[Vertex, Vertex]) -> None:
        given = _Given(vectors)
        self.order = topological_order(results.values(), given)
        steps = [vertex for vertex in self.order if vertex not in given]
        if any(vertex.primitive.name not in CHAINED for vertex in steps):
            raise ValueError("a rule is not elementwise")
        operands = dict.fromkeys(operand for vertex in steps for operand in vertex.inputs)
        self.numbers = [operand for operand in operands if not operand.shape]
        places = {vertex: place for place, vertex in enumerate((*vectors, *self.numbers, *steps))}
        self._parameters = (
            ",".join(vertex.dtype.name for vertex in vectors),
            ",".join(vertex.dtype.name for vertex in self.numbers),
            ";".join(
                f"{vertex.primitive.native}:{vertex.dtype.name}:{','.join(str(places[x]) for x in vertex.inputs)}"
                for vertex in steps
            ),
            ",".join(f"{places[vector]}={places[value]}" for vector, value in results.items()),
        )

    def run(self, vectors: Sequence[int], numbers: Sequence[int], length: int) -> None:
        """Compute from the elements at these addresses."""
        run_chain(self._parameters, vectors, numbers, length)


CHAINED = (ELEMENTWISE.keys() | {"cast", "stop_gradient"}) - {"power"}
"""Primitives that may be part of a chain; powers are simplified."""


class _Given:
    """Some vertices, and all that are single numbers: a chain does not compute them."""

    def __init__(self, vectors: Sequence[Vertex]) -> None:
        self._vectors = set(vectors)

    def __contains__(self, vertex: object) -> bool:
        return vertex in self._vectors or (isinstance(vertex, Vertex) and not vertex.shape)
