"""Matrix products against NumPy in float64: shapes, layouts, element types, epilogues, processors, threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.language import Module
from chainrule.backends.native.product import emit_product
from chainrule.passes.plan import Access, Buffer, Instruction, Plan, Product, Store
from chainrule.types import as_dtype, float32
from tests.backends.native.product_cases import GUARD, Memory, access, compile_product, layout

LEVELS = ["", "avx2", "sse"] if host_target().triple.startswith("x86_64") else [""]

ROWS_FIRST, COLUMNS_FIRST = (0, 1), (1, 0)


def random(shape: Sequence[int], dtype: str, order: Sequence[int] | None = None, pad: int = 0, seed: int = 0) -> Memory:
    values = np.random.default_rng(seed).standard_normal(tuple(shape)).astype(dtype)
    return Memory(values, layout(shape, order, pad))


def empty(shape: Sequence[int], dtype: str, order: Sequence[int] | None = None, pad: int = 0) -> Memory:
    return Memory(np.full(tuple(shape), 7, dtype), layout(shape, order, pad))


def assert_close(result: Memory, expected: np.ndarray, depth: int) -> None:
    unit = np.finfo(result.values.dtype).eps
    np.testing.assert_allclose(result.view(), expected, rtol=0, atol=4 * unit * (depth + 4))
    untouched = np.delete(result.memory, np.unique(addresses(result)))
    assert np.isnan(untouched).all(), "memory around the result was written"


def addresses(array: Memory) -> np.ndarray:
    index = np.indices(array.values.shape).reshape(array.values.ndim, -1)
    return array.first + np.tensordot(np.array(array.strides), index, 1)


def check(
    rows: int,
    columns: int,
    depth: int,
    dtype: str = "float32",
    level: str = "",
    orders: Sequence[Sequence[int]] = (ROWS_FIRST, ROWS_FIRST, ROWS_FIRST),
    pad: int = 0,
) -> None:
    left = random((rows, depth), dtype, orders[0], pad)
    right = random((depth, columns), dtype, orders[1], pad, seed=1)
    result = empty((rows, columns), dtype, orders[2], pad)
    kernel = compile_product(left, right, [], [result], target=host_target(level))
    kernel.run([left, right, result])
    assert_close(result, left.values.astype("float64") @ right.values.astype("float64"), depth)


SMALL = [
    (10, 12, 8), (10, 1, 8), (1, 12, 8), (1, 1, 1), (1, 1, 19), (8, 12, 10), (3, 5, 2), (31, 17, 5), (1, 300, 30),
    (100, 3, 3), (64, 10, 128), (2, 2, 1), (2, 9, 33), (1, 33, 40), (7, 40, 1), (1, 1, 2), (17, 64, 16),
]  # fmt: skip
LARGE = [
    (64, 256, 300), (33, 100, 300), (50, 1030, 33), (130, 65, 129), (17, 513, 70), (600, 31, 210),
    (601, 100, 300), (40, 300, 90),
]  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SMALL + LARGE, ids=str)
def test_equals_numpy(shape: tuple[int, int, int], dtype: str, level: str) -> None:
    check(*shape, dtype, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(10, 12, 8), (10, 1, 8), (2, 9, 33), (64, 256, 300), (33, 100, 301)], ids=str)
@pytest.mark.parametrize("left", [ROWS_FIRST, COLUMNS_FIRST])
@pytest.mark.parametrize("right", [ROWS_FIRST, COLUMNS_FIRST])
@pytest.mark.parametrize("result", [ROWS_FIRST, COLUMNS_FIRST])
def test_every_layout(
    shape: tuple[int, int, int], left: Sequence[int], right: Sequence[int], result: Sequence[int], level: str
) -> None:
    check(*shape, "float32", level, (left, right, result), pad=3)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(0, 50)),
    st.sampled_from(["float32", "float64"]),
    st.tuples(*[st.sampled_from([ROWS_FIRST, COLUMNS_FIRST])] * 3),
    st.integers(0, 2),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_any_shape(shape: tuple[int, int, int], dtype: str, orders: Sequence[Sequence[int]], pad: int) -> None:
    check(*shape, dtype, "", orders, pad)


@pytest.mark.parametrize("shape", [(70, 40, 2000), (300, 70, 5000), (20, 700, 1100)], ids=str)
def test_long_sums_are_done_in_blocks(shape: tuple[int, int, int]) -> None:
    check(*shape)
    check(*shape, orders=(COLUMNS_FIRST, COLUMNS_FIRST, ROWS_FIRST))


@pytest.mark.parametrize("right", [ROWS_FIRST, COLUMNS_FIRST])
def test_packed_left_operand(right: Sequence[int]) -> None:
    check(2050, 2040, 260, orders=(COLUMNS_FIRST, right, ROWS_FIRST))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(64, 130, 2500), (37, 300, 1600), (300, 260, 3000)], ids=str)
def test_weight_gradients_of_any_share_of_the_tasks(shape: tuple[int, int, int], dtype: str, level: str) -> None:
    rows, columns, depth = shape
    left, right = random((rows, depth), dtype, COLUMNS_FIRST), random((depth, columns), dtype, seed=1)
    results = [empty((rows, columns), dtype) for _ in range(4)]
    kernel = compile_product(left, right, [], results[:1], target=host_target(level))
    assert kernel.info.tasks >= 4
    for parts, result in zip((1, 2, 3, kernel.info.tasks), results, strict=True):
        kernel.run([left, right, result], parts)
        assert np.array_equal(result.view(), results[0].view())
    assert_close(results[0], left.values.astype("float64") @ right.values.astype("float64"), depth)


def test_sum_over_nothing_is_zero() -> None:
    check(3, 20, 0)
    check(60, 1, 0)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (0, 0, 0)], ids=str)
def test_no_elements_no_tasks(shape: tuple[int, int, int]) -> None:
    rows, columns, depth = shape
    buffers = tuple(Buffer(float32, 16, "input", slot) for slot in range(3))
    accesses = [Access(0, (3, 1)), Access(1, (4, 1)), Access(2, (4, 1))]
    body = (Instruction("accumulator", float32),)
    product = Product("p", float32, (), rows, columns, depth, *accesses[:2], body, (Store(accesses[2], 0),))
    info = emit_product(Module(host_target()), product, Plan(buffers, (product,), (0, 1, 2), (), 0), "product")
    assert info.tasks == 0


@pytest.mark.parametrize("shape", [(6, 5, 4), (40, 60, 90), (1, 20, 7), (9, 1, 3)], ids=str)
@pytest.mark.parametrize("batch", [(3,), (2, 3), (2, 1, 2)], ids=str)
def test_batches(batch: tuple[int, ...], shape: tuple[int, int, int]) -> None:
    rows, columns, depth = shape
    rank = len(batch)
    left = random((*batch, rows, depth), "float32", (*range(rank), rank + 1, rank))
    right = random((*batch, depth, columns), "float32", seed=1)
    result = empty((*batch, rows, columns), "float32", (rank, *range(rank), rank + 1), pad=2)
    kernel = compile_product(left, right, [], [result])
    kernel.run([left, right, result], parts=2)
    assert_close(result, left.values.astype("float64") @ right.values, depth)


def test_an_operand_shared_by_a_batch_is_read_with_stride_zero() -> None:
    left, shared = random((5, 7, 6), "float32"), random((6, 9), "float32", seed=1)
    right = Memory(np.broadcast_to(shared.values, (5, 6, 9)), (0, 9, 1))
    result = empty((5, 7, 9), "float32")
    compile_product(left, right, [], [result]).run([left, right, result])
    assert_close(result, left.values.astype("float64") @ shared.values, 6)


def epilogue(operation: str, dtype: str, *operands: int) -> Instruction:
    return Instruction(operation, as_dtype(dtype), operands)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(10, 12, 8), (10, 1, 8), (1, 40, 9), (64, 257, 90), (64, 256, 300)], ids=str)
def test_bias_and_relu(shape: tuple[int, int, int], dtype: str, level: str) -> None:
    rows, columns, depth = shape
    left, right = random((rows, depth), dtype), random((depth, columns), dtype, COLUMNS_FIRST, seed=1)
    bias, result = random((columns,), dtype, seed=2), empty((rows, columns), dtype)
    body = [
        Instruction("load", as_dtype(dtype), access=Access(2, (0, 1), GUARD)),
        epilogue("add", dtype, 0, 1),
        Instruction("constant", as_dtype(dtype), value=0.0),
        epilogue("maximum", dtype, 2, 3),
    ]
    kernel = compile_product(left, right, [bias], [result], body, [Store(access(3, result), 4)], host_target(level))
    kernel.run([left, right, bias, result])
    expected = left.values.astype("float64") @ right.values.astype("float64") + bias.values
    assert_close(result, np.maximum(expected, 0), depth)


UPDATES = [
    (8, 12, 10), (12, 1, 10), (9, 5, 10), (37, 7, 10), (100, 70, 64), (200, 300, 64), (101, 300, 64), (3, 600, 40),
    (70, 40, 900), (40, 300, 2000),
]  # fmt: skip


def momentum(shape: tuple[int, int, int], level: str, parts: int = 1) -> list[Memory]:
    """Left, right, and in place: velocity = 0.5 velocity + left · right, weight -= 0.1 velocity."""
    rows, columns, depth = shape
    left, right = random((rows, depth), "float32", COLUMNS_FIRST), random((depth, columns), "float32", seed=1)
    weight, velocity = random((rows, columns), "float32", seed=2), random((rows, columns), "float32", seed=3)
    body = [
        Instruction("load", float32, access=access(2, weight)),
        Instruction("load", float32, access=access(3, velocity)),
        Instruction("constant", float32, value=0.5),
        epilogue("multiply", "float32", 2, 3),
        epilogue("add", "float32", 4, 0),
        Instruction("constant", float32, value=0.1),
        epilogue("multiply", "float32", 5, 6),
        epilogue("subtract", "float32", 1, 7),
    ]
    stores = [Store(access(2, weight), 8), Store(access(3, velocity), 5)]
    kernel = compile_product(left, right, [], [weight, velocity], body, stores, host_target(level))
    kernel.run([left, right, weight, velocity], parts)
    return [left, right, weight, velocity]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", UPDATES, ids=str)
def test_update_in_place(shape: tuple[int, int, int], level: str) -> None:
    left, right, weight, velocity = momentum(shape, level)
    moved = 0.5 * velocity.values.astype("float64") + left.values.astype("float64") @ right.values
    assert_close(velocity, moved, shape[2])
    assert_close(weight, weight.values - 0.1 * moved, shape[2])


@pytest.mark.parametrize("shape", [(300, 100, 64), (300, 700, 64)], ids=str)
def test_updates_have_the_same_bits_for_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    weights = [momentum(shape, "", parts)[2].view() for parts in (1, 2, 3)]
    assert all(np.array_equal(weight, weights[0]) for weight in weights)


@pytest.mark.parametrize("shape", [(10, 12, 8), (1, 20, 40), (20, 1, 40), (64, 100, 300), (64, 300, 300)], ids=str)
def test_nan_and_infinity_reach_exactly_their_elements(shape: tuple[int, int, int]) -> None:
    rows, columns, depth = shape
    for order in (ROWS_FIRST, COLUMNS_FIRST):
        left, right = random((rows, depth), "float32"), random((depth, columns), "float32", order, seed=1)
        left.view()[rows // 2, depth // 3] = np.nan
        right.view()[depth // 2, columns - 1] = np.inf
        result = empty((rows, columns), "float32")
        compile_product(left, right, [], [result]).run([left, right, result])
        expected = left.view().astype("float64") @ right.view().astype("float64")
        np.testing.assert_allclose(result.view(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(300, 200, 64), (64, 1024, 300), (5000, 10, 50), (1, 2000, 200)], ids=str)
def test_same_bits_for_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    rows, columns, depth = shape
    left, right = random((rows, depth), "float32"), random((depth, columns), "float32", seed=1)
    results = [empty((rows, columns), "float32") for _ in range(3)]
    kernel = compile_product(left, right, [], results[:1])
    assert kernel.info.is_parallel and kernel.info.tasks > 1
    for parts, result in zip((1, 2, 7), results, strict=True):
        kernel.run([left, right, result], parts)
    assert all(np.array_equal(result.view(), results[0].view()) for result in results)


def test_unaligned_memory() -> None:
    for shape in ((10, 12, 8), (64, 256, 100)):
        rows, columns, depth = shape
        left, right = random((rows, depth), "float32"), random((depth, columns), "float32", seed=1)
        result = empty((rows, columns), "float32")
        for array in (left, right, result):
            moved = np.full(array.memory.size + 3, np.nan, "float32")[3:]
            moved[:] = array.memory
            array.memory = moved
        compile_product(left, right, [], [result]).run([left, right, result])
        assert_close(result, left.values.astype("float64") @ right.values.astype("float64"), depth)
