"""Gradients of weights that loops sum up, a few steps at a time, for each part of the rows."""

from typing import Any

import numpy as np
import pytest

from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.arithmetic import add, multiply, subtract
from chainrule.ops.elementwise import TANH
from chainrule.ops.loop import LOOP, Run
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import reshape, swap_last_axes
from chainrule.ops.reduction import sum_
from chainrule.ops.source import make_input
from chainrule.passes import products
from chainrule.passes import rows as rows_of_loops
from chainrule.passes.pipeline import make_plan, optimize
from chainrule.passes.plan import SUMMED_ROWS, Loop, StepSum
from chainrule.reference import evaluate
from chainrule.types import DType, float32, float64, tensor_type
from tests.native_program import run_native
from tests.passes.plan_interpreter import run_plan


@pytest.fixture(autouse=True)
def small_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_DEPTH", 1)
    for module in (products, rows_of_loops):
        monkeypatch.setattr(module, "LEAST_WORK", 1)


class Network:
    """h' = tanh(x W + h U), and the gradients of Σ h² by what is ``wanted``; x W is computed before the loop."""

    def __init__(
        self,
        rows: int,
        steps: int = 20,
        inputs: int = 7,
        units: int = 32,
        *,
        reverse: bool = False,
        wanted: str = "wu",
        mixes_rows: bool = False,
        dtype: DType = float64,
    ) -> None:
        shapes = {"h": (rows, units), "x": (steps, rows, inputs), "w": (inputs, units), "u": (units, units)}
        self.inputs = {name: make_input(tensor_type(dtype, shape)) for name, shape in shapes.items()}
        h, x, w, u = self.inputs.values()
        before, given, matrix = (
            make_input(tensor_type(dtype, shape)) for shape in ((rows, units), (rows, units), u.shape)
        )
        after = apply(TANH, add(given, matmul(before, matrix)))
        if mixes_rows:
            after = subtract(after, sum_(after, (0,)))
        self.run = Run((h, matmul(x, w), u), Graph((before, given, matrix), (after,)), 1, 1, steps, reverse)
        states = self.run.stack(after)
        found = gradients(sum_(multiply(states, states), (0, 1, 2)), [self.inputs[name] for name in wanted])
        self.graph = Graph(tuple(self.inputs.values()), tuple(each for each in found if each is not None))

    def loops(self) -> list[Loop]:
        return [kernel for kernel in make_plan(self.graph).kernels if isinstance(kernel, Loop)]

    def sums(self) -> list[StepSum]:
        return [each for loop in self.loops() for each in loop.sums]

    def check(self, rtol: float = 1e-11) -> None:
        """The graph as it is, after the passes, as a plan, and as a native program."""
        rng = np.random.default_rng(0)
        values = [0.1 * rng.normal(size=each.shape).astype(each.dtype.numpy) for each in self.graph.inputs]
        expected = evaluate(self.graph, values)[0]
        found = [evaluate(optimize(self.graph), values)[0], run_native(self.graph, values)[0]]
        for results in [*found, run_plan(make_plan(self.graph), self.graph, values)[0]]:
            for a, b in zip(results, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("rows", "parts"), [(16, 2), (24, 2), (32, 2), (48, 3), (128, 8)])
def test_each_part_of_the_rows_has_sums_of_its_own(rows: int, parts: int, reverse: bool) -> None:
    network = Network(rows, reverse=reverse)
    (sums,) = network.sums()
    assert (sums.parts, sums.depth, sums.columns) == (parts, rows // parts, 32)
    assert sorted(factor.rows for factor in sums.factors) == [7, 32]
    assert [loop.tasks for loop in network.loops()] == [parts, parts]
    network.check()


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 16, 23])
def test_any_number_of_steps(steps: int) -> None:
    network = Network(32, steps)
    assert network.sums()[0].steps == SUMMED_ROWS // 16 == 8
    network.check()


@pytest.mark.parametrize(("inputs", "units"), [(2, 32), (5, 64), (12, 96), (13, 32), (64, 128), (8, 256)])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_tiles_of_any_size(inputs: int, units: int, dtype: DType) -> None:
    network = Network(16, 9, inputs, units, dtype=dtype)
    assert network.sums()
    network.check(1e-11 if dtype is float64 else 2e-5)


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (13, {}),  # rows that are no parts
        (256, {}),  # so many parts that all their sums take long to add
        (32, {"units": 24}),  # columns that are no panels
        (32, {"units": 512, "wanted": "u"}),  # sums that would not stay in the caches
        (32, {"inputs": 1, "wanted": "w"}),  # sums that are made in another order
    ],
)
def test_what_would_not_pay_is_multiplied_behind_the_loop(rows: int, options: dict[str, Any]) -> None:
    assert Network(rows, **options).sums() == []


def test_few_rows_are_multiplied_behind_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_DEPTH", 256)
    assert Network(32, steps=15).sums() == []
    assert Network(32, steps=16).sums() != []


def test_what_only_sums_read_is_kept_for_a_few_steps() -> None:
    *_, backward = Network(32, 20).loops()
    plan = make_plan(Network(32, 20).graph)
    (ring,) = backward.rings
    assert backward.writes[ring].buffer == backward.sums[0].right.buffer
    (loop,) = (kernel for kernel in plan.kernels if isinstance(kernel, Loop) and kernel.rings)
    assert plan.buffers[loop.writes[loop.rings[0]].buffer].size == 8 * 32 * 32


def test_what_others_read_is_stacked_for_all_steps() -> None:
    network = Network(32, 20, wanted="wux")
    *_, backward = network.loops()
    assert (backward.rings, len(backward.sums)) == ((), 1)
    network.check()


def test_a_loop_whose_rows_need_one_another_adds_all_parts() -> None:
    network = Network(32, 11, mixes_rows=True)
    assert [(loop.tasks, [each.parts for each in loop.sums]) for loop in network.loops()] == [(1, []), (1, [2])]
    network.check()


def test_an_operand_that_follows_from_the_loop_is_multiplied_behind_it() -> None:
    network = Network(32)
    states = network.run.stack(network.run.body.outputs[0])
    rows, squares = (reshape(each, (20 * 32, 32)) for each in (states, multiply(states, states)))
    products_of = [matmul(swap_last_axes(each), rows) for each in (rows, squares)]
    network.graph = Graph(network.graph.inputs, tuple(products_of))
    (sums,) = network.sums()
    assert len(sums.factors) == 1
    kinds = [vertex.attributes["result"] for vertex in optimize(network.graph).order() if vertex.primitive is LOOP]
    assert sorted(kinds) == ["product", "stack"]
    network.check()


def test_states_before_each_step_are_an_operand_that_a_step_has() -> None:
    """Σ hᵀ h', of a loop that is given h."""
    network = Network(32, 17)
    (before, _, _), (after,) = network.run.body.inputs, network.run.body.outputs
    left, right = (reshape(network.run.stack(each), (17 * 32, 32)) for each in (before, after))
    network.graph = Graph(network.graph.inputs, (matmul(swap_last_axes(left), right),))
    (loop,) = network.loops()
    assert len(loop.homes) == len(loop.sums) == len(loop.rings) == 1
    network.check()


def layers(rows: int) -> tuple[Graph, list[Vertex]]:
    """Two layers, of which the second reads the states of the first."""
    first, second = Network(rows, 12, 32), Network(rows, 12, 32)
    states = first.run.stack(first.run.body.outputs[0])
    u = second.inputs["u"]
    run = second.run._replace(operands=(second.inputs["h"], matmul(states, second.inputs["w"]), u))
    last = run.stack(run.body.outputs[0])
    weights = [first.inputs[name] for name in "wu"] + [second.inputs["w"], u]
    found = gradients(sum_(multiply(last, last), (0, 1, 2)), weights)
    inputs = [*first.inputs.values(), *(second.inputs[name] for name in "hwu")]
    return Graph(tuple(inputs), tuple(each for each in found if each is not None)), weights


def test_layers_on_top_of_each_other() -> None:
    network = Network(32)
    network.graph, weights = layers(32)
    assert sum(len(each.factors) for each in network.sums()) == len(weights) == 4
    network.check()
