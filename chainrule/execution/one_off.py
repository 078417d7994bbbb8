"""Running a graph that is met once: vertex by vertex, without compiling it, and to the bit as its program would.

What NumPy computes to the bit is left to the primitive's own reference; the rest is done by kernels that are generic in
shape.
"""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backends.native.vector_math import ELEMENTWISE
from ..graph.graph import Graph
from ..graph.vertex import Vertex
from ..passes.simplify import simplify
from ..types import Shape, TensorType
from .generic_kernels import accumulate, evaluate_elementwise, multiply

Array = np.ndarray[Any, Any]
Rule = Callable[[Vertex, list[Array]], Array]


class OneOff:
    """A graph behind an executable's interface, to be run once or a few times."""

    def __init__(self, graph: Graph, output_strides: Sequence[Shape | None]) -> None:
        self.graph = simplify(graph) if _needs_rules(graph) else graph
        self.output_strides = tuple(output_strides)
        self.pointer_count = len(graph.inputs) + len(graph.outputs)
        self.lock = threading.Lock()

    def bind(self, pointers: array[int]) -> None:
        """There is no working memory to fill in."""

    def run(self, pointers: array[int], argument: ctypes.c_void_p, repeats: int) -> None:
        """Evaluate ``repeats`` times, reading and writing at the addresses in ``pointers``."""
        graph, count = self.graph, len(self.graph.inputs)
        inputs = {
            vertex: _memory(address, vertex.type, vertex.attributes["strides"])
            for address, vertex in zip(pointers[:count], graph.inputs, strict=True)
        }
        places = [
            _memory(address, vertex.type, strides)
            for address, vertex, strides in zip(pointers[count:], graph.outputs, self.output_strides, strict=True)
        ]
        places += [inputs[target] for target, _ in graph.updates]
        for _ in range(repeats):
            values = evaluate(graph, inputs)
            if graph.updates:  # a view may see memory that is about to be overwritten
                values = [value if value.flags.owndata else value.copy() for value in values]
            for place, value in zip(places, values, strict=True):
                np.copyto(place, value)


def _needs_rules(graph: Graph) -> bool:
    """Whether a rule of `simplify` might change a bit: it computes with constants, or joins what is padded."""
    constants: set[Vertex] = set()
    for vertex in graph.order():
        name, inputs = vertex.primitive.name, vertex.inputs
        if name == "constant":
            constants.add(vertex)
        elif vertex.type.size == 0:
            return True
        elif inputs and constants.issuperset(inputs):
            if RULES.get(name) is not _by_reference:
                return True
            constants.add(vertex)
        elif name in _LOOKED_AT and _LOOKED_AT[name](vertex, constants):
            return True
    return False


_LOOKED_AT: dict[str, Callable[[Vertex, set[Vertex]], bool]] = {
    "power": lambda vertex, constants: vertex.inputs[1] in constants,
    "where": lambda vertex, constants: vertex.inputs[0] in constants or vertex.inputs[1] is vertex.inputs[2],
    "add": lambda vertex, constants: any(operand.primitive.name == "pad" for operand in vertex.inputs),
    "argmax": lambda vertex, constants: vertex.type.size == vertex.inputs[0].type.size,
    "argmin": lambda vertex, constants: vertex.type.size == vertex.inputs[0].type.size,
}


def evaluate(graph: Graph, inputs: dict[Vertex, Array]) -> list[Array]:
    """The values of the roots of a graph; they may share memory with the inputs."""
    order, values = graph.order(), dict(inputs)
    last: dict[Vertex, Vertex | None] = {operand: vertex for vertex in order for operand in vertex.inputs}
    last.update(dict.fromkeys(graph.roots))
    with np.errstate(all="ignore"):
        for vertex in order:
            if vertex in values:
                continue
            operands = [values[operand] for operand in vertex.inputs]
            values[vertex] = RULES.get(vertex.primitive.name, _by_kernel)(vertex, operands)
            for operand in vertex.inputs:
                if last[operand] is vertex:
                    values.pop(operand, None)
    return [values[vertex] for vertex in graph.roots]


_Memory = ctypes.c_uint8 * (1 << 46)


def _memory(address: int, type: TensorType, strides: Shape | None) -> Array:
    """The NumPy view of a tensor at ``address``; strides in elements, None for row-major."""
    dtype, size = type.dtype.numpy, type.dtype.size
    steps = None if strides is None else tuple(step * size for step in strides)
    memory: Any = _Memory.from_address(address)
    return np.ndarray(type.shape, dtype, memory, 0, steps)


def _by_reference(vertex: Vertex, operands: list[Array]) -> Array:
    reference: Any = vertex.primitive.reference
    return np.asarray(reference(*operands, **vertex.attributes), vertex.dtype.numpy)


def _by_kernel(vertex: Vertex, operands: list[Array]) -> Array:
    if vertex.type.size == 0:
        return _by_reference(vertex, operands)
    return evaluate_elementwise(vertex.primitive.native, operands, vertex.shape, vertex.dtype.numpy)


def _cast(vertex: Vertex, operands: list[Array]) -> Array:
    """NumPy does not say what integer a float becomes that is none."""
    leaves_floats = operands[0].dtype.kind == "f" and vertex.dtype.kind == "int"
    return _by_kernel(vertex, operands) if leaves_floats else _by_reference(vertex, operands)


def _constant(vertex: Vertex, operands: list[Array]) -> Array:
    value = np.array(vertex.attributes["value"], vertex.dtype.numpy)
    return np.ndarray(vertex.shape, value.dtype, value, 0, (0,) * len(vertex.shape))


def _accumulate(vertex: Vertex, operands: list[Array]) -> Array:
    if vertex.dtype.kind != "float":
        return _by_reference(vertex, operands)
    return accumulate(vertex.primitive.name, operands[0], vertex.attributes["axes"])


EXACT = (
    "negative", "abs", "sign", "floor", "ceil", "round", "sqrt", "rsqrt", "add", "subtract", "multiply", "divide",
    "equal", "not_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not", "bitwise_and",
    "stop_gradient", "iota", "reshape", "transpose", "broadcast", "slice", "flip", "pad", "concatenate", "argmax",
    "argmin", "take", "scatter", "scatter_add", "dynamic_slice", "dynamic_update", "cumulative_sum",
    "cumulative_product", "cumulative_argmax", "argsort", "random_uniform",
)  # fmt: skip
"""Primitives that NumPy rounds correctly, or in the only order there is, or that only choose and move."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(EXACT, _by_reference),
    **dict.fromkeys(("sum", "prod", "max", "min"), _accumulate),
    "cast": _cast,
    "constant": _constant,
    "matmul": lambda vertex, operands: multiply(*operands),
}
"""How the vertices of a primitive are evaluated; other elementwise ones by their kernels."""


def can_evaluate(graph: Graph) -> bool:
    """Whether there is a rule for every vertex: primitives that others have added may have none."""
    known = RULES.keys() | ELEMENTWISE.keys() | {"input"}
    return all(vertex.primitive.name in known for vertex in graph.order())
