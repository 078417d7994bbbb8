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
"""Structures remembered that were met once; the oldest goes first."""

HEAVY = 2_000_000_000
"""Floating point operations of products from which on a graph is compiled at once: running it takes about as long."""

Program = Executable | Interpreter
_PROGRAMS: dict[Any, Program] = {}
_MET: dict[int, None] = {}


def one_off_schedule(order: Sequence[Vertex], roots: tuple[Vertex, ...], more: Any) -> Schedule | None:
    """How to compute ``roots`` vertex by vertex; ``order`` holds all that they need, operands first.

    None if they are to be compiled: because they recur, or are heavy. ``more`` is a key to what else is done with them.
    """
    if settings.backend != "native" or not _is_new(roots, more):
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


def _is_new(roots: tuple[Vertex, ...], more: Any) -> bool:
    """Whether a structure is met for the first time; equal hashes only mean that one is compiled too early."""
    key = hash((tuple([root.structure for root in roots]), more, settings.cpu_features))
    if key in _MET:
        return False
    if len(_MET) >= MAX_MET:
        _MET.pop(next(iter(_MET)))
    _MET[key] = None
    return True
