"""Loops as machine code for any number of steps: to the bit what a program compiled for one number computes."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from chainrule.execution import native_loops
from chainrule.execution.native_loops import NativeLoop, find_native_loop, loop_text
from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.arithmetic import add, multiply
from chainrule.ops.elementwise import TANH
from chainrule.ops.loop import Run
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import broadcast, swap_last_axes
from chainrule.ops.source import make_input
from chainrule.settings import settings
from chainrule.types import Shape, float32, tensor_type
from tests.native_program import run_native


@pytest.fixture(autouse=True)
def none_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "cache_enabled", False)
    native_loops._loops.clear()
    yield
    native_loops._loops.clear()


def vertex(shape: Shape) -> Vertex:
    return make_input(tensor_type(float32, shape))


def network(rows: int, units: int) -> tuple[list[Shape], int, Callable[..., list[Vertex]]]:
    """h' = tanh(x + h·Uᵀ + b) with two carries: the second is the sum of all states."""

    def step(h: Vertex, total: Vertex, x: Vertex, u: Vertex, b: Vertex) -> list[Vertex]:
        summed = add(add(x, matmul(h, swap_last_axes(u))), broadcast(b, x.shape))
        after = apply(TANH, summed)
        return [after, add(total, after), summed]

    return [(rows, units), (rows, units), (rows, units), (units, units), (units,)], 1, step


def oscillator(rows: int, units: int) -> tuple[list[Shape], int, Callable[..., list[Vertex]]]:
    """Two carries that are given nothing but each other."""

    def step(a: Vertex, b: Vertex) -> list[Vertex]:
        return [b, multiply(a, b), add(a, b)]

    return [(rows, units)] * 2, 0, step


def make_run(shapes: list[Shape], xs: int, step: Callable[..., list[Vertex]], length: int, reverse: bool) -> Run:
    inside = [vertex(shape) for shape in shapes]
    operands = [vertex((length, *shape) if 2 <= k < 2 + xs else shape) for k, shape in enumerate(shapes)]
    return Run(tuple(operands), Graph(tuple(inside), tuple(step(*inside))), 2, xs, length, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("kind", "rows", "units"), [(network, 3, 5), (network, 32, 64), (oscillator, 2, 3)])
def test_all_lengths_run_on_one_machine_code(
    kind: Callable[..., tuple[list[Shape], int, Callable[..., list[Vertex]]]],
    rows: int,
    units: int,
    reverse: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """32 rows of 64 units are parts of a batch, each of which goes through all steps by itself."""
    monkeypatch.setattr(native_loops, "ENOUGH_STEPS", 1)
    rng, machines = np.random.default_rng(0), set[NativeLoop]()
    for length in (1, 2, 9):
        run = make_run(*kind(rows, units), length, reverse)
        values = [(0.1 * rng.normal(size=x.shape)).astype("float32") for x in run.operands]
        if run.xs:
            values[2][0, 0, :2] = np.nan, np.inf
        stacked = run.body.outputs[2]
        step = run.step([run.body.members.index(stacked)])
        expected, _ = run_native(Graph(run.operands, (run.carry(0), run.carry(1), run.stack(stacked))), values)
        machine = find_native_loop(run, step, loop_text(run, step))
        assert machine is not None
        for found, wanted in zip(machine.evaluate(values, length), expected, strict=True):
            assert found.shape == wanted.shape
            assert found.tobytes() == wanted.tobytes()
        machines.add(machine)
    assert len(machines) == 1


def test_a_loop_is_compiled_when_enough_steps_were_run_without() -> None:
    found = []
    for length in (native_loops.ENOUGH_STEPS // 2, native_loops.ENOUGH_STEPS // 2 - 1, 1, 3):
        run = make_run(*oscillator(2, 3), length, False)
        step = run.step([])
        found.append(find_native_loop(run, step, loop_text(run, step)))
    assert found[0] is found[1] is None
    assert found[2] is found[3] is not None
    other = make_run(*oscillator(2, 3), 1, True)  # in the other direction
    assert find_native_loop(other, other.step([]), loop_text(other, other.step([]))) is None


def test_few_loops_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_loops, "MAX_LOOPS", 3)
    for rows in range(1, 6):
        run = make_run(*oscillator(rows, 3), 1, False)
        find_native_loop(run, run.step([]), loop_text(run, run.step([])))
        assert len(native_loops._loops) == min(rows, 3)
