"""PyTorch's files: what ``torch.save`` writes of tensors, numbers, text and containers of them, read without PyTorch.

Since version 1.6 such a file is a zip: a pickle that describes everything but the elements of tensors (``data.pkl``),
and these, a member per storage (``data/0`` ...). Before, it was five pickles, one after the other, with the storages
behind them. Pickles are read as data (``files.pickled``): of the names in one, those of the table below mean something,
none is imported, and all others are refused.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ModelFileError, type_in_words
from chainrule.files.archive import from_bfloat16
from chainrule.files.pickled import Meaning, read_pickle
from chainrule.files.pytorch_names import BFLOAT16, NAMES, PickledArray, PickledTensor, Storage, build, storage
from chainrule.files.zipped import StoredZip
from chainrule.memory import budget, spend
from chainrule.types import DType

MakeTensor = Callable[[NDArray[Any]], Any]

UNSTORED = 1 << 20
"""Bytes that tensors may take for what the file need not hold."""
TIMES_STORED = 8
"""Tensors may take so many times the bytes of the file: twice for bfloat16, and for those that share a storage."""
OVERHEAD = 500
"""Bytes that a tensor takes beside its elements."""
DEEPEST = 100
"""Lists and dictionaries in each other."""

OLD_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of the number that marks files of before 1.6."""
OLD_VERSION = 1001
DESCRIPTION = "data.pkl"

_PLAIN = (type(None), bool, int, float, complex, str, bytes, set, np.generic, DType)


def is_pytorch(content: bytes) -> bool:
    """Say whether the content of a file looks like what ``torch.save`` writes.

    >>> is_pytorch(b"PK")
    False
    """
    if content.startswith(OLD_START):
        return True
    name = content[30 : 30 + int.from_bytes(content[26:28], "little")]  # of the first member of a zip
    return content.startswith(b"PK\x03\x04") and name.endswith(b"/" + DESCRIPTION.encode())


def read_pytorch(content: bytes, path: str | os.PathLike[str], make_tensor: MakeTensor) -> Any:
    """Return what was given to ``torch.save``, with ``make_tensor`` of an array for each of its tensors.

    Tensors that share memory there, or are laid out otherwise than row by row, have memory of their own here. bfloat16
    becomes float32, and whatever device tensors were on, they are in the memory of the processor.

    Raises ModelFileError for a file that is damaged, compressed or encrypted, that would take far more memory than its
    own size, and that holds anything but tensors, numbers, text, lists, tuples, sets, dictionaries and NumPy arrays:
    a whole module, say, whose pickle would import and call code.
    """
    found = (_read_old if content.startswith(OLD_START) else _read_zip)(content, path)
    try:
        with budget(UNSTORED + TIMES_STORED * len(content)):
            return found.make(make_tensor)
    except MemoryError:
        raise ModelFileError(
            f"{path}: its tensors would take far more memory than the {len(content)} bytes of the file. It is damaged"
        ) from None


Elements = Callable[[Storage], "bytes | memoryview"]
"""The bytes of a storage."""


def _read_zip(content: bytes, path: str | os.PathLike[str]) -> _Values:
    archive = StoredZip(content, path)
    name = next((name for name in archive.names if name.endswith("/" + DESCRIPTION)), DESCRIPTION)
    folder = name.removesuffix(DESCRIPTION)
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in archive.names else b"little"
    if order not in (b"little", b"big"):
        raise ModelFileError(f"{path} is damaged: its byte order is {order!r:.40}, expected little or big")
    description = archive.read(name)
    value, end = read_pickle(description, Meaning(NAMES, storage, build), path)
    if end != len(description):
        raise ModelFileError(f"{path} is damaged: there are bytes behind its pickle")
    elements = functools.cache(lambda of: archive.read(f"{folder}data/{of.key}"))
    return _Values(path, value, end, elements, order == b"little")


def _read_old(content: bytes, path: str | os.PathLike[str]) -> _Values:
    """The pickles are: a magic number, a version, facts about the machine, the value, the keys of storages in order."""
    known: dict[str, Storage] = {}

    def note(given: Any) -> Storage:
        found = storage(given)
        return known.setdefault(found.key, found)

    values: list[Any] = []
    position = 0
    for _ in range(5):
        value, position = read_pickle(content, Meaning(NAMES, note, build), path, position)
        values.append(value)
    _, version, machine, value, keys = values
    is_usable = version == OLD_VERSION and isinstance(machine, dict) and isinstance(keys, list)
    if not is_usable or machine.get("little_endian") is not True:
        raise ModelFileError(f"{path} does not begin as a PyTorch file of before 1.6 from a little-endian machine")
    if {str(key) for key in keys} != set(known) or len(keys) != len(known):
        raise ModelFileError(f"{path} is damaged: it does not list the storages that its tensors are in")
    size, stored = position, {}
    for key in keys:
        count = int.from_bytes(content[position : position + 8], "little")
        start, position = position + 8, position + 8 + known[key].count * _element_size(known[key].element)
        if count != known[key].count or position > len(content):
            raise ModelFileError(f"{path} is truncated or damaged: storage {key!r:.40} is not whole")
        stored[key] = memoryview(content)[start:position]
    return _Values(path, value, size, lambda of: stored[of.key], True)


class _Values:
    """What a pickle described, made into plain values: a tree, in which nothing is shared and nothing contains itself.

    A list may be in a pickle once, and a million times in others: the tree may not be far larger than the pickle.
    """

    def __init__(
        self, path: str | os.PathLike[str], value: Any, described: int, elements: Elements, is_little: bool
    ) -> None:
        self.path, self.value, self.elements = path, value, elements
        self.is_little = is_little
        self.left = 1000 + 4 * described
        self.made: dict[PickledTensor, Any] = {}

    def make(self, make_tensor: MakeTensor) -> Any:
        return self.plain(self.value, make_tensor, 0)

    def plain(self, value: Any, make_tensor: MakeTensor, depth: int) -> Any:
        self.left -= 1
        if depth > DEEPEST or self.left < 0:
            raise ModelFileError(
                f"{self.path}: its lists and dictionaries lie in each other more than {DEEPEST} deep, or unpack to far "
                "more than the file holds: it is damaged"
            )
        if isinstance(value, dict):
            return type(value)({key: self.plain(item, make_tensor, depth + 1) for key, item in value.items()})
        if isinstance(value, list | tuple):
            return type(value)(self.plain(item, make_tensor, depth + 1) for item in value)
        if isinstance(value, PickledTensor):
            if value not in self.made:
                self.made[value] = make_tensor(self.tensor(value))
            return self.made[value]
        if isinstance(value, PickledArray):
            return value.array
        if isinstance(value, _PLAIN):
            return value
        raise ModelFileError(
            f"{self.path} is damaged: {type_in_words(value)} stands where a tensor, a number or text is expected"
        )

    def tensor(self, tensor: PickledTensor) -> NDArray[Any]:
        """The elements of a tensor, row by row."""
        element, shape, storage = tensor.element, tensor.shape, tensor.storage
        width = _element_size(element)
        raw = self.elements(storage)
        if len(raw) != storage.count * _element_size(storage.element):
            raise ModelFileError(
                f"{self.path} is damaged: storage {storage.key!r:.40} has {len(raw)} bytes, which are not "
                f"{storage.count} elements"
            )
        # Along a dimension of one element no stride is ever taken, however large.
        strides = [stride * (count > 1) for count, stride in zip(shape, tensor.strides, strict=True)]
        last = tensor.offset + sum((count - 1) * stride for count, stride in zip(shape, strides, strict=True))
        is_within = (last + 1) * width <= len(raw) if 0 not in shape else math.prod(filter(None, shape)) < 1 << 40
        if not is_within:
            raise ModelFileError(
                f"{self.path} is damaged: a tensor of shape {shape} reaches beyond its storage of {len(raw)} bytes"
            )
        spend(OVERHEAD + math.prod(shape) * max(width, 4))
        kind = np.dtype({BFLOAT16: "uint16", "bool": "uint8"}.get(element, element))
        vector = np.frombuffer(raw, kind.newbyteorder("<" if self.is_little else ">"), len(raw) // width)
        found = np.empty(shape, kind)
        if found.size:
            steps = [stride * width for stride in strides]
            found[...] = np.ndarray(shape, vector.dtype, vector, tensor.offset * width, steps)
        if element == BFLOAT16:
            return from_bfloat16(found)
        return found != 0 if element == "bool" else found


def _element_size(element: str) -> int:
    """Bytes of an element; those of storages without a type are bytes."""
    return {BFLOAT16: 2, "": 1}.get(element) or np.dtype(element).itemsize
