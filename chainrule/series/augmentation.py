"""Windows changed at random, so that a network sees more of them than there are; one by one, or whole batches.

A window is an array of floats, (rows,) or (rows, channels), or is made one; ``batch`` takes (n, rows) or
(n, rows, channels), with the same results to the bit. Random numbers are those of the rows that a `DataLoader` reads,
elsewhere those of ``manual_seed``.
Source: Um et al. 2017, Data augmentation of wearable sensor data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.draws import draw_uniforms
from ..errors import ArgumentError

Array = NDArray[Any]


class _RandomChange:
    """A change of windows by random numbers: a subclass has ``_change(windows)`` for a batch."""

    def __init__(self, deviation: float) -> None:
        if not deviation >= 0:
            raise ArgumentError(f"deviation must not be negative, got {deviation}")
        self.deviation = deviation

    def __call__(self, window: Array) -> Array:
        return self.batch(np.asarray(window)[None])[0]

    def batch(self, windows: Array) -> Array:
        """The same for a batch."""
        floats = windows if windows.dtype.kind == "f" else windows.astype(np.float64)
        return self._change(floats).astype(floats.dtype, copy=False)

    def _change(self, windows: Array) -> Array:
        raise NotImplementedError

    def _draw(self, windows: int, *shape: int) -> Array:
        """N(0, deviation²), of this shape for each window, (windows, *shape): Box and Muller's two of two uniforms."""
        count = math.prod(shape)
        radii, angles = draw_uniforms(windows, 2 * math.ceil(count / 2)).astype(np.float64).reshape(2, -1)
        radii, angles = np.sqrt(-2 * np.log1p(-radii)), 2 * np.pi * angles
        normal = np.concatenate([radii * np.cos(angles), radii * np.sin(angles)]).reshape(-1, windows)
        return self.deviation * np.ascontiguousarray(normal[:count].T).reshape(windows, *shape)

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

    def _change(self, windows: Array) -> Array:
        return windows + self._draw(*windows.shape)


class Scaling(_RandomChange):
    """Every channel of a window times one factor, N(1, deviation²).

    >>> window = np.array([1.0, 2.0, 4.0])
    >>> scaled = cr.series.Scaling()(window)
    >>> np.allclose(scaled / scaled[0], window)
    True
    """

    def __init__(self, deviation: float = 0.1) -> None:
        super().__init__(deviation)

    def _change(self, windows: Array) -> Array:
        return windows * (1 + self._draw(len(windows), 1, *windows.shape[2:]))


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

    def _change(self, windows: Array) -> Array:
        last = windows.shape[1] - 1
        if last < 1:
            return windows
        speeds = np.exp(self._draw(len(windows), self.knots))
        between = _read(
            speeds, np.broadcast_to((np.arange(last) + 0.5) * (self.knots - 1) / last, (len(windows), last))
        )
        times = np.zeros(windows.shape[:2])
        np.cumsum(between, axis=1, out=times[:, 1:])
        return _read(windows, times * (last / times[:, -1:]))


def _read(rows: Array, times: Array) -> Array:
    """Values at times (n, m) between 0 and rows - 1, interpolated in (n, rows) or (n, rows, channels)."""
    below = np.clip(times.astype(np.int64), 0, rows.shape[1] - 2)
    ones = (1,) * (rows.ndim - 2)
    place, share = below.reshape(*below.shape, *ones), (times - below).reshape(*times.shape, *ones)
    first, second = (np.take_along_axis(rows, place + step, axis=1) for step in (0, 1))
    return first * (1 - share) + second * share
