"""Memory aligned for the widest vectors, for tensors and for the working memory of programs; and a budget for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import addressof, c_char
from typing import Any

import numpy as np

ALIGNMENT = 64
"""Bytes: one cache line, and one AVX-512 register."""


def aligned_block(nbytes: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return (uint8 array of ``nbytes``, its address), at a multiple of 64; contents are unspecified.

    The array keeps the memory alive.
    """
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    address = addressof(c_char.from_buffer(block.data))  # a third of what address_of costs, and this is done every step
    start = -address % ALIGNMENT
    return block[start : start + nbytes], address + start


def address_of(array: np.ndarray[Any, Any]) -> int:
    """The address of an array's first element."""
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
