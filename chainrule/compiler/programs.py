"""The program cache: one executable per graph structure, shared by all models of equal shape."""

from __future__ import annotations

from typing import Any

from ..execution.executable import Executable, make_executable
from ..execution.interpreter import Interpreter
from ..execution.one_off import OneOff, can_evaluate
from ..graph.graph import Graph
from ..graph.text import format_graph
from ..graph.vertex import Vertex
from ..settings import settings
from .build import Strides

MAX_PROGRAMS = 256
"""Executables kept; the one unused for longest goes first."""

MAX_MET = 4096
"""Structures remembered that were met once; the oldest goes first."""

HEAVY = 2_000_000_000
"""Floating point operations of products from which on a graph is compiled at once: running it takes about as long."""

Program = Executable | Interpreter | OneOff
_PROGRAMS: dict[Any, Program] = {}
_MET: dict[int, None] = {}


def find_program(graph: Graph, output_strides: tuple[Strides, ...], recurs: bool = True) -> Program:
    """Return what runs ``graph``: from the cache, compiled now, or vertex by vertex.

    A graph of which nobody knows whether it ``recurs`` is compiled when it is met for the second time.
    """
    if not recurs and settings.backend == "native" and _is_new(graph, output_strides) and _is_light(graph):
        return OneOff(graph, output_strides)
    text = format_graph(graph)
    key: tuple[Any, ...] = (text, output_strides, settings.backend, settings.cpu_features)
    if settings.backend == "debug":  # whose errors name lines of the user's program
        key += tuple(vertex.site for vertex in graph.order())
    program = _PROGRAMS.pop(key, None)
    if program is None:
        program = make_executable(graph, text, output_strides)
        while len(_PROGRAMS) >= MAX_PROGRAMS:
            _PROGRAMS.pop(next(iter(_PROGRAMS)))
    _PROGRAMS[key] = program
    return program


def _is_new(graph: Graph, output_strides: tuple[Strides, ...]) -> bool:
    """Whether a structure is met for the first time; equal hashes only mean that one is compiled too early."""
    key = hash((_structure(graph), output_strides, settings.cpu_features))
    if key in _MET:
        return False
    if len(_MET) >= MAX_MET:
        _MET.pop(next(iter(_MET)))
    _MET[key] = None
    return True


def _structure(graph: Graph) -> tuple[Any, ...]:
    """A key that is equal for graphs that do the same: what the text says, in a third of the time."""
    numbers: dict[Vertex, int] = {}
    rows: list[Any] = []
    for vertex in (*graph.inputs, *graph.order()):
        if vertex not in numbers:
            numbers[vertex] = len(numbers)
            attributes: Any = ()
            if vertex.attributes:
                items = vertex.attributes.items()
                attributes = tuple([(name, repr(x) if isinstance(x, float) else x) for name, x in items])
            rows.append((vertex.primitive.name, attributes, tuple([numbers[operand] for operand in vertex.inputs])))
    outputs = tuple([numbers[vertex] for vertex in graph.outputs])
    updates = tuple([(numbers[target], numbers[value]) for target, value in graph.updates])
    return (tuple(rows), outputs, updates)


def _is_light(graph: Graph) -> bool:
    """Whether a graph is to be run vertex by vertex."""
    products = [vertex for vertex in graph.order() if vertex.primitive.family == "matmul"]
    work = sum(vertex.primitive.cost(vertex.type, *(operand.type for operand in vertex.inputs)) for vertex in products)
    return work < HEAVY and can_evaluate(graph)
