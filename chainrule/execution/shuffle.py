"""Random orders of rows: one native loop, a function of a seed and a round alone."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from ..backends.native.cpu import host_target
from ..backends.native.jit import compile_module
from ..backends.native.language import INDEX, POINTER, Module, Value
from ..settings import settings

_STEP = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
"""SplitMix64: the i-th random number mixes the bits of key + i · step by shifts and products.
Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014."""

_Shuffle = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64)


def shuffle(address: int, rows: int, seed: int, round: int) -> None:
    """Write the numbers 0 ... rows-1 in a random order, as int64, to the memory at ``address``.

    Every round of a seed has an order of its own, whatever was shuffled before, so that training can resume anywhere.

    >>> from chainrule.memory import aligned_block
    >>> memory, address = aligned_block(5 * 8)
    >>> shuffle(address, 5, seed=0, round=1)
    >>> sorted(memory.view("int64").tolist())
    [0, 1, 2, 3, 4]
    """
    _function()(address, rows, seed, round)


@cache
def _function() -> Any:
    """The compiled loop."""
    module = Module(host_target(settings.cpu_features))
    _write(module)
    directory = settings.cache_directory if settings.cache_enabled else None
    library = compile_module(str(module), module.target, directory)
    function: Any = _Shuffle(library.address("shuffle"))
    function.library = library  # its code lives as long as it does
    return function


def _write(module: Module) -> None:
    """Fisher and Yates' shuffle, inside out: row i goes to a random place j ≤ i, and what was there to place i."""
    with module.function("shuffle", [("order", POINTER), ("rows", INDEX), ("seed", INDEX), ("round", INDEX)]) as f:
        order, rows, seed, round = f.arguments
        key = _mixed(_mixed(seed) + round * _signed(_STEP))
        with f.loop(0, rows, carried=[key], name="row") as row:
            place = order.at(_scaled(_mixed(row.values[0]), row.index + 1), "int64")
            f.store(f.load(place, INDEX), order.at(row.index, "int64"))
            f.store(row.index, place)
            row.next([row.values[0] + _signed(_STEP)])


def _mixed(number: Value) -> Value:
    for shift, factor in _MIX:
        number = (number ^ number.shift_right_logical(shift)) * _signed(factor)
    return number


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _scaled(random: Value, count: Value) -> Value:
    """⌊random · count / 2⁶⁴⌋ for count < 2³², in halves of 32 bits: uniform in [0, count)."""
    high, low = random.shift_right_logical(32), random & 0xFFFFFFFF
    return (high * count + (low * count).shift_right_logical(32)).shift_right_logical(32)
