"""The base class of schedules, and what schedules share."""

from __future__ import annotations

import warnings
from types import FunctionType
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..optimizer import Optimizer

Array = np.ndarray[Any, Any]

NOT_SAVED = ("optimizer", "_schedulers")

TOO_EARLY = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. fix: call optimizer.step() first; otherwise the "
    "first value of the schedule is skipped"
)


class LRScheduler:
    """Sets the learning rate of every parameter group. Subclasses compute the rates in `get_lr` from ``last_epoch``.

    ``last_epoch`` counts calls of `step`, which may be epochs or batches; -1 starts a schedule, another value resumes
    one whose groups still have their ``initial_lr``. Making a schedule sets the first rates.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = check_optimizer(optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"param 'initial_lr' is not specified in param_groups[{number}] when resuming an optimizer with "
                    f"last_epoch={last_epoch}. fix: load the optimizer's state first, or start with last_epoch=-1"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.start()

    def start(self) -> None:
        """Set the rates of the first step."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """Return the next rate of every group, from the present ones."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr()")

    def rates_at_epoch(self) -> list[float]:
        """Return the rate of every group at ``last_epoch``, whatever the present ones are."""
        return self.get_lr()

    def step(self, epoch: Any = None) -> None:
        """Go one step further, or to an epoch, and set the rates."""
        if self._step_count == 1 and not self.optimizer.has_stepped:
            warnings.warn(TOO_EARLY, UserWarning, stacklevel=2)
        self._step_count += 1
        self.move(epoch)

    def move(self, epoch: int | None = None) -> None:
        """Set the rates of the next step, or of an epoch."""
        if epoch is None:
            self.last_epoch += 1
            self._set_rates(self.get_lr())
        else:
            self.last_epoch = epoch
            self._set_rates(self.rates_at_epoch())

    def _set_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates

    def ahead(self, steps: int) -> tuple[Array, Array]:
        """Go some steps further at once; return the rates and the momenta before each, one column per group.

        The native training loop reads them as it goes. Only the groups as they are in the end are written to.
        """
        groups = self.optimizer.param_groups
        copies: list[Any] = [dict(group) for group in groups]
        rates, momenta = np.empty((steps, len(groups))), np.zeros((steps, len(groups)))
        self.optimizer.param_groups = copies
        try:
            for step in range(steps):
                rates[step] = [group["lr"] for group in copies]
                momenta[step] = [momentum_of(group) for group in copies]
                self.step()
        finally:
            self.optimizer.param_groups = groups
            for group, copy in zip(groups, copies, strict=True):
                group.update(copy)
        return rates, momenta

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser and functions, in PyTorch's form."""
        return {name: _saved(value) for name, value in self.__dict__.items() if name not in NOT_SAVED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken. The optimiser's state is loaded on its own."""
        for name, value in state_dict.items():
            mine = getattr(self, name, None)
            functions: list[Any] = mine if isinstance(mine, list) else [mine]
            if any(callable(function) for function in functions):
                _load_functions(functions, value if isinstance(value, list) else [value])
            else:
                setattr(self, name, value)


def check_optimizer(optimizer: Any) -> Optimizer:
    """Return an optimiser. Errors: `ArgumentError` for anything else."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{type(optimizer).__name__} is not an Optimizer. fix: pass the optimizer first")
    return optimizer


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """Return one value per parameter group. Errors: `ArgumentError` for a list of another length."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ArgumentError(
            f"{name} must have the same length as optimizer.param_groups: it has {len(value)} values, "
            f"param_groups has {groups}"
        )
    return list(value)


def set_momentum(group: Any, momentum: float) -> None:
    """Set the momentum of a group, or its first beta."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def momentum_of(group: Any) -> float:
    """The momentum of a group, or its first beta; 0 if it has neither."""
    momentum: float = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
    return momentum


def check_momentum(optimizer: Optimizer) -> None:
    """Errors: `ArgumentError` for an optimiser without momentum."""
    if not {"momentum", "betas"} & set(optimizer.defaults):
        raise ArgumentError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled. fix: cycle_momentum=False"
        )


def _saved(value: Any) -> Any:
    """What is saved of an attribute: of functions nothing, of other callable objects their attributes."""
    if isinstance(value, list):
        return [_saved(item) for item in value]
    if not callable(value):
        return value
    return None if isinstance(value, FunctionType) else vars(value).copy()


def _load_functions(functions: list[Any], saved: list[Any]) -> None:
    for function, attributes in zip(functions, saved, strict=True):
        if attributes is not None:
            vars(function).update(attributes)
