"""Schedules that raise the rate and lower it, and the momentum the other way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, did_you_mean
from ..optimizer import Optimizer
from .scheduler import Array, LRScheduler, check_momentum, check_optimizer, per_group, set_momentum


def _cos(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _linear(start: float, end: float, share: float) -> float:
    return (end - start) * share + start


ANNEAL = {"cos": _cos, "linear": _linear}


def _start_momenta(optimizer: Optimizer, base: Any, highest: Any, is_new: bool) -> tuple[list[float], list[float]]:
    """Both limits of the momentum for each group, which starts at the highest."""
    check_momentum(optimizer)
    lows, highs = per_group("base_momentum", optimizer, base), per_group("max_momentum", optimizer, highest)
    for group, low, high in zip(optimizer.param_groups, lows, highs, strict=True):
        if is_new:
            set_momentum(group, high)
            group["max_momentum"], group["base_momentum"] = high, low
    return lows, highs


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to ``max_lr``, then far down; the momentum goes down and up. Stepped per batch.

    - ``total_steps``, or ``epochs`` times ``steps_per_epoch``: how long the cycle is. ``pct_start``: the share of it
      in which the rate rises. It ends at max_lr / (div_factor · final_div_factor).
    - ``anneal_strategy``: ``"cos"`` or ``"linear"``. ``three_phase``: down to the start as fast as up, then to the end.
    - ``max_momentum``, ``base_momentum``: the limits of the momentum, or of the first beta; ``cycle_momentum=False``
      leaves it alone.

    Source: Smith, Topin 2017, "Super-Convergence".

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=0.1, momentum=0.9)
    >>> scheduler = cr.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> for batch in range(2): optimizer.step(); scheduler.step()
    >>> round(optimizer.param_groups[0]["lr"], 6), round(optimizer.param_groups[0]["momentum"], 6)
    (1.0, 0.85)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.total_steps = _cycle_length(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ArgumentError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ANNEAL:
            raise ArgumentError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.phases = _phases(pct_start * self.total_steps, self.total_steps, three_phase)
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, per_group("max_lr", optimizer, max_lr), strict=True):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum:
            _start_momenta(optimizer, base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ArgumentError(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is {self.total_steps}"
            )
        begin, number = 0.0, 0
        while number < len(self.phases) - 1 and self.last_epoch > self.phases[number][0]:
            begin, number = self.phases[number][0], number + 1
        end, (start_lr, end_lr), (start_momentum, end_momentum) = self.phases[number]
        share, anneal = (self.last_epoch - begin) / (end - begin), ANNEAL[self.anneal_strategy]
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                set_momentum(group, anneal(group[start_momentum], group[end_momentum], share))
        return [anneal(group[start_lr], group[end_lr], share) for group in self.optimizer.param_groups]

    def ahead(self, steps: int) -> tuple[Array, Array]:
        first = self.last_epoch
        if steps == 0 or first + steps > self.total_steps:
            return super().ahead(steps)  # which ends where it is too many
        position = np.arange(first, first + steps)
        ends = np.array([end for end, _, _ in self.phases])
        number = np.searchsorted(ends[:-1], position)
        begins = np.append(0.0, ends[:-1])
        share = (position - begins[number]) / (ends - begins)[number]
        left = 1 - share if self.anneal_strategy == "linear" else (np.cos(np.pi * share) + 1) / 2.0
        groups = self.optimizer.param_groups
        _, of_rates, of_momenta = zip(*self.phases, strict=True)
        rates = np.stack([_between(group, of_rates, number, left) for group in groups], 1)
        momenta = np.zeros_like(rates)
        if self.cycle_momentum:
            momenta = np.stack([_between(group, of_momenta, number, left) for group in groups], 1)
        self.last_epoch, self._step_count = first + steps - 1, self._step_count + steps - 1
        self.step()
        return rates, momenta


def _between(group: Any, names: Sequence[tuple[str, str]], number: Array, left: Array) -> Array:
    """From the first to the second option of the phase at each step; ``left`` is the share of the way left."""
    starts, ends = np.array([[group[name] for name in pair] for pair in names]).T
    between: Array = ends[number] + (starts - ends)[number] * left
    return between


def _cycle_length(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ArgumentError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    given = {"total_steps": total_steps}
    if total_steps is None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ArgumentError(f"Expected positive integer {name}, but got {value}")
    return math.prod(value for value in given.values() if value is not None)


def _phases(rise: float, total: int, three_phase: bool) -> list[tuple[float, tuple[str, str], tuple[str, str]]]:
    """When each phase ends, and between which of a group's options the rate and the momentum go meanwhile."""
    down, up = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
    first = (float(rise) - 1, ("initial_lr", "max_lr"), down)
    if not three_phase:
        return [first, (total - 1, ("max_lr", "min_lr"), up)]
    last = (total - 1, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))
    return [first, (float(2 * rise) - 2, ("max_lr", "initial_lr"), up), last]


class CyclicLR(LRScheduler):
    """Up and down between ``base_lr`` and ``max_lr`` again and again, linearly. Stepped per batch.

    - ``step_size_up``, ``step_size_down``: steps of the two halves of a cycle.
    - ``mode``: ``"triangular"``; ``"triangular2"``, whose height halves with every cycle; ``"exp_range"``, whose height
      is gamma^step. ``scale_fn`` replaces them: a function of the cycle, or, with ``scale_mode="iterations"``, of the
      step.
    - ``cycle_momentum``: meanwhile the momentum, or the first beta, goes from ``max_momentum`` to ``base_momentum`` and
      back.

    Source: Smith 2015, "Cyclical Learning Rates".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        base_lrs = per_group("base_lr", check_optimizer(optimizer), base_lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        if scale_fn is None and mode not in (modes := ("triangular", "triangular2", "exp_range")):
            raise ArgumentError(f"mode {mode!r} is invalid and scale_fn is None{did_you_mean(mode, modes)}")
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = rate
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode, self.gamma = mode, gamma
        self.scale_mode = scale_mode
        self._scale_fn_custom = scale_fn
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            momenta = _start_momenta(optimizer, base_momentum, max_momentum, last_epoch == -1)
            self.base_momentums, self.max_momentums = momenta
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def get_lr(self) -> list[float]:
        position = self.last_epoch / self.total_size
        cycle = math.floor(1 + position)
        share = 1.0 + position - cycle
        rises = share <= self.step_ratio
        height = share / self.step_ratio if rises else (share - 1) / (self.step_ratio - 1)
        scale = self._scale(cycle)
        if self.cycle_momentum:
            limits = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True)
            for group, low, high in limits:
                set_momentum(group, high - (high - low) * height * scale)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def _scale(self, cycle: int) -> float:
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "triangular":
            return 1.0
        return float(1 / (2.0 ** (cycle - 1)) if self.mode == "triangular2" else self.gamma**self.last_epoch)
