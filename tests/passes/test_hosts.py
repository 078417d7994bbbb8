"""Values that lie inside what is put together from them: no copies, and never at the price of a wrong result."""

import numpy as np
import pytest

from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.vertex import apply
from chainrule.ops.arithmetic import add, multiply
from chainrule.ops.elementwise import exp
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import INTERLEAVE, concatenate, pad, transpose
from chainrule.ops.reduction import sum_
from chainrule.ops.source import make_input
from chainrule.passes.nodes import FRAMED
from chainrule.passes.pipeline import make_plan
from chainrule.passes.plan import Product
from chainrule.reference import evaluate
from chainrule.types import float64, tensor_type
from tests.passes.plan_interpreter import run_plan


def new_input(*shape):
    return make_input(tensor_type(float64, shape))


def plan_of(inputs, outputs):
    """The plan, after checking on random values that it is right, in whatever order kernels leave memory."""
    graph = Graph(tuple(inputs), tuple(outputs))
    plan, rng = make_plan(graph), np.random.default_rng(0)
    values = [rng.normal(size=vertex.shape) for vertex in inputs]
    for expected, found in zip(evaluate(graph, values)[0], run_plan(plan, graph, values)[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    return plan


def temporaries(plan):
    return sorted(buffer.size for buffer in plan.buffers if buffer.role == "temporary" and buffer.size)


def reading_kernels(plan):
    """Kernels that load something, or multiply."""
    return [
        kernel for kernel in plan.kernels
        if isinstance(kernel, Product) or any(step.operation == "load" for step in kernel.body)
    ]  # fmt: skip


def make_products(count, rows=6, columns=5):
    """Inputs and their products, each of which must lie in memory for the next product."""
    inputs = [new_input(*shape) for _ in range(count) for shape in ((rows, 4), (4, columns))]
    return inputs, [matmul(*inputs[2 * i : 2 * i + 2]) for i in range(count)]


@pytest.mark.parametrize("size", [6, FRAMED // 8], ids=["filled whole", "framed"])
def test_a_value_lies_in_the_middle_of_its_padded_copy(size):
    inputs, (value,) = make_products(1, size, 8)
    last = new_input(11, 2)
    plan = plan_of([*inputs, last], [matmul(pad(value, (2, 1), (3, 2), (0, 0)), last)])
    assert temporaries(plan) == [(size + 5) * 11]
    assert len(reading_kernels(plan)) == 2


def test_elements_between_zeros_are_written_where_they_belong():
    inputs, (value,) = make_products(1)
    last = new_input(14, 2)
    plan = plan_of([*inputs, last], [matmul(pad(value, (0, 1), (0, 0), (1, 2)), last)])
    assert temporaries(plan) == [11 * 14] and len(reading_kernels(plan)) == 2


@pytest.mark.parametrize("axis", [0, 1])
def test_parts_of_a_concatenation_are_computed_in_it(axis):
    inputs, parts = make_products(3)
    plan = plan_of(inputs, [concatenate(*parts, axis=axis)])
    assert temporaries(plan) == [] and len(plan.kernels) == 3


def test_parts_are_computed_where_they_interleave():
    inputs, parts = make_products(2)
    whole = apply(INTERLEAVE, *parts, shape=(6, 10), starts=((0, 0), (0, 1)), steps=(1, 2))
    plan = plan_of(inputs, [whole])
    assert temporaries(plan) == [] and len(plan.kernels) == 2
    sparse = apply(INTERLEAVE, *parts, shape=(12, 10), starts=((0, 0), (1, 1)), steps=(2, 2))
    plan = plan_of(inputs, [sparse])
    assert temporaries(plan) == [] and len(plan.kernels) == 3  # and the zeros


def test_a_turned_value_lies_turned():
    inputs, (one, other) = make_products(2)
    turned = concatenate(transpose(one, (1, 0)), transpose(other, (1, 0)), axis=0)
    plan = plan_of(inputs, [turned])
    assert temporaries(plan) == [] and len(plan.kernels) == 2


@pytest.mark.parametrize("rows", [6, FRAMED // 8])
def test_others_read_a_value_where_it_lies(rows):
    """But where zeros are written over all of the host first, the value lies apart, for it may be computed before."""
    inputs, (value,) = make_products(1, rows, 8)
    right, last = new_input(8, 3), new_input(10, 2)
    plan = plan_of([*inputs, right, last], [matmul(value, right), matmul(pad(value, (1, 1), (1, 1), (0, 0)), last)])
    host, apart = (rows + 2) * 10, [] if rows > 6 else [48]
    assert temporaries(plan) == [*apart, host]


def test_a_value_has_one_host():
    inputs, (value,) = make_products(1)
    plan = plan_of(inputs, [concatenate(value, value, axis=0)])
    assert temporaries(plan) == []
    plan = plan_of(inputs, [concatenate(value, value, axis=0), pad(value, (1, 1), (1, 1), (0, 0))])
    assert temporaries(plan) == []


def test_outputs_and_inputs_stay_where_they_are():
    inputs, (value,) = make_products(1)
    plan = plan_of(inputs, [value, pad(value, (1, 1), (1, 1), (0, 0)), pad(inputs[0], (1, 0), (0, 0), (0, 0))])
    assert [plan.buffers[number].size for number in plan.outputs] == [30, 56, 28]


def test_a_kernel_does_not_read_one_part_of_a_host_and_write_another():
    """The interpreter refuses a kernel that reads at one point what it writes at another."""
    inputs, (value,) = make_products(1)
    centred = add(value, transpose(apply(PRIMITIVES["broadcast"], sum_(value, (1,)), shape=(5, 6)), (1, 0)))
    plan_of(inputs, [concatenate(value, exp(centred), axis=0)])
    plan_of(inputs, [concatenate(exp(value), value, multiply(value, value), axis=1)])
    right = new_input(5, 5)
    plan_of([*inputs, right], [concatenate(value, matmul(value, right), axis=0)])


@pytest.mark.parametrize("seed", range(60))
def test_random_hosts(seed):
    """Products, reductions and what is put together from them, one inside the other."""
    rng = np.random.default_rng(seed)
    inputs = [new_input(4, 4) for _ in range(2)]
    pool = list(inputs)
    for _ in range(9):
        x, y = (pool[int(rng.integers(max(0, len(pool) - 4), len(pool)))] for _ in range(2))
        axis = int(rng.integers(2))
        if x.shape[1 - axis] == y.shape[1 - axis] and rng.random() < 0.4:
            made = concatenate(x, y, *([x] if rng.random() < 0.2 else []), axis=axis)
        elif x.shape[1] == y.shape[0] and rng.random() < 0.6:
            made = multiply(matmul(x, y), 0.1)
        elif x.shape == y.shape and rng.random() < 0.5:
            starts = (((0, 0), (0, 1)), ((0, 0), (1, 0)))[axis]
            steps = tuple(1 + (1 - axis == d) for d in range(2))
            made = apply(INTERLEAVE, x, y, shape=tuple(n * s for n, s in zip(x.shape, steps, strict=True)),
                         starts=starts, steps=steps)  # fmt: skip
        else:
            low, high, gap = (tuple(map(int, rng.integers(0, 2, 2))) for _ in range(3))
            made = (exp(multiply(x, 0.1)), transpose(x, (1, 0)), pad(x, low, high, gap), add(x, sum_(x, (0,))))[
                int(rng.integers(4))
            ]
        if made.type.size < 500:
            pool.append(made)
    plan_of(inputs, pool[-int(rng.integers(1, 4)) :])
