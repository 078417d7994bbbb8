"""Weights alone: a state dict as a safetensors file, readable by every other library that knows the format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ModelFileError, type_in_words
from chainrule.files.archive import Arrays, pack_arrays, unpack_archive, unpack_arrays
from chainrule.files.opened import File, name_of, read_bytes, write_bytes
from chainrule.files.pytorch import is_pytorch, read_pytorch
from chainrule.files.values import DOCUMENT as VALUES
from chainrule.files.values import read_values


def write_weights(file: File, state: Mapping[str, Any]) -> None:
    """Write arrays or tensors by name as a safetensors file, whatever its name ends in; under a name atomically.

    Raises ArgumentError for anything that is not a mapping of names to arrays, ModelFileError if it cannot be written.
    """
    write_bytes(file, pack_arrays(as_arrays(state)))


def read_weights(file: File) -> Arrays:
    """Return the arrays of a safetensors file, of a state dict that PyTorch saved, or those inside a model file.

    Raises ModelFileError for a file that is missing, truncated or of another format, and for nested values.
    """
    content, path = read_bytes(file), name_of(file)
    if is_safetensors(content):
        return unpack_arrays(content, path)
    if is_pytorch(content):
        return _state(read_pytorch(content, path, np.asarray), path)
    archive = unpack_archive(content, path)
    if VALUES in archive.documents:
        return _state(read_values(archive, path, np.asarray), path)
    return archive.arrays


def _state(values: Any, path: str | os.PathLike[str]) -> Arrays:
    """Nested values that are no more than arrays by name. Raises ModelFileError for others, with the fix."""
    if isinstance(values, dict):
        nested = [key for key, value in values.items() if not isinstance(value, np.ndarray)]
        if not nested:
            return {str(key): value for key, value in values.items()}
        held = ", ".join(map(repr, list(values)[:8]))
        states = [key for key in nested if isinstance(values[key], dict)] or nested
        fix = f"cr.load(path)[{states[0]!r}]"
    else:
        held, fix = type_in_words(values), "cr.load(path)"
    raise ModelFileError(f"{path} holds {held}, not weights alone. fix: {fix}")


def as_arrays(state: Mapping[str, Any]) -> Arrays:
    """Return the values of a state dict as NumPy arrays."""
    if not isinstance(state, Mapping):
        raise ArgumentError(f"expected a state dict (names and tensors) to save, got {type_in_words(state)}")
    arrays = {str(name): np.asarray(value) for name, value in state.items()}
    wrong = [name for name, array in arrays.items() if array.dtype == object]
    if wrong:
        raise ArgumentError(f"{wrong[0]!r} of the state dict is {type_in_words(state[wrong[0]])}, expected a tensor")
    return arrays


def is_safetensors(content: bytes) -> bool:
    """The format begins with the length of a JSON header, 8 bytes, and the header."""
    return content[8:9] == b"{"
