"""Nested values, as programs save them between epochs: JSON that names the arrays, and the arrays.

None, True, 3, 0.5, "text", [1, 2]      themselves
NaN, infinity                           {"number": "nan"}
(1, 2)                                  {"tuple": [1, 2]}
{"epoch": 3}                            {"entries": [["epoch", 3]]}
a tensor, an array                      {"tensor": name}, {"array": name}, under which the arrays have it
float32 itself                          {"dtype": "float32"}
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ArgumentError, ModelFileError, type_in_words
from chainrule.files.archive import RESERVED, Archive, Arrays, write_archive
from chainrule.files.opened import File
from chainrule.files.provenance import versions
from chainrule.types import DTYPES, DType

DOCUMENT = "values"
DEEPEST = 100
"""Lists and dictionaries in each other."""

Path = tuple[Any, ...]


def write_values(file: File, value: Any, is_tensor: Callable[[Any], bool]) -> None:
    """Write nested values as one file; ``is_tensor`` says what comes back as a tensor.

    Raises ArgumentError, with the place, for what is neither tensor, array, number, text, list, tuple nor dictionary,
    ModelFileError where the file cannot be written.
    """
    document, arrays = pack_values(value, is_tensor)
    metadata = {"versions": versions()}
    write_archive(file, {DOCUMENT: document, "metadata": metadata}, arrays, versions()["chainrule"])


def read_values(archive: Archive, path: str | os.PathLike[str], make_tensor: Callable[[NDArray[Any]], Any]) -> Any:
    """Return what was given to `write_values`, with ``make_tensor`` of an array for every tensor.

    Raises ModelFileError for a document that `write_values` did not make; ``path`` is for its message.
    """
    try:
        return unpack_values(archive.documents[DOCUMENT], archive.arrays, make_tensor)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path}: {DOCUMENT}.json is damaged: {type(error).__name__} {error!s:.200}") from None


def pack_values(value: Any, is_tensor: Callable[[Any], bool]) -> tuple[Any, Arrays]:
    """Return nested values in JSON types, and the arrays that these name.

    Raises ArgumentError as `write_values` does.

    >>> pack_values({"best": float("inf"), "rates": (0.1, 0.2)}, callable)[0]
    {'entries': [['best', {'number': 'inf'}], ['rates', {'tuple': [0.1, 0.2]}]]}
    """
    writer = _Writer(is_tensor)
    return writer.json(value, ()), writer.arrays


def unpack_values(document: Any, arrays: Arrays, make_tensor: Callable[[NDArray[Any]], Any]) -> Any:
    """Inverse of `pack_values`, with ``make_tensor`` of an array for every tensor.

    Raises KeyError, TypeError, ValueError or AttributeError for another document.
    """
    return _Reader(arrays, make_tensor).value(document, 0)


class _Writer:
    def __init__(self, is_tensor: Callable[[Any], bool]) -> None:
        self.is_tensor = is_tensor
        self.arrays: Arrays = {}

    def json(self, value: Any, path: Path) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"number": repr(float(value))}
        if isinstance(value, DType):
            return {"dtype": value.name}
        if self.is_tensor(value) or isinstance(value, np.ndarray):
            return self.named(value, path)
        if len(path) > DEEPEST:
            raise ArgumentError(f"{_place(path[:5])}...: more than {DEEPEST} lists and dictionaries lie in each other")
        if isinstance(value, Mapping):
            return self.mapping(value, path)
        if isinstance(value, list | tuple):
            items = [self.json(item, (*path, number)) for number, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        fix = "its state_dict()" if hasattr(value, "state_dict") else "leave it out, or make it one of these"
        raise ArgumentError(
            f"{_place(path)} is {type_in_words(value)}, which cannot be saved; expected tensors, arrays, numbers, "
            f"text, and lists, tuples and dictionaries of them. fix: {fix}"
        )

    def mapping(self, value: Mapping[Any, Any], path: Path) -> Any:
        wrong = next((key for key in value if not isinstance(key, str | int | float | bool | None)), None)
        if wrong is not None:
            raise ArgumentError(f"{_place(path)} has a key that is {type_in_words(wrong)}, expected text or a number")
        return {"entries": [[self.json(key, path), self.json(item, (*path, key))] for key, item in value.items()]}

    def named(self, value: Any, path: Path) -> Any:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"{_place(path)} has elements of {array.dtype}, expected numbers or booleans")
        name = ".".join(map(str, path)) or "value"
        while name in self.arrays or name == RESERVED:  # {"a.b": x, "a": {"b": y}}
            name += "_"
        self.arrays[name] = array
        return {"tensor" if self.is_tensor(value) else "array": name}


class _Reader:
    def __init__(self, arrays: Arrays, make_tensor: Callable[[NDArray[Any]], Any]) -> None:
        self.arrays, self.make_tensor = arrays, make_tensor

    def value(self, document: Any, depth: int) -> Any:
        if depth > 2 * DEEPEST:
            raise ValueError("too deep")
        if isinstance(document, list):
            return [self.value(item, depth + 1) for item in document]
        if not isinstance(document, dict):
            return document
        ((kind, content),) = document.items()
        if kind == "entries":
            return {self.key(key): self.value(item, depth + 1) for key, item in content}
        if kind == "tuple" and isinstance(content, list):
            return tuple(self.value(item, depth + 1) for item in content)
        if kind == "tensor":
            return self.make_tensor(self.arrays[content])
        if kind == "array":
            return self.arrays[content]
        if kind == "dtype":
            return DTYPES[content]
        if kind == "number" and content in ("inf", "-inf", "nan"):
            return float(content)
        raise ValueError(f"unknown kind {kind!r:.40}")

    def key(self, document: Any) -> Any:
        key = self.value(document, 0)
        if not isinstance(key, str | int | float | None):
            raise TypeError(f"a key is {type_in_words(key)}")
        return key


def _place(path: Path) -> str:
    return "the value" + "".join(f"[{key!r:.40}]" for key in path)
