"""What is done to a series before a network reads it, and undone on forecasts; measured on the training part alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.encoders import Scale, scale_from_json
from ..errors import ArgumentError, DataError, ModelFileError, ShapeError
from .series import as_series, with_channels

Array = NDArray[Any]


@dataclass(frozen=True)
class SeriesPreparation:
    """Logarithm if asked, difference if asked, then standardisation of every channel: what a network reads.

    z(t) = (u(t) - mean) / deviation with u(t) = s(t) - s(t - difference) and s = log y or y. A channel that does not
    vary in the training part is only shifted. ``difference=12`` takes the season out of monthly values, ``log`` makes
    factors of growth and season into sums. Forecasts undone by ``invert`` are medians, not means, where ``log`` is on.

    >>> preparation = cr.series.SeriesPreparation.fit([1.0, 2.0, 4.0, 8.0, 16.0], log=True, difference=1)
    >>> bool((abs(preparation.transform([16.0, 32.0, 64.0])) < 1e-9).all())
    True
    >>> preparation.invert([0.0, 0.0], history=[16.0, 32.0])
    array([ 64., 128.])
    """

    scales: tuple[Scale, ...]
    log: bool = False
    difference: int = 0

    @classmethod
    def fit(cls, series: Any, *, log: bool = False, difference: int = 0) -> SeriesPreparation:
        """Measure a series, (rows,) or (rows, channels): give the training part alone.

        Errors: `DataError` for a series that is not longer than the difference, and, with ``log``, for values that are
        not positive.
        """
        if difference < 0:
            raise ArgumentError(f"difference must not be negative, got {difference}")
        values = with_channels(as_series(series).values).astype(np.float64)
        if len(values) <= difference:
            raise DataError(f"a series of {len(values)} rows has no difference over {difference} rows. fix: more rows")
        changes = cls((), log, difference)._differences(values)
        scales = (Scale.fit(channel) or Scale(float(channel[0]), 1.0) for channel in changes.T)
        return cls(tuple(scales), log, difference)

    def transform(self, series: Any) -> Array:
        """Return the prepared rows: as many as given, less ``difference`` at the beginning."""
        values = as_series(series).values
        self._check_channels(values.shape)
        changes = self._differences(with_channels(values).astype(np.float64))
        prepared = np.stack([scale.apply(changes[:, number]) for number, scale in enumerate(self.scales)], axis=1)
        return prepared[:, 0] if values.ndim == 1 else prepared

    def invert(self, forecast: Any, history: Any) -> Array:
        """Return a forecast of prepared rows in the unit of the series, given the series up to where it begins.

        Shapes: both (rows,), or both (rows, channels). Of the history the last ``difference`` rows are used.
        """
        prepared = np.asarray(forecast, np.float64)
        self._check_channels(prepared.shape)
        columns = with_channels(prepared)
        changes = np.stack([scale.invert(columns[:, number]) for number, scale in enumerate(self.scales)], axis=1)
        if self.difference:
            known = self._logged(with_channels(as_series(history).values).astype(np.float64)[-self.difference :])
            if len(known) < self.difference:
                raise DataError(f"a history of {len(known)} rows is too short for a difference over {self.difference}")
            changes = np.concatenate([known, changes])
            for row in range(self.difference, len(changes)):
                changes[row] += changes[row - self.difference]
            changes = changes[self.difference :]
        if self.log:
            with np.errstate(over="ignore"):  # a forecast may be infinite, and then it shows
                changes = np.exp(changes)
        return changes[:, 0] if prepared.ndim == 1 else changes

    def only(self, channels: Sequence[int]) -> SeriesPreparation:
        """The preparation of some of the channels."""
        return SeriesPreparation(tuple(self.scales[channel] for channel in channels), self.log, self.difference)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, from which ``from_json`` makes an equal preparation."""
        return {"scales": list(map(asdict, self.scales)), "log": self.log, "difference": self.difference}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SeriesPreparation:
        """Inverse of ``to_json``. Errors: `ModelFileError` for a dictionary that ``to_json`` did not make."""
        try:
            scales = tuple(map(scale_from_json, data["scales"]))
            log, difference = data["log"], data["difference"]
            is_usable = all(math.isfinite(scale.mean) and 0 < scale.deviation < math.inf for scale in scales)
            if not (scales and is_usable and type(log) is bool and type(difference) is int and difference >= 0):
                raise ValueError("scales, log or difference")
            return cls(scales, log, difference)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"the model's preparation of series is damaged: {error!r:.300}") from None

    def _differences(self, values: Array) -> Array:
        logged = self._logged(values)
        return logged[self.difference :] - logged[: -self.difference] if self.difference else logged

    def _logged(self, values: Array) -> Array:
        if not self.log:
            return values
        if not np.all(values > 0):
            row = int(np.flatnonzero((values <= 0).any(1))[0])
            raise DataError(
                f"the logarithm needs positive values, row {row} has {values[row].min():g}. fix: log=False, or a shift"
            )
        return np.log(values)

    def _check_channels(self, shape: tuple[int, ...]) -> None:
        found = shape[1] if len(shape) == 2 else 1
        if len(shape) not in (1, 2) or found != len(self.scales):
            raise ShapeError(f"the preparation was measured on {len(self.scales)} channel(s), got shape {shape}")
