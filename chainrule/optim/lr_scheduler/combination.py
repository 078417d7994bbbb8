"""Schedules made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler, check_optimizer


class _Combination(LRScheduler):
    """A schedule that steps others; its state holds theirs."""

    _schedulers: list[LRScheduler]

    def _take(self, optimizer: Any, schedulers: Sequence[LRScheduler]) -> None:
        """Check that there are schedulers, all of one optimiser, and keep them."""
        name = type(self).__name__
        self.optimizer = check_optimizer(optimizer)
        for number, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise ArgumentError(f"{name} at index {number} should have `optimizer` as its attribute")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ArgumentError(
                    f"{name} does not support `ReduceLROnPlateau`, whose step() needs the metric, but got one at index "
                    f"{number}. fix: step it on its own"
                )
            if scheduler.optimizer is not optimizer:
                raise ArgumentError(
                    f"{name} expects all schedulers to belong to the same optimizer, but {type(scheduler).__name__} at "
                    f"index {number} belongs to another one"
                )
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rest = dict(state_dict)
        for scheduler, state in zip(self._schedulers, rest.pop("_schedulers"), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(rest)


class SequentialLR(_Combination):
    """One schedule after another: number i is followed by number i + 1 at step ``milestones[i]``.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.ones(1))], lr=1.0)
    >>> warm_up = cr.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> then = cr.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = cr.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, then], milestones=[2])
    >>> for epoch in range(4): print(scheduler.get_last_lr()[0]); optimizer.step(); scheduler.step()
    0.5
    0.75
    1.0
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if not schedulers:
            raise ArgumentError("SequentialLR expects at least one scheduler, but got no scheduler")
        self._take(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                "SequentialLR expects one scheduler more than milestones, but got "
                f"{len(schedulers)} schedulers and {len(milestones)} milestones"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo_start(self)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first.start()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: Any = None) -> None:
        """Go one step further."""
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            scheduler.move(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _undo_start(scheduler: Any) -> None:
    """Take back the first step that every schedule has made on its own."""
    if isinstance(scheduler, _Combination):
        for part in scheduler._schedulers:
            _undo_start(part)
    else:
        scheduler.last_epoch -= 1


class ChainedScheduler(_Combination):
    """Several schedules at once: each changes the rates that the one before has left."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ArgumentError("ChainedScheduler expects at least one scheduler to be chained, but got no scheduler")
        self._take(optimizer or getattr(schedulers[0], "optimizer", None), schedulers)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: Any = None) -> None:
        """Go one step further in all of them."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
