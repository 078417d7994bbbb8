"""Forecasts that need no training, which a network has to beat."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..errors import ArgumentError, DataError
from .series import as_series


def naive(history: Any, horizon: int) -> NDArray[Any]:
    """The last value of the history, ``horizon`` times: (horizon,), or (horizon, channels).

    >>> cr.series.naive([1.0, 2.0, 5.0], 2)
    array([5., 5.])
    """
    return seasonal_naive(history, horizon, period=1)


def seasonal_naive(history: Any, horizon: int, period: int) -> NDArray[Any]:
    """The last whole period of the history, repeated: ŷ(T+k) is the latest y(T+k-m·period) that is known.

    Shapes: history (rows,) or (rows, channels), result (horizon,) or (horizon, channels).
    Errors: `DataError` for a history shorter than one period. Source: Hyndman & Athanasopoulos 2021, section 5.2.

    >>> cr.series.seasonal_naive([9.0, 1.0, 2.0, 3.0], 5, period=3)
    array([1., 2., 3., 1., 2.])
    """
    if horizon < 1 or period < 1:
        raise ArgumentError(f"horizon and period must be at least 1, got {horizon} and {period}")
    values = as_series(history).values
    if len(values) < period:
        raise DataError(f"a history of {len(values)} rows has no whole period of {period}. fix: a longer history")
    return values[[len(values) - period + step % period for step in range(horizon)]]
