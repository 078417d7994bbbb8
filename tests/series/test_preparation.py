"""Preparation of series: against NumPy, undone exactly, measured on what it is given alone."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import ArgumentError, DataError, ModelFileError, ShapeError
from chainrule.series import SeriesPreparation

SERIES = np.exp(np.random.default_rng(0).normal(size=(60, 2)))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("difference", [0, 1, 12])
def test_transforming_equals_numpy(log, difference):
    preparation = SeriesPreparation.fit(SERIES[:40], log=log, difference=difference)

    def changed(values):
        logged = np.log(values) if log else values
        return logged[difference:] - logged[: len(logged) - difference] if difference else logged

    training = changed(SERIES[:40])
    expected = (changed(SERIES) - training.mean(0)) / training.std(0)
    np.testing.assert_allclose(preparation.transform(SERIES), expected, rtol=1e-9, atol=1e-12)
    one = SeriesPreparation.fit(SERIES[:40, 0], log=log, difference=difference)
    np.testing.assert_allclose(one.transform(SERIES[:, 0]), expected[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(preparation.only([1]).transform(SERIES[:, 1:]), preparation.transform(SERIES)[:, 1:])


@given(
    log=st.booleans(),
    difference=st.integers(0, 15),
    horizon=st.integers(1, 30),
    is_one=st.booleans(),
)
def test_forecasts_are_undone(log, difference, horizon, is_one):
    series = SERIES[:, 0] if is_one else SERIES
    preparation = SeriesPreparation.fit(series[:30], log=log, difference=difference)
    prepared = preparation.transform(series)[30 - difference :][:horizon]  # of rows 30, 31 ...
    undone = preparation.invert(prepared, history=series[:30])
    np.testing.assert_allclose(undone, series[30 : 30 + horizon], rtol=1e-9)


@given(stop=st.integers(20, 59), seed=st.integers(0, 50))
def test_only_what_is_given_is_measured(stop, seed):
    changed = SERIES.copy()
    changed[stop:] = np.random.default_rng(seed).uniform(1, 1000, (60 - stop, 2))
    before, after = (SeriesPreparation.fit(values[:stop], log=True, difference=2) for values in (SERIES, changed))
    assert before == after
    np.testing.assert_array_equal(before.transform(SERIES)[: stop - 2], after.transform(changed)[: stop - 2])


def test_a_constant_channel_is_only_shifted():
    preparation = SeriesPreparation.fit([5.0, 5.0, 5.0])
    assert preparation.transform([5.0, 7.0]).tolist() == [0, 2]
    assert preparation.invert([0.0, 2.0], history=[5.0]).tolist() == [5, 7]


def test_json_keeps_everything():
    preparation = SeriesPreparation.fit(SERIES, log=True, difference=3)
    assert SeriesPreparation.from_json(json.loads(json.dumps(preparation.to_json()))) == preparation


@pytest.mark.parametrize(
    "damage",
    [{"scales": []}, {"log": 1}, {"difference": -1}, {"difference": "1"}, {"scales": [{"mean": 0.0}]}, {"scales": 3},
     {"scales": [{"mean": 0.0, "deviation": 0.0}]}, {"scales": [{"mean": float("nan"), "deviation": 1.0}]}],
)  # fmt: skip
def test_damaged_json_is_refused(damage):
    with pytest.raises(ModelFileError, match="preparation of series is damaged"):
        SeriesPreparation.from_json({**SeriesPreparation.fit(SERIES).to_json(), **damage})


def test_what_is_refused():
    with pytest.raises(DataError, match="no difference over 3 rows"):
        SeriesPreparation.fit([1.0, 2.0, 3.0], difference=3)
    with pytest.raises(DataError, match="positive values, row 1 has 0. fix: log=False"):
        SeriesPreparation.fit([1.0, 0.0, 3.0], log=True)
    with pytest.raises(ArgumentError, match="must not be negative"):
        SeriesPreparation.fit([1.0], difference=-1)
    preparation = SeriesPreparation.fit(SERIES, difference=4)
    with pytest.raises(ShapeError, match=r"measured on 2 channel\(s\), got shape \(60,\)"):
        preparation.transform(SERIES[:, 0])
    with pytest.raises(DataError, match="a history of 3 rows is too short"):
        preparation.invert(SERIES[:2], SERIES[:3])
