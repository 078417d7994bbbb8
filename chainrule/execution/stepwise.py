"""Programs that are not compiled yet: vertex by vertex behind an executable's interface, over the same memory."""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..graph.graph import Graph, topological_order
from ..graph.text import parse_graph
from ..graph.vertex import Vertex
from ..passes.pipeline import own_inputs, settle_sums
from ..types import Shape
from .executable import Executable
from .interpreter import view_memory
from .one_off import Schedule, evaluate, schedule
from .state_updates import StateUpdate, apart, find_updates

PATIENCE = 200
"""So many runs cost as much more than those of a compiled program as compiling it."""


class Stepwise:
    """The program of a graph, vertex by vertex, until it has run so often that it is compiled.

    Its bits are those of the compiled program.
    """

    def __init__(
        self,
        simplified: Graph,
        text: str,
        output_strides: Sequence[Shape | None],
        schedule: Schedule,
        updates: Sequence[StateUpdate],
        others: Sequence[Vertex],
    ) -> None:
        """``schedule`` gives the outputs, the new values of ``others``, and what ``updates`` read."""
        self.text = text
        self.output_strides = tuple(output_strides)
        self.pointer_count = len(simplified.inputs) + len(simplified.outputs) + 2  # a compiled one has working memory
        self._executable: Executable | None = None
        self.lock = threading.Lock()
        self._simplified, self._schedule, self._updates, self._others = simplified, schedule, updates, others
        self._runs = 0

    @cached_property
    def graph(self) -> Graph:
        """What the program computes, for people."""
        return parse_graph(self.text)

    def compiled(self) -> Executable:
        """The compiled program."""
        if self._executable is None:
            self._executable = Executable(self.graph, self.text, self.output_strides)
        return self._executable

    def bind(self, pointers: array[int]) -> None:
        """There is no working memory to fill in."""

    def run(self, pointers: array[int], argument: ctypes.c_void_p, repeats: int) -> None:
        """Run ``repeats`` times, reading and writing at the addresses in ``pointers``; ``lock`` must be held."""
        self._runs += repeats
        if self._runs > PATIENCE:
            self.compiled().bind(pointers)
            self.compiled().run(pointers, argument, repeats)
        else:
            for _ in range(repeats):
                self._evaluate(pointers)

    def _evaluate(self, pointers: array[int]) -> None:
        graph, count = self._simplified, len(self._simplified.inputs)
        addresses = dict(zip(graph.inputs, pointers, strict=False))
        inputs = {
            vertex: view_memory(address, vertex.type, vertex.attributes["strides"])
            for vertex, address in addresses.items()
        }
        found = evaluate(self._schedule, dict(inputs))
        outputs, new = found[: len(graph.outputs)], [apart(value) for value in found[len(graph.outputs) :]]
        places = zip(pointers[count : count + len(outputs)], graph.outputs, self.output_strides, outputs, strict=True)
        for address, vertex, strides, value in places:
            np.copyto(view_memory(address, vertex.type, strides), value)
        read = dict(zip(self._schedule.roots[len(outputs) :], new, strict=True))
        for update in self._updates:
            update.run(addresses, read)
        for target, value in zip(self._others, new, strict=False):
            np.copyto(inputs[target], value)


def make_stepwise(graph: Graph, text: str, output_strides: Sequence[Shape | None]) -> Stepwise | None:
    """The program of ``graph``, whose text is ``text``; None if only a compiled one gives the right bits."""
    simplified = settle_sums(graph, own_inputs(graph))
    updates, others = find_updates(simplified.updates)
    read = [vertex for update in updates for vertex in (*update.others, *update.numbers)]
    roots = (*simplified.outputs, *(value for _, value in others), *read)
    found = schedule(topological_order(roots), roots, is_simplified=True)
    targets = [target for target, _ in others]
    return None if found is None else Stepwise(simplified, text, output_strides, found, updates, targets)
