"""Augmentation of series: its moments, its limits, and batches against single windows in a loader (test_windows)."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError
from chainrule.series import Jitter, Scaling, TimeWarp

WINDOWS = np.random.default_rng(0).normal(size=(3000, 20, 2))


def test_jitter_is_normal_noise():
    cr.manual_seed(0)
    noise = Jitter(0.5).batch(WINDOWS) - WINDOWS
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(0.5, rel=0.01)
    assert abs(np.corrcoef(noise[:, 0, 0], noise[:, 1, 0])[0, 1]) < 0.06  # drawn for each element
    assert ((noise**3).mean() / 0.125, (noise**4).mean() / 0.0625) == pytest.approx((0, 3), abs=0.15)


def test_scaling_is_one_factor_per_channel():
    cr.manual_seed(0)
    factors = Scaling(0.2).batch(WINDOWS) / WINDOWS
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-9)
    assert (factors.mean(), factors.std()) == pytest.approx((1, 0.2), rel=0.03)
    assert abs(np.corrcoef(factors[:, 0].T)[0, 1]) < 0.06


def test_warped_time_rises_from_the_first_row_to_the_last():
    cr.manual_seed(0)
    times = np.stack([np.arange(30.0), np.arange(30.0) * 2], axis=1)  # a window that says when it was read
    warped = TimeWarp(0.5).batch(np.broadcast_to(times, (200, 30, 2)))
    np.testing.assert_allclose(warped[..., 1], 2 * warped[..., 0])  # channels keep together
    read = warped[..., 0]
    np.testing.assert_allclose(read[:, [0, -1]], np.broadcast_to([0, 29], (200, 2)), atol=1e-9)
    assert (np.diff(read) > 0).all()
    assert 1 < np.abs(read - np.arange(30)).max(1).mean() < 8
    np.testing.assert_allclose(TimeWarp(0).batch(times[None])[0], times, atol=1e-12)


def test_warped_values_are_interpolated():
    cr.manual_seed(5)
    read = TimeWarp(0.4)(np.arange(25.0))
    cr.manual_seed(5)
    window = np.random.default_rng(1).normal(size=25)
    np.testing.assert_allclose(TimeWarp(0.4)(window), np.interp(read, np.arange(25), window), atol=1e-12)


@pytest.mark.parametrize("transform", [Jitter(), Scaling(), TimeWarp()], ids=repr)
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (7, 3)], ids=str)
def test_shape_and_type_stay_and_the_seed_decides(transform, shape):
    window = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    kept = window.copy()
    cr.manual_seed(1)
    first, second = transform(window), transform(window)
    assert (first.shape, first.dtype) == (shape, np.float32)
    np.testing.assert_array_equal(window, kept)
    cr.manual_seed(1)
    np.testing.assert_array_equal(transform(window), first)
    if shape[0] > 2:
        assert not np.array_equal(first, second)


def test_whole_numbers_become_floats():
    cr.manual_seed(0)
    warped = TimeWarp()(np.arange(9) ** 2)
    assert warped.dtype == np.float64 and (warped % 1).any()


def test_options_that_are_refused():
    for transform in (Jitter, Scaling, TimeWarp):
        with pytest.raises(ArgumentError, match="must not be negative"):
            transform(-1)
    with pytest.raises(ArgumentError, match="knots must be at least 2"):
        TimeWarp(knots=1)
