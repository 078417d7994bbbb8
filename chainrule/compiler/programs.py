"""The program cache: one executable per graph structure, shared by all models of equal shape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ..execution.executable import Executable, make_executable
from ..execution.interpreter import Interpreter
from ..execution.native_code import graph_key, is_compiled
from ..execution.one_off import Schedule, schedule
from ..execution.stepwise import Stepwise, make_stepwise
from ..graph.graph import Graph
from ..graph.text import format_graph
from ..graph.vertex import Vertex
from ..ops.loop import LOOP
from ..settings import settings
from .build import Strides

MAX_PROGRAMS = 256
"""Executables kept; the one unused for longest goes first."""

FEW_LENGTHS = 1
"""Of graphs whose loops differ in length alone, so many are compiled as others are. What comes behind them runs vertex
by vertex for a long time, its loops by machine code that serves all lengths: see `Stepwise`."""

MAX_MET = 4096
"""Structures remembered that were met; the one not met for longest goes first."""

FEW_SHAPES, PATIENCE = 4, 20
"""A structure is compiled when it is met for the second time; but where so many were that differ in shapes alone, as
for batches of any size, the next only when it is met so often: running it so often takes as long as compiling."""

HEAVY = 2_000_000_000
"""Floating point operations of products from which on a graph is compiled at once: running it takes about as long."""

Program = Executable | Interpreter | Stepwise
_PROGRAMS: dict[Any, Program] = {}
_Counts = OrderedDict[int, int]
_MET: _Counts = OrderedDict()  # how often each structure was met, PATIENCE once it is to be compiled
_SHAPES: _Counts = OrderedDict()  # of those that differ in shapes alone: how many were to be compiled, or had loops


def one_off_schedule(order: Sequence[Vertex], roots: tuple[Vertex, ...], more: Any) -> Schedule | None:
    """How to compute ``roots`` vertex by vertex; ``order`` holds all that they need, operands first.

    None if they are to be compiled: because they recur, or are heavy. ``more`` is a key to what else is done with them.
    """
    if settings.backend != "native" or _recurs(order, roots, more):
        return None
    found = schedule(order, roots)
    return None if found is None or found.work >= HEAVY else found


def find_program(graph: Graph, output_strides: tuple[Strides, ...], varies: bool) -> Program:
    """Return what runs ``graph`` as a whole: from the cache, or compiled now; or what waits with that.

    ``varies``: whether this one comes from a graph of which many were met that differ in lengths alone.
    """
    text = format_graph(graph)
    key: tuple[Any, ...] = (text, output_strides, settings.backend, settings.cpu_features)
    if settings.backend == "debug":  # whose errors name lines of the user's program
        key += tuple(vertex.site for vertex in graph.order())
    program = _PROGRAMS.pop(key, None)
    if program is None:
        program = _make_stepwise(graph, text, output_strides, varies) or make_executable(graph, text, output_strides)
        while len(_PROGRAMS) >= MAX_PROGRAMS:
            _PROGRAMS.pop(next(iter(_PROGRAMS)))
    _PROGRAMS[key] = program
    return program


def _make_stepwise(graph: Graph, text: str, output_strides: tuple[Strides, ...], varies: bool) -> Stepwise | None:
    """A program that runs vertex by vertex at first; None if it is to be compiled now."""
    is_among_many = _count_lengths("program", graph.order()) or varies
    if settings.backend != "native" or not is_among_many or is_compiled(graph_key(text, output_strides)):
        return None
    return make_stepwise(graph, text, output_strides)


def _count_lengths(stage: str, order: Sequence[Vertex]) -> bool:
    """Count a graph that is new; whether it has loops and enough others were met that differ in lengths alone."""
    kind = _kind_with_loops(stage, order)
    if kind is None:
        return False
    lengths = _SHAPES.get(kind, 0)
    _remember(_SHAPES, kind, lengths + 1)
    return lengths >= FEW_LENGTHS


def lengths_vary(order: Sequence[Vertex]) -> bool:
    """Whether a graph that was met has loops, and enough others were that differ in lengths alone."""
    kind = _kind_with_loops("met", order)
    return kind is not None and _SHAPES.get(kind, 0) > FEW_LENGTHS


def _kind_with_loops(stage: str, order: Sequence[Vertex]) -> int | None:
    """What graphs have in common whose loops do the same at each step; None for a graph without loops."""
    bodies = [hash(vertex.attributes["body"]) for vertex in order if vertex.primitive is LOOP]
    return hash((stage, frozenset(bodies), frozenset([vertex.primitive for vertex in order]))) if bodies else None


def _recurs(order: Sequence[Vertex], roots: tuple[Vertex, ...], more: Any) -> bool:
    """Whether a structure is met so often that it is to be compiled; equal hashes only mean that this is too early."""
    key = hash((tuple([root.structure for root in roots]), more, settings.cpu_features))
    met = _MET.pop(key, 0)
    if met == 0 and _count_lengths("met", order):
        met = PATIENCE
    if 1 <= met < PATIENCE:
        kind = hash(tuple([vertex.primitive for vertex in order]))
        shapes = _SHAPES.get(kind, 0)
        if shapes < FEW_SHAPES or met + 1 == PATIENCE or lengths_vary(order):
            _remember(_SHAPES, kind, shapes + 1)
            met = PATIENCE
    _remember(_MET, key, met if met == PATIENCE else met + 1)
    return met == PATIENCE


def _remember(counts: _Counts, key: int, count: int) -> None:
    if len(counts) >= MAX_MET:
        counts.popitem(last=False)
    counts[key] = count
