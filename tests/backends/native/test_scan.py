"""Scans as native code, against NumPy: lines of all lengths, many lines, what is computed on the way."""

import numpy as np
import pytest

import chainrule as cr

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_sorting_keeps_the_order_of_equal_elements(dtype: str) -> None:
    arrays = [RANDOM.integers(-9, 9, (3, length)).astype(dtype) for length in (1, 2, 3, 4, 5, 8, 31, 64, 100, 1000)]
    if dtype.startswith("float"):
        arrays[-1][:, ::7], arrays[-1][:, ::11], arrays[-1][:, 1] = np.nan, -np.inf, -0.0
    found = [cr.argsort(cr.tensor(array), 1) for array in arrays]
    backwards = [cr.argsort(cr.tensor(array), 1, descending=True) for array in arrays[:-1]]
    for array, indices in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(indices.numpy(), np.argsort(array, 1, kind="stable"))
    for array, indices in zip(arrays, backwards, strict=False):
        np.testing.assert_array_equal(indices.numpy(), np.argsort(-array, 1, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_the_first_few_are_those_of_the_whole_order(dtype: str, axis: int) -> None:
    """By insertion up to 32 of them, by sorting beyond; the largest first with equal ones in their order."""
    array = RANDOM.integers(-9, 9, (60, 60)).astype(dtype)
    array[1], array[2] = np.arange(60), -np.arange(60)
    if dtype.startswith("float"):
        array[3, ::7], array[4, ::11], array[5, ::5], array[6, 1] = np.nan, -np.inf, np.inf, -0.0
    x = cr.tensor(array)
    rising = np.argsort(array, axis, kind="stable")
    falling = 59 - np.flip(np.argsort(np.flip(array, axis), axis, kind="stable"), axis)
    np.testing.assert_array_equal(cr.argsort(x, axis, descending=True).numpy(), falling)
    for count in (0, 2, 3, 31, 32, 33, 60):
        for largest, order in ((False, rising), (True, falling)):
            found = cr.topk(x, count, axis, largest=largest)
            expected = order.take(np.arange(count), axis)
            np.testing.assert_array_equal(found.indices.numpy(), expected)
            np.testing.assert_array_equal(found.values.numpy(), np.take_along_axis(array, expected, axis))
    for k in (1, 2, 32, 60):
        np.testing.assert_array_equal(cr.kthvalue(x, k, axis).indices.numpy(), rising.take(k - 1, axis))


def test_extreme_elements_are_sorted() -> None:
    limits = np.iinfo(np.int64)
    whole = np.array([limits.max, limits.min, 0, -1, limits.max, limits.min + 1])
    real = np.array([np.inf, 1e308, 5e-324, -5e-324, np.nan, -np.inf, -1e308, -np.nan, 0.0])
    for array in (whole, real, np.array([np.inf, 1e38, -1e-45, np.nan, 0.0], np.float32)):
        x, order = cr.tensor(array), np.argsort(array, kind="stable")
        np.testing.assert_array_equal(cr.argsort(x).numpy(), order)
        np.testing.assert_array_equal(cr.topk(x, 4, largest=False).indices.numpy(), order[:4])
        np.testing.assert_array_equal(cr.topk(x, 1).indices.numpy(), np.argmax(array))
        np.testing.assert_array_equal(cr.topk(x, 2).values.numpy(), array[order[[-1, -2]]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_many_lines_are_shared_by_threads(axis: int) -> None:
    array = RANDOM.normal(size=(40, 30, 50)).astype(np.float32)
    x = cr.tensor(array)
    order, total, best = cr.argsort(x, axis), cr.cumsum(x, axis), cr.cummax(x, axis).values
    np.testing.assert_array_equal(order.numpy(), np.argsort(array, axis, kind="stable"))
    np.testing.assert_array_equal(total.numpy(), np.cumsum(array, axis, dtype=np.float64).astype(np.float32))
    np.testing.assert_array_equal(best.numpy(), np.maximum.accumulate(array, axis))


def test_what_is_scanned_may_be_computed_on_the_way() -> None:
    array = RANDOM.normal(size=(6, 5))

    @cr.compile
    def step(x: cr.Tensor) -> cr.Tensor:
        return (cr.relu(x).t().cumsum(0) * 2 + x.t().flip(0).argsort(0)).sum(1)

    expected = np.cumsum(np.maximum(array, 0).T, 0) * 2 + np.argsort(array.T[::-1], 0)
    np.testing.assert_allclose(step(cr.tensor(array)).numpy(), expected.sum(1), rtol=1e-12)
    assert "scan cumulative_sum" in step.ir("plan")


def test_the_sum_of_floats_accumulates_in_float64() -> None:
    ones = cr.full((20_000_000 // 8,), 0.1)
    assert cr.cumsum(ones, 0)[-1].item() == pytest.approx(250_000.0037, rel=1e-7)
