"""Loops as machine code for any number of steps: a graph that is met once runs those of its loops on them."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.native.cpu import host_target
from ..graph.graph import Graph
from ..graph.text import format_graph
from ..memory import address_of, aligned_array
from ..ops.loop import Run
from ..passes.pipeline import plan_any_length_of
from ..settings import settings
from .executable import NativeProgram
from .generic_kernels import contiguous
from .native_code import compile_plan, is_compiled

Array = np.ndarray[Any, Any]

ENOUGH_STEPS = 100
"""So many steps, vertex by vertex, take as long as compiling a loop."""

MAX_LOOPS = 64
"""Loops kept; the one unused for longest goes first."""

_loops: dict[tuple[str, str], NativeLoop | int] = {}  # or how many steps were run vertex by vertex


class NativeLoop(NativeProgram):
    """The machine code of a run of a loop, without its length."""

    def __init__(self, run: Run, step: Graph, text: str) -> None:
        target = host_target(settings.cpu_features)
        super().__init__(*compile_plan(text, lambda: plan_any_length_of(run, step), target), target)
        self._carries = run.carries
        self._outputs = [(vertex.shape, vertex.dtype.numpy) for vertex in step.outputs]

    def evaluate(self, operands: Sequence[Array], length: int) -> list[Array]:
        """The last carries, and what is stacked, after ``length`` steps; at least one."""
        given = [contiguous(operand) for operand in (*operands, np.array([length]))]
        shapes = [shape if k < self._carries else (length, *shape) for k, (shape, _) in enumerate(self._outputs)]
        made = [aligned_array(shape, dtype) for shape, (_, dtype) in zip(shapes, self._outputs, strict=True)]
        pointers = array("Q", [*map(address_of, given), *(address for _, address in made), 0, 0])
        with self.lock:
            self.bind(pointers)
            self.run(pointers, ctypes.c_void_p(pointers.buffer_info()[0]), 1, length)
        return [value for value, _ in made]


def loop_text(run: Run, step: Graph) -> str:
    """All that the machine code of a loop depends on."""
    return f"loop {run.carries} {run.xs} {run.reverse}\n{format_graph(step)}"


def find_native_loop(run: Run, step: Graph, text: str) -> NativeLoop | None:
    """The machine code of a loop that is about to run; None if that is not worth compiling yet. ``text``: `loop_text`.

    It is compiled once its steps, those of other lengths among them, would have taken as long as that; what is on the
    disk is used at once.
    """
    key = (text, settings.cpu_features)
    found = _loops.pop(key, 0)
    if not isinstance(found, NativeLoop):
        found += run.length
        if found >= ENOUGH_STEPS or is_compiled(text):
            found = NativeLoop(run, step, text)
    while len(_loops) >= MAX_LOOPS:
        _loops.pop(next(iter(_loops)), None)
    _loops[key] = found
    return found if isinstance(found, NativeLoop) else None
