"""Series and splits: what is refused, what is read from files, and that nothing later is learned from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import ArgumentError, DataError
from chainrule.series import Series, read_csv_series, rolling_origin, split_in_time
from chainrule.series.series import as_series

DAYS = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]")


def test_floats_are_looked_at_and_others_become_float64():
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.shares_memory(Series(values).values, values)
    assert Series([1, 2]).values.dtype == np.float64
    tensor = cr.tensor([1.0, 2.0])
    np.testing.assert_array_equal(as_series(tensor).values, np.array([1, 2], np.float32))


def test_a_slice_is_a_series_with_its_times():
    part = Series(np.arange(5.0), DAYS, ["x"])[2:4]
    assert (part.values.tolist(), part.times.tolist(), part.names) == ([2, 3], DAYS[2:4].tolist(), ("x",))
    with pytest.raises(ArgumentError, match="with a slice"):
        part[0]
    with pytest.raises(ArgumentError, match="with a slice"):
        part[::-1]
    with pytest.raises(DataError, match="is empty"):
        part[2:]


def test_frames_bring_their_times():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2, 3, 4, 5], "b": 0.0}, index=pandas.DatetimeIndex(DAYS))
    series = as_series(frame)
    np.testing.assert_array_equal(series.times, DAYS)
    assert (series.values.shape, series.names) == ((5, 2), ("a", "b"))
    with pytest.raises(DataError, match="times of a series must rise: row 1 has 2024-01-04.*, after 2024-01-05.*"):
        as_series(frame["a"][::-1])


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        ([1.0, np.nan, 2.0], None, r"NaN or infinity in 1 row\(s\), first in row 1\. fix: fill the gaps"),
        ([[1.0, 2.0], [np.inf, 0.0]], None, "first in row 1"),
        ([1.0, 2.0, np.nan, 4.0, 5.0], DAYS, r"first in row 2 \(2024-01-03\)"),
        ([1.0, 2.0, 3.0], [0, 2, 1], r"must rise: row 2 has 1, after 2 in row 1\. fix: sort the rows"),
        ([1.0, 2.0, 3.0], [0, 1, 1], "row 2 has 1, after 1"),
        ([1.0, 2.0], np.array(["NaT", "2024-01-01"], "M8[D]"), "row 1 has 2024-01-01, after NaT"),
        ([1.0, 2.0], [0, 1, 2], r"times have shape \(3,\), expected \(2,\)"),
        (["a", "b"], None, "a series holds numbers"),
        ([], None, r"at least one row, got \(0,\)"),
        (np.zeros((2, 2, 2)), None, r"got \(2, 2, 2\)"),
    ],
)
def test_what_is_no_series_is_refused(values, times, message):
    with pytest.raises(DataError, match=message):
        Series(values, times)


def test_csv_files(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("day,a,b\n2024-01-01,1,10\n2024-01-02,2,20\n2024-01-04,3,30\n")
    series = read_csv_series(path)
    assert (series.values.tolist(), series.names) == ([[1, 10], [2, 20], [3, 30]], ("a", "b"))
    assert series.times.tolist() == np.array(["2024-01-01", "2024-01-02", "2024-01-04"], "M8[D]").tolist()
    assert read_csv_series(path, "b", time="a").times.tolist() == [1, 2, 3]
    assert read_csv_series(path, "b").values.tolist() == [10, 20, 30]
    path.write_text("time,a\n2024-01-01T00:00,1\n2024-01-01T12:30,2\n")
    assert read_csv_series(path).times[1] == np.datetime64("2024-01-01T12:30")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,a\n2024-01-02,1\n2024-01-01,2\n", "must rise: row 1 has 2024-01-01"),
        ("day,a\n2024-01-01,1\n2024-01-02,\n2024-01-03,3\n", "column 'a', line 3 of .*: the value is missing"),
        ("day,a\n2024-01-01,x\n2024-01-02,y\n", "no column of numbers beside the times"),
    ],
)
def test_csv_files_that_are_refused(tmp_path, text, message):
    path = tmp_path / "series.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_csv_series(path)


@given(count=st.integers(4, 300), shares=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_parts_follow_each_other_in_time(count, shares):
    fractions = [share / sum(shares) for share in shares]
    sizes = [max(1, round(fraction * count)) for fraction in fractions[1:]]
    if sum(sizes) >= count:
        with pytest.raises(DataError, match="too few to be split"):
            split_in_time(count, fractions)
        return
    parts = split_in_time(count, fractions)
    assert [row for part in parts for row in part] == list(range(count))
    assert [len(part) for part in parts[1:]] == sizes


@given(
    folds=st.integers(2, 8), horizon=st.integers(1, 9), more=st.integers(1, 30), limit=st.none() | st.integers(1, 20)
)
def test_rolling_origins_are_those_of_scikit_learn(folds, horizon, more, limit):
    TimeSeriesSplit = pytest.importorskip("sklearn.model_selection").TimeSeriesSplit
    count = folds * horizon + more
    theirs = TimeSeriesSplit(folds, test_size=horizon, max_train_size=limit).split(np.arange(count))
    ours = rolling_origin(count, first=more, horizon=horizon, at_most=limit)
    assert [tuple(map(list, pair)) for pair in ours] == [tuple(part.tolist() for part in pair) for pair in theirs]


@given(
    count=st.integers(2, 60),
    first=st.integers(1, 30),
    horizon=st.integers(1, 10),
    step=st.none() | st.integers(1, 10),
    at_most=st.none() | st.integers(1, 40),
)
def test_the_origin_rolls_on(count, first, horizon, step, at_most):
    arguments = {"first": first, "horizon": horizon, "step": step, "at_most": at_most}
    if first + horizon > count:
        with pytest.raises(DataError, match="too few to predict"):
            rolling_origin(count, **arguments)
        return
    pairs = list(rolling_origin(count, **arguments))
    assert pairs[0][1].start == first
    for training, test in pairs:
        assert training.stop == test.start and len(test) == horizon and test.stop <= count
        assert len(training) == min(training.stop, at_most or count)
    origins = [test.start for _, test in pairs]
    assert set(np.diff(origins)) <= {step or horizon}
    assert origins[-1] + (step or horizon) + horizon > count  # not one more would fit


def test_splits_that_are_refused():
    with pytest.raises(ArgumentError, match="add up to 1"):
        split_in_time(10, (0.5, 0.4))
    with pytest.raises(ArgumentError, match="positive"):
        split_in_time(10, (1.5, -0.5))
    with pytest.raises(ArgumentError, match="at least 1"):
        rolling_origin(10, first=0, horizon=1)
