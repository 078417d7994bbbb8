"""The program cache: one executable per graph structure, shared by all models of equal shape."""

from __future__ import annotations

from typing import Any

from ..execution.executable import Executable, make_executable
from ..execution.interpreter import Interpreter
from ..graph.graph import Graph
from ..graph.text import format_graph
from ..settings import settings
from .build import Strides

MAX_PROGRAMS = 256
"""Executables kept; the one unused for longest goes first."""

Program = Executable | Interpreter
_PROGRAMS: dict[Any, Program] = {}


def find_program(graph: Graph, output_strides: tuple[Strides, ...]) -> Program:
    """Return the executable of ``graph``: from the cache, or compiled now."""
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
