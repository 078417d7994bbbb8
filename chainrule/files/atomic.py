"""Writing a file so that at any moment either the old or the new one is there, whole."""

from __future__ import annotations

import contextlib
import glob
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


def prepare_place(path: str | os.PathLike[str], *patterns: str) -> None:
    """Make the folder of a file, if need be, and remove what writers of it that were killed have left there.

    ``patterns`` are names of other files that are written in the same way, with wildcards.
    Raises ModelFileError where `write_atomically` could not write: better now than when there is something to lose.
    """
    given, folder = Path(path), Path(os.path.realpath(path)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        final = Path(os.path.realpath(path))
        _check_place(given, final)
        for name in (glob.escape(final.name), *patterns):
            for leftover in folder.glob(f".{name}.{'[0-9a-f]' * 8}.tmp"):
                leftover.unlink(missing_ok=True)
        probe = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise ModelFileError(f"{given} cannot be written: {_reason(error)}") from error


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
