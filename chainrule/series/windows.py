"""Windows over series: rows of inputs, and the rows that follow them as targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.datasets import Dataset, check_rows, defined_together
from ..errors import ArgumentError, DataError, ShapeError
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor
from .series import Series, as_series
from .splits import check_range

Transform = Callable[[NDArray[Any]], NDArray[Any]]


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Windows over one series or several: row i is ``(x, y)``, ``inputs`` rows of a series and the ``horizon`` after.

    - ``series``: an array, tensor, frame or `Series` of shape (rows,) or (rows, channels); or a list of arrays or
      `Series`, over whose ends no window reaches. They are looked at, not copied.
    - Shapes: x (inputs,) and y (horizon,), or x (inputs, channels) and y (horizon, targets). With ``channels_first``
      x is (channels, inputs), as `nn.Conv1d` reads it, also for one channel.
    - ``step``: rows from one window to the next.
    - ``rows``: a range in which all targets of a window must lie, one per series if there are several; inputs may come
      from before it, for they are the past. `split_in_time` gives such ranges.
    - ``targets``: numbers of the channels to predict, by default all.
    - ``transforms``: what is done to each window of inputs and targets together, (inputs + horizon, channels), one
      after another: `Jitter`, `Scaling`, `TimeWarp`, or functions.

    Errors: `DataError` where no window fits, and those of `Series`; `ArgumentError`; `ShapeError` for series that
    differ in channels.

    >>> windows = cr.series.Windows(np.arange(8.0), inputs=3, horizon=2)
    >>> len(windows), windows[3]
    (4, (tensor([3., 4., 5.], dtype=float64), tensor([6., 7.], dtype=float64)))
    """

    def __init__(
        self,
        series: Any,
        inputs: int,
        horizon: int = 1,
        step: int = 1,
        *,
        rows: range | Sequence[range] | None = None,
        targets: Sequence[int] | None = None,
        channels_first: bool = False,
        transforms: Sequence[Transform] = (),
    ) -> None:
        if min(inputs, horizon, step) < 1:
            raise ArgumentError(f"inputs, horizon and step must be at least 1, got {inputs}, {horizon} and {step}")
        self.series = [as_series(item) for item in (series if _are_several(series) else [series])]
        self.inputs, self.horizon, self.step = inputs, horizon, step
        self.channels_first = channels_first
        self.transforms = tuple(transforms)
        if len({item.values.shape[1:] for item in self.series}) > 1:
            raise ShapeError(f"series need the same channels, got shapes {[item.values.shape for item in self.series]}")
        if targets is not None:
            check_targets(targets, self.series[0])
        self._targets = None if targets is None else list(targets)
        parts = rows if isinstance(rows, Sequence) and not isinstance(rows, range) else [rows] * len(self.series)
        if len(parts) != len(self.series):
            raise ArgumentError(f"rows has {len(parts)} ranges for {len(self.series)} series. fix: one for each")
        found = [self._origins(item, part) for item, part in zip(self.series, parts, strict=True)]
        self.origins = np.concatenate(found)
        """The row of the first target of every window."""
        self._series_numbers = np.repeat(np.arange(len(found)), [len(part) for part in found])
        if not len(self.origins):
            lengths = ", ".join(str(len(item)) for item in self.series)
            where = "" if rows is None else f", and targets must lie in {rows}"
            raise DataError(
                f"no window fits: one takes {inputs} + {horizon} rows, the series has {lengths}{where}. "
                "fix: a longer series, fewer inputs, or a shorter horizon"
            )

    def _origins(self, series: Series, rows: range | None) -> NDArray[np.int64]:
        rows = range(len(series)) if rows is None else rows
        check_range(rows, len(series))
        return np.arange(max(rows.start, self.inputs), rows.stop - self.horizon + 1, self.step, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        windows = self._read(np.array([index], np.int64))
        for transform in self.transforms:
            windows = np.asarray(transform(windows[0]))[None]
        x, y = self._cut(windows)
        return from_array(x[0]), from_array(y[0])

    def gather_rows(self, rows: NDArray[np.int64]) -> list[Any] | None:
        """The windows with these numbers as two tensors; None where a transform cannot do batches."""
        if not all(defined_together(type(transform), "batch", "__call__") for transform in self.transforms):
            return None
        windows = self._read(rows)
        for transform in self.transforms:
            windows = transform.batch(windows)  # type: ignore[attr-defined]
        return [from_array(part) for part in self._cut(windows)]

    def _read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Whole windows, (n, inputs + horizon) or (n, inputs + horizon, channels)."""
        check_rows(rows, len(self))
        places = self.origins[rows][:, None] + np.arange(-self.inputs, self.horizon)
        if len(self.series) == 1:
            return self.series[0].values[places]
        numbers = self._series_numbers[rows]
        first = self.series[0].values
        windows = np.empty((*places.shape, *first.shape[1:]), np.result_type(*(item.values for item in self.series)))
        for number in np.unique(numbers):
            chosen = numbers == number
            windows[chosen] = self.series[number].values[places[chosen]]
        return windows

    def _cut(self, windows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if windows.shape[1] != self.inputs + self.horizon:
            raise ShapeError(
                f"a transform made {windows.shape[1]} rows of a window of {self.inputs} + {self.horizon}: it must "
                "keep their number"
            )
        x, y = windows[:, : self.inputs], windows[:, self.inputs :]
        if self.channels_first:
            x = x[:, None] if x.ndim == 2 else x.swapaxes(1, 2)
        return np.ascontiguousarray(x), y if self._targets is None else y[..., self._targets]


def _are_several(series: Any) -> bool:
    """Whether these are several series: a list or tuple of arrays, tensors, frames or series, not of numbers."""
    return isinstance(series, list | tuple) and any(
        isinstance(item, Series) or getattr(item, "ndim", 0) > 0 for item in series
    )


def check_targets(targets: Sequence[int], series: Series) -> None:
    """Errors: `ArgumentError` for what are no numbers of the channels of a series."""
    shape = series.values.shape[1:]
    if not len(targets) or any(channel not in range(*shape or (0,)) for channel in targets):
        raise ArgumentError(
            f"targets must be numbers of channels, got {list(targets)} for a series of "
            + (f"{shape[0]} channels" if shape else "shape (rows,). fix: targets=None")
        )
