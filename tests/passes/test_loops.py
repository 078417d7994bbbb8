"""Loops after the passes: what can be computed for all steps at once has left them, and the values are the same."""

from collections.abc import Callable

import numpy as np
import pytest

from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.arithmetic import add, multiply, subtract
from chainrule.ops.elementwise import SIGMOID, TANH, exp
from chainrule.ops.loop import LOOP, Run, find_runs
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import broadcast, reshape, slice_, swap_last_axes
from chainrule.ops.reduction import sum_
from chainrule.ops.source import make_input
from chainrule.passes.pipeline import make_plan, optimize
from chainrule.passes.plan import Loop, Product
from chainrule.reference import evaluate
from chainrule.types import float64, tensor_type
from tests.native_program import run_native

STEPS, ROWS, INPUTS, UNITS = 6, 3, 4, 5
Body = Callable[..., tuple[list[Vertex], list[Vertex]]]


def vertex(*shape: int) -> Vertex:
    return make_input(tensor_type(float64, shape))


def tanh(x: Vertex) -> Vertex:
    return apply(TANH, x)


def loop_of(body: Body, carries: list[Vertex], xs: list[Vertex], fixed: list[Vertex], reverse: bool = False) -> Run:
    inside = [vertex(*x.shape) for x in carries], [vertex(*x.shape[1:]) for x in xs], [vertex(*x.shape) for x in fixed]
    after, others = body(*(each for part in inside for each in part))
    graph = Graph(tuple(each for part in inside for each in part), (*after, *others))
    return Run((*carries, *xs, *fixed), graph, len(carries), len(xs), STEPS, reverse)


def recurrent(h: Vertex, x: Vertex, w: Vertex, u: Vertex, b: Vertex) -> tuple[list[Vertex], list[Vertex]]:
    h = tanh(add(add(matmul(x, w), matmul(h, u)), b))
    return [h], [h]


def network() -> tuple[list[Vertex], Run]:
    inputs = [
        vertex(*shape) for shape in ((ROWS, UNITS), (STEPS, ROWS, INPUTS), (INPUTS, UNITS), (UNITS, UNITS), (UNITS,))
    ]
    return inputs, loop_of(recurrent, inputs[:1], inputs[1:2], inputs[2:])


def same_values(graph: Graph) -> None:
    """The graph as it is, after the passes, and as a native program."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=each.shape) for each in graph.inputs]
    expected = evaluate(graph, values)[0]
    for found in (evaluate(optimize(graph), values)[0], run_native(graph, values)[0]):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def products_in_loops(graph: Graph) -> list[int]:
    """How many products a step of each loop of the plan has."""
    loops = [kernel for kernel in make_plan(graph).kernels if isinstance(kernel, Loop)]
    return [sum(isinstance(kernel, Product) for kernel in loop.step.kernels) for loop in loops]


def test_a_training_step_has_one_product_in_each_loop() -> None:
    """Forwards that of the state, backwards that of its adjoint; those of inputs and weights are outside."""
    inputs, run = network()
    ys = run.stack(run.body.outputs[1])
    found = gradients(sum_(multiply(ys, ys), (0, 1, 2)), inputs)
    graph = Graph(tuple(inputs), (ys, *(each for each in found if each is not None)))
    assert len(graph.outputs) == 6
    assert products_in_loops(graph) == [1, 1]
    (backward,) = (run for run in find_runs(optimize(graph).order()) if run.reverse)
    assert backward.carries == 1  # the adjoint; the sums for weights and bias are gone
    same_values(graph)


def test_what_follows_cheaply_is_not_stacked() -> None:
    """c' = f⊙c + (1 - f)⊙2x with f = σ(x + c): backwards reads f, c and x; 1 - f and 2x are computed again."""

    def body(c: Vertex, x: Vertex, one: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        f = apply(SIGMOID, add(x, c))
        return [add(multiply(f, c), multiply(subtract(one, f), add(x, x)))], []

    inputs = [vertex(3), vertex(STEPS, 3), vertex(3)]
    run = loop_of(body, inputs[:1], inputs[1:2], inputs[2:])
    found = gradients(sum_(run.carry(0), (0,)), inputs[:2])
    graph = Graph(tuple(inputs), tuple(each for each in found if each is not None))
    (forward,) = (results for run, results in find_runs(optimize(graph).order()).items() if not run.reverse)
    assert len([each for each in forward if each.attributes["result"] == "stack"]) == 2  # f and c
    same_values(graph)


def test_what_no_result_needs_leaves_the_loop() -> None:
    def body(h: Vertex, n: Vertex, x: Vertex, y: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        return [tanh(add(h, x)), exp(multiply(n, y))], [multiply(n, h)]

    inputs = [vertex(3), vertex(3), vertex(STEPS, 3), vertex(STEPS, 3)]
    run = loop_of(body, inputs[:2], inputs[2:], [])
    (lean,) = find_runs(optimize(Graph(tuple(inputs), (run.carry(0),))).order())
    assert (lean.operands, lean.carries, lean.xs) == ((inputs[0], inputs[2]), 1, 1)
    everything = Graph(tuple(inputs), (run.carry(0), run.stack(run.body.outputs[2])))
    (whole,) = find_runs(optimize(everything).order())
    assert (whole.carries, whole.xs) == (2, 2)
    same_values(Graph(tuple(inputs), (run.carry(0),)))
    same_values(everything)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_product_that_feeds_no_carry_follows_the_loop(reverse: bool) -> None:
    def body(h: Vertex, x: Vertex, w: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        h = tanh(add(h, x))
        return [h], [matmul(h, swap_last_axes(w)), matmul(x, swap_last_axes(w))]

    inputs = [vertex(ROWS, INPUTS), vertex(STEPS, ROWS, INPUTS), vertex(UNITS, INPUTS)]
    run = loop_of(body, inputs[:1], inputs[1:2], inputs[2:], reverse)
    graph = Graph(tuple(inputs), tuple(run.stack(output) for output in run.body.outputs[1:]))
    assert products_in_loops(graph) == [0]
    same_values(graph)


SUMS: dict[str, tuple[Callable[[Vertex, Vertex], Vertex], bool]] = {
    "products": (lambda h, x: matmul(swap_last_axes(h), x), True),
    "sums of products": (lambda h, x: add(matmul(swap_last_axes(h), x), matmul(swap_last_axes(x), h)), True),
    "column sums": (lambda h, x: broadcast(reshape(sum_(h, (0,)), (1, UNITS)), (UNITS, UNITS)), False),
    "elementwise": (lambda h, x: exp(matmul(swap_last_axes(h), x)), False),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_over_steps_is_one_sum(name: str) -> None:
    summand, is_deferred = SUMS[name]

    def body(h: Vertex, total: Vertex, x: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        return [tanh(add(h, x)), add(total, summand(h, x))], [h]

    inputs = [vertex(ROWS, UNITS), vertex(UNITS, UNITS), vertex(STEPS, ROWS, UNITS)]
    run = loop_of(body, inputs[:2], inputs[2:], [])
    graph = Graph(tuple(inputs), (run.carry(1),))
    (lean,) = find_runs(optimize(graph).order())
    assert lean.carries == (1 if is_deferred else 2)
    same_values(graph)


def test_a_sum_that_others_read_stays() -> None:
    def body(total: Vertex, x: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        return [add(total, matmul(swap_last_axes(x), x))], [exp(total)]

    inputs = [vertex(UNITS, UNITS), vertex(STEPS, ROWS, UNITS)]
    run = loop_of(body, inputs[:1], inputs[1:], [])
    graph = Graph(tuple(inputs), (run.carry(0), run.stack(run.body.outputs[1])))
    assert products_in_loops(graph) == [1]
    same_values(graph)


def test_results_in_memory_of_another_order() -> None:
    """Operands that are views are copied once for all results of a run; results may lie as a caller wants."""
    inputs, run = network()
    turned = [inputs[0], vertex(ROWS, STEPS, INPUTS), *inputs[2:]]
    x = apply(PERMUTE, turned[1], permutation=(1, 0, 2))
    moved = run._replace(operands=(turned[0], x, *turned[2:]))
    ys = moved.stack(run.body.outputs[1])
    outputs = (apply(PERMUTE, ys, permutation=(2, 0, 1)), moved.carry(0), add(ys, ys), ys)
    graph = Graph(tuple(turned), outputs)
    assert len([kernel for kernel in make_plan(graph).kernels if isinstance(kernel, Loop)]) == 1
    same_values(graph)


PERMUTE = swap_last_axes(vertex(2, 2)).primitive


def test_an_updated_input_may_be_the_first_carry() -> None:
    inputs, run = network()
    graph = Graph(tuple(inputs), (run.stack(run.body.outputs[1]),), ((inputs[0], run.carry(0)),))
    rng = np.random.default_rng(1)
    values = [rng.normal(size=each.shape) for each in inputs]
    (expected, state), ((found,), (new,)) = (
        (evaluate(graph, values)[0][0], evaluate(graph, values)[1][0]),
        run_native(graph, values),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(new, state, rtol=1e-12)


def test_a_loop_result_is_one_primitive() -> None:
    _, run = network()
    assert run.carry(0).primitive is LOOP
    assert run.carry(0) is run.carry(0)
    assert Run.of(run.stack(run.body.outputs[1])) == run


@pytest.mark.parametrize("rows", [3, 32])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_carry_that_is_stacked_before_each_step_lies_there(rows: int, reverse: bool, steps: int) -> None:
    """h has its stack, n is exchanged with it and lies elsewhere; behind the last step both are where results are."""
    units = 64

    def body(h: Vertex, n: Vertex, x: Vertex, u: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        return [tanh(add(matmul(n, u), x)), h], []

    inputs = [vertex(rows, units), vertex(rows, units), vertex(steps, rows, units), vertex(units, units)]
    run = loop_of(body, inputs[:2], inputs[2:3], inputs[3:], reverse)._replace(length=steps)
    h, n = run.body.inputs[:2]
    for stacked, carries in (([], ()), ([h], (0,)), ([n], (1,)), ([run.body.outputs[0], h, n], (0, 1))):
        results = (run.carry(0), run.carry(1), *map(run.stack, stacked))
        graph = Graph(tuple(inputs), results)
        (loop,) = (kernel for kernel in make_plan(graph).kernels if isinstance(kernel, Loop))
        assert {carry for _, carry in loop.homes} == set(carries)
        assert len(loop.step.outputs) + len(loop.homes) == len(loop.writes)
        same_values(graph)


def gates(x: Vertex, number: int) -> Vertex:
    """Gate ``number`` of a matrix of them, side by side."""
    return slice_(x, (0, UNITS * number), (ROWS, UNITS * (number + 1)), (1, 1))


def stacks_of(graph: Graph, reverse: bool) -> list[tuple[int, ...]]:
    """The shapes, in a step, of what the loop forwards or backwards stacks after the passes."""
    (results,) = (results for run, results in find_runs(optimize(graph).order()).items() if run.reverse == reverse)
    return sorted(each.shape[1:] for each in results if each.attributes["result"] == "stack")


def with_gradients(inputs: list[Vertex], result: Vertex, of: list[Vertex]) -> Graph:
    """A result, and the gradients of the sum of its squares."""
    found = gradients(sum_(multiply(result, result), tuple(range(len(result.shape)))), of)
    return Graph(tuple(inputs), (result, *(each for each in found if each is not None)))


def test_only_the_gate_that_is_read_backwards_is_stacked() -> None:
    """h' = tanh(p₀ + x⊙p₁) with p = h·U: backwards reads h', x and p₁, of p no more."""

    def body(h: Vertex, x: Vertex, u: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        p = matmul(h, u)
        return [tanh(add(gates(p, 0), multiply(x, gates(p, 1))))], []

    inputs = [vertex(ROWS, UNITS), vertex(STEPS, ROWS, UNITS), vertex(UNITS, 3 * UNITS)]
    run = loop_of(body, inputs[:1], inputs[1:2], inputs[2:])
    graph = with_gradients(inputs, run.carry(0), inputs)
    assert stacks_of(graph, reverse=False) == [(ROWS, UNITS)] * 3  # h, which the gradient of U reads, h' and p₁
    same_values(graph)


def peephole(c: Vertex, x: Vertex, w: Vertex) -> tuple[list[Vertex], list[Vertex]]:
    """c' = f⊙c + x₁ with f = σ(x₀ + w⊙c), and tanh(c')."""
    w = broadcast(reshape(w, (1, UNITS)), (ROWS, UNITS))
    after = add(multiply(apply(SIGMOID, add(gates(x, 0), multiply(w, c))), c), gates(x, 1))
    return [after], [tanh(after)]


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_peepholes_are_summed_from_the_stack_of_all_gates(reverse: bool) -> None:
    """A step backwards writes the gradients of both gates, and neither f's alone nor its product with c."""
    inputs = [vertex(ROWS, UNITS), vertex(STEPS, ROWS, 2 * UNITS), vertex(UNITS)]
    run = loop_of(peephole, inputs[:1], inputs[1:2], inputs[2:], reverse)
    graph = with_gradients(inputs, run.carry(0), inputs)
    assert stacks_of(graph, reverse=not reverse) == [(ROWS, 2 * UNITS)]
    same_values(graph)


@pytest.mark.parametrize(("rows", "parts"), [(32, 2), (24, 2), (13, 1), (8, 1), (7, None)])
@pytest.mark.parametrize("reverse", [False, True])
def test_sums_over_rows_begin_in_each_step(rows: int, parts: int | None, reverse: bool) -> None:
    """Gradients of the bias b and the peephole w: a step sums its rows, those that a thread has by themselves."""
    units = 64

    def body(c: Vertex, x: Vertex, u: Vertex, b: Vertex, w: Vertex) -> tuple[list[Vertex], list[Vertex]]:
        f = apply(SIGMOID, add(add(matmul(c, u), b), multiply(w, c)))
        return [tanh(add(multiply(f, c), x))], []

    shapes = (rows, units), (STEPS, rows, units), (units, units), (units,), (units,)
    inputs = [vertex(*shape) for shape in shapes]
    run = loop_of(body, inputs[:1], inputs[1:2], inputs[2:], reverse)
    graph = with_gradients(inputs, run.carry(0), inputs)
    stacks = stacks_of(graph, reverse=not reverse)
    assert [shape for shape in stacks if shape[0] != rows] == ([] if parts is None else [(parts, units)] * 2)
    loops = [kernel for kernel in make_plan(graph).kernels if isinstance(kernel, Loop)]
    assert [loop.tasks for loop in loops] == [parts or 1] * 2
    same_values(graph)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("number", [0, 1])
def test_what_is_read_behind_the_last_step_is_no_stack(number: int, reverse: bool) -> None:
    """``stack(c')[-1]`` and ``stack(tanh c')[-1]``: carries, and so is their gradient on the way back."""
    inputs = [vertex(ROWS, UNITS), vertex(STEPS, ROWS, 2 * UNITS), vertex(UNITS)]
    run = loop_of(peephole, inputs[:1], inputs[1:2], inputs[2:], reverse)
    end = 0 if reverse else STEPS - 1
    last = slice_(run.stack(run.body.outputs[number]), (end, 0, 0), (end + 1, ROWS, UNITS), (1, 1, 1))
    forward = Graph(tuple(inputs), (last,))
    assert stacks_of(forward, reverse) == []
    same_values(forward)
    graph = with_gradients(inputs, last, inputs)
    (back,) = (found for found in find_runs(optimize(graph).order()) if found.reverse != reverse)
    assert not any(operand.primitive.name == "pad" for operand in back.operands)
    same_values(graph)


def test_what_other_steps_are_read_of_stays_a_stack() -> None:
    inputs = [vertex(ROWS, UNITS), vertex(STEPS, ROWS, 2 * UNITS), vertex(UNITS)]
    run = loop_of(peephole, inputs[:1], inputs[1:2], inputs[2:])
    ys = run.stack(run.body.outputs[1])
    first, last = (slice_(ys, (step, 0, 0), (step + 1, ROWS, UNITS), (1, 1, 1)) for step in (0, STEPS - 1))
    for graph in (
        Graph(tuple(inputs), (first,)),
        Graph(tuple(inputs), (first, last)),
        Graph(tuple(inputs), (last, ys)),
    ):
        assert stacks_of(graph, reverse=False) == [(ROWS, UNITS)]
        same_values(graph)
