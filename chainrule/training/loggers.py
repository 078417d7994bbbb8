"""The history as a text file that grows while a training runs."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelFileError
from ..files.atomic import prepare_place, write_atomically
from .callbacks import Callback
from .history import Row

if TYPE_CHECKING:
    from .trainer import Trainer


class HistoryLogger(Callback):
    """Writes each row of the history into a file as its epoch ends. Subclasses say what a row looks like.

    At every moment the file has whole rows. It begins anew with every fit; where that is resumed, with the epochs
    before. A row that cannot be written is a warning, for the history keeps it, and is written with the next one. So is
    a file that somebody else has written meanwhile: it is left as it is.
    Errors: `ModelFileError` before the first epoch where the file cannot be written at all.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._names: Sequence[str] | None = None
        self._left: tuple[int, int] | None = None

    def head(self, names: Sequence[str]) -> str:
        """What stands above the rows."""
        return ""

    def lines(self, rows: Iterable[Row], names: Sequence[str]) -> str:
        """Rows as text."""
        raise NotImplementedError

    def on_fit_begin(self, trainer: Trainer) -> None:
        prepare_place(self.path)
        self._write_all(trainer)

    def after_epoch(self, trainer: Trainer, row: Row) -> None:
        names = trainer.history.names
        try:
            found = _identity(self.path)
            if found not in (None, self._left):
                raise ModelFileError("somebody else has written it since, and it is left as it is")
            if names != self._names or found is None:
                self._write_all(trainer)
            else:
                self._append(self.lines([trainer.history.epochs[-1]], names).encode())
        except (OSError, ModelFileError) as error:
            if self._names is not None:
                warn_unwritten(self.path, error)
            self._names = None  # what is in the file is uncertain: all of it is written anew next time

    def _write_all(self, trainer: Trainer) -> None:
        names = trainer.history.names
        write_atomically(self.path, (self.head(names) + self.lines(trainer.history, names)).encode())
        self._names, self._left = names, _identity(self.path)

    def _append(self, row: bytes) -> None:
        """Write a row at the end. Errors: `OSError`; a part of it for which there was room is taken away again."""
        with open(self.path, "ab", buffering=0) as file:
            written = file.write(row)
            if written < len(row):
                file.truncate(file.tell() - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._left = _identity(self.path)


class CSVLogger(HistoryLogger):
    """A table with a line per epoch, and the names of its columns above.

    >>> trainer = cr.Trainer(nn.Linear(1, 1), callbacks=[CSVLogger("history.csv")], seed=0)
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, verbose=0)
    >>> print(open("history.csv").readline(), end="")
    epoch,loss,seconds
    """

    def head(self, names: Sequence[str]) -> str:
        return _csv([names]) if names else ""

    def lines(self, rows: Iterable[Row], names: Sequence[str]) -> str:
        return _csv([row.get(name, "") for name in names] for row in rows)


class JSONLinesLogger(HistoryLogger):
    """A JSON object per epoch, one a line; NaN and infinity, which JSON does not have, are null.

    >>> trainer = cr.Trainer(nn.Linear(1, 1), callbacks=[JSONLinesLogger("history.jsonl")], seed=0)
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, verbose=0)
    >>> [json.loads(line)["epoch"] for line in open("history.jsonl")]
    [1, 2, 3]
    """

    def lines(self, rows: Iterable[Row], names: Sequence[str]) -> str:
        finite = ({name: value if math.isfinite(value) else None for name, value in row.items()} for row in rows)
        return "".join(json.dumps(row) + "\n" for row in finite)


def warn_unwritten(path: Path, error: Exception) -> None:
    """Say that a log could not be written, which is no reason to end a training."""
    reason = error.strerror if isinstance(error, OSError) else error
    warnings.warn(f"{path}: cannot be written: {reason}. The training goes on; its history has all rows", stacklevel=3)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that somebody else puts in its place, or writes into; None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
