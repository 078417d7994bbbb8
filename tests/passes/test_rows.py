"""Loops in parts of rows: which bodies can be cut, and that all parts together are the whole."""

from collections.abc import Callable

import numpy as np
import pytest

from chainrule import set_num_threads
from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.arithmetic import add, multiply
from chainrule.ops.elementwise import TANH, exp, negative
from chainrule.ops.loop import Run
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import broadcast, concatenate, flip, reshape, slice_, swap_last_axes
from chainrule.ops.reduction import max_, sum_
from chainrule.ops.source import constant, make_input
from chainrule.passes.pipeline import make_plan
from chainrule.passes.plan import Loop
from chainrule.passes.rows import part_of_rows
from chainrule.reference import evaluate
from chainrule.settings import settings
from chainrule.types import float64, tensor_type
from tests.native_program import run_native

STEPS, ROWS, UNITS = 5, 32, 52
Function = Callable[[Vertex, Vertex, Vertex], Vertex]


def vertex(*shape: int) -> Vertex:
    return make_input(tensor_type(float64, shape))


def run_of(function: Function, rows: int = ROWS, units: int = UNITS, lines: int | None = None) -> Run:
    """h ← function(h, x, w), which is also stacked; w has as many lines as columns, or so many."""
    h, x, w = vertex(rows, units), vertex(rows, units), vertex(lines or units, units)
    after = function(h, x, w)
    operands = vertex(rows, units), vertex(STEPS, rows, units), vertex(lines or units, units)
    return Run(operands, Graph((h, x, w), (after, after)), 1, 1, STEPS, False)


def part_of(run: Run) -> tuple[Graph, Graph]:
    """The step, and that of a part of its rows."""
    step = Graph(run.body.inputs, run.body.outputs)
    return step, part_of_rows(run, step)


def recurrent(h: Vertex, x: Vertex, w: Vertex) -> Vertex:
    return apply(TANH, add(matmul(h, w), x))


def halves_swapped(h: Vertex, x: Vertex, w: Vertex) -> Vertex:
    left, right = (slice_(h, (0, start), (ROWS, start + UNITS // 2), (1, 1)) for start in (0, UNITS // 2))
    return add(concatenate(right, left, axis=1), matmul(x, w))


def softmax(h: Vertex, x: Vertex, w: Vertex) -> Vertex:
    y = add(matmul(h, w), x)
    powers = exp(add(y, negative(reshape(max_(y, (1,)), (ROWS, 1)))))
    return multiply(powers, reshape(sum_(powers, (1,)), (ROWS, 1)))


def columns(h: Vertex, x: Vertex, w: Vertex) -> Vertex:
    """Rows that are columns for a while, beside a constant as large as they."""
    return add(swap_last_axes(matmul(w, swap_last_axes(h))), add(x, constant(0.5, float64, (ROWS, UNITS))))


def by_broadcast(h: Vertex, x: Vertex, w: Vertex) -> Vertex:
    return add(matmul(h, w), multiply(x, broadcast(reshape(sum_(w, (0,)), (1, UNITS)), (ROWS, UNITS))))


@pytest.mark.parametrize("function", [recurrent, halves_swapped, softmax, columns, by_broadcast])
def test_parts_together_are_the_whole(function: Function) -> None:
    step, part = part_of(run_of(function))
    assert [each.shape for each in part.inputs] == [(16, UNITS), (16, UNITS), (UNITS, UNITS)]
    rng = np.random.default_rng(0)
    h, x, w = (rng.normal(size=each.shape) / UNITS for each in step.inputs)
    whole = evaluate(step, [h, x, w])[0][0]
    pieces = [evaluate(part, [h[rows], x[rows], w])[0][0] for rows in (slice(0, 16), slice(16, 32))]
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        lambda h, x, w: add(matmul(h, w), reshape(sum_(h, (0,)), (1, UNITS))),
        lambda h, x, w: add(matmul(h, w), matmul(matmul(h, swap_last_axes(x)), x)),
        lambda h, x, w: reshape(matmul(reshape(h, (UNITS, ROWS)), constant(1.0, float64, (ROWS, ROWS))), (ROWS, UNITS)),
        lambda h, x, w: add(matmul(h, w), flip(x, (0,))),
    ],
    ids=["sum of rows", "products of rows", "mixed by a reshape", "another order"],
)
def test_rows_that_need_others_stay_together(function: Function) -> None:
    step, part = part_of(run_of(function))
    assert part is step


def test_an_invariant_with_a_line_for_each_row_stays_whole() -> None:
    def function(h: Vertex, x: Vertex, w: Vertex) -> Vertex:
        return add(multiply(h, w), matmul(x, matmul(swap_last_axes(w), w)))

    step, part = part_of(run_of(function, lines=ROWS))
    assert part is step


@pytest.mark.parametrize(("rows", "count"), [(16, 8), (40, 10), (64, 16), (15, 15), (23, 23)])
def test_parts_are_equal_and_large_enough(rows: int, count: int) -> None:
    _, part = part_of(run_of(lambda h, x, w: matmul(matmul(h, w), matmul(w, w)), rows))
    assert part.outputs[0].shape == (count, UNITS)


@pytest.mark.parametrize(("rows", "units", "tasks"), [(32, 52, 2), (6, 52, 1), (16, 400, 2)])
def test_a_training_step_in_parts(rows: int, units: int, tasks: int) -> None:
    """Native results are those of the reference, and the same bits for any number of threads; weights are packed."""
    run = run_of(lambda h, x, w: recurrent(h, x, swap_last_axes(w)), rows, units)
    ys = run.stack(run.body.outputs[1])
    found = gradients(sum_(multiply(ys, run.operands[1]), (0, 1, 2)), run.operands)
    graph = Graph(run.operands, (ys, run.carry(0), *(each for each in found if each is not None)))
    assert len(graph.outputs) == 5
    loops = [kernel for kernel in make_plan(graph).kernels if isinstance(kernel, Loop)]
    assert [loop.tasks for loop in loops] == [tasks, tasks]
    rng = np.random.default_rng(0)
    values = [rng.normal(size=each.shape) / units**0.5 for each in graph.inputs]
    before, bits = settings.threads, []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        outputs = run_native(graph, values)[0]
        bits.append([each.tobytes() for each in outputs])
        for ours, expected in zip(outputs, evaluate(graph, values)[0], strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-12)
    set_num_threads(before)
    assert bits[0] == bits[1] == bits[2]
