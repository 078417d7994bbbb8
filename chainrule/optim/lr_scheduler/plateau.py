"""Lower rates where a measure stops improving."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .scheduler import LRScheduler, check_optimizer, per_group


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when ``step(metric)`` has not seen an improvement for more than ``patience`` calls.

    - ``mode``: ``"min"`` for losses, ``"max"`` for scores. ``threshold``: what counts as an improvement, as a share of
      the best (``threshold_mode="rel"``) or in itself (``"abs"``).
    - ``cooldown``: calls after a reduction in which nothing is counted. ``min_lr``: the lowest rate, for all groups or
      a list. ``eps``: smaller changes of the rate are left out.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=0.5)
    >>> scheduler = cr.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0): scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ArgumentError(f"Factor should be < 1.0, got {factor}")
        if mode not in ("min", "max"):
            raise ArgumentError(f"mode {mode!r} is unknown! expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(f"threshold mode {threshold_mode!r} is unknown! expected 'rel' or 'abs'")
        self.optimizer = check_optimizer(optimizer)
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = per_group("min_lr", optimizer, min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any = None, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at the measure (a number or a tensor of one), and lower the rates if it has stopped improving."""
        if metrics is None:
            raise ArgumentError("ReduceLROnPlateau.step() is missing the metric. fix: scheduler.step(validation_loss)")
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self.num_bad_epochs += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * value > sign * (self.best * (1.0 + sign * self.threshold))
        return sign * value > sign * (self.best + sign * self.threshold)

    def _reduce(self) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            rate = max(group["lr"] * self.factor, lowest)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate
