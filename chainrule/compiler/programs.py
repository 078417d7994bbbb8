"""The program cache: one executable per graph structure, shared by all models of equal shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..execution.executable import Executable, make_executable
from ..execution.interpreter import Interpreter
from ..execution.one_off import Schedule, schedule
from ..graph.graph import Graph
from ..graph.text import format_graph
from ..graph.vertex import Vertex
from ..settings import settings
from .build import Strides

MAX_PROGRAMS = 256
"""Executables kept; the one unused for longest goes first."""

MAX_MET = 4096
"""Structures remembered that were met; the one not met for longest goes first."""

FEW_SHAPES, PATIENCE = 4, 20
"""A structure is compiled when it is met for the second time; but where so many were that differ in shapes alone, as
for sequences of any length, the next only when it is met so often: running it so often takes as long as compiling."""

HEAVY = 2_000_000_000
"""Floating point operations of products from which on a graph is compiled at once: running it takes about as long."""

Program = Executable | Interpreter
_PROGRAMS: dict[Any, Program] = {}
_MET: dict[int, int] = {}  # how often each structure was met, PATIENCE once it is to be compiled
_SHAPES: dict[int, int] = {}  # of the same primitives in the same order: how many structures were to be compiled


def one_off_schedule(order: Sequence[Vertex], roots: tuple[Vertex, ...], more: Any) -> Schedule | None:
    """How to compute ``roots`` vertex by vertex; ``order`` holds all that they need, operands first.

    None if they are to be compiled: because they recur, or are heavy. ``more`` is a key to what else is done with them.
    """
    if settings.backend != "native" or _recurs(order, roots, more):
        return None
    found = schedule(order, roots)
    return None if found is None or found.work >= HEAVY else found


def find_program(graph: Graph, output_strides: tuple[Strides, ...]) -> Program:
    """Return what runs ``graph`` as a whole: from the cache, or compiled now."""
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


def _recurs(order: Sequence[Vertex], roots: tuple[Vertex, ...], more: Any) -> bool:
    """Whether a structure is met so often that it is to be compiled; equal hashes only mean that this is too early."""
    key = hash((tuple([root.structure for root in roots]), more, settings.cpu_features))
    met = _MET.pop(key, 0)
    if 1 <= met < PATIENCE:
        kind = hash(tuple([vertex.primitive for vertex in order]))
        shapes = _SHAPES.get(kind, 0)
        if shapes < FEW_SHAPES or met + 1 == PATIENCE:
            _remember(_SHAPES, kind, shapes + 1)
            met = PATIENCE
    _remember(_MET, key, met if met == PATIENCE else met + 1)
    return met == PATIENCE


def _remember(counts: dict[int, int], key: int, count: int) -> None:
    if len(counts) >= MAX_MET:
        counts.pop(next(iter(counts)))
    counts[key] = count
