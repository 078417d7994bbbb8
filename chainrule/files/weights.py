"""Weights alone: a state dict as a safetensors file, readable by every other library that knows the format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.files.archive import Arrays, pack_arrays, read_archive, read_bytes, unpack_arrays
from chainrule.files.atomic import write_atomically


def write_weights(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write arrays or tensors by name as a safetensors file, atomically, whatever its name ends in.

    Raises ArgumentError for anything that is not a mapping of names to arrays, ModelFileError if it cannot be written.
    """
    write_atomically(path, pack_arrays(as_arrays(state)))


def read_weights(path: str | os.PathLike[str]) -> Arrays:
    """Return the arrays of a safetensors file, or those inside a model file.

    Raises ModelFileError for a file that is missing, truncated or of another format.
    """
    content = read_bytes(path)
    return unpack_arrays(content, path) if _is_safetensors(content) else read_archive(path).arrays


def is_weights_file(path: str | os.PathLike[str]) -> bool:
    """Say whether a file holds weights alone. Raises ModelFileError for one that cannot be read."""
    return _is_safetensors(read_bytes(path))


def as_arrays(state: Mapping[str, Any]) -> Arrays:
    """Return the values of a state dict as NumPy arrays."""
    if not isinstance(state, Mapping):
        raise ArgumentError(f"expected a state dict (names and tensors) to save, got a {type(state).__name__}")
    arrays = {str(name): np.asarray(value) for name, value in state.items()}
    wrong = [name for name, array in arrays.items() if array.dtype == object]
    if wrong:
        raise ArgumentError(f"{wrong[0]!r} of the state dict is a {type(state[wrong[0]]).__name__}, expected a tensor")
    return arrays


def _is_safetensors(content: bytes) -> bool:
    """The format begins with the length of a JSON header, 8 bytes, and the header."""
    return content[8:9] == b"{"
