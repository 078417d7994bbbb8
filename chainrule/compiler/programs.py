"""The program cache: one executable per graph structure, shared by all models of equal shape."""

from __future__ import annotations

from typing import Any

from ..execution.executable import Executable, make_executable
from ..execution.interpreter import Interpreter
from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex, make_vertex
from ..ops.source import make_input
from ..settings import settings
from .build import Strides

MAX_PROGRAMS = 256
"""Executables kept; the one unused for longest goes first."""

Program = Executable | Interpreter
_PROGRAMS: dict[Any, Program] = {}


def structure(graph: Graph, output_strides: tuple[Strides, ...]) -> tuple[Any, ...]:
    """Return a key that is equal for graphs that do the same, whatever their tensors."""
    numbers: dict[Vertex, int] = {}
    rows: list[Any] = []
    for vertex in (*graph.inputs, *graph.order()):
        if vertex not in numbers:
            numbers[vertex] = len(numbers)
            attributes = tuple(
                (name, repr(value) if isinstance(value, float) else value) for name, value in vertex.attributes.items()
            )
            rows.append((vertex.primitive, attributes, tuple(numbers[operand] for operand in vertex.inputs)))
    outputs = tuple(numbers[vertex] for vertex in graph.outputs)
    updates = tuple((numbers[target], numbers[value]) for target, value in graph.updates)
    return (tuple(rows), len(graph.inputs), outputs, updates, output_strides)


def canonical(graph: Graph) -> Graph:
    """Return the graph over vertices of its own, so that a cached program keeps no recorded vertex alive."""
    inputs = {
        vertex: make_input(vertex.type, strides=vertex.attributes["strides"], site=vertex.site)
        for vertex in graph.inputs
    }

    def copy(vertex: Vertex, operands: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.inputs:
            return make_vertex(vertex.primitive, operands, vertex.attributes, vertex.site)
        return inputs.get(vertex)  # constants have no owner: they stay

    return rebuild(graph, copy)


def find_program(graph: Graph, output_strides: tuple[Strides, ...]) -> Program:
    """Return the executable of ``graph``: from the cache, or compiled now."""
    key: tuple[Any, ...] = (structure(graph, output_strides), settings.backend, settings.cpu_features)
    if settings.backend == "debug":  # whose errors name lines of the user's program
        key += tuple(vertex.site for vertex in graph.order())
    program = _PROGRAMS.pop(key, None)
    if program is None:
        free = canonical(graph)
        program = make_executable(free, output_strides)
        while len(_PROGRAMS) >= MAX_PROGRAMS:
            _PROGRAMS.pop(next(iter(_PROGRAMS)))
    _PROGRAMS[key] = program
    return program
