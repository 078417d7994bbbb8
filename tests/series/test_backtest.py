"""Baselines, measures and backtests: against their formulas written out, and blind to what lies behind an origin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.series import backtest, mase, naive, seasonal_naive, smape

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=80) + 10


@given(count=st.integers(1, 30), horizon=st.integers(1, 40), period=st.integers(1, 30))
def test_seasonal_naive_is_the_latest_known_row_of_the_season(count, horizon, period):
    history = RNG.normal(size=(count, 2))
    if count < period:
        with pytest.raises(DataError, match="no whole period"):
            seasonal_naive(history, horizon, period)
        return
    for step, row in enumerate(seasonal_naive(history, horizon, period)):
        time = count + step
        while time >= count:
            time -= period
        np.testing.assert_array_equal(row, history[time])
    np.testing.assert_array_equal(naive(history, horizon), [history[-1]] * horizon)


def test_smape_is_its_formula():
    true, predicted = [1.0, 0.0, -3.0, 0.0], [2.0, 0.0, 3.0, 5.0]
    terms = [2 * 1 / 3, 0, 2 * 6 / 6, 2 * 5 / 5]
    assert smape(true, predicted) == pytest.approx(100 * sum(terms) / 4)


def test_mase_is_its_formula():
    training, true, predicted = [1.0, 4.0, 2.0, 8.0, 3.0], [3.0, 5.0], [2.0, 8.0]
    assert mase(true, predicted, training, period=2) == pytest.approx((1 + 3) / 2 / ((1 + 4 + 1) / 3))
    both = np.stack([training, 10 * np.array(training)], axis=1)
    pairs = [np.stack([values, np.array(values)], axis=1) for values in (true, predicted)]
    assert mase(*pairs, both, period=2) == pytest.approx((1 + 0.1) / 2)


def test_seasonal_naive_one_period_ahead_has_mase_one():
    forecasts = [seasonal_naive(SERIES[:origin], 1, 7)[0] for origin in range(7, 80)]
    assert mase(SERIES[7:], forecasts, SERIES, period=7) == pytest.approx(1)


def test_measures_that_are_not_defined():
    with pytest.raises(DataError, match="longer than the period 3, got 3"):
        mase([1.0], [1.0], [1.0, 2.0, 3.0], period=3)
    with pytest.raises(DataError, match="repeats itself exactly after 1 row"):
        mase([1.0], [1.0], [2.0, 2.0, 2.0])
    with pytest.raises(ShapeError, match="give one shape"):
        smape([1.0], [1.0, 2.0])
    with pytest.raises(ShapeError, match="no 2 channels"):
        mase([1.0], [1.0], np.array([[1.0, 2.0], [2.0, 3.0]]))


@pytest.mark.parametrize("step", [None, 1, 5])
@pytest.mark.parametrize("shape", [(80,), (80, 2)], ids=str)
def test_backtests_measure_every_origin(step, shape):
    series = RNG.normal(size=shape) + 10

    def two_ago(history, horizon):
        return np.repeat(history.values[-2:-1], horizon, axis=0)

    found = backtest(two_ago, series, range(60, 80), horizon=3, period=4, step=step)
    origins = list(range(60, 78, step or 3))
    assert found.origins.tolist() == origins
    np.testing.assert_array_equal(found.actual, [series[row : row + 3] for row in origins])
    np.testing.assert_array_equal(found.forecasts["forecast"], [[series[row - 2]] * 3 for row in origins])
    np.testing.assert_array_equal(found.forecasts["naive"], [[series[row - 1]] * 3 for row in origins])
    seasonal = [[series[row - 4], series[row - 3], series[row - 2]] for row in origins]
    np.testing.assert_array_equal(found.forecasts["seasonal naive"], seasonal)
    errors = np.array([series[row : row + 3] for row in origins]) - seasonal
    scale = np.abs(series[4:60] - series[:56]).mean(0)
    measures = found.measures["seasonal naive"]
    assert measures["MAE"] == pytest.approx(np.abs(errors).mean())
    assert measures["RMSE"] == pytest.approx(math.sqrt((errors**2).mean()))
    assert measures["MASE"] == pytest.approx((np.abs(errors) / scale).mean())
    assert measures["sMAPE"] == pytest.approx(smape(found.actual, seasonal))
    assert len(found.table()) == 4


def test_forecasts_know_nothing_of_the_future():
    seen = []

    def last(history, horizon):
        seen.append(len(history))
        return naive(history, horizon)

    found = backtest(last, SERIES, range(70, 80), horizon=4, step=2)
    assert seen == found.origins.tolist() == [70, 72, 74, 76]
    assert list(found.measures) == ["forecast", "naive"]
    assert found.measures["forecast"] == found.measures["naive"]


def test_some_of_the_channels():
    series = RNG.normal(size=(40, 3))
    found = backtest(lambda history, horizon: np.zeros((horizon, 1)), series, range(30, 40), horizon=2, targets=[1])
    assert found.measures["forecast"]["MAE"] == pytest.approx(np.abs(series[30:, 1]).mean())
    np.testing.assert_array_equal(found.forecasts["naive"][0], series[[29, 29], 1:2])


def test_a_history_without_scale_leaves_the_other_measures():
    for series, rows in ((np.append(np.ones(10), [2.0, 3.0]), range(10, 12)), (np.arange(4.0), range(4))):
        measures = backtest(naive, series, rows, horizon=1).measures["forecast"]
        assert math.isnan(measures["MASE"])
        assert measures["MAE"] == pytest.approx(1)


def test_backtests_that_are_refused():
    with pytest.raises(ArgumentError, match="rows must be a range within 0 to 80"):
        backtest(naive, SERIES, range(78, 82), horizon=1)
    with pytest.raises(ArgumentError, match=r"got \[2\] for a series of 2 channels"):
        backtest(naive, np.ones((9, 2)), range(8, 9), horizon=1, targets=[2])
    with pytest.raises(DataError, match=r"no forecast of 5 rows fits into range\(78, 80\)"):
        backtest(naive, SERIES, range(78, 80), horizon=5)
    with pytest.raises(ShapeError, match=r"shape \(1,\), expected \(2,\)"):
        backtest(lambda history, horizon: naive(history, 1), SERIES, range(60, 80), horizon=2)
    with pytest.raises(ArgumentError, match="at least 1"):
        backtest(naive, SERIES, range(60, 80), horizon=0)
    with pytest.raises(ArgumentError, match="at least 1"):
        seasonal_naive(SERIES, 1, period=0)
