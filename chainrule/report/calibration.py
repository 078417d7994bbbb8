"""Whether probabilities mean what they say: of the rows that get 70 %, about 70 % should be so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """Per bin of rows: mean predicted probability, observed share with its 95 % interval, and the number of rows."""

    predicted: Numbers
    observed: Numbers
    low: Numbers
    high: Numbers
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error, Σ nᵦ / n · |observedᵦ - predictedᵦ|."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.counts))

    @property
    def bins_off(self) -> int:
        """How many bins have a mean prediction outside the interval of their observed share."""
        return int(np.count_nonzero((self.predicted < self.low) | (self.predicted > self.high)))


def reliability(outcome: NDArray[Any], probability: NDArray[Any], bins: int = 10) -> Reliability:
    """Compare probabilities, shape (n,), with whether it came so, 0 or 1, shape (n,).

    Bins hold equally many rows, up to ties: their bounds are quantiles of the probabilities, as those of scikit-learn's
    ``calibration_curve(strategy="quantile")``. Empty bins are left out.

    >>> found = reliability(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.7, 0.9]), bins=2)
    >>> found.predicted.round(2).tolist(), found.observed.tolist(), round(found.error, 3)
    ([0.15, 0.8], [0.0, 1.0], 0.175)
    """
    given = np.asarray(probability, dtype=np.float64)
    bounds = np.quantile(given, np.linspace(0, 1, bins + 1))
    places = np.searchsorted(bounds[1:-1], given)
    counts = np.bincount(places, minlength=bins)
    kept = counts > 0
    counts = counts[kept]
    predicted = np.bincount(places, given, bins)[kept] / counts
    observed = np.bincount(places, outcome, bins)[kept] / counts
    return Reliability(predicted, observed, *wilson(observed, counts), counts)


def wilson(share: Numbers, counts: NDArray[np.int64], z: float = 1.959964) -> tuple[Numbers, Numbers]:
    """Return the bounds of Wilson's interval (1927) of a share of so many rows, by default of 95 %.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)

    >>> [bound.round(4).tolist() for bound in wilson(np.array([0.5]), np.array([10]))]
    [[0.2366], [0.7634]]
    """
    middle = share + z**2 / (2 * counts)
    half = z * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2))
    low, high = (middle - half) / (1 + z**2 / counts), (middle + half) / (1 + z**2 / counts)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)  # rounding may leave -1e-17
