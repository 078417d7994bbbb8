"""Writing a file so that at any moment either the old or the new one is there, whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from chainrule.errors import ModelFileError


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the content of a file, or create it.

    The content is written to a temporary file beside it, flushed to the disk, and renamed; whatever happens before the
    renaming (a full disk, Ctrl-C, a crash) leaves the old file as it was. A symbolic link stays one.

    Raises ModelFileError, with the reason that the system gives, where that is not possible.
    """
    given, final = Path(path), Path(os.path.realpath(path))
    existed = False
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    try:
        _check_place(given, final)
        existed = final.exists()
        _write_and_flush(temporary, content)
        os.replace(temporary, final)
        _flush_folder(final.parent)
    except OSError as error:
        kept = "; the file that was there before is unchanged" if existed else ""
        raise ModelFileError(f"{given} was not saved: {_reason(error)}{kept}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _check_place(given: Path, final: Path) -> None:
    if not final.parent.is_dir():
        raise ModelFileError(f"{given} was not saved: the folder {final.parent} does not exist")
    if final.is_dir():
        raise ModelFileError(f"{given} was not saved: it is a folder, expected the name of a file")


def _write_and_flush(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the renaming last through a loss of power, where the system can (not on Windows, nor on every network)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    return f"{text} ({error.filename})" if isinstance(error, PermissionError) else text
