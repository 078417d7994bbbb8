"""A forecaster: a network with the preparation of its series, trained, used and saved as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn
from ..errors import ArgumentError, DataError, ModelFileError, ShapeError
from ..files.archive import read_archive
from ..files.network import write_network
from ..nn.modes import mode
from ..tensor.creation import zeros
from ..tensor.gradmode import no_grad
from ..training.callbacks import Callback
from ..training.history import History
from ..training.model_file import load_model
from ..training.progress import Verbose
from ..training.trainer import Trainer
from ..types import as_dtype
from .preparation import SeriesPreparation
from .series import Series, as_series, with_channels
from .splits import check_range
from .windows import Transform, Windows

DOCUMENT = "forecaster"


class Forecaster:
    """Forecasts of a series by any network that reads windows of it.

    - ``network`` reads (N, inputs, channels), or (N, channels, inputs) with ``channels_first`` (`nn.Conv1d`), and gives
      horizon · targets numbers per window, in any shape. A network of linear layers begins with `nn.Flatten`.
    - ``horizon``: the rows that the network forecasts at once (direct). Further ones are forecast from its own
      forecasts (recursive): with ``horizon=1`` all of them are.
    - ``log``, ``difference``: what is done to the series before it is standardised, see `SeriesPreparation`.
    - ``targets``: numbers of the channels to forecast, by default all.
    - ``loss``, ``optimizer``, ``callbacks``, ``seed``: as in `Trainer`; the loss is one of prepared values.

    >>> series = np.sin(np.arange(200) * 2 * np.pi / 20) + 3
    >>> cr.manual_seed(0)
    <...>
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(20, 5))
    >>> forecaster = cr.series.Forecaster(network, inputs=20, horizon=5, optimizer="rprop", seed=0)
    >>> history = forecaster.fit(series, rows=range(150), batch_size=256, epochs=100, verbose=0)
    >>> bool(np.abs(forecaster.predict(series[:150], 10) - series[150:160]).max() < 0.05)
    True
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: int,
        horizon: int = 1,
        *,
        log: bool = False,
        difference: int = 0,
        targets: Sequence[int] | None = None,
        channels_first: bool = False,
        loss: Any = "mse",
        optimizer: Any = "adam",
        callbacks: Sequence[Callback] = (),
        seed: int | None = None,
    ) -> None:
        if not all(isinstance(number, int | np.integer) and number >= 1 for number in (inputs, horizon)):
            raise ArgumentError(f"inputs and horizon must be whole numbers of at least 1, got {inputs} and {horizon}")
        self.network = network
        self.inputs, self.horizon = inputs, horizon
        self.log, self.difference = log, difference
        self.targets = None if targets is None else list(targets)
        self.channels_first = channels_first
        self.preparation: SeriesPreparation | None = None
        self._training = {"loss": loss, "optimizer": optimizer, "callbacks": callbacks, "seed": seed}
        self._trainer: Trainer | None = None

    def fit(
        self,
        series: Any,
        *,
        rows: range | None = None,
        validation_rows: range | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        transforms: Sequence[Transform] = (),
        verbose: Verbose = "auto",
    ) -> History:
        """Train on the windows whose targets lie in ``rows``, by default all, and return the history.

        The preparation is measured on ``rows`` alone, and nothing behind them is learned from. Forecasts of
        ``validation_rows`` are only measured, for early stopping; `split_in_time` gives both. ``transforms``
        change prepared training windows at random, targets included (see `Windows`). A further ``fit`` measures anew
        and goes on with the network's weights.

        Errors: `DataError` for a series that is too short or not finite, `ShapeError` for a network that does not fit.
        """
        whole = as_series(series)
        values = with_channels(whole.values)
        rows = range(len(values)) if rows is None else rows
        for part in (rows, validation_rows or rows):
            check_range(part, len(values))
        self._prepare(SeriesPreparation.fit(values[rows.start : rows.stop], log=self.log, difference=self.difference))
        preparation, trainer = self._trained()
        reach = max(rows.stop, 0 if validation_rows is None else validation_rows.stop)
        prepared = preparation.transform(values[:reach]).astype(_dtype(self.network), copy=False)
        training = self._windows(prepared, rows, transforms)
        validation = None if validation_rows is None else self._windows(prepared, validation_rows)
        return trainer.fit(training, epochs=epochs, batch_size=batch_size, validation_data=validation, verbose=verbose)

    def predict(self, history: Any, horizon: int | None = None) -> NDArray[Any]:
        """Return the forecast of the rows that follow a history: (horizon,), or (horizon, targets), in its unit.

        ``horizon`` is by default the network's. Of the history the last ``inputs + difference`` rows are used.

        Errors: `DataError` for a shorter history; `ArgumentError` before ``fit``, and for a horizon beyond the
        network's where it does not forecast all channels that it reads.
        """
        preparation, trainer = self._trained()
        horizon = self.horizon if horizon is None else horizon
        known = as_series(history)
        needed = self.inputs + self.difference
        if horizon < 1:
            raise ArgumentError(f"horizon must be at least 1, got {horizon}")
        if len(known) < needed:
            raise DataError(
                f"the history has {len(known)} rows, and a forecast needs the last {needed}: {self.inputs} inputs"
                + (f" and {self.difference} for the difference" if self.difference else "")
            )
        context = with_channels(known.values)[-needed:]
        targets = list(range(context.shape[1])) if self.targets is None else self.targets
        if horizon > self.horizon and targets != list(range(context.shape[1])):
            raise ArgumentError(
                f"the network forecasts {self.horizon} rows of channels {targets} only; {horizon} rows need forecasts "
                "of every channel. fix: a shorter horizon, or a network for all channels (targets=None)"
            )
        forecast = np.empty((0, len(targets)))
        while len(forecast) < horizon:
            window = preparation.transform(context)[None].astype(_dtype(self.network))
            output = trainer.predict(window.swapaxes(1, 2) if self.channels_first else window)[0]
            block = preparation.only(targets).invert(output, context[:, targets])
            forecast = np.concatenate([forecast, block])
            if len(forecast) < horizon:
                context = np.concatenate([context, block])[-needed:]
        forecast = forecast[:horizon]
        return forecast[:, 0] if known.values.ndim == 1 else forecast

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the network with its preparation in one file, from which `load` makes the forecaster again.

        `chainrule.load` reads the network alone. Errors: `ArgumentError` before ``fit``, `ModelFileError`.
        """
        preparation, trainer = self._trained()
        settings = {name: getattr(self, name) for name in ("inputs", "horizon", "targets", "channels_first")}
        document = {**settings, "preparation": preparation.to_json()}
        write_network(path, self.network, {DOCUMENT: document}, trainer.training_record())

    @classmethod
    def load(cls, path: str | os.PathLike[str], network: nn.Module | None = None) -> Forecaster:
        """Return the forecaster that `save` wrote; loss and optimiser are not kept, so ``fit`` takes the default ones.

        A network of a class of your own, or of `chainrule.models`, is to be given, and gets the weights.
        Errors: `ModelFileError` for a file that is not one.
        """
        archive = read_archive(path)
        found = archive.documents.get(DOCUMENT)
        if not isinstance(found, dict):
            raise ModelFileError(f"{path} has no forecaster in it. fix: cr.load(path), if it is a network alone")
        if network is None:
            network = load_model(path).module
        else:
            network.load_state_dict(archive.arrays)
        try:
            preparation = SeriesPreparation.from_json(found["preparation"])
            settings = {name: found[name] for name in ("inputs", "horizon", "targets", "channels_first")}
            forecaster = cls(network, log=preparation.log, difference=preparation.difference, **settings)
            forecaster._prepare(preparation)
        except (KeyError, TypeError, ArgumentError, ShapeError) as error:
            raise ModelFileError(f"{path}: its forecaster is damaged: {error!s:.300}") from None
        return forecaster

    def _prepare(self, preparation: SeriesPreparation) -> None:
        """Take over a preparation, and make a trainer for its channels."""
        channels = len(preparation.scales)
        if self.targets is not None and not set(self.targets) <= set(range(channels)):
            raise ArgumentError(f"targets must be numbers of channels below {channels}, got {self.targets}")
        count = channels if self.targets is None else len(self.targets)
        sizes = (channels, self.inputs) if self.channels_first else (self.inputs, channels)
        try:
            with no_grad(), mode(self.network, lambda part: False):
                window = zeros(1, 1, 1, dtype=as_dtype(_dtype(self.network))).expand(2, *sizes)  # takes no memory
                shape = tuple(self.network(window).shape)
        except ShapeError as error:
            error.add_note(f"the network of this Forecaster reads windows of shape (N, {sizes[0]}, {sizes[1]})")
            raise
        if shape[0] != 2 or np.prod(shape[1:]) != self.horizon * count:
            raise ShapeError(
                f"the network gives shape {shape} for 2 windows of shape {sizes}, expected {self.horizon} · {count} "
                "numbers for each: horizon · channels to forecast"
            )
        model = nn.Sequential(self.network, nn.Flatten(), nn.Unflatten(1, (self.horizon, count)))
        self._trainer = Trainer(model, **self._training)
        self.preparation = preparation

    def _trained(self) -> tuple[SeriesPreparation, Trainer]:
        if self.preparation is None or self._trainer is None:
            raise ArgumentError("this Forecaster has not been trained. fix: forecaster.fit(series)")
        return self.preparation, self._trainer

    def _windows(self, prepared: NDArray[Any], rows: range, transforms: Sequence[Transform] = ()) -> Windows:
        shifted = range(max(rows.start - self.difference, 0), rows.stop - self.difference)
        return Windows(
            Series(prepared),
            self.inputs,
            self.horizon,
            rows=shifted,
            targets=self.targets,
            channels_first=self.channels_first,
            transforms=transforms,
        )


def _dtype(network: nn.Module) -> np.dtype[Any]:
    """The element type that a network computes in."""
    parameter = next(iter(network.parameters()), None)
    return np.dtype(np.float32 if parameter is None else parameter.dtype.name)
