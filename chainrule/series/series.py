"""Series: numbers in order of time, checked once, from arrays, frames and CSV files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.table import Column, Table, read_csv_table
from ..errors import ArgumentError, DataError
from ..tensor.tensor import Tensor

Numbers = NDArray[Any]


@dataclass(frozen=True, init=False)
class Series:
    """Numbers in order of time: ``values`` of shape (rows,), or (rows, channels), all of them finite.

    ``times``, if given, has one time per row, each later than the one before: numbers or datetime64. Steps need not be
    equal, for months and trading days are not; whether rows are missing is for the caller to know. ``names`` are those
    of the channels. Floats are looked at where they lie, not copied; other numbers become float64. A slice of a series
    is a series.

    Errors: `DataError` for NaN or infinity, for times that do not rise, for text, and for no rows.

    >>> series = cr.series.Series([20.7, 17.9, 18.8], times=np.array(["1981-01-01", "1981-01-02", "1981-01-03"], "M8"))
    >>> len(series), series[1:].times[0]
    (3, np.datetime64('1981-01-02'))
    """

    values: Numbers
    times: NDArray[Any] | None
    names: tuple[str, ...]

    def __init__(self, values: Any, times: Any = None, names: Sequence[str] = ()) -> None:
        times = None if times is None else np.asarray(times)
        array = _as_numbers(values)
        if times is not None and times.shape != array.shape[:1]:
            raise DataError(f"times have shape {times.shape}, expected ({len(array)},): one per row of the series")
        if times is not None:
            _check_order(times)
        _check_finite(array, times)
        self._fill(array, times, tuple(names))

    def _fill(self, *fields: Any) -> None:
        for name, value in zip(("values", "times", "names"), fields, strict=True):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Series:
        if not isinstance(rows, slice) or (rows.step or 1) < 1:
            raise ArgumentError(f"a series is cut with a slice, such as series[:100], got {rows!r}")
        if not len(self.values[rows]):
            raise DataError(f"{rows} of a series of {len(self)} rows is empty")
        part = object.__new__(Series)  # what is part of a series has been checked
        part._fill(self.values[rows], None if self.times is None else self.times[rows], self.names)
        return part


def as_series(data: Any) -> Series:
    """A series as it is; or one of an array, a tensor, a list, or a frame, whose index gives times if it has any.

    Errors: those of `Series`.
    """
    if isinstance(data, Series):
        return data
    index = getattr(data, "index", None)
    dtype = getattr(index, "dtype", None)
    times = np.asarray(index) if isinstance(dtype, np.dtype) and dtype.kind == "M" else None
    return Series(data, times, tuple(map(str, getattr(data, "columns", ()))))


def with_channels(values: Numbers) -> Numbers:
    """Values of shape (rows, channels), where a series of shape (rows,) has one channel."""
    return values[:, None] if values.ndim == 1 else values


def read_csv_series(
    path: str | os.PathLike[str], values: str | Sequence[str] | None = None, time: str | None = None
) -> Series:
    """Read a series from a delimited text file: ``values`` names one column, or several as channels.

    By default these are all columns of numbers, one alone giving shape (rows,), and ``time`` is the column of dates
    if there is exactly one. Dates become datetime64.

    Errors: `DataError` for an unreadable file or cell, a missing value, and times that do not rise.

    >>> with open("passengers.csv", "w") as file:
    ...     _ = file.write("month,passengers\\n1949-01,112\\n1949-02,118\\n1949-03,132\\n")
    >>> cr.series.read_csv_series("passengers.csv").values
    array([112., 118., 132.])
    """
    table = read_csv_table(path)
    dates = [column.name for column in table.columns if column.kind == "date"]
    if time is None and len(dates) == 1:
        time = dates[0]
    if values is None:
        found = [column.name for column in table.columns if column.kind == "number" and column.name != time]
        if not found:
            raise DataError(f"{table.source} has no column of numbers beside the times; {table.outline()}")
        values = found[0] if len(found) == 1 else found
    times = None if time is None else _times(table, time)
    if isinstance(values, str):
        return Series(_channel(table, values), times, (values,))
    return Series(np.column_stack([_channel(table, name) for name in values]), times, tuple(values))


def _times(table: Table, name: str) -> NDArray[Any]:
    column = table[name]
    if column.kind == "number":
        return _known(column, column.numbers())
    seconds = np.round(_known(column, column.numbers("date")) * 86400).astype(np.int64)
    unit = "D" if not (seconds % 86400).any() else "s"
    return seconds.astype("datetime64[s]").astype(f"datetime64[{unit}]")


def _channel(table: Table, name: str) -> Numbers:
    return _known(table[name], table[name].numbers())


def _known(column: Column, values: Numbers) -> Numbers:
    """Errors: `DataError` that names the line of the first missing cell."""
    missing = np.flatnonzero(np.isnan(values))
    if missing.size:
        raise DataError(
            f"{column.place(int(missing[0]))}: the value is missing ({missing.size} such cells), and a series has no "
            "gaps. fix: fill it in, e.g. from its neighbours, or cut the series there"
        )
    return values


def _as_numbers(values: Any) -> Numbers:
    if isinstance(values, Tensor):
        values = values.detach()._array()
    array = np.asarray(values)
    if array.dtype.kind != "f":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(f"a series holds numbers, got elements of type {array.dtype}") from None
    if array.ndim not in (1, 2) or not array.size:
        raise DataError(f"a series has shape (rows,) or (rows, channels), and at least one row, got {array.shape}")
    return array


def _check_order(times: NDArray[Any]) -> None:
    late = times[1:] > times[:-1]  # not so for a missing time either
    if not late.all():
        row = int(np.flatnonzero(~late)[0]) + 1
        raise DataError(
            f"times of a series must rise: row {row} has {times[row]}, after {times[row - 1]} in row {row - 1}. "
            "fix: sort the rows by time, and keep one of those with equal times"
        )


def _check_finite(values: Numbers, times: NDArray[Any] | None) -> None:
    finite = np.isfinite(with_channels(values)).all(1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        when = "" if times is None else f" ({times[bad[0]]})"
        raise DataError(
            f"a series contains NaN or infinity in {len(bad)} row(s), first in row {bad[0]}{when}. "
            "fix: fill the gaps, e.g. from their neighbours, or cut the series there"
        )
