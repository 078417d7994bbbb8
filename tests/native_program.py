"""Running a graph as a native program on NumPy arrays, for tests that compare it with the reference."""

import ctypes
from array import array
from collections.abc import Sequence

import numpy as np

from chainrule.execution.executable import Executable
from chainrule.execution.stepwise import Stepwise
from chainrule.graph.graph import Graph
from chainrule.graph.text import format_graph
from chainrule.graph.vertex import Vertex
from chainrule.memory import address_of, aligned_block
from chainrule.reference import Array
from chainrule.types import Shape, contiguous_strides


def run_native(graph: Graph, values: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Return (outputs, new values of updated inputs), like `chainrule.reference.evaluate`."""
    return run_program(Executable(graph, format_graph(graph), [None] * len(graph.outputs)), graph, values)


def run_program(
    program: Executable | Stepwise, graph: Graph, values: Sequence[Array]
) -> tuple[list[Array], list[Array]]:
    """The same by the program of a graph, whose outputs lie row-major."""
    inputs = {vertex: _place(vertex, vertex.attributes["strides"]) for vertex in graph.inputs}
    for memory, value in zip(inputs.values(), values, strict=True):
        memory[...] = value
    outputs = [_place(vertex) for vertex in graph.outputs]
    addresses = [address_of(memory) for memory in (*inputs.values(), *outputs)]
    pointers = array("Q", addresses + [0] * (program.pointer_count - len(addresses)))
    program.bind(pointers)
    program.run(pointers, ctypes.c_void_p(pointers.buffer_info()[0]), 1)
    return outputs, [inputs[target] for target, _ in graph.updates]


def _place(vertex: Vertex, strides: Shape | None = None) -> Array:
    """Aligned memory for a vertex, seen in its shape; all bits are set until something is written."""
    block, _ = aligned_block(max(vertex.type.nbytes, 1))
    block[:] = 0xFF
    memory = block[: vertex.type.nbytes].view(vertex.dtype.numpy)
    strides = strides or contiguous_strides(vertex.shape)
    return np.lib.stride_tricks.as_strided(memory, vertex.shape, [stride * memory.itemsize for stride in strides])
