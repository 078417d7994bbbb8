"""The learning-rate range test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, MissingExtraError
from .arrays import as_features, as_targets
from .steps import ArrayPass, TrainingStep

if TYPE_CHECKING:
    import matplotlib.axes

    from .trainer import Trainer


@dataclass
class LRFinder:
    """Which learning rate to take: train a little with rates that grow from step to step, and watch the loss.

    `run` leaves ``rates`` and smoothed ``losses``; the model and the optimiser are afterwards as they were.
    Source: Smith 2015, "Cyclical Learning Rates", section 3.3; the smoothing and the suggestion as in fastai.

    >>> import numpy as np, chainrule as cr
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = cr.nn.Sequential(cr.nn.Linear(1, 16), cr.nn.Tanh(), cr.nn.Linear(16, 1))
    >>> finder = cr.training.LRFinder(cr.Trainer(model, optimizer="sgd", seed=0))
    >>> 1e-4 < finder.run(X, np.sin(3 * X)).suggestion < 10
    True
    """

    trainer: Trainer
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def run(
        self,
        X: Any,
        y: Any,
        *,
        start_lr: float = 1e-6,
        end_lr: float = 10.0,
        steps: int = 100,
        batch_size: int = 32,
        smoothing: float = 0.9,
        stop_at: float = 4.0,
    ) -> LRFinder:
        """Make up to ``steps`` steps, with rates from ``start_lr`` to ``end_lr`` in equal ratios.

        ``losses`` is the running mean of the batches' losses, freed of its bias; ``smoothing`` is how much of the old
        is kept. Ends early where it exceeds ``stop_at`` times the lowest, or is not finite.
        """
        if not 0 < start_lr < end_lr or steps < 2:
            raise ArgumentError(f"expected 0 < start_lr < end_lr and steps >= 2, got {start_lr}, {end_lr} and {steps}")
        if not 0 <= smoothing < 1:
            raise ArgumentError(f"smoothing must lie in [0, 1), got {smoothing}")
        self.rates, self.losses = [], []
        trainer = self.trainer
        features = as_features(X)
        targets = as_targets(y, features.shape[0], trainer.objective.targets)
        rows = ArrayPass(features, targets, None, batch_size, lambda: None)
        rows.shuffle(trainer.seed or 0, 1)
        step = TrainingStep(trainer.model, trainer.objective, trainer.optimizer, rows, list(trainer.clips()))
        with _as_before(trainer):
            mean = 0.0
            for number, rate in enumerate(np.geomspace(start_lr, end_lr, steps).tolist(), start=1):
                for group in trainer.optimizer.param_groups:
                    group["lr"] = rate
                mean = smoothing * mean + (1 - smoothing) * rows.run_one(step)
                self.rates.append(rate)
                self.losses.append(mean / (1 - smoothing**number))
                if not self.losses[-1] <= stop_at * min(self.losses):
                    break
        return self

    @property
    def suggestion(self) -> float:
        """The rate at which the loss falls fastest per factor of the rate.

        The first tenth of the steps, whose mean is of few batches, does not count, nor does what follows the lowest.
        """
        if not self.losses:
            raise ArgumentError("the finder has not run yet. fix: finder.run(X, y)")
        begin = len(self.losses) // 10
        finite = [loss if math.isfinite(loss) else math.inf for loss in self.losses[begin:]]
        count = max(int(np.argmin(finite)) + 1, 2)
        slopes = np.gradient(np.array(finite[:count]), np.log(self.rates[begin : begin + count]))
        return self.rates[begin + int(np.argmin(slopes))]

    def plot(self) -> matplotlib.axes.Axes:
        """Draw the loss against the rate and mark the suggestion. Needs matplotlib (extra ``plot``)."""
        try:
            import matplotlib.pyplot
        except ImportError:
            raise MissingExtraError("matplotlib", "plot") from None
        _, axes = matplotlib.pyplot.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.suggestion, color="grey", linestyle=":", label=f"suggestion {self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.legend()
        return axes


@contextmanager
def _as_before(trainer: Trainer) -> Iterator[None]:
    """Leave the model and the optimiser as they were."""
    weights, state = trainer.copy_weights(), trainer.optimizer.exact_state()
    was_training = trainer.model.training
    try:
        yield
    finally:
        trainer.set_weights(weights)
        trainer.optimizer.load_exact_state(state)
        trainer.model.train(was_training)
