"""Random state: a seed and a counter of draws; every value follows from them."""

from __future__ import annotations

import secrets
from operator import index
from typing import Any

import numpy as np

from ..errors import CaptureError
from ..graph.site import find_site
from ..graph.vertex import Vertex
from ..ops import random as random_ops
from ..ops.arithmetic import add
from ..types import Shape, int64, tensor_type
from .operands import enter_all
from .recording import make_slot, pending, stored
from .segment import flush, state
from .storage import Storage, allocate, view_array

_SCALAR = tensor_type(int64, ())
_HALF = 1 << 63
BLOCK = 1024
"""Counters of segments that share one piece of memory."""


def _integers(storage: Storage, count: int) -> memoryview:
    """The first int64 numbers of a storage, which Python reads and writes faster through this than through NumPy."""
    return view_array(storage, storage.address, tensor_type(int64, (count,)), None).data


class Generator:
    """A source of random numbers.

    Numbers that are drawn inside programs (dropout, `rand` in a compiled function) are a function of (seed, counter,
    stream, element): the counter rises by one with every run of a program that draws. Numbers drawn at once (`rand`
    elsewhere, initialisers) come from a NumPy Philox generator with the same seed.

    >>> Generator(device="cpu").manual_seed(3).initial_seed()
    3
    """

    def __init__(self, device: Any = None) -> None:
        self._storage = allocate(16)
        self._seed = stored(self._storage, self._storage.address, _SCALAR)
        self._counter = stored(self._storage, self._storage.address + 8, _SCALAR)
        self._state = _integers(self._storage, 2)
        self._numpy: np.random.Generator | None = None
        self._used = BLOCK
        self.manual_seed(secrets.randbits(31))

    def manual_seed(self, seed: int) -> Generator:
        """Start the sequence of ``seed`` from its beginning."""
        flush()
        self._state[0], self._state[1] = (index(seed) + _HALF) % (2 * _HALF) - _HALF, 0  # as int64
        self._used = BLOCK
        self._numpy = None
        return self

    def initial_seed(self) -> int:
        """The seed in use."""
        return self._state[0]

    def numpy(self) -> np.random.Generator:
        """The NumPy generator of numbers drawn at once. Errors: `CaptureError` while a function is captured."""
        if state.segment.is_capturing:
            raise CaptureError(
                "random numbers drawn here would be the same ones in every run of the compiled function\n"
                f"  where: {find_site()}\n  fix: draw them outside and pass them as an argument"
            )
        if self._numpy is None:
            self._numpy = np.random.Generator(np.random.Philox(key=self.initial_seed() & 0xFFFFFFFFFFFFFFFF))
        return self._numpy

    def get_state(self) -> dict[str, Any]:
        """Seed, counter and the NumPy generator's state, as JSON types and arrays."""
        return {"seed": self._state[0], "counter": self._state[1], "numpy": self.numpy().bit_generator.state}

    def set_state(self, saved: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        flush()
        self._state[0], self._state[1] = saved["seed"], saved["counter"]
        self._used = BLOCK
        self._numpy = None
        self.numpy().bit_generator.state = saved["numpy"]

    def draw_uniform(self, shape: Shape) -> Any:
        """Record numbers uniform in [0, 1), float32: a new stream of this segment's counter value."""
        seed, counter = self.enter(state.segment)
        segment = state.segment
        vertex = random_ops.random_uniform(seed, counter, shape, segment.draws)
        segment.draws += 1
        return pending(vertex, segment)

    def enter(self, segment: Any) -> tuple[Vertex, Vertex]:
        """The seed and the counter of a segment, as vertices."""
        if self not in segment.generators:
            segment.generators[self] = self._begin(segment)
        _, (seed, counter) = enter_all(*segment.generators[self])
        return seed, counter

    def _begin(self, segment: Any) -> tuple[Any, Any]:
        """Seed and counter for one segment: in a captured program state that it counts up itself, else two values."""
        if segment.is_capturing:
            for tensor in (self._seed, self._counter):
                if tensor._slot is None:
                    make_slot(tensor)
            return self._seed, self._counter
        if self._used == BLOCK:
            self._begin_block()
        self._used = used = self._used + 1
        self._block[used] = self._state[1]
        self._state[1] += 1
        return self._block_seed, stored(self._block_storage, self._block_storage.address + 8 * used, _SCALAR)

    def _begin_block(self) -> None:
        """New memory for a seed and many counters: segments that ran may be asked for their values again, so what they
        were given is never overwritten, and making it anew for each would cost more than recording the rest."""
        self._block_storage = allocate(8 * (BLOCK + 1))
        self._block = _integers(self._block_storage, BLOCK + 1)
        self._block[0] = self._state[0]
        self._block_seed = stored(self._block_storage, self._block_storage.address, _SCALAR)
        self._used = 0

    def count_up(self, segment: Any) -> None:
        """Let a captured program advance the counter."""
        _, (counter,) = enter_all(self._counter)
        segment.updates[self._counter._slot] = add(counter, 1)


default_generator = Generator()


def initial_seed() -> int:
    """The seed of everything random."""
    return default_generator.initial_seed()


def seed() -> int:
    """Seed everything random by chance; returns the seed."""
    chosen = secrets.randbits(63)
    default_generator.manual_seed(chosen)
    return chosen


def get_rng_state() -> dict[str, Any]:
    """The state of everything random, for `set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: dict[str, Any]) -> None:
    """Continue from a state that `get_rng_state` returned."""
    default_generator.set_state(new_state)


def manual_seed(seed: int) -> Generator:
    """Seed everything random in chainrule; returns the generator.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(0); a = cr.rand(3)
    >>> _ = cr.manual_seed(0); b = cr.rand(3)
    >>> bool((a == b).all())
    True
    """
    return default_generator.manual_seed(seed)
