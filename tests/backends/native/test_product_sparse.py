"""Products that leave out zeros: the same bits as the products that do not, whatever the zeros are multiplied with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.native.cpu import host_target
from chainrule.passes.plan import Access, Instruction, Store
from chainrule.types import float32
from tests.backends.native.product_cases import Memory, access, compile_product
from tests.backends.native.test_product import (
    COLUMNS_FIRST,
    LEVELS,
    ROWS_FIRST,
    addresses,
    assert_close,
    empty,
    random,
)

SHAPES = [(64, 128, 64), (70, 64, 100), (33, 128, 300), (90, 192, 32), (130, 80, 47), (40, 256, 784)]


def sparse_left(shape: Sequence[int], dtype: str, order: Sequence[int], filled: float, pad: int = 0) -> Memory:
    """Normal numbers, zeros of both signs, and whole rows and columns of zeros."""
    generator = np.random.default_rng(2)
    left = random(shape, dtype, order, pad)
    values = np.where(generator.random(shape) < filled, left.view(), np.copysign(0, left.view()))
    values[..., ::7, :] = 0
    values[..., 3] = 0
    left.view()[...] = left.values[...] = values
    return left


def run_both(
    left: Memory, right: Memory, body: Sequence[Instruction] = (), level: str = "", parts: int = 1
) -> tuple[Memory, Memory]:
    """The results of the ordinary and of the sparse kernel."""
    shape, dtype = (*left.values.shape[:-1], right.values.shape[-1]), left.values.dtype.name
    results = empty(shape, dtype), empty(shape, dtype)
    stores = [Store(access(2, results[0]), len(body))]
    kernel = compile_product(left, right, [], [results[0]], body, stores, host_target(level))
    kernel.run([left, right, results[0]], parts)
    kernel.sparse.run([left, right, results[1]], parts)
    return results


def assert_same_bits(results: tuple[Memory, Memory]) -> None:
    dense, sparse = results
    assert dense.view().tobytes() == sparse.view().tobytes()
    untouched = np.delete(sparse.memory, np.unique(addresses(sparse)))
    assert np.isnan(untouched).all(), "memory around the result was written"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("left_order", [ROWS_FIRST, COLUMNS_FIRST])
@pytest.mark.parametrize("right_order", [ROWS_FIRST, COLUMNS_FIRST])
def test_same_bits_as_the_ordinary_kernel(
    shape: tuple[int, int, int], left_order: Sequence[int], right_order: Sequence[int], dtype: str, level: str
) -> None:
    rows, columns, depth = shape
    left = sparse_left((rows, depth), dtype, left_order, 0.4, pad=3)
    right = random((depth, columns), dtype, right_order, pad=5, seed=1)
    results = run_both(left, right, level=level)
    assert_same_bits(results)
    assert_close(results[1], left.values.astype("float64") @ right.values.astype("float64"), depth)


@pytest.mark.parametrize("filled", [0.0, 0.01, 1.0])
def test_nearly_all_and_nearly_no_zeros(filled: float) -> None:
    left = sparse_left((70, 150), "float32", ROWS_FIRST, filled)
    assert_same_bits(run_both(left, random((150, 128), "float32", seed=1)))


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("shape", [(300, 256, 64), (70, 256, 200)], ids=str)
def test_any_number_of_workers(shape: tuple[int, int, int], parts: int) -> None:
    rows, columns, depth = shape
    left = sparse_left((rows, depth), "float32", COLUMNS_FIRST, 0.5)
    assert_same_bits(run_both(left, random((depth, columns), "float32", seed=1), parts=parts))


@pytest.mark.parametrize("strides", [(0, 1), (1, 0), (0, 0), (256, -1), (-256, 1)], ids=str)
def test_right_operands_that_repeat_elements_or_run_backwards(strides: tuple[int, int]) -> None:
    left = sparse_left((70, 100), "float32", ROWS_FIRST, 0.4)
    numbers = random((100, 256), "float32", seed=1).values
    values = numbers[: 100 if strides[0] else 1, : 256 if strides[1] else 1]
    results = run_both(left, Memory(np.broadcast_to(values, (100, 256)), strides))
    assert_same_bits(results)
    assert_close(results[1], left.values.astype("float64") @ np.broadcast_to(values, (100, 256)), 100)


def test_a_contiguous_panel_is_read_in_place() -> None:
    left = sparse_left((64, 128), "float32", ROWS_FIRST, 0.5)
    assert_same_bits(run_both(left, random((128, 128), "float32", seed=1)))


def test_batches_have_no_alternative() -> None:
    left, right = random((3, 40, 64), "float32"), random((3, 64, 128), "float32", seed=1)
    assert compile_product(left, right, [], [empty((3, 40, 128), "float32")]).info.alternatives == ()


@pytest.mark.parametrize("poison", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("row", [0, 63, 64, 149])
def test_zero_times_infinity_is_nan(poison: float, row: int) -> None:
    left, right = sparse_left((70, 150), "float32", ROWS_FIRST, 0.4), random((150, 128), "float32", seed=1)
    right.view()[row, 5] = poison
    dense, sparse = run_both(left, right)
    np.testing.assert_array_equal(dense.view(), sparse.view())
    assert np.isnan(sparse.view()[::7, 5]).all()
    assert np.isfinite(np.delete(sparse.view(), 5, axis=1)).all()


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_special_values_on_the_left_are_not_zeros(special: float) -> None:
    left, right = sparse_left((70, 150), "float32", ROWS_FIRST, 0.4), random((150, 128), "float32", seed=1)
    left.view()[11, 70] = special
    dense, sparse = run_both(left, right)
    np.testing.assert_array_equal(dense.view(), sparse.view())
    assert not np.isfinite(sparse.view()[11]).any()


def test_epilogue() -> None:
    left, right = sparse_left((70, 64), "float32", COLUMNS_FIRST, 0.3), random((64, 128), "float32", seed=1)
    right.values *= 0.1
    right.view()[...] = right.values
    bias = Instruction("load", float32, access=Access(1, (0, 1), right.first))  # the right operand's first row
    body = [bias, Instruction("add", float32, (0, 1)), Instruction("exp", float32, (2,))]
    results = run_both(left, right, body)
    assert_same_bits(results)
    expected = np.exp(left.values.astype("float64") @ right.values + right.values[0])
    np.testing.assert_allclose(results[1].view(), expected, rtol=1e-5)


@pytest.mark.parametrize("order", [ROWS_FIRST, COLUMNS_FIRST])
def test_choice_follows_the_share_of_zeros(order: Sequence[int]) -> None:
    right = random((200, 128), "float32", seed=1)
    for filled, expected in ((0.1, 1), (0.4, 1), (0.8, 0), (1.0, 0)):
        left = sparse_left((100, 200), "float32", order, filled)
        kernel = compile_product(left, right, [], [empty((100, 128), "float32")])
        assert kernel.choose([left, right]) == expected


@pytest.mark.parametrize("shape", [(8, 128, 100), (100, 100, 100), (100, 128, 16)], ids=str)
def test_small_and_uneven_products_have_no_alternative(shape: tuple[int, int, int]) -> None:
    rows, columns, depth = shape
    left, right = random((rows, depth), "float32"), random((depth, columns), "float32")
    kernel = compile_product(left, right, [], [empty((rows, columns), "float32")])
    assert kernel.info.alternatives == ()


def test_programs_choose_for_themselves() -> None:
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((256, 128)).astype("float32")
    for x in (generator.standard_normal((64, 256)).astype("float32"), np.eye(64, 256, dtype="float32")):
        product = (cr.tensor(x) @ cr.tensor(weight)).numpy()
        np.testing.assert_allclose(product, x.astype("float64") @ weight, atol=1e-4)
    weight[200, 7] = np.inf  # met by zeros only
    assert np.isnan((cr.tensor(x) @ cr.tensor(weight)).numpy()[:, 7]).all()
