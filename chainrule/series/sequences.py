"""Keras's function for windows, under its name: sequences of an array, each with a target that is given beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.datasets import Dataset, check_rows
from ..data.loader import DataLoader
from ..errors import ArgumentError, DataError
from ..tensor.generator import Generator
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> DataLoader:
    """A loader of sequences of ``data`` along its first dimension, and of the target at the row where each begins.

    Sequence i is ``data[i · stride + rate · k]`` for k < ``sequence_length``, its target ``targets[i · stride]``, both
    counted from ``start_index`` and before ``end_index``. ``targets=None``: sequences alone. ``batch_size=None``:
    single ones. With ``shuffle`` their order is new in every epoch, and follows from ``seed``. Nothing is copied but
    batches. `Windows` makes targets of the rows behind a window, and knows parts of a series.

    Errors: `ArgumentError` for numbers out of range, `DataError` where no sequence fits. Source: Keras 3.

    >>> loader = cr.series.timeseries_dataset_from_array(np.arange(6), np.arange(6)[3:], sequence_length=3)
    >>> [(x.tolist(), y.tolist()) for x, y in loader]
    [([[0, 1, 2], [1, 2, 3], [2, 3, 4]], [3, 4, 5])]
    """
    rows, beside = _as_array(data), None if targets is None else _as_array(targets)
    start, stop = start_index or 0, len(rows) if end_index is None else end_index
    if min(sequence_length, sequence_stride, sampling_rate) < 1:
        raise ArgumentError(
            "sequence_length, sequence_stride and sampling_rate must be at least 1, got "
            f"{sequence_length}, {sequence_stride} and {sampling_rate}"
        )
    if not 0 <= start < stop <= len(rows):
        raise ArgumentError(f"start_index and end_index must satisfy 0 <= {start} < {stop} <= {len(rows)}, the rows")
    count = stop - start - (sequence_length - 1) * sampling_rate
    if beside is not None:
        beside = beside[start:stop]
        count = min(count, len(beside))
    if count < 1:
        raise DataError(
            f"no sequence of {sequence_length} rows, {sampling_rate} apart, fits into {stop - start} rows"
            + ("" if beside is None else f" with {len(beside)} targets")
        )
    sequences = _Sequences(rows[start:stop], beside, count, sequence_length, sequence_stride, sampling_rate)
    generator = None if seed is None else Generator().manual_seed(seed)
    return DataLoader(sequences, batch_size, shuffle, generator=generator)


class _Sequences(Dataset[Any]):
    """Rows ``(sequence, target)``, or sequences alone."""

    def __init__(
        self, data: NDArray[Any], targets: NDArray[Any] | None, count: int, length: int, stride: int, rate: int
    ) -> None:
        self._data, self._targets = data, targets
        self._starts = np.arange(0, count, stride)
        self._offsets = np.arange(0, length * rate, rate)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        check_rows(np.array([index]), len(self))
        start = self._starts[index]
        sequence = from_array(self._data[start + self._offsets])
        return sequence if self._targets is None else (sequence, from_array(np.asarray(self._targets[start])))

    def gather_rows(self, rows: NDArray[np.int64]) -> list[Any] | None:
        """Sequences and targets as one tensor each; None for sequences alone, which are no columns."""
        if self._targets is None:
            return None
        check_rows(rows, len(self))
        starts = self._starts[rows]
        return [from_array(self._data[starts[:, None] + self._offsets]), from_array(self._targets[starts])]


def _as_array(data: Any) -> NDArray[Any]:
    return np.asarray(data.detach()._array() if isinstance(data, Tensor) else data)
