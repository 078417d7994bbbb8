"""Memory that tensors look into."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from ..memory import address_of, aligned_block
from ..types import Shape, TensorType


class Clock:
    """When something last wrote into the storages that have this clock."""

    __slots__ = ("time",)

    now = 0
    """The number of writes so far."""

    def __init__(self) -> None:
        self.time = 0

    def tick(self) -> None:
        """Note a write."""
        Clock.now = self.time = Clock.now + 1


class Storage:
    """A block of memory with a fixed address; tensors are views of it.

    ``array`` keeps the memory alive. ``is_exported`` is set once somebody outside holds a NumPy or DLPack view: as long
    as the block `is_shared` it can change without chainrule seeing it. ``clocks`` belong to whatever writes into the
    block. The other fields say how the pending segment uses the block, so that reads and writes through different
    tensors keep their order; ``read_by`` is the id of a tensor (the tensor itself would be a cycle: memory would wait
    for the collector); ``made_in`` is the segment of the captured function in which the block was made.
    ``undrawn`` stands for initial values that are drawn when somebody first needs them; then it is None.
    """

    __slots__ = (
        "address", "array", "clocks", "is_exported", "is_read_by_many", "made_in", "nbytes", "read_by",
        "read_in", "undrawn", "written_in",
    )  # fmt: skip

    def __init__(self, array: np.ndarray[Any, Any], address: int, nbytes: int, is_exported: bool = False) -> None:
        self.array = array
        self.address = address
        self.nbytes = nbytes
        self.is_exported = is_exported
        self.clocks: tuple[Clock, ...] = ()
        self.read_in: Any = None
        self.read_by: Any = None
        self.is_read_by_many = False
        self.written_in: Any = None
        self.made_in: Any = None
        self.undrawn: Any = None

    def draw(self, fill: Any = None) -> None:
        """Draw the initial values now, if that has been put off; ``fill`` is a faster way for the uniform ones."""
        undrawn, self.undrawn = self.undrawn, None
        if undrawn is None:
            return
        try:
            undrawn.draw(self, fill)
        except BaseException:  # Ctrl-C too: what has not been drawn is memory that anything may have been in
            self.undrawn = undrawn
            raise

    @property
    def is_shared(self) -> bool:
        """Whether somebody outside can write into the block: owns it, or holds a view of it.

        Every view that NumPy or DLPack made refers to the array that owns the memory. When the last one is gone, the
        block is one like any other until the next export, and whatever was written until then counts as one write.
        """
        if not self.is_exported:
            return False
        owner: Any = self.array.base
        is_ours = type(owner) is np.ndarray and getrefcount(owner) == 3  # array, owner, getrefcount's argument
        if is_ours and owner.flags.owndata and getrefcount(self.array) == 2:
            self.is_exported = False
            self.note_write()
        return self.is_exported

    def note_write(self) -> None:
        """Note a write that no program makes."""
        if not self.clocks or self.clocks[0].__class__ is not _OwnClock:
            self.clocks = (_OwnClock(), *self.clocks)
        self.clocks[0].tick()

    def was_written_after(self, time: int) -> bool:
        """Whether anything has written into the block since ``time``."""
        return bool(self.clocks) and any(clock.time > time for clock in self.clocks)


class _OwnClock(Clock):
    """The clock of a single storage, for writes from Python."""

    __slots__ = ()


def allocate(nbytes: int) -> Storage:
    """Return new memory with unspecified contents."""
    array, address = aligned_block(nbytes)
    return Storage(array, address, nbytes)


_SPARE: dict[int, list[tuple[np.ndarray[Any, Any], int]]] = {}
MAX_SPARE_BYTES, MAX_SPARE_SIZES, MAX_SPARES = 1 << 22, 8, 4


def spare_memory(nbytes: int) -> Storage:
    """Return memory for short-lived values: a block that served before and nobody looks into any more, or a new one.

    A fresh block of every batch would be a fresh piece of the address space each time, which costs more than copying.
    """
    if nbytes > MAX_SPARE_BYTES:
        return allocate(nbytes)
    if nbytes not in _SPARE and len(_SPARE) >= MAX_SPARE_SIZES:
        _SPARE.clear()
    blocks = _SPARE.setdefault(nbytes, [])
    for block in blocks:
        array, address = block
        # storages and their views refer to the array, what others made of these to the owner of its memory
        is_unused = getrefcount(block) == 3 and getrefcount(array) == 3  # one by list or tuple, a name, the argument
        if is_unused and getrefcount(array.base) == 2:
            return Storage(array, address, nbytes)
    storage = allocate(nbytes)
    if len(blocks) < MAX_SPARES:
        blocks.append((storage.array, storage.address))
    return storage


def adopt(array: np.ndarray[Any, Any]) -> Storage:
    """Return a storage that shares the memory of an array somebody else owns."""
    block: np.ndarray[Any, Any] = np.ndarray(array.nbytes, np.uint8, array)  # refers to the owner, not to this view
    return Storage(block, address_of(array), array.nbytes, is_exported=True)


def view_array(storage: Storage, address: int, type: TensorType, strides: Shape | None) -> np.ndarray[Any, Any]:
    """Return the NumPy view of the elements at ``address`` with ``strides`` (in elements; None: row-major)."""
    if storage.undrawn is not None:
        storage.draw()
    dtype = type.dtype
    steps = None if strides is None else tuple([stride * dtype.size for stride in strides])
    return np.ndarray(type.shape, dtype.numpy, storage.array.data, address - storage.address, steps)
