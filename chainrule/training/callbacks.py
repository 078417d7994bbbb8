"""What happens between epochs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, did_you_mean
from .metrics import is_score

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Called by `Trainer.fit`: override what is needed.

    ``on_epoch_end`` gets the epoch's row of the history and returns True to stop training. ``before_update`` and
    ``after_update`` are called once and recorded: what they do with tensors is part of every native training step.
    What a callback keeps from epoch to epoch it gives in ``state_dict``, so that a training can be resumed exactly.
    """

    changes_training = True
    """Whether a training without it would be another one. If so, and it has a state, none is resumed without it."""

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch. ``trainer.epochs`` and ``trainer.steps_per_epoch`` say how long it will be.

        Until the end, ``trainer.training_rows`` has the data: ``X``, ``y`` and ``weights`` (or None). The first epoch
        is ``trainer.first_epoch``: 1, unless the training is resumed; then ``load_state_dict`` follows, and
        ``trainer.history`` has the epochs before.
        """

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before each epoch."""

    def before_update(self, trainer: Trainer) -> None:
        """Recorded in every step when the gradients are there and the optimiser has not used them yet."""

    def after_update(self, trainer: Trainer, loss: Any) -> None:
        """Recorded in every step after the optimiser; ``loss`` is that of its batch, or of the batches of its group."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        """After each epoch."""
        return False

    def after_epoch(self, trainer: Trainer, row: dict[str, float]) -> None:
        """When all callbacks have seen the end of the epoch; ``trainer.stopped_by`` has those that end the training."""

    def on_rows(self, trainer: Trainer, rows: int) -> None:
        """Within an epoch, after every native call: so many more rows were trained on."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also after an interrupt or an error."""

    def state_dict(self) -> dict[str, Any]:
        """What later epochs depend on: numbers, text, arrays, tensors, and lists and dictionaries of these."""
        return {}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        """Go on where ``state`` was taken; tensors have become arrays. ``on_fit_begin`` was called before."""

    def stays_stopped(self, trainer: Trainer) -> bool:
        """Whether a training that this callback has ended stays ended when it is resumed from there."""
        return True


def records_in_step(callback: Callback) -> bool:
    """Whether a callback adds something to the native step."""
    names = ("before_update", "after_update")
    return any(getattr(type(callback), name) is not getattr(Callback, name) for name in names)


def monitored(callback: Callback, name: str | None, row: dict[str, float]) -> str:
    """Return the column that a callback watches: ``name``, or the validation loss, or the training loss."""
    name = name or ("val_loss" if "val_loss" in row else "loss")
    if name not in row:
        raise ArgumentError(f"{type(callback).__name__}: no {name!r} in the history{did_you_mean(name, row)}")
    return name


def check_mode(mode: str) -> str:
    """Return how a column is judged. Errors: `ArgumentError` for anything but ``"auto"``, ``"min"`` and ``"max"``."""
    if mode not in ("auto", "min", "max"):
        raise ArgumentError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
    return mode


def is_maximised(column: str, mode: str) -> bool:
    """Whether the largest value of a column is the best; ``"auto"`` minimises losses and errors."""
    return is_score(column.removeprefix("val_")) if mode == "auto" else mode == "max"


class EarlyStopping(Callback):
    """Stop when a quantity has not improved for ``patience`` epochs; by default go back to the best weights.

    - ``monitor``: a column of the history; by default ``"val_loss"``, or ``"loss"`` where nothing validates.
    - ``min_delta``: what counts as an improvement. ``mode``: ``"min"``, ``"max"`` or ``"auto"`` (losses and errors
      are minimised, anything else maximised).
    - ``restore_best_weights``: also when the epochs ran out, or on Ctrl-C.

    >>> EarlyStopping(patience=5).patience
    5
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.mode = check_mode(mode)
        self.restore_best_weights = restore_best_weights
        self.best: float = math.nan
        self.best_epoch: int | None = None
        self._weights: list[np.ndarray[Any, Any]] | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.best, self.best_epoch, self._weights = math.nan, None, None

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        monitor = monitored(self, self.monitor, row)
        value, epoch = row[monitor], int(row["epoch"])
        if self._is_better(value, monitor):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._weights = trainer.copy_weights(self._weights)
        return self.stays_stopped(trainer)

    def stays_stopped(self, trainer: Trainer) -> bool:
        """Unless there is more patience now."""
        epoch = int(trainer.history.epochs[-1]["epoch"])
        return self.best_epoch is not None and epoch - self.best_epoch >= self.patience

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._weights is not None:
            trainer.set_weights(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        self.best, self.best_epoch, self._weights = state["best"], state["best_epoch"], state["weights"]

    def _is_better(self, value: float, monitor: str) -> bool:
        if math.isnan(value):
            return False
        if math.isnan(self.best):
            return True
        gain = value - self.best if is_maximised(monitor, self.mode) else self.best - value
        return gain > self.min_delta


class TimeBudget(Callback):
    """Stop in time: an epoch that would end later than ``seconds`` after the beginning is not begun.

    How long an epoch takes is judged by the last one; the first is always trained. The time is that of one ``fit``: a
    training that is resumed has all of it again.

    >>> trainer = cr.Trainer(nn.Linear(1, 1), callbacks=[TimeBudget(0.2)])
    >>> len(trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=1_000_000, verbose=0)) < 1_000_000
    True
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ArgumentError(f"TimeBudget: seconds must be greater than 0, got {seconds}")
        self.seconds = seconds

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._begin = self._last = time.perf_counter()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        now = time.perf_counter()
        epoch, self._last = now - self._last, now
        return now - self._begin + epoch > self.seconds

    def stays_stopped(self, trainer: Trainer) -> bool:
        """A training that is resumed has its time again."""
        return False
