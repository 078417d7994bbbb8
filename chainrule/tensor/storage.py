"""Memory that tensors look into."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..memory import address_of, aligned_block
from ..types import Shape, TensorType, contiguous_strides


class Storage:
    """A block of memory with a fixed address; tensors are views of it.

    ``array`` keeps the memory alive. ``is_exported`` is set once somebody outside holds a NumPy or DLPack view:
    such memory can change without chainrule seeing it. The other fields say how the pending segment uses the block,
    so that reads and writes through different tensors keep their order.
    """

    __slots__ = ("address", "array", "is_exported", "is_read_by_many", "nbytes", "read_by", "read_in", "written_in")

    def __init__(self, array: np.ndarray[Any, Any], address: int, nbytes: int, is_exported: bool = False) -> None:
        self.array = array
        self.address = address
        self.nbytes = nbytes
        self.is_exported = is_exported
        self.read_in: Any = None
        self.read_by: Any = None
        self.is_read_by_many = False
        self.written_in: Any = None


def allocate(nbytes: int) -> Storage:
    """Return new memory with unspecified contents."""
    array, address = aligned_block(nbytes)
    return Storage(array, address, nbytes)


def adopt(array: np.ndarray[Any, Any]) -> Storage:
    """Return a storage that shares the memory of an array somebody else owns."""
    flat = np.lib.stride_tricks.as_strided(array, (array.size,), (array.itemsize,)) if array.flags.forc else array
    return Storage(flat.view(np.uint8) if flat.ndim == 1 else flat, address_of(array), array.nbytes, is_exported=True)


def view_array(storage: Storage, address: int, type: TensorType, strides: Shape | None) -> np.ndarray[Any, Any]:
    """Return the NumPy view of the elements at ``address`` with ``strides`` (in elements; None: row-major)."""
    size = type.dtype.size
    steps = tuple(stride * size for stride in (strides or contiguous_strides(type.shape)))
    return np.ndarray(type.shape, type.dtype.numpy, storage.array.data, address - storage.address, steps)
