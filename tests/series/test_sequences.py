"""Keras's function: against loops over its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import ArgumentError, DataError
from chainrule.series import timeseries_dataset_from_array

DATA = np.random.default_rng(0).normal(size=(40, 3))


def written_out(data, targets, length, stride, rate, start, stop):
    data, targets = data[start:stop], targets[start:stop]
    starts = [
        row for row in range(0, len(data), stride) if row + (length - 1) * rate < len(data) and row < len(targets)
    ]
    return [(data[row : row + (length - 1) * rate + 1 : rate], targets[row]) for row in starts]


@given(
    length=st.integers(1, 8),
    stride=st.integers(1, 4),
    rate=st.integers(1, 4),
    start=st.integers(0, 5),
    stop=st.integers(35, 40),
    targets=st.integers(20, 40),
    batch_size=st.sampled_from([None, 1, 7, 100]),
)
def test_sequences_equal_their_definition(length, stride, rate, start, stop, targets, batch_size):
    labels = np.arange(targets)
    loader = timeseries_dataset_from_array(
        DATA, labels, length, stride, rate, batch_size, start_index=start, end_index=stop
    )
    found = [(x.numpy(), y.numpy()) for x, y in loader]
    expected = written_out(DATA, labels, length, stride, rate, start, stop)
    if batch_size is not None:
        assert [len(x) for x, _ in found[:-1]] == [batch_size] * (len(found) - 1)
        found = [pair for x, y in found for pair in zip(x, y, strict=True)]
    assert len(found) == len(expected)
    for (x, y), (x_expected, y_expected) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, x_expected)
        assert y == y_expected


def test_sequences_alone():
    batches = list(timeseries_dataset_from_array(DATA, None, 4, batch_size=30))
    assert [tuple(batch.shape) for batch in batches] == [(30, 4, 3), (7, 4, 3)]
    np.testing.assert_array_equal(batches[1].numpy()[-1], DATA[-4:])


def test_the_order_follows_from_the_seed():
    def order(seed):
        loader = timeseries_dataset_from_array(np.arange(50), np.arange(50), 1, shuffle=True, seed=seed)
        return [next(iter(loader))[1].tolist() for _ in range(2)]

    first, second = order(0)
    assert sorted(first) == list(range(50)) and first != second
    assert order(0) == [first, second] != order(1)


def test_what_is_refused():
    for arguments in ((0,), (1, 0), (1, 1, 0)):
        with pytest.raises(ArgumentError, match="at least 1"):
            timeseries_dataset_from_array(DATA, None, *arguments)
    with pytest.raises(ArgumentError, match="0 <= 3 < 3 <= 40"):
        timeseries_dataset_from_array(DATA, None, 1, start_index=3, end_index=3)
    with pytest.raises(ArgumentError, match="0 <= 0 < 41 <= 40"):
        timeseries_dataset_from_array(DATA, None, 1, end_index=41)
    with pytest.raises(DataError, match="no sequence of 41 rows, 1 apart, fits into 40 rows with 40 targets"):
        timeseries_dataset_from_array(DATA, DATA, 41)
