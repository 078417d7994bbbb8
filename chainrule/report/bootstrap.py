"""How far a measure could have come out otherwise: the bootstrap over rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..training.metrics import Metric

MOST_DRAWS, FEWEST_DRAWS = 1000, 200
MOST_VALUES = 2_000_000


class Interval(NamedTuple):
    """The bounds of a confidence interval, and of how many draws they are quantiles."""

    low: float
    high: float
    draws: int


def draws_for(rows: int) -> int:
    """Return how many draws are made: 1000, fewer for many rows, whose intervals are narrow anyway."""
    return int(np.clip(MOST_VALUES // max(rows, 1), FEWEST_DRAWS, MOST_DRAWS))


def confidence_interval(
    measure: Metric, y_true: NDArray[Any], prediction: NDArray[Any], *, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the percentile bootstrap interval of ``measure(y_true, prediction)`` (Efron 1979).

    As many rows as there are, n, are drawn with replacement, ``draws_for(n)`` times, from ``default_rng(seed)``; the
    bounds are the quantiles (1 - level) / 2 and (1 + level) / 2 of the measure on these draws. Draws on which the
    measure is not defined, such as an AUC without one of the classes, are left out; None if half of them are.

    >>> from chainrule.training.metrics import accuracy
    >>> y = np.array([0, 1] * 50)
    >>> low, high, draws = confidence_interval(accuracy, y, np.where(np.arange(100) < 80, y, 1 - y))
    >>> round(low, 2), round(high, 2), draws
    (0.72, 0.88, 1000)
    """
    rows = len(y_true)
    random = np.random.default_rng(seed)
    values = []
    draws = draws_for(rows)
    for _ in range(draws):
        drawn = random.integers(0, rows, rows)
        try:
            values.append(measure(y_true[drawn], prediction[drawn]))
        except TargetError:
            continue
    if 2 * len(values) <= draws:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), len(values))
