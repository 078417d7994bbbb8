"""From placed graphs to kernels: fusion, storage, loops, memory - by structure."""

import numpy as np
import pytest

from chainrule.graph.graph import Graph
from chainrule.ops.arithmetic import add, divide, multiply, subtract
from chainrule.ops.comparison import equal
from chainrule.ops.elementwise import cast, exp, negative
from chainrule.ops.indexing import dynamic_update, scatter_add, take
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import concatenate, reshape, slice_, transpose
from chainrule.ops.reduction import max_, sum_
from chainrule.ops.source import make_input
from chainrule.passes.pipeline import make_plan
from chainrule.passes.plan import Nest, Product
from chainrule.passes.text import format_plan, kernel_bytes, kernel_flops
from chainrule.reference import evaluate
from chainrule.types import float32, int64, tensor_type
from tests.passes.plan_interpreter import run_plan


def new_input(*shape, dtype=float32, strides=None):
    return make_input(tensor_type(dtype, shape), strides=strides)


def plan_of(inputs, outputs, updates=(), strides=None):
    """The plan, after checking on random values that it is right."""
    graph = Graph(tuple(inputs), tuple(outputs), tuple(updates))
    plan = make_plan(graph, strides)
    rng = np.random.default_rng(0)
    values = [
        rng.normal(size=v.shape).astype("f4") if v.dtype is float32 else rng.integers(0, 3, v.shape) for v in inputs
    ]
    expected, got = evaluate(graph, values), run_plan(plan, graph, values, strides)
    for one, other in zip(expected[0] + expected[1], got[0] + got[1], strict=True):
        largest = np.abs(one).max(initial=10)  # the terms of a sum are rounded by their size, not by the sum's
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * largest)
    return plan


def operations(kernel):
    return [step.operation for step in kernel.body if step.operation not in ("load", "constant", "accumulator")]


def test_elementwise_chain_is_one_flat_loop():
    x, y = new_input(3, 4, 5), new_input(3, 4, 5)
    (kernel,) = plan_of([x, y], [exp(add(x, multiply(x, y)))]).kernels
    assert isinstance(kernel, Nest) and kernel.domain == (60,) and operations(kernel) == ["multiply", "add", "exp"]
    assert len(kernel.stores) == 1


def test_value_used_inside_and_outside_is_stored_once_and_not_loaded():
    x = new_input(6)
    y = exp(x)
    (kernel,) = plan_of([x], [y, negative(y)]).kernels
    assert operations(kernel) == ["exp", "negative"] and len(kernel.stores) == 2


def test_softmax_is_three_kernels():
    x = new_input(4, 7)
    e = exp(subtract(x, reshape(max_(x, (1,)), (4, 1))))
    plan = plan_of([x], [divide(e, reshape(sum_(e, (1,)), (4, 1)))])
    assert [operations(kernel) for kernel in plan.kernels] == [[], ["subtract", "exp"], ["divide"]]
    assert [len(kernel.reductions) for kernel in plan.kernels] == [1, 1, 0]


def test_reductions_of_one_array_share_a_nest():
    x = new_input(40, 30)
    (kernel,) = plan_of([x], [sum_(x, (0,)), sum_(multiply(x, x), (0,))]).kernels
    assert len(kernel.reductions) == 2 and {reduction.axes for reduction in kernel.reductions} == {(0,)}
    assert len(plan_of([x], [sum_(x, (0,)), sum_(x, (1,))]).kernels) == 2


def test_reductions_of_one_array_share_a_nest_beside_an_epilogue_that_uses_it():
    a, b, x = new_input(40, 20), new_input(20, 30), new_input(40, 30)
    g = matmul(a, b)
    outputs = [g, exp(g), sum_(g, (0,)), sum_(multiply(g, x), (0,))]
    product, nest = plan_of([a, b, x], outputs).kernels
    assert isinstance(product, Product) and len(nest.reductions) == 2


def test_reduced_dimensions_stay_as_they_are():
    """The order of sums follows from them; the others merge."""
    x = new_input(3, 4, 5)
    (kernel,) = plan_of([x], [sum_(x, (1, 2))]).kernels
    assert kernel.domain == (3, 4, 5) and kernel.reductions[0].axes == (1, 2) and kernel.reductions[0].is_last
    (kernel,) = plan_of([x], [sum_(x, (0,))]).kernels
    assert kernel.domain == (3, 20) and kernel.reductions[0].axes == (0,) and not kernel.reductions[0].is_last
    (kernel,) = plan_of([x], [sum_(x, (0, 2))]).kernels
    assert kernel.domain == (3, 4, 5) and kernel.reductions[0].axes == (0, 2)


def test_loops_follow_memory():
    x = new_input(30, 40, strides=(1, 30))
    (kernel,) = plan_of([x], [exp(x)], strides=[(1, 30)]).kernels
    assert kernel.domain == (1200,)
    y = new_input(30, 40, strides=(1, 30))
    (kernel,) = plan_of([x, y], [sum_(multiply(x, y), (1,))]).kernels
    assert kernel.domain == (40, 30) and kernel.reductions[0].axes == (0,)


def test_bias_activation_and_residual_are_an_epilogue():
    x, w, b, r = new_input(9, 5), new_input(5, 7), new_input(7), new_input(9, 7)
    (kernel,) = plan_of([x, w, b, r], [add(exp(add(matmul(x, w), b)), r)]).kernels
    assert isinstance(kernel, Product) and operations(kernel) == ["add", "exp", "add"] and len(kernel.stores) == 1


def test_product_needed_elsewhere_is_stored_besides_its_epilogue():
    x, w, v = new_input(9, 5), new_input(5, 7), new_input(7, 3)
    y = matmul(x, w)
    first, second = plan_of([x, w, v], [exp(y), matmul(y, v)]).kernels
    assert isinstance(first, Product) and len(first.stores) == 2 and isinstance(second, Product)


def test_operands_of_products_are_stored_first():
    x, w = new_input(9, 5), new_input(5, 7)
    first, second = plan_of([x, w], [matmul(exp(x), w)]).kernels
    assert isinstance(first, Nest) and isinstance(second, Product)


def test_reduction_stays_out_of_the_epilogue():
    x, w = new_input(9, 5), new_input(5, 7)
    y = matmul(x, w)
    plan = plan_of([x, w], [sum_(multiply(y, y), (0,))])
    assert [type(kernel) for kernel in plan.kernels] == [Product, Nest]
    assert [operations(kernel) for kernel in plan.kernels] == [[], ["multiply"]]


def test_update_of_a_transposed_gradient_is_an_epilogue_along_memory():
    x, g, w = new_input(9, 5), new_input(9, 7), new_input(7, 5, strides=(1, 7))
    gradient = transpose(matmul(transpose(x, (1, 0)), g), (1, 0))
    (kernel,) = plan_of([x, g, w], [], [(w, subtract(w, multiply(gradient, 0.1)))]).kernels
    assert isinstance(kernel, Product) and (kernel.rows, kernel.columns) == (5, 7)
    assert kernel.stores[0].access.strides == (7, 1) and kernel.stores[0].access.buffer == 2


def test_product_is_turned_over_if_its_result_lies_in_columns():
    x, g, w = new_input(9, 5), new_input(9, 7), new_input(7, 5, strides=(1, 7))
    (kernel,) = plan_of([x, g, w], [], [(w, add(w, matmul(transpose(g, (1, 0)), x)))]).kernels
    assert (kernel.rows, kernel.columns) == (5, 7) and kernel.stores[0].access.strides == (7, 1)


def test_batches_with_one_right_operand_become_rows():
    x, w, b = new_input(4, 6, 5), new_input(5, 7), new_input(7)
    (kernel,) = plan_of([x, w, b], [add(matmul(x, w), b)]).kernels
    assert kernel.batch == () and (kernel.rows, kernel.columns, kernel.depth) == (24, 7, 5)
    y = new_input(4, 5, 3)
    (kernel,) = plan_of([x, y], [matmul(x, y)]).kernels
    assert kernel.batch == (4,)


def test_heads_are_joined_by_the_store_of_the_product():
    """transpose + reshape of a batched product needs no copy: the product writes where the joined axis wants it."""
    scores, values, w = new_input(2, 3, 4, 4), new_input(2, 3, 4, 5), new_input(15, 6)
    joined = reshape(transpose(matmul(scores, values), (0, 2, 1, 3)), (2, 4, 15))
    first, second = plan_of([scores, values, w], [matmul(joined, w)]).kernels
    assert isinstance(first, Product) and isinstance(second, Product) and second.rows == 8


def test_cheap_values_are_computed_again_rather_than_stored():
    labels, x, w = new_input(9, dtype=int64), new_input(9, 5), new_input(5, 7)
    one_hot = reshape(cast(equal(labels, 1), float32), (9, 1))
    plan = plan_of([labels, x, w], [exp(matmul(multiply(x, one_hot), w)), sum_(one_hot, (0,))])
    assert not [buffer for buffer in plan.buffers if buffer.role == "temporary" and buffer.size == 9]


def test_update_is_written_in_place():
    w, g = new_input(50), new_input(50)
    plan = plan_of([w, g], [], [(w, subtract(w, g))])
    assert len(plan.kernels) == 1 and plan.arena_bytes == 0
    assert plan.kernels[0].stores[0].access.buffer == 0


def test_readers_of_the_old_value_run_before_its_update():
    w, x = new_input(5, 5), new_input(5, 5)
    plan = plan_of([w, x], [matmul(x, w)], [(w, subtract(w, x))])
    assert [type(kernel) for kernel in plan.kernels] == [Product, Nest] and plan.arena_bytes == 0


@pytest.mark.parametrize("value", [lambda w: transpose(w, (1, 0)), lambda w: matmul(w, w), lambda w: concatenate(
    slice_(w, (1, 0), (5, 5), (1, 1)), slice_(w, (0, 0), (1, 5), (1, 1)), axis=0)])  # fmt: skip
def test_new_value_that_needs_the_old_one_elsewhere_is_copied_last(value):
    w = new_input(5, 5)
    plan = plan_of([w], [], [(w, value(w))])
    assert plan.kernels[-1].name == "copy_to_input_0" and plan.arena_bytes >= 100


def test_swapped_states():
    a, b = new_input(5), new_input(5)
    plan_of([a, b], [a], [(a, b), (b, a)])


def test_partial_write_into_state_moves_only_the_part():
    table, row, start = new_input(40, 5), new_input(1, 5), new_input(dtype=int64)
    (kernel,) = plan_of([table, row, start], [], [(table, dynamic_update(table, row, start, 0))]).kernels
    assert kernel.domain == (5,) and kernel.stores[0].access.buffer == 0 and kernel.stores[0].access.dynamic


def test_gather_is_a_load_and_scatter_an_accumulating_store():
    table, index = new_input(40, 5), new_input(7, dtype=int64)
    (kernel,) = plan_of([table, index], [exp(take(table, index, 0))]).kernels
    assert operations(kernel) == ["exp"] and sum(bool(s.access and s.access.dynamic) for s in kernel.body) == 1
    g = new_input(7, 5)
    fill, add_rows = plan_of([g, index], [scatter_add(g, index, 0, 40)]).kernels
    assert fill.domain == (200,) and add_rows.stores[0].accumulate and add_rows.domain == (7, 5)


def test_parts_are_written_where_they_are_computed():
    x, y = new_input(4, 3), new_input(4, 2)
    plan = plan_of([x, y], [concatenate(exp(x), negative(y), axis=1)])
    assert [operations(kernel) for kernel in plan.kernels] == [["exp"], ["negative"]]
    assert {store.access.buffer for kernel in plan.kernels for store in kernel.stores} == set(plan.outputs)


def test_temporaries_share_the_arena():
    x = new_input(64, 64)
    y = x
    for _ in range(6):
        y = matmul(y, x)
    plan = plan_of([x], [y])
    assert plan.arena_bytes == 2 * 64 * 64 * 4


def test_what_needs_no_more_memory_comes_as_soon_as_it_can():
    """Each weight is updated where its layer is, so that two layers lie in memory at a time."""
    x, *weights = (new_input(64, 64) for _ in range(7))
    y, updates = x, []
    for weight in weights:
        y = matmul(y, weight)
        updates.append((weight, matmul(y, transpose(y, (1, 0)))))
    plan = plan_of([x, *weights], [y], updates)
    assert plan.arena_bytes == 2 * 64 * 64 * 4


def test_empty_results_need_no_kernel():
    x = new_input(0, 3)
    assert plan_of([x], [exp(x)]).kernels == ()
    assert len(plan_of([x], [sum_(x, (0,))]).kernels) == 1


def test_text_names_kernels_accesses_and_figures():
    x, w = new_input(9, 5), new_input(5, 7)
    plan = plan_of([x, w], [exp(matmul(x, w))])
    text = format_plan(plan)
    assert "product matmul_exp_0 [] 9x7x5" in text
    assert "@0[5·i + k] · @1[7·k + j]" in text and "@2[7·i0 + i1] = %1" in text
    (kernel,) = plan.kernels
    assert kernel_flops(kernel) == 2 * 9 * 7 * 5 + 63
    assert kernel_bytes(kernel, plan.buffers) == 4 * (45 + 35 + 63)
