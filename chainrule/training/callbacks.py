"""What happens between epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, did_you_mean
from .metrics import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Called by `Trainer.fit`: override what is needed.

    ``on_epoch_end`` gets the epoch's row of the history and returns True to stop training. ``before_update`` and
    ``after_update`` are called once and recorded: what they do with tensors is part of every native training step.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch. ``trainer.epochs`` and ``trainer.steps_per_epoch`` say how long it will be.

        Until the end, ``trainer.training_rows`` has the data: ``X``, ``y`` and ``weights`` (or None).
        """

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before each epoch."""

    def before_update(self, trainer: Trainer) -> None:
        """Recorded in every step when the gradients are there and the optimiser has not used them yet."""

    def after_update(self, trainer: Trainer, loss: Any) -> None:
        """Recorded in every step after the optimiser; ``loss`` is the loss of the batch."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        """After each epoch."""
        return False

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also after an interrupt or an error."""


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
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
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
        return self.best_epoch is not None and epoch - self.best_epoch >= self.patience

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._weights is not None:
            trainer.set_weights(self._weights)

    def _is_better(self, value: float, monitor: str) -> bool:
        if math.isnan(value):
            return False
        if math.isnan(self.best):
            return True
        is_score = self.mode == "max" or (self.mode == "auto" and monitor.removeprefix("val_") in HIGHER_IS_BETTER)
        gain = value - self.best if is_score else self.best - value
        return gain > self.min_delta
