"""Measures of forecasts that have no unit; `chainrule.training.metrics` has those in the unit of the series."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, ShapeError
from .series import as_series


def smape(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the symmetric mean absolute percentage error, 200 · mean(|y - p| / (|y| + |p|)), between 0 and 200.

    Where both are 0 the error is 0. Source: Makridakis & Hibon 2000. Errors: `ShapeError` for different shapes.

    >>> cr.series.smape([100.0, 200.0], [100.0, 100.0])
    33.33333333333333
    """
    true, predicted = _pair(y_true, prediction)
    size = np.abs(true) + np.abs(predicted)
    return float(200 * np.mean(np.divide(np.abs(true - predicted), size, out=np.zeros_like(size), where=size > 0)))


def mase(y_true: ArrayLike, prediction: ArrayLike, training: Any, period: int = 1) -> float:
    """Return the mean absolute scaled error: mean |y - p| over the training part's mean |y(t) - y(t-period)|.

    Below 1 the forecasts are better than seasonal-naive ones are on average, one period ahead, in the training part.
    Shapes: ``training`` (rows,); or (rows, channels), and then y and p have channels last, each scaled on its own.
    Source: Hyndman & Koehler 2006.

    Errors: `DataError` where the training part is not longer than the period, or repeats itself exactly.

    >>> cr.series.mase([6.0, 7.0], [5.0, 5.0], training=[1.0, 2.0, 4.0, 4.0])
    1.5
    """
    true, predicted = _pair(y_true, prediction)
    values = as_series(training).values
    if period < 1 or len(values) <= period:
        raise DataError(f"MASE needs a training part longer than the period {period}, got {len(values)} rows")
    channels = values.shape[1:]
    if channels and true.shape[-1:] != channels:
        raise ShapeError(f"targets of shape {true.shape} have no {channels[0]} channels, as the training part has")
    scale = np.mean(np.abs(values[period:].astype(np.float64) - values[:-period]), axis=0)
    if not np.all(scale > 0):
        raise DataError(
            f"MASE is not defined: a channel of the training part repeats itself exactly after {period} row(s)"
        )
    return float(np.mean(np.abs(true - predicted) / scale))


def _pair(y_true: ArrayLike, prediction: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predicted = np.asarray(y_true, np.float64), np.asarray(prediction, np.float64)
    if true.shape != predicted.shape or not true.size:
        raise ShapeError(f"targets have shape {true.shape}, but forecasts {predicted.shape}: give one shape, not empty")
    return true, predicted
