"""The reference backend behind an executable's interface: NumPy, vertex by vertex, over the same memory."""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..reference import Watcher, evaluate
from ..types import Shape, TensorType, contiguous_strides

Array = np.ndarray[Any, Any]


class Interpreter:
    """Runs a graph by the meaning of its primitives; ``watch(vertex, value)`` sees every value."""

    def __init__(self, graph: Graph, output_strides: Sequence[Shape | None], watch: Watcher | None = None) -> None:
        self.graph = graph
        self.output_strides = tuple(output_strides)
        self.pointer_count = len(graph.inputs) + len(graph.outputs)
        self.watch = watch
        self.lock = threading.Lock()

    def bind(self, pointers: array[int]) -> None:
        """There is no working memory to fill in."""

    def run(self, pointers: array[int], argument: ctypes.c_void_p, repeats: int) -> None:
        """Evaluate ``repeats`` times, reading and writing at the addresses in ``pointers``."""
        graph, count = self.graph, len(self.graph.inputs)
        inputs = {
            vertex: view_memory(address, vertex.type, vertex.attributes["strides"])
            for address, vertex in zip(pointers[:count], graph.inputs, strict=True)
        }
        for _ in range(repeats):
            outputs, updates = evaluate(graph, [value.copy() for value in inputs.values()], self.watch)
            places = zip(pointers[count : self.pointer_count], graph.outputs, self.output_strides, outputs, strict=True)
            for address, vertex, strides, value in places:
                view_memory(address, vertex.type, strides)[...] = value
            for (target, _), value in zip(graph.updates, updates, strict=True):
                inputs[target][...] = value


def view_memory(address: int, type: TensorType, strides: Shape | None) -> Array:
    """Return the NumPy view of a tensor at ``address``; strides in elements, None for row-major."""
    steps = strides or contiguous_strides(type.shape)
    extent = 1 + sum((size - 1) * step for size, step in zip(type.shape, steps, strict=True)) if type.size else 1
    block = (ctypes.c_uint8 * (extent * type.dtype.size)).from_address(address)
    return np.ndarray(
        type.shape, type.dtype.numpy, memoryview(block), 0, tuple(step * type.dtype.size for step in steps)
    )
