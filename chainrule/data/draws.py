"""Random numbers for rows: a function of the seed of an epoch, the place of the row in it, and the number of the draw.

So a row is changed in the same way whether it is read alone or with a batch, and by whichever thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..ops.random import threefry
from ..tensor.generator import default_generator


class _Reading(threading.local):
    """The rows that a loader reads on this thread: the seed of their epoch, their places, and draws made so far."""

    seed = 0
    places: range | None = None
    draws = 0


_reading = _Reading()


@contextmanager
def reading(seed: int, places: range) -> Iterator[None]:
    """Let `draw_uniform` give the numbers of the rows at these places of the epoch."""
    _reading.seed, _reading.places, _reading.draws = seed, places, 0
    try:
        yield
    finally:
        _reading.places = None


def draw_uniform(rows: int) -> NDArray[np.float32]:
    """One number uniform in [0, 1) per row: those of the rows a `DataLoader` is reading, else of ``manual_seed``.

    Numbers are multiples of 2⁻²⁴ by Threefry-2x32 with key = seed and counter = (place, draw), as in `ops.random`.

    Errors: `ArgumentError` for another number of rows than are being read.
    """
    places = _reading.places
    if places is None:
        return default_generator.numpy().random(rows, dtype=np.float32)
    if rows != len(places):
        raise ArgumentError(f"random numbers for {rows} rows were asked for while {len(places)} are being read")
    key = np.asarray([_reading.seed], np.int64).view(np.uint32)
    counters = np.arange(places.start, places.stop, dtype=np.uint32)
    with np.errstate(over="ignore"):
        bits = threefry((key[:1], key[1:]), (counters, np.full(rows, _reading.draws, np.uint32)))
    _reading.draws += 1
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
