"""Whole plans: kernels in order, repeats, memory, the thread pool; and a training step from the graph down."""

import ctypes

import numpy as np
import pytest

from chainrule.autodiff.reverse import gradients
from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.driver import lower
from chainrule.backends.native.jit import compile_module
from chainrule.execution.threads import ThreadPool
from chainrule.graph.graph import Graph
from chainrule.ops.arithmetic import add, divide, multiply, subtract
from chainrule.ops.elementwise import exp, stop_gradient
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import reshape
from chainrule.ops.reduction import max_, sum_
from chainrule.ops.source import make_input
from chainrule.passes.pipeline import make_plan
from chainrule.passes.plan import Access, Buffer, Instruction, Nest, Plan, Reduction, Store
from chainrule.reference import evaluate
from chainrule.types import float32, tensor_type


def run(plan, arrays, repeats=1, pool=0, workers=1, level="avx512"):
    """Run a plan on arrays that lie as its inputs; returns the outputs."""
    target = host_target(level)
    program = lower(plan, target)
    library = compile_module(program.text, target)
    outputs = [np.full(plan.buffers[n].size, 7, plan.buffers[n].dtype.numpy) for n in plan.outputs]
    scratch_bytes = max(program.shared_bytes, workers * program.scratch_bytes)
    memory = [np.zeros(size // 8 + 16) for size in (plan.arena_bytes, scratch_bytes)]
    addresses = [a.ctypes.data for a in [*arrays, *outputs]] + [-(-m.ctypes.data // 64) * 64 for m in memory]
    pointers = (ctypes.c_void_p * len(addresses))(*addresses)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(library.address(program.entry))
    call(ctypes.addressof(pointers), repeats, pool)
    return outputs


def load(buffer, strides):
    return Instruction("load", float32, access=Access(buffer, strides))


def elementwise(operation, operands, out, size):
    """out = operation(buffers)"""
    body = [load(buffer, (1,)) for buffer in operands]
    body.append(Instruction(operation, float32, tuple(range(len(operands)))))
    return Nest(operation, (size,), tuple(body), (Store(Access(out, (1,)), len(operands)),))


def chain_plan(size):
    """x += e^(-x) by way of two temporaries, and the sum of the new x."""
    buffers = (
        Buffer(float32, size, "input", 0),
        Buffer(float32, 1, "output", 1),
        Buffer(float32, size, "temporary", 2, 64),
        Buffer(float32, size, "temporary", 2, 128 + size * 4 // 64 * 64),
    )
    total = Nest("sum", (size,), (load(0, (1,)),), (), (Reduction("sum", Access(1, (0,)), 0, (0,)),))
    kernels = (
        elementwise("negative", [0], 2, size),
        elementwise("exp", [2], 3, size),
        elementwise("add", [0, 3], 0, size),
        total,
    )
    return Plan(buffers, kernels, (0,), (1,), 256 + size * 8)


@pytest.mark.parametrize("level", ["avx512", "avx2", "sse"])
@pytest.mark.parametrize("repeats", [0, 1, 5])
def test_kernels_run_in_order_and_repeat(repeats, level):
    x = np.linspace(-1, 1, 77, dtype=np.float32)
    want = x.astype(np.float64)
    for _ in range(repeats):
        want += np.exp(-want)
    (total,) = run(chain_plan(77), [x], repeats, level=level)
    np.testing.assert_allclose(x, want, rtol=1e-6)
    np.testing.assert_allclose(total, [want.sum() if repeats else 7], rtol=1e-6)


@pytest.mark.parametrize("level", ["avx512", "avx2", "sse"])
def test_kernels_keep_to_their_part_of_a_temporary(level):
    """The last 7 of 17 elements are written first, then the first 10, which end within a vector."""
    buffers = (
        Buffer(float32, 7, "input", 0),
        Buffer(float32, 10, "input", 1),
        Buffer(float32, 17, "output", 2),
        Buffer(float32, 17, "temporary", 3, 0),
        Buffer(float32, 17, "temporary", 3, 128),
    )

    def copy(source, target, size, offset=0):
        return Nest("copy", (size,), (load(source, (1,)),), (Store(Access(target, (1,), offset), 0),))

    kernels = (copy(0, 3, 7, 10), copy(1, 3, 10), copy(3, 4, 17), copy(4, 2, 17))
    x, y = np.arange(7, dtype=np.float32), np.arange(50, 60, dtype=np.float32)
    (result,) = run(Plan(buffers, kernels, (0, 1), (2,), 256), [x, y], level=level)
    np.testing.assert_array_equal(result, np.concatenate([y, x]))


def test_an_empty_plan():
    assert run(Plan((), (), (), (), 0), []) == []


def test_threads_do_not_change_a_bit():
    values = np.random.default_rng(0).normal(size=400_000).astype(np.float32)
    plan, alone = chain_plan(values.size), values.copy()
    assert lower(plan, host_target()).is_parallel
    (expected,) = run(plan, [alone], 3)
    for size in (2, 3):
        pool = ThreadPool(size)
        pool.open()
        x = values.copy()
        (total,) = run(plan, [x], 3, pool.address, size)
        pool.close()
        pool.stop()
        assert x.tobytes() == alone.tobytes()
        assert total.tobytes() == expected.tobytes()
    np.testing.assert_allclose(expected, alone.sum(dtype=np.float64), rtol=1e-6)


def softmax_step(rows, features, classes):
    """Loss and the updated weights of a softmax regression, as a graph."""
    shapes = [(rows, features), (rows, classes), (features, classes), (classes,)]
    x, target, weight, bias = (make_input(tensor_type(float32, shape), i > 1) for i, shape in enumerate(shapes))
    hidden = add(matmul(x, weight), bias)
    powers = exp(subtract(hidden, stop_gradient(reshape(max_(hidden, (1,)), (rows, 1)))))
    error = subtract(divide(powers, reshape(sum_(powers, (1,)), (rows, 1))), target)
    loss = sum_(multiply(error, error), (0, 1))
    slopes = gradients(loss, [weight, bias])
    updates = [(p, subtract(p, multiply(g, 0.1))) for p, g in zip((weight, bias), slopes, strict=True)]
    return Graph((x, target, weight, bias), (loss,), tuple(updates))


@pytest.mark.parametrize("level", ["avx512", "avx2", "sse"])
@pytest.mark.parametrize("sizes", [(10, 8, 1), (9, 33, 7), (70, 100, 20)])
def test_a_training_step_from_the_graph_down(sizes, level):
    rng, graph = np.random.default_rng(1), softmax_step(*sizes)
    arrays = [rng.normal(size=vertex.shape).astype(np.float32) * 0.3 for vertex in graph.inputs]
    outputs, updated = evaluate(graph, [array.copy() for array in arrays])
    (loss,) = run(make_plan(graph), arrays, level=level)
    np.testing.assert_allclose(loss.reshape(outputs[0].shape), outputs[0], rtol=1e-5)
    for have, want in zip(arrays[2:], updated, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def test_kernels_that_do_the_same_share_a_function():
    buffers = tuple(Buffer(float32, 5, "output" if n else "input", n) for n in range(4))
    kernels = tuple(elementwise("exp", [0], out, 5) for out in (1, 2, 3))
    x = np.arange(5, dtype=np.float32)
    plan = Plan(buffers, kernels, (0,), (1, 2, 3), 0)
    assert lower(plan, host_target()).text.count("define internal void @kernel_") == 1
    for result in run(plan, [x]):
        np.testing.assert_allclose(result, np.exp(x), rtol=1e-6)


def test_kernels_with_equal_but_different_constants_share_nothing():
    buffers = (Buffer(float32, 1, "output", 0), Buffer(float32, 1, "output", 1))
    body = [(Instruction("constant", float32, value=zero),) for zero in (0.0, -0.0)]
    kernels = tuple(Nest("zero", (1,), body[n], (Store(Access(n, (0,)), 0),)) for n in (0, 1))
    plus, minus = run(Plan(buffers, kernels, (), (0, 1), 0), [])
    assert [np.signbit(plus[0]), np.signbit(minus[0])] == [False, True]
