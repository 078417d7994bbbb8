"""Writes every kind of file to a full and a read-only disk: ``unshare -m python -m tests.files.small_disk FOLDER``.

A disk of a few kilobytes in memory is mounted at the folder, for this process alone. Everything is written there once;
then, the disk being full, and in the end read-only, once more. Printed is a JSON object: for ``full`` and ``read-only``
and each kind of file what was said, and which of the files that were there before have changed. ``filling`` has what
becomes of logs while whose training the disk fills.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.cli import main as command
from chainrule.errors import ModelFileError
from chainrule.training import Callback, CSVLogger, JSONLinesLogger, ModelCheckpoint, TensorBoard

SIZE = "400k"
TABLE = Path(__file__).parents[2] / "examples" / "data" / "diabetes.csv"
Write = Callable[[Path], object]


class Fill(Callback):
    """Lets the disk be full from the second epoch on."""

    def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
        if row["epoch"] == 2:
            fill(Path.cwd())
        return False


def fit(*callbacks: Callback, epochs: int = 3, resume_from: Path | None = None) -> None:
    trainer = cr.Trainer(nn.Linear(2, 1), callbacks=callbacks, seed=0)
    epochs += 2 * (resume_from is not None and resume_from.exists())
    trainer.fit(np.ones((8, 2)), np.ones(8), epochs=epochs, verbose=0, resume_from=resume_from)
    assert len(trainer.history) == epochs


def run(*words: object) -> None:
    """A command; what it says on standard error is its error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = command([str(word) for word in words])
    if status:
        raise ModelFileError(said.getvalue().strip())


def train(folder: Path, seed: int = 0) -> None:
    options = "--hidden", 4, "--epochs", 2, "--seed", seed
    run("train", TABLE, "--target", "outcome", *options, "--out", folder)


WRITERS: dict[str, Write] = {
    "module": lambda folder: nn.Linear(2, 1).save(folder / "file"),
    "weights": lambda folder: cr.save(nn.Linear(2, 1).state_dict(), folder / "file"),
    "values": lambda folder: cr.save({"epoch": 1, "model": nn.Linear(2, 1).state_dict()}, folder / "file"),
    "trainer": lambda folder: cr.Trainer(nn.Linear(2, 1)).save(folder / "file"),
    "checkpoint": lambda folder: fit(ModelCheckpoint(folder / "file"), resume_from=folder / "file"),
    "CSV log": lambda folder: fit(CSVLogger(folder / "file")),
    "JSON log": lambda folder: fit(JSONLinesLogger(folder / "file")),
    "TensorBoard": lambda folder: fit(TensorBoard(folder)),
    "train": train,
    "predict": lambda folder: run("predict", Path("train") / "model.chain", TABLE, "--out", folder / "file"),
}


def fill(disk: Path) -> None:
    """Write to a disk until nothing more goes on it, in ever smaller pieces."""
    with open(disk / "filler", "ab", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def said_by(write: Callable[[], object]) -> str:
    """The error of an action, or its warnings."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            write()
        except ModelFileError as error:
            return f"error: {error}"
    return "; ".join(f"warning: {warning.message}" for warning in warned)


def attempt(name: str, folder: Path) -> dict[str, Any]:
    """Write files again: what was said, and which of those that were there before have changed."""
    before = contents(folder)
    said = said_by(lambda: WRITERS[name](folder))
    after = contents(folder)
    return {"said": said, "changed": [file for file in before if before[file] != after.get(file)]}


def log_while_the_disk_fills(logger: Callable[[Path], Callback], disk: Path) -> dict[str, Any]:
    """A log that is longer than the block that the file had when the disk became full."""
    (disk / "filler").unlink(missing_ok=True)
    path = disk / "growing"
    said = said_by(lambda: fit(logger(path), Fill(), epochs=300))
    return {"said": said, "text": path.read_text()}


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True, capture_output=True)


def try_all(disk: Path) -> dict[str, Any]:
    """All of it."""
    mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk))
    with contextlib.chdir(disk):
        for name, write in WRITERS.items():
            (disk / name).mkdir()
            write(disk / name)
        fill(disk)
        full = {name: attempt(name, disk / name) for name in WRITERS}
        loggers = {"CSV log": CSVLogger, "JSON log": JSONLinesLogger}
        filling = {name: log_while_the_disk_fills(logger, disk) for name, logger in loggers.items()}
        mount("-o", "remount,ro", str(disk))
        read_only = {name: attempt(name, disk / name) for name in WRITERS}
    return {"full": full, "read-only": read_only, "filling": filling}


if __name__ == "__main__":
    print(json.dumps(try_all(Path(sys.argv[1]).resolve())))
