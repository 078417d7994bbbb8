"""Stop when the running estimate of the functional, or the weights, have settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..optim.state import memory_of, state_number, write
from ..tensor.operations import where
from ..types import float64
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer


class LossPlateau(Callback):
    """Stop when Q := (1 - λ) Q + λ L, with the loss L of every step, has settled.

    That is when in ``patience`` epochs on end Q has changed by at most ``tolerance`` · |Q|, and, with ``weights=True``,
    the weights w by at most ``tolerance`` · ‖w‖ as well. ``forgetting`` is λ; by default 1 / steps of an epoch, so
    that Q looks back over about one epoch. Q starts at the first step's loss.

    Part of the native step: it needs no validation data. ``values`` has Q after every epoch.
    Source: the running functional of stochastic gradient, Bottou 1998, "Online Learning and Stochastic Approximations".

    >>> import chainrule as cr
    >>> trainer = cr.Trainer(cr.nn.Linear(1, 1), optimizer="sgd", callbacks=[cr.training.LossPlateau()], seed=0)
    >>> len(trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=10_000, batch_size=2, verbose=0)) < 10_000
    True
    """

    def __init__(
        self, tolerance: float = 1e-3, patience: int = 3, *, forgetting: float | None = None, weights: bool = False
    ) -> None:
        if not tolerance >= 0 or patience < 1:
            raise ArgumentError(
                f"LossPlateau: tolerance must be at least 0 and patience at least 1, got {tolerance} and {patience}"
            )
        if forgetting is not None and not 0 < forgetting <= 1:
            raise ArgumentError(f"LossPlateau: forgetting must lie in (0, 1], got {forgetting}")
        self.tolerance = tolerance
        self.patience = patience
        self.forgetting = forgetting
        self.weights = weights
        self.values: list[float] = []
        self._settled = 0
        self._before: list[np.ndarray[Any, Any]] | None = None
        self._estimate, self._share = state_number(0.0), state_number(0.0)

    def on_fit_begin(self, trainer: Trainer) -> None:
        share = 1 / trainer.steps_per_epoch if self.forgetting is None else self.forgetting
        memory_of(self._share)[...] = share
        memory_of(self._estimate)[...] = np.nan
        self.values, self._settled, self._before = [], 0, None

    def after_update(self, trainer: Trainer, loss: Any) -> None:
        estimate, value = self._estimate, loss.detach().to(float64)
        has_started = estimate == estimate  # it is NaN before the first batch
        moved = estimate + (value - estimate) * self._share
        write(estimate, where(has_started, moved, value))

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        value = float(memory_of(self._estimate))
        has_settled = bool(self.values) and abs(value - self.values[-1]) <= self.tolerance * abs(self.values[-1])
        if self.weights:
            now = [np.array(parameter._array()) for parameter in trainer.model.parameters()]
            has_settled = has_settled and self._before is not None and _distance(now, self._before) <= self.tolerance
            self._before = now
        self.values.append(value)
        self._settled = self._settled + 1 if has_settled else 0
        return self.stays_stopped(trainer)

    def stays_stopped(self, trainer: Trainer) -> bool:
        """Unless there is more patience now."""
        return self._settled >= self.patience

    def state_dict(self) -> dict[str, Any]:
        estimate = float(memory_of(self._estimate))
        return {"estimate": estimate, "values": self.values, "settled": self._settled, "before": self._before}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        memory_of(self._estimate)[...] = state["estimate"]
        self.values, self._settled, self._before = state["values"], state["settled"], state["before"]


def _distance(now: list[np.ndarray[Any, Any]], before: list[np.ndarray[Any, Any]]) -> float:
    """‖w - w'‖ / ‖w'‖ over all parameters."""
    difference = sum(float(((a - b) ** 2).sum()) for a, b in zip(now, before, strict=True))
    size = sum(float((b**2).sum()) for b in before)
    return float(np.sqrt(difference / size)) if size else float(difference > 0)
