"""The state of objects as a JSON document and arrays: numbers keep their bits, dictionaries their keys.

    None, True, 3, 0.5, "text", [1, 2]      themselves
    NaN, infinity                           {"number": "nan"}
    (1, 2)                                  {"tuple": [1, 2]}
    {0: "a"}                                {"entries": [[0, "a"]]}
    an array or a tensor                    {"array": name}, under which the arrays have it
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.errors import ModelFileError
from chainrule.files.archive import Arrays


def pack_state(state: Any) -> tuple[Any, Arrays]:
    """Return a document in JSON types, and the arrays that it names.

    Raises ModelFileError for a value that has neither form, naming its place.

    >>> pack_state({"best": float("inf"), "rates": (0.1, 0.2)})[0]
    {'entries': [['best', {'number': 'inf'}], ['rates', {'tuple': [0.1, 0.2]}]]}
    """
    arrays: Arrays = {}
    return _packed(state, "state", arrays), arrays


def unpack_state(document: Any, arrays: Arrays) -> Any:
    """Inverse of ``pack_state``; tensors come back as arrays. Raises ModelFileError for another document."""
    try:
        return _unpacked(document, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"the stored state is damaged: {error!r}") from None


def _packed(value: Any, place: str, arrays: Arrays) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"number": repr(float(value))}
    if isinstance(value, Mapping):
        return {"entries": [[_key(key, place), _packed(item, f"{place}.{key}", arrays)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_packed(item, f"{place}.{number}", arrays) for number, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            arrays[place] = array
            return {"array": place}
    raise ModelFileError(
        f"{place} cannot be stored: it is a {type(value).__name__}, expected numbers, text, arrays, or lists and "
        "dictionaries of these"
    )


def _key(key: Any, place: str) -> Any:
    if not isinstance(key, str | int):
        raise ModelFileError(f"{place} cannot be stored: its key {key!r} is neither text nor a whole number")
    return key


def _unpacked(document: Any, arrays: Arrays) -> Any:
    if isinstance(document, list):
        return [_unpacked(item, arrays) for item in document]
    if not isinstance(document, dict):
        return document
    ((form, content),) = document.items()
    if form == "entries":
        return {key: _unpacked(item, arrays) for key, item in content}
    if form == "tuple":
        return tuple(_unpacked(item, arrays) for item in content)
    if form == "array":
        return arrays[content]
    if form == "number":
        return float(content)
    raise ValueError(f"unknown form {form!r}")
