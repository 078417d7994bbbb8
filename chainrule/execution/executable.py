"""Executables: compiled graphs with their working memory, called with the addresses of inputs and outputs."""

from __future__ import annotations

import ctypes
import threading
import time
from array import array
from collections.abc import Sequence
from functools import cached_property

from ..backends.native.cpu import Target, host_target
from ..backends.native.driver import Program
from ..backends.native.jit import Library
from ..errors import ArgumentError
from ..graph.graph import Graph
from ..graph.text import parse_graph
from ..memory import ALIGNMENT, aligned_block
from ..passes.pipeline import canonical
from ..passes.plan import Plan
from ..settings import settings
from ..types import Shape
from .interpreter import Interpreter
from .native_code import Layout, compile_graph, lower_graph
from .pace import Pace
from .threads import launch
from .watch import stop_at_non_finite

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_ShortEntry = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


class NativeProgram:
    """Machine code with its working memory.

    ``run`` takes an array of addresses with room for ``pointer_count``: inputs and outputs are the caller's, the rest
    is filled in by ``bind``. One program runs at a time, under ``lock``: its temporaries are its own.
    """

    def __init__(self, layout: Layout, code: bytes, target: Target) -> None:
        self.layout, self.target = layout, target
        self._library = Library(code, target)
        address = self._library.address(layout.entry)
        self._scratch_slot = layout.arena_slot + 1
        self.pointer_count = self._scratch_slot + 1
        self._short_entry = _ShortEntry(address)
        self._entry = _Entry(address)
        self._arena, self._arena_address = aligned_block(max(layout.arena_bytes, ALIGNMENT))
        self._scratch, self._scratch_address, self._workers = self._arena, 0, 0
        self._pace = Pace()
        self.lock = threading.Lock()

    def bind(self, pointers: array[int]) -> None:
        """Fill in the addresses of working memory."""
        pointers[self.layout.arena_slot] = self._arena_address

    def run(self, pointers: array[int], argument: ctypes.c_void_p, repeats: int, size: int = 1) -> None:
        """Run the program ``repeats`` times; ``argument`` is the address of ``pointers``; ``lock`` must be held.

        ``size`` is how much a run has to do, where runs differ: their times are compared by it. A program too short to
        be worth several threads keeps Python's lock when it runs once: that is cheaper.
        """
        if self._workers != settings.threads:
            self._allocate_scratch()
        pointers[self._scratch_slot] = self._scratch_address
        if self.layout.is_parallel:
            self._run_in_parallel(argument, repeats, size)
        elif repeats == size == 1:
            self._short_entry(argument, 1, None)
        else:
            self._entry(argument, repeats, None)

    def _run_in_parallel(self, argument: ctypes.c_void_p, repeats: int, size: int) -> None:
        """Run on all threads, or on this one alone where that is faster at present."""
        begun = time.perf_counter()
        if settings.threads == 1 or self._pace.is_alone:
            self._entry(argument, repeats, None)
        else:
            launch(lambda pool: self._entry(argument, repeats, pool))
        if settings.threads > 1:
            self._pace.note((time.perf_counter() - begun) / max(repeats * size, 1))

    def _allocate_scratch(self) -> None:
        self._workers, self._pace = settings.threads, Pace()
        self._scratch, self._scratch_address = aligned_block(max(self.layout.scratch_size(self._workers), ALIGNMENT))


class Executable(NativeProgram):
    """The native program of a graph."""

    def __init__(self, graph: Graph, text: str, output_strides: Sequence[Shape | None]) -> None:
        self.text = text
        self.output_strides = tuple(output_strides)
        target = host_target(settings.cpu_features)
        super().__init__(*compile_graph(graph, text, output_strides, target), target)

    @cached_property
    def graph(self) -> Graph:
        """What the program computes, for people: read from its text, so that it keeps no recorded vertex alive."""
        return parse_graph(self.text)

    @cached_property
    def stages(self) -> tuple[Plan, Program]:
        """The plan and the LLVM text, for people: made again, as running needs neither."""
        return lower_graph(self.graph, self.output_strides, self.target)


def make_executable(graph: Graph, text: str, output_strides: Sequence[Shape | None]) -> Executable | Interpreter:
    """Return what runs ``graph``, whose text is ``text``, on the backend of the settings.

    ``output_strides``: how each output lies in memory, in elements; None for row-major.
    """
    if settings.backend == "native":
        return Executable(graph, text, output_strides)
    if settings.backend == "reference":
        return Interpreter(canonical(graph), output_strides)
    if settings.backend == "debug":
        return Interpreter(canonical(graph), output_strides, stop_at_non_finite)
    raise ArgumentError(f"unknown backend {settings.backend!r}; expected 'native', 'reference' or 'debug'")
