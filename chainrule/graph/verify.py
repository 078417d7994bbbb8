"""Check that a graph is well formed; run after every compiler pass."""

from __future__ import annotations

from ..errors import ChainruleError, CompilationError
from ..types import TensorType
from .graph import Graph
from .vertex import Vertex


def verify(graph: Graph, stage: str) -> None:
    """Recompute every type from its primitive's rule and check inputs, outputs and updates.

    Errors: `CompilationError` naming the stage and the vertex.
    """
    inputs = set(graph.inputs)
    for vertex in graph.inputs:
        if vertex.primitive.name != "input":
            raise CompilationError(
                f"after {stage!r}: {vertex!r} made at {vertex.site} is listed as an input but computed"
            )
    if len(inputs) != len(graph.inputs):
        raise CompilationError(f"after {stage!r}: an input is listed twice")
    for vertex in graph.order():
        _verify_vertex(vertex, inputs, stage)
    _verify_updates(graph, inputs, stage)
    for output in graph.outputs:
        if not isinstance(output.type, TensorType):
            raise CompilationError(f"after {stage!r}: output {output!r} is not a single tensor")


def _verify_vertex(vertex: Vertex, inputs: set[Vertex], stage: str) -> None:
    primitive, where = vertex.primitive, f"after {stage!r}: vertex {vertex!r} made at {vertex.site}"
    if primitive.name == "input" and vertex not in inputs:
        raise CompilationError(f"{where} is an input that the graph does not list")
    if set(vertex.attributes) != set(primitive.attributes):
        raise CompilationError(f"{where} has attributes {[*vertex.attributes]}, expected {[*primitive.attributes]}")
    for value in vertex.attributes.values():
        if isinstance(value, Graph):
            verify(value, f"{stage}, in the body of {vertex!r}")
    try:
        expected = primitive.type_rule(*(operand.type for operand in vertex.inputs), **vertex.attributes)
    except (ChainruleError, TypeError) as error:  # TypeError: a wrong number of operands
        raise CompilationError(f"{where} is refused by its rule: {error}") from error
    if expected != vertex.type:
        raise CompilationError(f"{where} has type {vertex.type}, its rule gives {expected}")


def _verify_updates(graph: Graph, inputs: set[Vertex], stage: str) -> None:
    updated: set[Vertex] = set()
    for target, value in graph.updates:
        if target not in inputs:
            raise CompilationError(f"after {stage!r}: update of {target!r}, which is not an input")
        if target in updated:
            raise CompilationError(f"after {stage!r}: two updates of {target!r}")
        if target.type is not value.type:
            raise CompilationError(f"after {stage!r}: update of {target.type} with a value of {value.type}")
        updated.add(target)
