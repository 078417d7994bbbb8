"""Windows: against slices, over one and several series, without copies, and blind to what lies behind their rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import DataLoader
from chainrule.data.datasets import gathers
from chainrule.errors import ArgumentError, DataError, IndexOutOfRangeError, ShapeError
from chainrule.series import Jitter, Scaling, Series, TimeWarp, Windows


def sliced(series, inputs, horizon, step, rows):
    """All windows by plain slices: (inputs, targets) for every origin at which targets lie in the rows."""
    origins = [row for row in range(rows.start, rows.stop) if row >= inputs and row + horizon <= rows.stop][::step]
    return [(series[row - inputs : row], series[row : row + horizon]) for row in origins]


def whole(windows):
    """All inputs and all targets."""
    return [part.numpy() for part in windows.gather_rows(np.arange(len(windows)))]


@given(data=st.data())
def test_windows_are_slices(data):
    count = data.draw(st.integers(2, 40))
    inputs = data.draw(st.integers(1, count - 1))
    horizon = data.draw(st.integers(1, count - inputs))
    step = data.draw(st.integers(1, 5))
    start = data.draw(st.integers(0, count - horizon))
    rows = range(start, data.draw(st.integers(max(start, inputs) + horizon, count)))
    shape = data.draw(st.sampled_from([(count,), (count, 1), (count, 3)]))
    series = np.random.default_rng(0).normal(size=shape)
    windows = Windows(series, inputs, horizon, step, rows=rows)
    expected = sliced(series, inputs, horizon, step, rows)
    assert len(windows) == len(expected)
    X, Y = whole(windows)
    for number, (x, y) in enumerate(expected):
        for x_found, y_found in ([part.numpy() for part in windows[number]], (X[number], Y[number])):
            np.testing.assert_array_equal(x_found, x)
            np.testing.assert_array_equal(y_found, y)


def test_several_series_are_never_mixed():
    first, second, third = np.arange(5.0), np.arange(100, 103.0), np.arange(200, 206.0)
    windows = Windows([first, Series(second), third], inputs=3, horizon=1)
    expected = [pair for series in (first, second, third) for pair in sliced(series, 3, 1, 1, range(len(series)))]
    assert len(windows) == len(expected) == 5
    X, Y = windows.gather_rows(np.array([4, 0, 1, -1]))
    np.testing.assert_array_equal(X.numpy(), [expected[row][0] for row in (4, 0, 1, -1)])
    np.testing.assert_array_equal(Y.numpy(), [expected[row][1] for row in (4, 0, 1, -1)])
    parts = Windows([first, third], 2, rows=[range(4, 5), range(4)])
    assert [y.tolist() for _, y in (parts[i] for i in range(len(parts)))] == [[4], [202], [203]]


def test_a_list_of_numbers_is_one_series():
    assert len(Windows([1.0, 2.0, 3.0], 2).series) == 1
    assert len(Windows([[1.0, 2.0], [3.0, 4.0]], 1).series) == 1


def test_channels_and_targets():
    series = np.arange(20.0).reshape(10, 2)
    x, y = Windows(series, 4, 2, targets=[1])[0]
    np.testing.assert_array_equal(x.numpy(), series[:4])
    np.testing.assert_array_equal(y.numpy(), series[4:6, 1:])
    x, _ = Windows(series, 4, channels_first=True)[0]
    np.testing.assert_array_equal(x.numpy(), series[:4].T)
    x, y = Windows(series[:, 0], 4, channels_first=True)[0]
    assert (tuple(x.shape), tuple(y.shape)) == ((1, 4), (1,))


def test_series_are_not_copied():
    series = np.zeros(1000)
    windows = Windows(series, 100, 10)
    assert np.shares_memory(windows.series[0].values, series)
    series[150] = 7
    assert windows[100][0].numpy()[50] == 7


@given(stop=st.integers(12, 40), seed=st.integers(0, 100))
def test_later_values_change_no_training_window(stop, seed):
    random = np.random.default_rng(seed)
    series = random.normal(size=(40, 2))
    changed = series.copy()
    changed[stop:] = random.normal(size=(40 - stop, 2))
    found = [Windows(values, 8, 3, rows=range(stop)) for values in (series, changed)]
    assert len(found[0]) == len(found[1]) == stop - 10
    for before, after in zip(*map(whole, found), strict=True):
        np.testing.assert_array_equal(before, after)


def test_each_target_is_in_one_part():
    series = np.arange(30.0)
    parts = cr.series.split_in_time(30, (0.6, 0.2, 0.2))
    targets = [set(whole(Windows(series, 5, 2, rows=part))[1].ravel()) for part in parts]
    assert targets == [set(range(5, 18)), set(range(18, 24)), set(range(24, 30))]


def test_loaders_read_whole_batches_with_the_bits_of_rows():
    class RowByRow(Windows):
        def __getitem__(self, index):
            return super().__getitem__(index)

    series = np.random.default_rng(0).normal(size=(60, 2))
    batches = []
    for kind, workers in ((Windows, 0), (RowByRow, 0), (Windows, 2)):
        cr.manual_seed(3)
        windows = kind(series, 8, 2, transforms=[Jitter(0.1), Scaling(), TimeWarp()])
        assert gathers(windows) is (kind is Windows)
        loader = DataLoader(windows, batch_size=16, shuffle=True, num_workers=workers)
        batches.append([(x.numpy(), y.numpy()) for x, y in loader])
    for other in batches[1:]:
        for (x, y), (x_other, y_other) in zip(batches[0], other, strict=True):
            np.testing.assert_array_equal(x, x_other)
            np.testing.assert_array_equal(y, y_other)


def test_functions_as_transforms_see_whole_windows():
    windows = Windows(np.arange(10.0), 3, 2, transforms=[lambda window: -window])
    assert windows.gather_rows(np.arange(2)) is None
    x, y = next(iter(DataLoader(windows, batch_size=2)))
    assert (x.tolist(), y.tolist()) == ([[0, -1, -2], [-1, -2, -3]], [[-3, -4], [-4, -5]])
    with pytest.raises(ShapeError, match="a transform made 4 rows of a window of 3 \\+ 2"):
        Windows(np.arange(10.0), 3, 2, transforms=[lambda window: window[:4]])[0]


def test_windows_that_are_refused():
    series = np.zeros(10)
    with pytest.raises(DataError, match=r"no window fits: one takes 8 \+ 3 rows, the series has 10\. fix: a longer"):
        Windows(series, 8, 3)
    with pytest.raises(DataError, match=r"targets must lie in range\(0, 4\)"):
        Windows(series, 3, 2, rows=range(4))
    with pytest.raises(DataError, match="NaN"):
        Windows([0.0, np.nan, 1.0], 1)
    for arguments in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(ArgumentError, match="at least 1"):
            Windows(series, *arguments)
    for rows in (range(11), range(-1, 5), range(0, 10, 2)):
        with pytest.raises(ArgumentError, match="rows must be a range within 0 to 10"):
            Windows(series, 1, rows=rows)
    with pytest.raises(ArgumentError, match="1 ranges for 2 series"):
        Windows([series, series], 1, rows=[range(5)])
    with pytest.raises(ArgumentError, match=r"targets must be numbers of channels, got \[2\] for a series of 2"):
        Windows(np.zeros((10, 2)), 1, targets=[2])
    with pytest.raises(ArgumentError, match="fix: targets=None"):
        Windows(series, 1, targets=[0])
    with pytest.raises(ShapeError, match="series need the same channels"):
        Windows([series, np.zeros((10, 2))], 1)
    with pytest.raises(IndexOutOfRangeError, match="no row 9"):
        Windows(series, 1)[9]
