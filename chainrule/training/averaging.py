"""Averages of weights over a training, in place of the last weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..nn.utils import update_bn
from ..optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn
from ..tensor.gradmode import no_grad
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer


class WeightAverage(Callback):
    """Keeps an average of the model's weights, and gives it to the model at the end, if asked to.

    ``averaged`` is a copy of the model with the average; it is made when a fit begins. The running statistics of batch
    normalisations belong to the last weights: at the end they are estimated anew over the training rows (`update_bn`).
    """

    averaged: AveragedModel | None = None

    def __init__(self, replace: bool) -> None:
        self.replace = replace

    def _new_average(self, trainer: Trainer) -> AveragedModel:
        return AveragedModel(trainer.model)

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.averaged = self._new_average(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.averaged is None else {"averaged": dict(self.averaged.state_dict())}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.averaged is None or not self.averaged.n_averaged.item():
            return
        network = self.averaged.module
        update_bn(trainer.training_rows.X, network, batch_size=trainer.training_rows.batch_size)
        network.eval()
        if self.replace:
            with no_grad():
                for parameter, mean in zip(trainer.model.parameters(), network.parameters(), strict=True):
                    parameter.write(mean.detach().numpy())
                for buffer, estimate in zip(trainer.model.buffers(), network.buffers(), strict=True):
                    buffer.copy_(estimate)


class EMA(WeightAverage):
    """An exponential moving average of the weights, w̄ := decay · w̄ + (1 - decay) · w after every step.

    Part of the native step. At the end the model gets w̄, unless ``replace=False``.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(1, 1)
    >>> sgd = cr.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = cr.Trainer(model, optimizer=sgd, callbacks=[cr.training.EMA(decay=0.9)], seed=0)
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=300, batch_size=1, verbose=0)
    >>> round(model.weight.item(), 1)
    2.0
    """

    def __init__(self, decay: float = 0.999, *, replace: bool = True) -> None:
        super().__init__(replace)
        self.decay = decay
        self._average = get_ema_multi_avg_fn(decay)

    def _new_average(self, trainer: Trainer) -> AveragedModel:
        return AveragedModel(trainer.model, multi_avg_fn=self._average)

    def after_update(self, trainer: Trainer, loss: Any) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(trainer.model)


class SWA(WeightAverage):
    """Stochastic weight averaging: the mean of the weights at the ends of the last epochs.

    - ``start``: from which epoch on, as a share of all epochs (below 1) or as a number.
    - ``lr``: from there on the learning rate goes to this value in ``anneal_epochs`` epochs (`swa_utils.SWALR`); None
      leaves it alone.

    At the end the model gets the mean, unless ``replace=False``.
    Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".

    >>> SWA(start=0.5, lr=0.05).start
    0.5
    """

    def __init__(
        self, start: float = 0.75, lr: float | None = None, anneal_epochs: int = 5, *, replace: bool = True
    ) -> None:
        super().__init__(replace)
        if not start >= 0:
            raise ArgumentError(f"SWA: start must be a share of the epochs or the number of one, got {start}")
        self.start = start
        self.lr = lr
        self.anneal_epochs = anneal_epochs
        self._schedule: SWALR | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        super().on_fit_begin(trainer)
        self._schedule = None

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        first = self.start * trainer.epochs if self.start < 1 else self.start
        if row["epoch"] < first or self.averaged is None:
            return False
        self.averaged.update_parameters(trainer.model)
        if self.lr is not None:
            if self._schedule is None:
                self._schedule = self._new_schedule(trainer, self.lr)
            self._schedule.step()
        return False

    def _new_schedule(self, trainer: Trainer, rate: float) -> SWALR:
        trainer.optimizer.has_stepped = True
        return SWALR(trainer.optimizer, rate, self.anneal_epochs)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedule": None if self._schedule is None else self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        super().load_state_dict(state, trainer)
        if state["schedule"] is not None and self.lr is not None:
            self._schedule = self._new_schedule(trainer, self.lr)
            self._schedule.load_state_dict(state["schedule"])
