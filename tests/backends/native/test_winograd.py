"""Convolutions in tiles, and gradients of their weights, against NumPy in float64: extents, borders, NaN, threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.winograd_site import find_convolution, find_gradient
from chainrule.passes.plan import Instruction, Store
from chainrule.types import as_dtype
from tests.backends.native.product_cases import GUARD, Access, access
from tests.backends.native.test_contraction import (
    LEVELS,
    Case,
    Parts,
    assemble,
    assert_close,
    check,
    draw,
    empty,
    expected,
    make_case,
    momentum,
    plain,
)

CASES = [
    {"image": (2, 26, 26, 16), "columns": 16},
    {"image": (2, 24, 24, 32), "columns": 48, "low": (1, 1), "high": (1, 1)},
    {"image": (1, 33, 35, 16), "columns": 64, "low": (1, 1), "high": (1, 1)},
    {"image": (5, 15, 17, 48), "columns": 16, "low": (2, 0), "high": (2, 0)},
    {"image": (20, 7, 7, 64), "columns": 32, "low": (1, 1), "high": (1, 1)},
    {"image": (260, 2, 1, 16), "columns": 16, "low": (1, 1), "high": (1, 1)},
    {"image": (3, 22, 20, 16), "columns": 80, "low": (0, 2), "high": (1, 1), "gap": 100},
]
CASES += [case | {"over_images": True} for case in CASES]


def in_tiles(**options: object) -> Case:
    """A case that is computed in tiles on this machine."""
    case = make_case(**options)
    kernel, target = plain(case).kernel, host_target()
    find = find_gradient if case.over_images else find_convolution
    assert find(kernel, target) is not None
    return case


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("options", CASES)
def test_equals_numpy(options: dict, level: str) -> None:
    check(in_tiles(**options), level)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_extents(data: st.DataObject) -> None:
    integers, pads = st.integers(1, 12), st.integers(0, 3)
    low, high = (data.draw(st.tuples(pads, pads)) for _ in range(2))
    sizes = [max(data.draw(integers), 3 - a - b) for a, b in zip(low, high, strict=True)]
    tiles = np.prod([-(-(a + n + b - 2) // 2) for a, n, b in zip(low, sizes, high, strict=True)])
    images = -(-256 // int(tiles)) + data.draw(st.integers(0, 2))
    channels, columns = (16 * data.draw(st.integers(1, 3)) for _ in range(2))
    over_images = data.draw(st.booleans())
    check(in_tiles(image=(images, *sizes, channels), columns=columns, low=low, high=high, over_images=over_images))


def test_weights_in_any_layout() -> None:
    case = in_tiles(**CASES[1])
    for strides in ((1, 3, 9, 9 * 32), (-3 * 32 * 48, -32 * 48, 1, 32), (3 * 32 * 48, 32 * 48, 1, 32)):
        check(case, "", plain(case, strides))


def test_what_others_leave_as_it_is() -> None:
    """Strides, dilations, other windows, few tiles, float64, channels that fill no vector, or a layout of channels."""
    common = {"image": (2, 26, 26, 16), "columns": 16}
    others = [
        {"strides": (2, 1)}, {"dilation": (1, 2)}, {"window": (3, 5)}, {"window": (1, 3)}, {"dtype": "float64"},
        {"image": (2, 9, 9, 16)}, {"image": (2, 26, 26, 3)}, {"columns": 10}, {"by_column": True},
        {"image": (2, 26, 26, 256), "columns": 256},
    ]  # fmt: skip
    for options in others:
        for over_images in (False, True):
            kernel = plain(make_case(**common | options | {"over_images": over_images})).kernel
            assert find_convolution(kernel, host_target()) is None
            assert find_gradient(kernel, host_target()) is None
    kernel = plain(make_case(**common)).kernel
    spread = replace(kernel, left=replace(kernel.left, strides=tuple(2 * stride for stride in kernel.left.strides)))
    assert find_convolution(spread, host_target()) is None


@pytest.mark.parametrize("options", CASES[:5])
def test_bias_and_relu(options: dict) -> None:
    case = in_tiles(**options)
    dtype = as_dtype("float32")
    right = draw((*case.depth, case.columns), "float32", seed=1)
    bias, result = draw((case.columns,), "float32", seed=2), empty((*case.rows, case.columns), "float32")
    body = [
        Instruction("load", dtype, access=Access(2, (0, 0, 0, 1), GUARD)),
        Instruction("add", dtype, (0, 1)),
        Instruction("constant", dtype, value=0.0),
        Instruction("maximum", dtype, (2, 3)),
    ]
    parts = assemble(case, right, [bias], [result], body, [Store(access(3, result), 4)])
    parts.compile().run(parts.arrays)
    assert_close(result, np.maximum(expected(case, right) + bias.values, 0), parts.kernel.terms)


@pytest.mark.parametrize("options", CASES)
def test_update_in_place(options: dict) -> None:
    case = in_tiles(**options)
    right, weight, velocity = momentum(case)
    moved = 0.5 * velocity.values.astype("float64") + expected(case, right)
    assert_close(velocity, moved, int(np.prod(case.depth)))
    assert_close(weight, weight.values - 0.1 * moved, int(np.prod(case.depth)))


def run(parts: Parts, workers: int = 1) -> np.ndarray:
    parts.arrays[-1].view()[...] = np.nan
    parts.compile().run(parts.arrays, workers)
    return parts.arrays[-1].view().copy()


@pytest.mark.parametrize("options", CASES)
def test_same_bits_for_any_number_of_threads(options: dict) -> None:
    parts = plain(in_tiles(**options))
    results = [run(parts, workers) for workers in (1, 2, 5)]
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("options", [CASES[1], CASES[3], CASES[8], CASES[10]])
@pytest.mark.parametrize("is_in_weights", [False, True])
def test_nan_and_infinity_reach_exactly_their_elements(options: dict, is_in_weights: bool) -> None:
    """As in sums of the products with all elements of the image, those with the zeros around it left out."""
    case = in_tiles(**options)
    parts = plain(case)
    ordinary = run(parts)
    array = parts.arrays[1 if is_in_weights else 0].view()
    array[0, 0, 0, 1], array[-1, -1, -1, 0], array[0, 1, 2, 3] = np.nan, np.inf, -np.inf
    found, padded = run(parts), case.windows().astype("float64")
    image = case.image.view()[...]
    case.image.view()[...] = 1
    is_there, weights = case.windows() != 0, parts.arrays[1].view().astype("float64")
    case.image.view()[...] = image
    with np.errstate(invalid="ignore"):
        meant = np.tensordot(np.where(is_there, padded, 0.0), np.nan_to_num(weights, nan=0.0, posinf=0, neginf=0), 3)
        reached = [
            np.tensordot(is_there.astype("float64"), (~np.isfinite(weights)).astype("float64"), 3) > 0,
            np.tensordot((~np.isfinite(padded) & is_there).astype("float64"), np.ones_like(weights), 3) > 0,
        ]
    is_reached = reached[0] | reached[1]
    assert is_reached.any() and not is_reached.all()
    assert np.array_equal(~np.isfinite(found), is_reached)
    np.testing.assert_allclose(found[~is_reached], ordinary[~is_reached], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[~is_reached], meant[~is_reached], rtol=0, atol=1e-3)


def test_signs_of_infinity() -> None:
    """One infinite pixel among positive weights gives infinity, not NaN."""
    case = in_tiles(**CASES[1])
    parts = plain(case)
    parts.arrays[1].view()[...] = np.abs(parts.arrays[1].view()) + 0.1
    parts.arrays[0].view()[0, 5, 5, 0] = -np.inf
    found = run(parts)
    assert np.array_equal(np.unique(np.argwhere(found == -np.inf)[:, 1:3]), [4, 5, 6])
    assert np.isfinite(found[np.abs(found) != np.inf]).all() and not np.isnan(found).any()


def test_sums_beyond_the_largest_number_on_the_way_alone() -> None:
    """Tiles of large numbers overflow although no result does."""
    case = in_tiles(**CASES[0])
    parts = plain(case)
    parts.arrays[0].view()[...] *= 6e37
    parts.arrays[1].view()[...] *= 1e-2
    meant = np.tensordot(case.windows().astype("float64"), parts.arrays[1].view().astype("float64"), 3)
    assert np.abs(meant).max() < 3e38
    np.testing.assert_allclose(run(parts), meant, rtol=0, atol=1e-5 * np.abs(meant).max())
