"""Schedules along a cosine."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .scheduler import LRScheduler


def cosine(share: float) -> float:
    """Half a wave from 1 at 0 down to 0 at 1."""
    return (1 + math.cos(math.pi * share)) / 2


class CosineAnnealingLR(LRScheduler):
    """From the initial rate down to ``eta_min`` in ``T_max`` steps, along half a cosine wave, and up again.

    Chained with others it goes on from their rates. Source: Loshchilov, Hutter 2016, without restarts.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=1.0)
    >>> scheduler = cr.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step(); scheduler.step(); round(scheduler.get_last_lr()[0], 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        groups, lowest = self.optimizer.param_groups, self.eta_min
        if self._is_initial:
            return [group["lr"] for group in groups]
        if self._step_count == 1 and self.last_epoch > 0:
            return self.rates_at_epoch()
        before, now = cosine((self.last_epoch - 1) / self.T_max), cosine(self.last_epoch / self.T_max)
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the bottom no factor leads up
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [group["lr"] + (base - lowest) * rise for base, group in zip(self.base_lrs, groups, strict=True)]
        return [now / before * (group["lr"] - lowest) + lowest for group in groups]

    def rates_at_epoch(self) -> list[float]:
        share = cosine(self.last_epoch / self.T_max)
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """From the initial rate down to ``eta_min`` along half a cosine wave, again and again.

    The first descent takes ``T_0`` steps, each later one ``T_mult`` times as many as the one before. ``step(epoch)``
    takes fractions too: ``epoch + batch / batches``.
    Source: Loshchilov, Hutter 2016, "SGDR".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ArgumentError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ArgumentError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = cosine(self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: Any = None) -> None:
        """Go one step further, or to an epoch, which may be a fraction, and set the rates."""
        self._step_count += 1
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * self.T_mult
        elif epoch < 0:
            raise ArgumentError(f"Expected non-negative epoch, but got {epoch}")
        else:
            self._go_to(epoch)
        self._set_rates(self.get_lr())

    def _go_to(self, epoch: float) -> None:
        """Find the descent in which an epoch lies: number n starts at T_0 (T_multⁿ - 1) / (T_mult - 1)."""
        self.last_epoch = math.floor(epoch)
        if epoch < self.T_0:
            self.T_cur, self.T_i = epoch, self.T_0
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            number = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**number - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**number
