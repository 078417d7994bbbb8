"""Files as users give them: by name, or open already, as `torch.save` and `torch.load` take them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, Any

from chainrule.errors import ArgumentError, ModelFileError, type_in_words
from chainrule.files.atomic import write_atomically

File = str | os.PathLike[str] | IO[bytes]
"""A path, or a binary file that is open: of the disk, `io.BytesIO`, and whatever else has ``read`` or ``write``."""

_SUFFIXES = (".chain", ".safetensors", ".pt", ".pth")


def name_of(file: File | io.TextIOBase) -> str:
    """The path, or what messages call an open file."""
    if isinstance(file, str | os.PathLike):
        return os.fspath(file)
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"the {type(file).__name__}"


def write_bytes(file: File, content: bytes) -> None:
    """Write the whole content of a file: atomically under its name, or where an open one stands.

    Raises ModelFileError where that is not possible, ArgumentError for what is no file, or open for text.
    """
    if isinstance(file, str | os.PathLike):
        write_atomically(file, content)
        return
    _check(file, "write", "wb")
    rest = memoryview(content)
    try:
        while rest:
            written = file.write(rest)  # raw files may write less than asked for; some other objects return None
            rest = rest[len(rest) if written is None else written :]
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{name_of(file)} was not saved, or not whole: {_reason(error)}") from error


def read_bytes(file: File) -> bytes:
    """Return the content of a file, of an open one what follows from where it stands.

    Raises ModelFileError for one that is missing, unreadable or empty, ArgumentError for what is no file.
    """
    if isinstance(file, str | os.PathLike):
        content, fix = _read_path(Path(file)), "it is no model file; save it again"
    else:
        content, fix = _read_open(file), "nothing follows where it stands. fix: file.seek(0), or save it again"
    if not content:
        raise ModelFileError(f"{name_of(file)} is empty: {fix}")
    return content


def _read_path(file: Path) -> bytes:
    try:
        if file.is_dir():
            inside = sorted(item.name for item in file.iterdir() if item.suffix in _SUFFIXES)
            hint = f"; did you mean {file / inside[0]}?" if inside else ""
            raise ModelFileError(f"{file} is a folder, expected a model file{hint}")
        return file.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"there is no file {file}") from None
    except OSError as error:
        raise ModelFileError(f"{file} cannot be read: {error.strerror}") from None


def _read_open(file: IO[bytes]) -> bytes:
    _check(file, "read", "rb")
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{name_of(file)} cannot be read: {_reason(error)}") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise ArgumentError(f"{name_of(file)} gives {type_in_words(content)}, expected bytes. fix: open(path, 'rb')")
    return bytes(content)


def _check(file: Any, method: str, mode: str) -> None:
    if isinstance(file, io.TextIOBase):
        raise ArgumentError(f"{name_of(file)} is open for text, expected a binary file. fix: open(path, {mode!r})")
    if not hasattr(file, method):
        raise ArgumentError(f"expected a path, or a binary file that is open, got {type_in_words(file)}")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
