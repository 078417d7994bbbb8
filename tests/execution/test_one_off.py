"""Graphs run vertex by vertex: to the bit what their compiled programs compute."""

from collections.abc import Sequence

import numpy as np
import pytest

from chainrule.execution import generic_kernels
from chainrule.execution.generic_kernels import contiguous, draw_uniform
from chainrule.execution.generic_kernels import multiply as matrix_product
from chainrule.execution.one_off import evaluate, schedule
from chainrule.execution.stepwise import make_stepwise
from chainrule.graph.graph import Graph
from chainrule.graph.text import format_graph
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.arithmetic import add, multiply, power, subtract
from chainrule.ops.comparison import less, where
from chainrule.ops.elementwise import exp, log, sqrt
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import broadcast, pad, reshape, slice_, swap_last_axes, transpose
from chainrule.ops.reduction import PROD, expand_reduced, max_, sum_
from chainrule.ops.source import constant, make_input
from chainrule.reference import Array
from chainrule.settings import settings
from chainrule.types import DType, Shape, float32, float64, tensor_type
from tests.native_program import run_native, run_program
from tests.random_graphs import random_graph


@pytest.fixture(autouse=True)
def without_disk_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_enabled", False)


def run_one_off(graph: Graph, values: Sequence[Array]) -> list[Array]:
    """The roots of a graph, vertex by vertex."""
    steps = schedule(graph.order(), graph.roots)
    assert steps is not None
    inputs = {
        vertex: np.array(value, vertex.dtype.numpy).reshape(vertex.shape)
        for vertex, value in zip(graph.inputs, values, strict=True)
    }
    return evaluate(steps, inputs)


def bits(value: Array) -> Array:
    """The bits of an array; any NaN is like any other."""
    value = np.ascontiguousarray(value)
    if value.dtype.kind == "f":
        value = np.where(value == value, value, np.array(np.nan, value.dtype))
    return value.view(f"u{value.itemsize}")


def assert_same_bits(graph: Graph, values: Sequence[Array]) -> None:
    """The compiled program and the evaluation vertex by vertex, once and as a program, give the same bits."""
    outputs, updates = run_native(graph, values)
    stepwise = make_stepwise(graph, format_graph(graph), [None] * len(graph.outputs))
    assert stepwise is not None
    again = run_program(stepwise, graph, values)
    roots = (*graph.outputs, *(value for _, value in graph.updates)) * 2
    results = (*run_one_off(graph, values), *again[0], *again[1])
    for vertex, found, expected in zip(roots, results, (*outputs, *updates) * 2, strict=True):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        different = np.argwhere(np.atleast_1d(bits(found) != bits(expected)))
        assert not len(different), f"differ at {different[:3]}\n{format_graph(Graph((), (vertex,)))}"


@pytest.mark.parametrize("number", range(40))
def test_random_graphs(number: int) -> None:
    assert_same_bits(*random_graph(1000 + number, 20))


@pytest.mark.parametrize("number", range(8))
def test_random_graphs_of_special_values(number: int) -> None:
    graph, values = random_graph(2000 + number, 20)
    rng = np.random.default_rng(number)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3e38]
    if any(vertex.primitive.name == "convolution" for vertex in graph.order()):
        special = [0.0, -0.0, 1e-42]  # whether an infinite weight meets the zeros around an image is left open
    spoilt = [
        np.where(rng.random(value.shape) < 0.2, rng.choice(special, value.shape), value).astype(value.dtype)
        if value.dtype.kind == "f" else value
        for value in values
    ]  # fmt: skip
    assert_same_bits(graph, spoilt)


def make(rng: np.random.Generator, shape: Shape, dtype: DType, inputs: dict[Vertex, Array]) -> Vertex:
    """A new input with values."""
    vertex = make_input(tensor_type(dtype, shape))
    inputs[vertex] = rng.normal(size=shape).astype(dtype.numpy)
    return vertex


REDUCTIONS: list[tuple[Shape, Shape]] = [
    ((1,), (0,)), ((3,), (0,)), ((50,), (0,)), ((64,), (0,)), ((65,), (0,)), ((1000,), (0,)), ((300_000,), (0,)),
    ((1_500_001,), (0,)), ((7, 3), (0,)), ((7, 3), (1,)), ((7, 3), (0, 1)), ((150, 33), (0,)), ((150, 33), (1,)),
    ((33, 150), (0, 1)), ((5000, 70), (0,)), ((70, 5000), (0, 1)), ((70_000, 5), (0,)), ((70_000, 5), (0, 1)),
    ((20_000, 17), (1,)), ((3, 4, 5), (0, 2)), ((3, 4, 5), (1,)), ((3, 40, 5), (0, 1)), ((6, 7, 8, 9), (0, 2)),
    ((6, 7, 8, 9), (1, 3)), ((6, 7, 8, 9), (1, 2)), ((2, 300, 3, 400), (0, 3)), ((2, 300, 3, 400), (1, 2)),
    ((2, 1, 5), (1,)), ((2, 1, 5), (1, 2)), ((0, 3), (0,)), ((3, 0), (0,)), ((600, 2, 300), (0, 2)), ((9, 1100), (0,)),
    ((9, 300_000), (1,)), ((1_200_000, 3), (0,)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize(("shape", "axes"), REDUCTIONS)
def test_reductions(shape: Shape, axes: Shape, dtype: DType) -> None:
    """Alone, of transposed memory, of expressions that are fused with them, several in one loop."""
    rng, inputs = np.random.default_rng(0), dict[Vertex, Array]()
    x = make(rng, shape, dtype, inputs)
    turned = transpose(make(rng, shape[::-1], dtype, inputs), tuple(reversed(range(len(shape)))))
    mean = expand_reduced(multiply(sum_(x, axes), 0.01), shape, axes)
    centred = subtract(x, mean)
    row = make(rng, shape[-1:], dtype, inputs)
    outputs = (
        sum_(x, axes), sum_(turned, axes), sum_(add(x, turned), axes), sum_(multiply(centred, centred), axes),
        sum_(exp(centred), axes), sum_(multiply(x, row), axes), apply(PROD, add(multiply(x, 0.001), 1), axes=axes),
        sum_(log(add(exp(x), exp(turned))), axes),
    )  # fmt: skip
    if 0 not in shape:
        outputs += (max_(x, axes), sum_(exp(subtract(x, expand_reduced(max_(x, axes), shape, axes))), axes))
    assert_same_bits(Graph(tuple(inputs), outputs), list(inputs.values()))


def test_a_reduction_in_single_and_one_in_double_precision() -> None:
    rng, inputs = np.random.default_rng(0), dict[Vertex, Array]()
    x, y = make(rng, (40, 300), float32, inputs), make(rng, (40, 300), float64, inputs)
    outputs = tuple(sum_(operand, axes) for operand in (x, y) for axes in ((0,), (1,), (0, 1)))
    assert_same_bits(Graph(tuple(inputs), outputs), list(inputs.values()))


PRODUCTS: list[tuple[Shape, Shape]] = [
    ((1, 1), (1, 1)), ((1, 5), (5, 1)), ((1, 100), (100, 1)), ((1, 100), (100, 7)), ((9, 100), (100, 1)),
    ((1, 37), (37, 200)), ((200, 37), (37, 1)), ((2, 40), (40, 3)), ((3, 2), (2, 1)), ((17, 33), (33, 19)),
    ((150, 150), (150, 150)), ((25, 784), (784, 10)), ((64, 300), (300, 129)), ((13, 1), (1, 17)), ((3, 0), (0, 2)),
    ((4, 5, 6), (6, 7)), ((4, 1, 6), (6, 7)), ((4, 1, 60), (4, 60, 7)), ((4, 5, 60), (4, 60, 1)),
    ((1, 5, 6), (3, 6, 2)),
    ((2, 1, 3, 4), (5, 4, 2)), ((4, 5, 60), (60, 1)), ((5, 60), (4, 60, 1)), ((1, 1, 60), (60, 9)),
    ((4, 1, 9), (1, 9, 4)), ((300, 600), (600, 90)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize(("left", "right"), PRODUCTS)
def test_products(left: Shape, right: Shape, dtype: DType) -> None:
    """In every layout of both operands, as they are and with more behind them."""
    rng, inputs = np.random.default_rng(0), dict[Vertex, Array]()
    lefts = [make(rng, left, dtype, inputs), swap_last_axes(make(rng, (*left[:-2], *left[:-3:-1]), dtype, inputs))]
    rights = [make(rng, right, dtype, inputs), swap_last_axes(make(rng, (*right[:-2], *right[:-3:-1]), dtype, inputs))]
    products = [matmul(x, y) for x in lefts for y in rights]
    behind = [where(less(p, 0), 0, add(p, 0.5)) for p in products]
    turned = [swap_last_axes(add(p, 1)) for p in products]
    computed = [matmul(exp(lefts[0]), exp(rights[1])), matmul(exp(lefts[1]), sqrt(exp(rights[0])))]
    outputs = (*products, *behind, *turned, *computed, sum_(products[0], tuple(range(len(products[0].shape)))))
    assert_same_bits(Graph(tuple(inputs), outputs), list(inputs.values()))


def test_rules_that_change_bits_are_applied() -> None:
    """Constants are computed by the reference, powers become products, and padded parts are put together."""
    rng, inputs = np.random.default_rng(0), dict[Vertex, Array]()
    x = make(rng, (40, 6), float32, inputs)
    number = constant(0.3, float32)
    left, right = slice_(x, (0, 0), (40, 3), (1, 1)), slice_(x, (0, 3), (40, 6), (1, 1))
    outputs = (
        multiply(x, exp(number)), power(x, 2), power(x, 3), power(x, -1), power(x, 0), power(x, 1.7),
        power(exp(x), multiply(number, 2)), sum_(broadcast(log(number), (1000, 7)), (0,)),
        where(less(number, 1), exp(x), x), multiply(multiply(x, 0.1), 0.3), sum_(sum_(x, (1,)), (0,)),
        sum_(matmul(reshape(x, (4, 10, 6)), make(rng, (4, 6, 5), float32, inputs)), (0,)),
        add(pad(left, (0, 0), (0, 3), (0, 0)), pad(right, (0, 3), (0, 0), (0, 0))),
    )  # fmt: skip
    assert_same_bits(Graph(tuple(inputs), outputs), list(inputs.values()))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(64, 64), (70, 65), (3, 2000), (5000, 1)])
def test_transposed_matrices_are_copied(shape: Shape, dtype: str) -> None:
    matrix = np.arange(np.prod(shape)).astype(dtype).reshape(shape[::-1]).T
    found = contiguous(matrix)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, matrix)


@pytest.mark.parametrize("size", [1, 7, 8, 4096, 4097, 30_001])
@pytest.mark.parametrize("key", [0, 5, 2**63 - 1, 0x123456789ABCDEF])
def test_uniform_numbers_are_those_of_numpy(key: int, size: int) -> None:
    drawn = np.full(size + 16, 7, np.float32)
    draw_uniform(key, 0.3, drawn[:size])
    expected = np.random.Generator(np.random.Philox(key=key)).random(size, np.float32) * np.float32(0.6)
    np.testing.assert_array_equal(drawn[:size], expected - np.float32(0.3))
    assert (drawn[size:] == 7).all()


def test_uniform_numbers_in_other_memory_and_of_another_type() -> None:
    expected = np.empty((70, 50), np.float32)
    draw_uniform(5, 1.0, expected)
    for out in (np.empty((50, 70), np.float32).T, np.empty((70, 100), np.float32)[:, ::2], np.empty((70, 50))):
        draw_uniform(5, 1.0, out)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_work_shared_among_threads_gives_the_same_bits(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32) for _ in range(2))
    alone, drawn, shared = matrix_product(x, y.T), np.empty(30_000, np.float32), np.empty(30_000, np.float32)
    draw_uniform(5, 1.0, drawn)
    monkeypatch.setattr(settings, "threads", threads)
    monkeypatch.setattr(generic_kernels, "SHARED_WORK", 0)
    monkeypatch.setattr(generic_kernels, "THREADS_ARE_DUE", 0)
    draw_uniform(5, 1.0, shared)
    assert (
        bits(matrix_product(x, y.T)).tobytes() == bits(alone).tobytes()
        and bits(shared).tobytes() == bits(drawn).tobytes()
    )
