"""Averages of weights over training, under PyTorch's names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError
from ..nn.module import Module
from ..tensor.creation import tensor
from ..tensor.gradmode import no_grad
from ..tensor.operations import eq, where
from .lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from .optimizer import Optimizer

Average = Callable[[Any, Any, Any], Any]
"""From an average, a new value and the number of values averaged to the new average."""

MultiAverage = Callable[[Sequence[Any], Sequence[Any], Any], None]
"""The same for many tensors: it changes the first ones in place."""


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return the exponential moving average, decay · average + (1 - decay) · value."""
    _check_decay(decay)

    def average(ema_param: Any, current_param: Any, num_averaged: Any) -> Any:
        return decay * ema_param + (1 - decay) * current_param

    return average


def get_swa_avg_fn() -> Average:
    """Return the mean of all values: average + (value - average) / (n + 1)."""

    def average(averaged_param: Any, current_param: Any, num_averaged: Any) -> Any:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """Return `get_ema_avg_fn` for lists of tensors, in place."""
    return _for_all(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> MultiAverage:
    """Return `get_swa_avg_fn` for lists of tensors, in place."""
    return _for_all(get_swa_avg_fn())


def _for_all(average: Average) -> MultiAverage:
    def update(averaged: Sequence[Any], current: Sequence[Any], num_averaged: Any) -> None:
        with no_grad():
            for mean, value in zip(averaged, current, strict=True):
                mean.copy_(average(mean, value, num_averaged))

    return update


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ArgumentError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


class AveragedModel(Module):
    """A copy of ``model`` whose parameters are averages of the model's: call `update_parameters` after every step.

    The mean of all values by default (stochastic weight averaging); ``avg_fn`` or ``multi_avg_fn`` say otherwise, for
    example ``get_ema_multi_avg_fn(0.999)``. ``use_buffers`` averages buffers too; without it they are copied.
    Inside `chainrule.compile` the update is part of the program. ``device`` is accepted and has no effect.
    Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(1, 1, bias=False)
    >>> averaged = cr.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     model.weight.data = value; averaged.update_parameters(model)
    >>> averaged(cr.ones(1, 1)).item()
    3.0
    """

    n_averaged: Any

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", tensor(0))
        self._average = multi_avg_fn or _for_all(avg_fn or get_swa_avg_fn())
        self._use_buffers = use_buffers

    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self.module(*arguments, **options)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of ``model`` into the averages; the first time they are copied."""
        mine: list[Any] = list(self.module.parameters())
        others: list[Any] = list(model.parameters())
        if self._use_buffers:
            mine += self.module.buffers()
            others += model.buffers()
        with no_grad():
            count = self.n_averaged
            is_first = eq(count, 0)
            self._average(mine, others, count)
            for mean, value in zip(mine, others, strict=True):
                mean.copy_(where(is_first, value, mean))
            if not self._use_buffers:
                for copied, value in zip(self.module.buffers(), model.buffers(), strict=True):
                    copied.copy_(value)
            count.add_(1)


class SWALR(LRScheduler):
    """From the present rate to ``swa_lr`` in ``anneal_epochs`` steps, then constant: for averaging weights.

    ``anneal_strategy``: ``"cos"`` or ``"linear"``.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=1.0)
    >>> scheduler = cr.optim.swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for group, rate in zip(
            check_optimizer(optimizer).param_groups, per_group("swa_lr", optimizer, swa_lr), strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        self._anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates

    def _share(self, step: int) -> float:
        """How far on the way from the start to the end the rate is."""
        share = max(0, min(1, step / max(1, self.anneal_epochs)))
        return share if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * share)) / 2
