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
    """The rows that a loader reads on this thread: the seed of their epoch, the first's place, and draws made so far.

    ``place`` is None where none are read, ``rows`` where a draw may be for any number of rows.
    """

    seed = 0
    place: int | None = None
    rows: int | None = None
    draws = 0


_reading = _Reading()


@contextmanager
def reading(seed: int, places: range) -> Iterator[None]:
    """Let the functions below give the numbers of the rows at these places of the epoch."""
    _reading.seed, _reading.place, _reading.rows, _reading.draws = seed, places.start, len(places), 0
    try:
        yield
    finally:
        _reading.place = None


@contextmanager
def collating(seed: int, place: int) -> Iterator[None]:
    """The same while rows are joined to a batch that begins at this place; the numbers are none of its rows'."""
    with reading(~seed, range(place, place)):
        _reading.rows = None
        yield


def draw_uniform(rows: int) -> NDArray[np.float32]:
    """One number uniform in [0, 1) per row; see `draw_uniforms`."""
    return draw_uniforms(rows, 1)[0]


def draw_uniforms(rows: int, count: int) -> NDArray[np.float32]:
    """Numbers uniform in [0, 1), ``count`` per row, of shape (count, rows), as by so many draws.

    They are those of the rows a `DataLoader` is reading, else of ``manual_seed``: multiples of 2⁻²⁴ by Threefry-2x32
    with key = seed and counter = (place, draw), as in `ops.random`.

    Errors: `ArgumentError` for another number of rows than are being read.
    """
    found = _next_draws(rows, count)
    if found is None:
        return default_generator.numpy().random((count, rows), dtype=np.float32)
    places, draws = found
    key = np.asarray([_reading.seed], np.int64).view(np.uint32)
    counters = np.tile(np.arange(places.start, places.stop, dtype=np.uint32), count)
    with np.errstate(over="ignore"):
        bits = threefry((key[:1], key[1:]), (counters, np.arange(*draws, dtype=np.uint32).repeat(rows)))
    return ((bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(count, rows)


def draw_generators(rows: int) -> list[np.random.Generator]:
    """A source of many numbers for each row: Philox, whose key is seed, place and draw; elsewhere one for all rows.

    Errors: `ArgumentError` for another number of rows than are being read.
    """
    found = _next_draws(rows, 1)
    if found is None:
        return [default_generator.numpy()] * rows
    places, (draw, _) = found
    keys = [np.array([_reading.seed & 0xFFFFFFFFFFFFFFFF, place << 32 | draw], np.uint64) for place in places]
    return [np.random.Generator(np.random.Philox(key=key)) for key in keys]


def _next_draws(rows: int, count: int) -> tuple[range, tuple[int, int]] | None:
    """The places being read, and the numbers of the next draws, from one to before the other; None outside."""
    place, first = _reading.place, _reading.draws
    if place is None:
        return None
    if _reading.rows not in (rows, None):
        raise ArgumentError(f"random numbers for {rows} rows were asked for while {_reading.rows} are being read")
    _reading.draws = first + count
    return range(place, place + rows), (first, first + count)
