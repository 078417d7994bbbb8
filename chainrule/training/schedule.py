"""Learning rates that change while a Trainer trains: from epoch to epoch, or from step to step."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, did_you_mean
from ..ops import indexing
from ..optim import Optimizer, lr_scheduler
from ..optim.lr_scheduler import LRScheduler
from ..optim.state import memory_of, state_tensor, write
from ..tensor.operands import enter_all
from ..tensor.recording import pending
from ..tensor.structure import note_change
from ..types import float64, int64
from .callbacks import Callback, check_mode, is_maximised, monitored

if TYPE_CHECKING:
    from .trainer import Trainer

LENGTHS = ("total_steps", "T_max")
"""Arguments by which schedules are told how many steps they have."""


class LRSchedule(Callback):
    """Train with a schedule of `chainrule.optim.lr_scheduler`.

    - ``scheduler``: a class, or a function of the optimiser and ``options`` that returns a schedule. A class that wants
      ``total_steps`` or ``T_max`` gets the number of steps of the fit, unless the options say otherwise.
    - ``per``: ``"epoch"`` steps it after every epoch, ``"step"`` after every step of the optimiser. The rates of an
      epoch's steps, and the momenta that the schedule cycles, are computed before it; its native loop reads one after
      the other.

    Every fit starts the schedule anew, from the rates that the optimiser had at first.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(1, 1)
    >>> schedule = cr.training.LRSchedule(cr.optim.lr_scheduler.OneCycleLR, max_lr=0.1, per="step")
    >>> trainer = cr.Trainer(model, callbacks=[schedule], seed=0)
    >>> history = trainer.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], epochs=200, batch_size=1, verbose=0)
    >>> history["loss"][-1] < 1e-3
    True
    """

    def __init__(self, scheduler: Callable[..., LRScheduler], *, per: str = "epoch", **options: Any) -> None:
        if per not in ("epoch", "step"):
            raise ArgumentError(f"per must be 'epoch' or 'step', got {per!r}")
        if not callable(scheduler):
            raise ArgumentError(
                f"LRSchedule expects a schedule's class or a function of the optimizer, got {scheduler!r}. "
                "fix: LRSchedule(lr_scheduler.StepLR, step_size=10), or LRSchedule(lambda optimizer: ...)"
            )
        if scheduler is lr_scheduler.ReduceLROnPlateau:
            raise ArgumentError("that schedule needs a measure. fix: chainrule.training.ReduceLROnPlateau(monitor=...)")
        if isinstance(scheduler, type):
            _check_names(scheduler, options)
        self.make = scheduler
        self.per = per
        self.options = options
        self.scheduler: LRScheduler | None = None
        self._rates = RateTable()

    def on_fit_begin(self, trainer: Trainer) -> None:
        for group in trainer.optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        options = dict(self.options)
        if isinstance(self.make, type):
            steps = trainer.epochs * (trainer.steps_per_epoch if self.per == "step" else 1)
            known = inspect.signature(self.make).parameters
            options = {name: steps for name in LENGTHS if name in known and "epochs" not in options} | options
        self.scheduler = self.make(trainer.optimizer, **options)
        trainer.optimizer.has_stepped = True  # its steps are those of the native loop

    def on_epoch_begin(self, trainer: Trainer) -> None:
        if self.per == "step" and self.scheduler is not None:
            self._rates.fill(trainer.optimizer, self.scheduler, trainer.steps_per_epoch)

    def before_update(self, trainer: Trainer) -> None:
        if self.per == "step":
            self._rates.record_next()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        if self.scheduler is not None:
            if self.per == "epoch":
                self.scheduler.step()
            else:
                self._rates.restore(trainer.optimizer)
        return False

    def on_fit_end(self, trainer: Trainer) -> None:
        self._rates.restore(trainer.optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scheduler is None else self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        if self.scheduler is None:
            return
        for name in LENGTHS:
            now = getattr(self.scheduler, name, None)
            if state.get(name) != now:
                raise ArgumentError(
                    f"LRSchedule: {type(self.scheduler).__name__} began with {name}={state.get(name)}, and would go on "
                    f"with {name}={now}. fix: as many epochs as before, or {name}={state.get(name)}"
                )
        self.scheduler.load_state_dict(state)


class ReduceLROnPlateau(Callback):
    """Lower the learning rate when a quantity of the history stops improving: `lr_scheduler.ReduceLROnPlateau`.

    - ``monitor``: a column of the history; by default ``"val_loss"``, or ``"loss"`` where nothing validates.
    - ``mode``: ``"min"``, ``"max"`` or ``"auto"`` (losses and errors are minimised, anything else maximised). The other
      options are those of the schedule, with its defaults: ``factor``, ``patience``, ``threshold``, ``min_lr`` ...

    >>> ReduceLROnPlateau("val_loss", factor=0.5, patience=3).options
    {'factor': 0.5, 'patience': 3}
    """

    def __init__(self, monitor: str | None = None, *, mode: str = "auto", **options: Any) -> None:
        _check_names(lr_scheduler.ReduceLROnPlateau, options)
        self.monitor = monitor
        self.mode = check_mode(mode)
        self.options = options
        self.scheduler: lr_scheduler.ReduceLROnPlateau | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.scheduler = None

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        monitor = monitored(self, self.monitor, row)
        if self.scheduler is None:
            mode = "max" if is_maximised(monitor, self.mode) else "min"
            self.scheduler = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, mode, **self.options)
        self.scheduler.step(row[monitor])
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"scheduler": None if self.scheduler is None else self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        if state["scheduler"] is not None:
            self.scheduler = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, **self.options)
            self.scheduler.load_state_dict(state["scheduler"])


def _check_names(function: Any, options: Iterable[str]) -> None:
    known = inspect.signature(function).parameters
    for name in options:
        if name not in known:
            raise ArgumentError(f"{function.__name__} has no argument {name!r}{did_you_mean(name, known)}")


class RateTable:
    """The rates, and momenta that are cycled, of the coming steps, in native memory.

    The step of a training loop is one program for all batches: it copies its numbers from the table to where the rule
    of the optimiser reads them, and counts up its position.
    """

    def __init__(self) -> None:
        self._position = state_tensor((), int64)
        self._targets: list[Any] = []
        self._table = state_tensor((0, 0), float64)

    def fill(self, optimizer: Optimizer, scheduler: LRScheduler, steps: int) -> None:
        """Let a schedule make ``steps`` steps ahead, and note the numbers of each."""
        groups, cycles = optimizer.param_groups, _cycles_momentum(scheduler)
        targets = [group.rate for group in groups]
        if cycles:
            targets += [_momentum(group) for group in groups]
        rates, momenta = scheduler.ahead(steps)
        table = np.concatenate([rates, momenta], 1) if cycles else rates
        same = len(targets) == len(self._targets) and all(map(operator.is_, targets, self._targets))
        if not same or table.shape != self._table.shape:
            self._targets, self._table = targets, state_tensor(table.shape, float64)
            note_change()
        memory_of(self._table)[...] = table
        memory_of(self._position)[...] = 0

    def record_next(self) -> None:
        """Record that the next row of the table becomes the rates and momenta."""
        segment, (table, position) = enter_all(self._table, self._position)
        row = pending(indexing.dynamic_slice(table, position, 0, 1), segment)
        for column, target in enumerate(self._targets):
            write(target, row[0, column])
        write(self._position, self._position + 1)

    def restore(self, optimizer: Optimizer) -> None:
        """Let the optimiser go on with the numbers that the schedule has arrived at."""
        for group in optimizer.param_groups:
            group.write_numbers()


def _momentum(group: Any) -> Any:
    """The tensor from which a rule reads the momentum of a group, or its first beta."""
    return group.variable("betas")[0] if "betas" in group else group.variable("momentum")


def _cycles_momentum(scheduler: Any) -> bool:
    parts = getattr(scheduler, "_schedulers", ())
    return getattr(scheduler, "cycle_momentum", False) or any(map(_cycles_momentum, parts))
