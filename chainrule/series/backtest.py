"""Backtests: forecasts from many moments of the past, each from what was known then, beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError, ShapeError
from ..training.metrics import mae, rmse
from .baselines import naive, seasonal_naive
from .measures import mase, smape
from .series import Series, as_series
from .splits import check_range
from .windows import check_targets

Forecast = Callable[[Series, int], NDArray[Any]]


@dataclass(frozen=True)
class Backtest:
    """What was forecast and what came. Shapes: (origins, horizon), or (origins, horizon, channels).

    ``origins`` are the rows of the first forecast values. ``forecasts`` has ``"forecast"``, ``"naive"`` and, for a
    period above 1, ``"seasonal naive"``; ``measures`` has MAE, RMSE, MASE and sMAPE of each, over all of them.
    """

    origins: NDArray[np.int64]
    actual: NDArray[Any]
    forecasts: dict[str, NDArray[Any]]
    measures: dict[str, dict[str, float]]

    def table(self) -> list[str]:
        """The measures as aligned lines."""
        names = list(self.measures["forecast"])
        lines = [f"{'':16}" + "".join(f"{name:>10}" for name in names)]
        for kind, figures in self.measures.items():
            lines.append(f"{kind:16}" + "".join(f"{figures[name]:10.4g}" for name in names))
        return lines


def backtest(
    forecast: Forecast,
    series: Any,
    rows: range,
    *,
    horizon: int,
    period: int = 1,
    step: int | None = None,
    targets: Sequence[int] | None = None,
) -> Backtest:
    """Forecast ``horizon`` rows from every ``step``-th row of ``rows`` on, as long as all of them lie in it.

    ``forecast(history, horizon)`` gets the series up to the origin and nothing later; `Forecaster.predict` is one, and
    so are `naive` and `partial(seasonal_naive, period=12)`. ``step`` is by default the horizon: each row is forecast
    once. ``period`` is that of the seasonal-naive baseline and of MASE, which is scaled by all rows before ``rows``
    and NaN where these do not define it. ``targets`` are the channels that the forecasts have, by default all.

    Errors: `DataError` where no origin fits, `ShapeError` for forecasts of another shape.

    >>> series = np.tile([1.0, 2.0, 4.0], 6) + np.arange(18.0)
    >>> def drift(history, horizon):
    ...     return cr.series.seasonal_naive(history, horizon, period=3) + 3
    >>> found = cr.series.backtest(drift, series, range(12, 18), horizon=3, period=3)
    >>> found.measures["forecast"]["MAE"], found.measures["seasonal naive"]["MAE"]
    (0.0, 3.0)
    """
    step = horizon if step is None else step
    if min(horizon, step, period) < 1:
        raise ArgumentError(f"horizon, step and period must be at least 1, got {horizon}, {step} and {period}")
    whole = as_series(series)
    check_range(rows, len(whole))
    if targets is not None:
        check_targets(targets, whole)
    origins = np.arange(max(rows.start, 1), rows.stop - horizon + 1, step, dtype=np.int64)
    if not len(origins):
        raise DataError(f"no forecast of {horizon} rows fits into {rows} of a series of {len(whole)} rows")
    part = whole if targets is None else Series(whole.values[:, list(targets)], whole.times)
    actual = np.stack([part.values[origin : origin + horizon] for origin in origins])
    methods: dict[str, tuple[Forecast, Series]] = {"forecast": (forecast, whole), "naive": (naive, part)}
    if period > 1:
        methods["seasonal naive"] = partial(seasonal_naive, period=period), part
    forecasts = {
        name: np.stack([method(known[:origin], horizon) for origin in origins])
        for name, (method, known) in methods.items()
    }
    if forecasts["forecast"].shape != actual.shape:
        raise ShapeError(f"forecasts have shape {forecasts['forecast'].shape[1:]}, expected {actual.shape[1:]}")
    measures = {name: _measures(actual, found, part.values[: rows.start], period) for name, found in forecasts.items()}
    return Backtest(origins, actual, forecasts, measures)


def _measures(actual: NDArray[Any], forecast: NDArray[Any], known: NDArray[Any], period: int) -> dict[str, float]:
    try:
        scaled = mase(actual, forecast, known, period)
    except DataError:
        scaled = nan  # the other measures need no history
    return {
        "MAE": mae(actual, forecast),
        "RMSE": rmse(actual, forecast),
        "MASE": scaled,
        "sMAPE": smape(actual, forecast),
    }
