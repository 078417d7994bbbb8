"""Schedules that multiply the rates by factors."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .scheduler import Array, LRScheduler, check_optimizer, momentum_of, per_group

Factor = Callable[[int], float]


class LambdaLR(LRScheduler):
    """The initial rate times ``lr_lambda(step)``; a list has one function per parameter group.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=0.5)
    >>> scheduler = cr.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 ** step)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1) -> None:
        self.lr_lambdas = _functions(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * function(self.last_epoch) for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(LRScheduler):
    """The rate times ``lr_lambda(step)`` at every step from 1 on; a list has one function per parameter group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1) -> None:
        self.lr_lambdas = _functions(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        groups = self.optimizer.param_groups
        if self._is_initial:
            return [group["lr"] for group in groups]
        return [
            group["lr"] * function(self.last_epoch) for function, group in zip(self.lr_lambdas, groups, strict=True)
        ]


def _functions(optimizer: Any, lr_lambda: Any) -> list[Factor]:
    functions = per_group("lr_lambda", check_optimizer(optimizer), lr_lambda)
    for function in functions:
        if not callable(function):
            raise ArgumentError(f"lr_lambda should be a function, but got {type(function).__name__}")
    return functions


class FactorLR(LRScheduler):
    """A schedule that multiplies all rates alike. Chained with others, their factors multiply."""

    def next_factor(self) -> float:
        """Return the rate at ``last_epoch`` relative to that of the step before."""
        raise NotImplementedError

    def total_factor(self) -> float:
        """Return the rate at ``last_epoch`` relative to the initial one."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        factor = self.next_factor()
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def ahead(self, steps: int) -> tuple[Array, Array]:
        groups = self.optimizer.param_groups
        numbers = np.empty((steps + 1, len(groups)))
        numbers[0] = [group["lr"] for group in groups]
        for step in range(1, steps + 1):
            self.last_epoch += 1
            numbers[step] = self.next_factor()
        rates = np.multiply.accumulate(numbers)
        self._step_count += steps
        self._set_rates(rates[-1].tolist())
        return rates[:-1], np.tile([momentum_of(group) for group in groups], (steps, 1))

    def rates_at_epoch(self) -> list[float]:
        factor = self.total_factor()
        return [base * factor for base in self.base_lrs]


class StepLR(FactorLR):
    """The rate times ``gamma`` after every ``step_size`` steps.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=0.5)
    >>> scheduler = cr.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for epoch in range(4): optimizer.step(); scheduler.step(); print(scheduler.get_last_lr()[0])
    0.5
    0.25
    0.25
    0.125
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        return 1.0 if self.last_epoch == 0 or self.last_epoch % self.step_size else self.gamma

    def total_factor(self) -> float:
        return float(self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(FactorLR):
    """The rate times ``gamma`` at each of the steps ``milestones``."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        return float(self.gamma ** self.milestones[self.last_epoch])

    def total_factor(self) -> float:
        return float(self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "milestones": Counter(state_dict["milestones"])})


class ConstantLR(FactorLR):
    """The rate times ``factor`` for the first ``total_iters`` steps."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError(f"Constant multiplicative factor expected to be between 0 and 1, got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        if self.last_epoch == 0:
            return self.factor
        return 1 / self.factor if self.last_epoch == self.total_iters else 1.0

    def total_factor(self) -> float:
        return 1.0 if self.last_epoch >= self.total_iters else self.factor


class LinearLR(FactorLR):
    """Warm-up: the rate times a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` steps.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=1.0)
    >>> scheduler = cr.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> for epoch in range(3): print(scheduler.get_last_lr()[0]); optimizer.step(); scheduler.step()
    0.5
    0.75
    1.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ArgumentError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1, got "
                f"{start_factor}"
            )
        if not 0 <= end_factor <= 1:
            raise ArgumentError(f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        if self.last_epoch == 0:
            return self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return 1.0
        rise = self.end_factor - self.start_factor
        return 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)

    def total_factor(self) -> float:
        share = min(self.total_iters, self.last_epoch) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


class ExponentialLR(FactorLR):
    """The rate times ``gamma`` at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        return 1.0 if self._is_initial else self.gamma

    def total_factor(self) -> float:
        return float(self.gamma**self.last_epoch)


class PolynomialLR(FactorLR):
    """The initial rate times (1 - step / total_iters)^power, and 0 from there on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        if self._is_initial or self.last_epoch > self.total_iters:
            return 1.0
        left = (1.0 - self.last_epoch / self.total_iters) / (1.0 - (self.last_epoch - 1) / self.total_iters)
        return float(left**self.power)

    def total_factor(self) -> float:
        return float((1.0 - min(self.total_iters, self.last_epoch) / self.total_iters) ** self.power)


class InverseTimeLR(FactorLR):
    """The initial rate divided by 1 + decay · step: the classical rate 1/t, for which stochastic gradient converges.

    Source: Robbins, Monro 1951.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=0.5)
    >>> scheduler = cr.optim.lr_scheduler.InverseTimeLR(optimizer, decay=1.0)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, decay: float, last_epoch: int = -1) -> None:
        if not decay >= 0:
            raise ArgumentError(f"InverseTimeLR: decay must be at least 0, got {decay}")
        self.decay = decay
        super().__init__(optimizer, last_epoch)

    def next_factor(self) -> float:
        if self._is_initial:
            return 1.0
        return (1 + self.decay * (self.last_epoch - 1)) / (1 + self.decay * self.last_epoch)

    def total_factor(self) -> float:
        return 1 / (1 + self.decay * self.last_epoch)
