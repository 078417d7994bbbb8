"""A compiled graph with its memory: what is called to run a training step."""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..reference import evaluate
from ..types import Shape, TensorType, contiguous_strides

Array = np.ndarray[Any, Any]


class Executable:
    """A program for ``graph``; ``run`` takes the addresses of its inputs, outputs and working memory."""

    def __init__(self, graph: Graph, output_strides: Sequence[Shape | None] | None = None) -> None:
        self.graph = graph
        self.output_strides = tuple(output_strides or (None,) * len(graph.outputs))
        self.pointer_count = len(graph.inputs) + len(graph.outputs)
        self.lock = threading.Lock()

    def bind(self, pointers: array[int]) -> None:
        """Fill in the addresses of working memory."""

    def run(self, pointers: ctypes.c_void_p, repeats: int) -> None:
        """Run the program ``repeats`` times."""
        addresses = np.ctypeslib.as_array((ctypes.c_uint64 * self.pointer_count).from_address(pointers.value or 0))
        count = len(self.graph.inputs)
        inputs = [
            _view(int(address), vertex.type, vertex.attributes["strides"])
            for address, vertex in zip(addresses, self.graph.inputs, strict=False)
        ]
        for _ in range(repeats):
            outputs, updates = evaluate(self.graph, [array.copy() for array in inputs])
            places = zip(addresses[count:], self.graph.outputs, self.output_strides, outputs, strict=True)
            for address, vertex, strides, value in places:
                _view(int(address), vertex.type, strides)[...] = value
            for (target, _), value in zip(self.graph.updates, updates, strict=True):
                inputs[self.graph.inputs.index(target)][...] = value


def _view(address: int, type: TensorType, strides: Shape | None) -> Array:
    size = type.dtype.size
    steps = tuple(stride * size for stride in (strides or contiguous_strides(type.shape)))
    block = (ctypes.c_uint8 * max(_extent(type, strides) * size, 1)).from_address(address)
    return np.ndarray(type.shape, type.dtype.numpy, block, 0, steps)


def _extent(type: TensorType, strides: Shape | None) -> int:
    """Elements from the first to behind the last."""
    if not type.size:
        return 0
    return 1 + sum(
        (n - 1) * step for n, step in zip(type.shape, strides or contiguous_strides(type.shape), strict=True)
    )
