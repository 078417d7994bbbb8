"""Writing checkpoints while a training runs."""

from __future__ import annotations

import glob
import math
import os
import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, ModelFileError, did_you_mean
from ..files.atomic import prepare_place
from .callbacks import Callback, check_mode, is_maximised, monitored
from .checkpoint import Checkpoint, read_checkpoint, run_of, take_snapshot

if TYPE_CHECKING:
    from .trainer import Trainer


class ModelCheckpoint(Callback):
    """Write all that a training goes on from into a file, which `Trainer.fit` takes as ``resume_from``.

    - ``path``: the latest checkpoint, replaced after every ``every`` epochs and after the last one. It is a model file
      as well, with the weights of that epoch, which `chainrule.load` reads. Its folder is made if need be.
    - ``keep``: how many of the best checkpoints stay too, ``model.epoch-12.chain`` beside ``model.chain``; by default
      one if a ``monitor`` is named, otherwise none. `best` lists them.
    - ``monitor``: what they are judged by, a column of the history; by default ``"val_loss"``, or ``"loss"`` where
      nothing validates. ``mode``: ``"min"``, ``"max"`` or ``"auto"`` (losses and errors are minimised, anything else
      maximised).

    A file is there whole or not at all, whenever the process is killed. A checkpoint that cannot be written (the disk
    is full) is a warning, and training goes on and tries again after the next epoch: what it has learned is in memory,
    and ending it would lose just what the checkpoint is to keep.
    Errors: `ModelFileError` before the first epoch where the file cannot be written at all, and when another training
    writes the same file.

    >>> checkpoint = cr.training.ModelCheckpoint("run/model.chain", keep=2)
    >>> trainer = cr.Trainer(nn.Linear(1, 1), callbacks=[checkpoint], seed=0)
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=5, verbose=0, resume_from="run/model.chain")
    >>> [path.name for path in checkpoint.best]
    ['model.epoch-5.chain', 'model.epoch-4.chain']
    """

    changes_training = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int = 1,
        monitor: str | None = None,
        mode: str = "auto",
        keep: int | None = None,
    ) -> None:
        keep = int(monitor is not None) if keep is None else keep
        if every < 1 or keep < 0:
            raise ArgumentError(f"ModelCheckpoint: expected every >= 1 and keep >= 0, got {every} and {keep}")
        if monitor is not None and not keep:
            raise ArgumentError(f"ModelCheckpoint: monitor={monitor!r} judges checkpoints to keep, and keep=0 has none")
        self.path = Path(path)
        self.every = every
        self.monitor = monitor
        self.mode = check_mode(mode)
        self.keep = keep
        self._kept: list[tuple[float, int]] = []  # the value and the epoch of each, the best first
        self._has_failed = False

    @property
    def best(self) -> list[Path]:
        """The files of the best checkpoints, the best first."""
        return [self._path_of(epoch) for _, epoch in self._kept]

    def on_fit_begin(self, trainer: Trainer) -> None:
        stem, suffix = glob.escape(self.path.stem), glob.escape(self.path.suffix)
        prepare_place(self.path, f"{stem}.epoch-*{suffix}")
        self._kept, self._has_failed = [], False
        self._run = secrets.token_hex(8)
        self._found = run_of(self.path)

    def after_epoch(self, trainer: Trainer, row: dict[str, float]) -> None:
        epoch = int(row["epoch"])
        if epoch % self.every and epoch != trainer.epochs and not trainer.stopped_by:
            return
        self._check_that_nobody_else_writes()
        before = self._kept
        if self.keep:
            self._rank(epoch, row)
        snapshot = take_snapshot(trainer, self._run)
        try:
            # In this order, so that a kill in between leaves one file too many rather than one too few.
            if any(epoch == kept for _, kept in self._kept):
                snapshot.write(self._path_of(epoch))
            for _, dropped in set(before) - set(self._kept):
                self._path_of(dropped).unlink(missing_ok=True)
            snapshot.write(self.path)
            self._found, self._has_failed = self._run, False
        except (ModelFileError, OSError) as error:
            best = self._kept if self._path_of(epoch).exists() else before
            self._kept = [item for item in best if self._path_of(item[1]).exists()]
            if not self._has_failed:
                warnings.warn(
                    f"epoch {epoch}: {error}. The training goes on without this checkpoint, and tries again after "
                    "every epoch that is to have one",
                    stacklevel=2,
                )
            self._has_failed = True

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self._kept}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        self._kept = [(value, epoch) for value, epoch in state["kept"] if self._path_of(epoch).exists()]

    def _rank(self, epoch: int, row: dict[str, float]) -> None:
        """Let an epoch take its place among the best, if it has one."""
        monitor = monitored(self, self.monitor, row)
        sign = -1 if is_maximised(monitor, self.mode) else 1

        def rank(item: tuple[float, int]) -> Any:
            return math.isnan(item[0]), sign * item[0], item[1]

        self._kept = sorted([*self._kept, (row[monitor], epoch)], key=rank)[: self.keep]

    def _path_of(self, epoch: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.epoch-{epoch}{self.path.suffix}")

    def _check_that_nobody_else_writes(self) -> None:
        found = run_of(self.path)
        if found not in (None, self._found):
            raise ModelFileError(
                f"{self.path} was written by another training since this one began, and is left as it is. "
                "fix: a file of its own for each training that runs at the same time"
            )


def find_checkpoint(path: str | os.PathLike[str] | None, callbacks: Sequence[Callback]) -> Checkpoint | None:
    """What ``resume_from`` asks for: nothing where a `ModelCheckpoint` has yet to write the file.

    Errors: `ModelFileError` for a file that nobody writes, and as `read_checkpoint`.
    """
    if path is None:
        return None
    if os.path.exists(path):
        return read_checkpoint(path)
    given = Path(path)
    writers = [callback.path for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    if any(os.path.realpath(given) == os.path.realpath(writer) for writer in writers):
        return None
    beside = [item.name for item in given.parent.iterdir()] if given.parent.is_dir() else []
    raise ModelFileError(
        f"there is no file {given} to resume from{did_you_mean(given.name, beside)}, and no ModelCheckpoint that will "
        f"write it. fix: callbacks=[ModelCheckpoint({os.fspath(path)!r})]; then the first run begins with epoch 1"
    )
