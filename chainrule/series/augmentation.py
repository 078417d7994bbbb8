"""Windows changed at random, so that a network sees more of them than there are; one by one, or whole batches.

A window is an array (rows,) or (rows, channels); ``batch`` takes (n, rows) or (n, rows, channels), with the same
results to the bit. Random numbers are those of the rows that a `DataLoader` reads, elsewhere those of ``manual_seed``.
Source: Um et al. 2017, Data augmentation of wearable sensor data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.draws import draw_generators
from ..errors import ArgumentError

Array = NDArray[Any]


class _RandomChange:
    """A change of one window by random numbers: a subclass has ``_change(window, random)``."""

    def __init__(self, deviation: float) -> None:
        if not deviation >= 0:
            raise ArgumentError(f"deviation must not be negative, got {deviation}")
        self.deviation = deviation

    def __call__(self, window: Array) -> Array:
        return self.batch(np.asarray(window)[None])[0]

    def batch(self, windows: Array) -> Array:
        """The same for a batch."""
        generators = draw_generators(len(windows))
        changed = [self._change(*pair) for pair in zip(windows, generators, strict=True)]
        return np.stack(changed).astype(windows.dtype, copy=False)

    def _change(self, window: Array, random: np.random.Generator) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


class Jitter(_RandomChange):
    """Noise added to every element: x + N(0, deviation²). The deviation is in the unit of the windows.

    >>> cr.series.Jitter(deviation=0)(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    def __init__(self, deviation: float = 0.03) -> None:
        super().__init__(deviation)

    def _change(self, window: Array, random: np.random.Generator) -> Array:
        return window + self.deviation * random.standard_normal(window.shape)


class Scaling(_RandomChange):
    """Every channel of a window times one factor, N(1, deviation²).

    >>> window = np.array([1.0, 2.0, 4.0])
    >>> scaled = cr.series.Scaling()(window)
    >>> np.allclose(scaled / scaled[0], window)
    True
    """

    def __init__(self, deviation: float = 0.1) -> None:
        super().__init__(deviation)

    def _change(self, window: Array, random: np.random.Generator) -> Array:
        return window * (1 + self.deviation * random.standard_normal(window.shape[1:]))


class TimeWarp(_RandomChange):
    """Time runs faster here and slower there: the window is read, by linear interpolation, at other times.

    The speed is exp(N(0, deviation²)) at each of ``knots`` equally spaced moments and linear between them, so time
    never runs back; the times are scaled so that the first and the last row stay what they are. Channels keep together.

    >>> warped = cr.series.TimeWarp()(np.arange(10.0))
    >>> float(warped[0]), float(warped[-1]), bool((np.diff(warped) > 0).all())
    (0.0, 9.0, True)
    """

    def __init__(self, deviation: float = 0.2, knots: int = 4) -> None:
        super().__init__(deviation)
        if knots < 2:
            raise ArgumentError(f"knots must be at least 2, got {knots}")
        self.knots = knots

    def _change(self, window: Array, random: np.random.Generator) -> Array:
        rows = len(window)
        speeds = np.exp(self.deviation * random.standard_normal(self.knots))
        between = np.interp(np.arange(rows - 1) + 0.5, np.linspace(0, rows - 1, self.knots), speeds)
        times = np.concatenate([[0.0], np.cumsum(between)])
        if rows > 1:
            times *= (rows - 1) / times[-1]
        below = np.minimum(times.astype(np.int64), max(rows - 2, 0))
        above = np.minimum(below + 1, rows - 1)
        share = (times - below).reshape(-1, *[1] * (window.ndim - 1))
        return window[below] * (1 - share) + window[above] * share
