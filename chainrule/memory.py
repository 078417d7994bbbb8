"""Memory aligned for the widest vectors, for tensors and for the working memory of programs; and a budget for it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import addressof, c_char
from typing import Any

import numpy as np

ALIGNMENT = 64
"""Bytes: one cache line, and one AVX-512 register."""

_first_byte: Callable[[Any], c_char] = c_char.from_buffer
"""Arrays have the buffer that it takes, and NumPy's annotations say so from Python 3.12 on."""

# glibc learns from the largest block freed so far how much free memory to keep, twice as much, before it gives any back
# to the system. By itself it keeps so little that a new network gets the memory of the last one from the system again,
# page by page and cleared. This block is freed at once, and never touched.
np.empty(32_000_000, np.uint8)


def aligned_block(nbytes: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return (uint8 array of ``nbytes``, its address), at a multiple of 64; contents are unspecified.

    The array keeps the memory alive.
    """
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    address = addressof(_first_byte(block))
    start = -address % ALIGNMENT
    return block[start : start + nbytes], address + start


def aligned_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[np.ndarray[Any, Any], int]:
    """A row-major array alone in such a block, and its address; contents are unspecified."""
    block = np.empty(math.prod(shape) * dtype.itemsize + ALIGNMENT, np.uint8)
    address = addressof(_first_byte(block))
    start = -address % ALIGNMENT
    return np.ndarray(shape, dtype, block, start), address + start


def aligned_memory(array: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int] | None:
    """As `aligned_block`, the block of an array by `aligned_array`, also if reordered; None for any other array."""
    block, nbytes = array.base, array.nbytes
    if block.__class__ is not np.ndarray or block.nbytes != nbytes + ALIGNMENT:
        return None
    if block.dtype.char != "B" or not block.flags.owndata:
        return None
    address = addressof(_first_byte(block))
    start = -address % ALIGNMENT
    return block[start : start + nbytes], address + start


def address_of(array: np.ndarray[Any, Any]) -> int:
    """The address of an array's first element."""
    if array.flags.c_contiguous:  # a fifth of the time, and this is done for every result
        try:
            return addressof(_first_byte(array))
        except (TypeError, ValueError):  # not to be written to, or empty
            pass
    address: int = array.__array_interface__["data"][0]
    return address


class _Budget(threading.local):
    """What parameters and constants may still take on this thread, in bytes; None for no limit."""

    left: int | None = None


_budget = _Budget()


@contextmanager
def budget(nbytes: int) -> Iterator[None]:
    """Refuse parameters and constants that take more than ``nbytes`` together, before any memory is taken.

    Errors: MemoryError.
    """
    before, _budget.left = _budget.left, nbytes
    try:
        yield
    finally:
        _budget.left = before


def spend(nbytes: int) -> None:
    """Take ``nbytes`` off the budget, if there is one. Errors: MemoryError."""
    if _budget.left is not None:
        _budget.left -= nbytes
        if _budget.left < 0:
            raise MemoryError(f"{nbytes} bytes are more than the budget allows")
