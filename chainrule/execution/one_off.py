"""Running a graph that is met once: vertex by vertex, without compiling it, and to the bit as its program would.

What NumPy computes to the bit is left to the primitive's own reference; the rest is done by kernels that are generic in
shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends.native.contraction_extents import splits_sums
from ..backends.native.vector_math import ELEMENTWISE
from ..backends.native.winograd_site import TAPS, suits_tiles
from ..graph.graph import Graph
from ..graph.vertex import Vertex
from ..memory import aligned_array
from ..ops.loop import Run, find_runs, stacked_numbers
from ..passes.access import VIEWS
from ..passes.pipeline import settle_sums
from ..passes.simplify_transpose import moves
from .generic_kernels import accumulate, accumulate_along, evaluate_elementwise, multiply
from .native_loops import NativeLoop, find_native_loop, loop_text

Array = np.ndarray[Any, Any]
Rule = Callable[[Vertex, list[Array]], Array]


class Schedule(NamedTuple):
    """How a graph is evaluated.

    - ``steps``: vertices, each after its operands, and the rules that evaluate them, or the loops;
    - ``roots``: those whose values are wanted;
    - ``last``: for each vertex the one that reads it last;
    - ``work``: the floating point operations of its matrix products.
    """

    steps: list[tuple[Vertex, Any]]
    roots: tuple[Vertex, ...]
    last: dict[Vertex, Vertex | None]
    work: int


def schedule(order: Sequence[Vertex], roots: tuple[Vertex, ...], is_simplified: bool = False) -> Schedule | None:
    """How to evaluate ``roots`` to the bit as their program would.

    None if there is no rule for what others have added, or for the order in which a program makes its sums.

    ``order`` holds all that they need, operands first.
    """
    steps: list[tuple[Vertex, Any]] = []
    last: dict[Vertex, Vertex | None] = {}
    constants: set[Vertex] = set()
    loops: dict[Run, _Loop] = {}
    work = 0
    for vertex in order:
        name, inputs = vertex.primitive.name, vertex.inputs
        if name == "input":
            continue
        rule: Any = RULES.get(name)
        if name == "loop":
            rule, more = _find_loop(vertex, order, loops)
            work += more
        if rule is None:
            return None
        if name == "constant":
            constants.add(vertex)
        elif not is_simplified and _changes_when_simplified(name, vertex, constants):
            simplified = settle_sums(Graph.of(roots, ()))
            return schedule(simplified.order(), simplified.outputs, is_simplified=True)
        elif name in ("matmul", "tensordot"):
            if name == "tensordot" and _has_other_sums(vertex):
                return None
            work += vertex.primitive.cost(vertex.type, *[operand.type for operand in inputs])
        for operand in inputs:
            last[operand] = vertex
        steps.append((vertex, rule))
    last.update(dict.fromkeys(roots))
    return Schedule(steps, roots, last, work)


def _has_other_sums(vertex: Vertex) -> bool:
    """Whether a program may make the sums of this product in parts, or in tiles of an image."""
    x, y = vertex.inputs
    if splits_sums(vertex.type.size, math.prod(y.shape[: _axes(vertex)])):
        return True
    while x.primitive.name in VIEWS and x.primitive.name != "windows":
        x = x.inputs[0]
    window = x.attributes.get("window", ())
    moving = [axis for axis, size in enumerate(window) if size > 1]  # along others lie images of their own
    steps = [(window[axis], x.attributes["strides"][axis], x.attributes["dilation"][axis]) for axis in moving]
    if steps != [(TAPS, 1, 1)] * 2:
        return False
    outer = len(x.shape) - 1 - 2 * len(window)
    sides = [x.shape[outer + axis] for axis in moving]
    images = math.prod(x.shape[: outer + len(window)]) // max(1, math.prod(sides))
    return suits_tiles(x.dtype.name, (images, *sides), x.shape[-1], y.shape[-1])


def _axes(vertex: Vertex) -> int:
    """Over how many dimensions a product sums."""
    axes: int = vertex.attributes["axes"]
    return axes


def _changes_when_simplified(name: str, vertex: Vertex, constants: set[Vertex]) -> bool:
    """Whether a rule of `simplify` might change a bit: it computes with constants, or joins what is padded."""
    if vertex.type.size == 0:
        return True
    inputs = vertex.inputs
    if inputs and inputs[0] in constants and constants.issuperset(inputs):
        constants.add(vertex)
        return name not in EXACT
    return name in _LOOKED_AT and _LOOKED_AT[name](vertex, constants)


_LOOKED_AT: dict[str, Callable[[Vertex, set[Vertex]], bool]] = {
    "loop": lambda vertex, constants: True,  # products and sums leave it
    "convolution": lambda vertex, constants: True,  # it becomes a product
    "transpose": lambda vertex, constants: moves(vertex),  # sums behind it will have another order
    "power": lambda vertex, constants: vertex.inputs[1] in constants,
    "where": lambda vertex, constants: vertex.inputs[0] in constants or vertex.inputs[1] is vertex.inputs[2],
    "add": lambda vertex, constants: any(operand.primitive.name == "pad" for operand in vertex.inputs),
    "argmax": lambda vertex, constants: vertex.type.size == vertex.inputs[0].type.size,
    "argmin": lambda vertex, constants: vertex.type.size == vertex.inputs[0].type.size,
}


def evaluate(schedule: Schedule, values: dict[Vertex, Array]) -> list[Array]:
    """The values of the roots of a graph, given those of its inputs, with which they may share memory.

    In ``values`` others come and go.
    """
    last = schedule.last
    with np.errstate(all="ignore"):
        for vertex, rule in schedule.steps:
            inputs = vertex.inputs
            if rule.__class__ is not _Loop:
                values[vertex] = rule(vertex, [values[operand] for operand in inputs])
            elif vertex not in values:
                values.update(rule.evaluate([values[operand] for operand in inputs]))
            for operand in inputs:
                if last[operand] is vertex:
                    values.pop(operand, None)
    return [values[vertex] for vertex in schedule.roots]


class _Loop:
    """One run of a loop: all of its results are computed together, step by step."""

    def __init__(self, run: Run, results: list[Vertex], step: Graph, schedule: Schedule) -> None:
        self.run, self.results, self.step, self.schedule = run, results, step, schedule
        self.text = loop_text(run, step)

    def evaluate(self, operands: list[Array]) -> dict[Vertex, Array]:
        """The values of all results."""
        native = find_native_loop(self.run, self.step, self.text) if self.run.length else None
        values = self._interpret(operands) if native is None else self._read(native, operands)
        return dict(zip(self.results, values, strict=True))

    def _interpret(self, operands: list[Array]) -> list[Array]:
        inputs = self.run.body.inputs
        return self.run.evaluate(
            self.results,
            operands,
            lambda given: evaluate(self.schedule, dict(zip(inputs, given, strict=True))),
            multiply,
        )

    def _read(self, native: NativeLoop, operands: list[Array]) -> list[Array]:
        outputs, count = native.evaluate(operands, self.run.length), self.run.carries
        return self.run.values(self.results, operands, outputs[:count], outputs[count:], multiply)


def _find_loop(vertex: Vertex, order: Sequence[Vertex], loops: dict[Run, _Loop]) -> tuple[_Loop | None, int]:
    """The rule for the results of a run of a loop, made when the first is met, and then the work of all its steps."""
    run = Run.of(vertex)
    if run in loops:
        return loops[run], 0
    results = find_runs(order)[run]
    step = run.step(stacked_numbers(results))
    found = schedule(step.order(), step.outputs)
    if found is None:
        return None, 0
    loops[run] = _Loop(run, results, step, found)
    return loops[run], run.length * found.work


def _by_reference(vertex: Vertex, operands: list[Array]) -> Array:
    primitive, type = vertex.primitive, vertex.type
    reference: Any = primitive.reference
    if reference.__class__ is np.ufunc:
        return reference(*operands, out=aligned_array(type.shape, type.dtype.numpy)[0])
    return np.asarray(reference(*operands, **vertex.attributes), type.dtype.numpy)


FEW = 64
"""Elements up to which NumPy chooses faster than a kernel."""


def _where(vertex: Vertex, operands: list[Array]) -> Array:
    return _by_reference(vertex, operands) if vertex.type.size <= FEW else _by_kernel(vertex, operands)


def _by_kernel(vertex: Vertex, operands: list[Array]) -> Array:
    type = vertex.type
    if type.size == 0:
        return _by_reference(vertex, operands)
    return evaluate_elementwise(vertex.primitive.native, operands, type.shape, type.dtype.numpy)


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


def _broadcast(vertex: Vertex, operands: list[Array]) -> Array:
    """What `numpy.broadcast_to` does, in a fifth of its time."""
    (x,), type = operands, vertex.type
    if not x.flags.c_contiguous:
        return _by_reference(vertex, operands)
    steps = [0 if size == 1 else step for size, step in zip(x.shape, x.strides, strict=True)]
    return np.ndarray(type.shape, x.dtype, x.data, 0, (*[0] * (len(type.shape) - x.ndim), *steps))


def _scan(vertex: Vertex, operands: list[Array]) -> Array:
    (x,), operation = operands, {"cumulative_sum": "sum", "cumulative_product": "prod"}[vertex.primitive.name]
    return accumulate_along(operation, x, vertex.attributes["axis"]) if x.size else _by_reference(vertex, operands)


def _concatenate(vertex: Vertex, operands: list[Array]) -> Array:
    out, _ = aligned_array(vertex.type.shape, vertex.type.dtype.numpy)
    return np.concatenate(operands, vertex.attributes["axis"], out)


def _tensordot(vertex: Vertex, operands: list[Array]) -> Array:
    """As a product of matrices, or one for each column: its sums are made in the same order."""
    left, right = operands
    depth = math.prod(right.shape[: _axes(vertex)])
    if not vertex.attributes["by_column"]:
        product = multiply(left.reshape(-1, depth), right.reshape(depth, -1))
        return product.reshape(vertex.type.shape)
    columns = right.size // max(depth, 1)
    rows = left.reshape(-1, depth, columns).transpose(2, 0, 1)
    count = rows.shape[1]
    if count == 1:  # a single row or column would be summed in another order
        rows = np.repeat(rows, 2, 1)
    twice = np.repeat(right.reshape(depth, columns).T[:, :, None], 2, 2)
    return np.ascontiguousarray(multiply(rows, twice)[:, :count, 0].T).reshape(vertex.type.shape)


EXACT = (
    "negative", "abs", "sign", "floor", "ceil", "round", "sqrt", "rsqrt", "add", "subtract", "multiply", "divide",
    "equal", "not_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not", "bitwise_and",
    "stop_gradient", "iota", "reshape", "transpose", "broadcast", "slice", "flip", "pad", "windows", "interleave",
    "argmax", "argmin", "take", "scatter", "scatter_add", "dynamic_slice", "dynamic_update", "cumulative_argmax",
    "argsort", "random_uniform",
)  # fmt: skip
"""Primitives that NumPy rounds correctly, or in the only order there is, or that only choose and move."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _by_kernel),
    **dict.fromkeys(EXACT, _by_reference),
    **dict.fromkeys(("sum", "prod", "max", "min"), _accumulate),
    **dict.fromkeys(("cumulative_sum", "cumulative_product"), _scan),
    "concatenate": _concatenate,
    "reshape": lambda vertex, operands: operands[0].reshape(vertex.type.shape),
    "transpose": lambda vertex, operands: operands[0].transpose(vertex.attributes["permutation"]),
    "broadcast": _broadcast,
    "stop_gradient": lambda vertex, operands: operands[0],
    "where": _where,
    "convolution": _by_reference,
    "cast": _cast,
    "constant": _constant,
    "matmul": lambda vertex, operands: multiply(*operands),
    "tensordot": _tensordot,
}
"""How the vertices of a primitive are evaluated."""
