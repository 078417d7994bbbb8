"""`Trainer`: fit, evaluate, predict."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import nn, optim
from ..compiler.capture import compile
from ..data.loader import DataLoader
from ..data.splits import split_rows
from ..errors import ArgumentError, DataError, ModelFileError, NonFiniteError, ShapeError
from ..files.architecture import build, describe
from ..files.opened import File, name_of
from ..nn.memo import has_only_builtin_parts
from ..nn.regularizers import Regularizer
from ..tensor.generator import default_generator, get_rng_state, manual_seed, set_rng_state
from ..tensor.gradmode import no_grad
from ..tensor.operands import from_array
from ..tensor.segment import state
from ..types import DType, float32
from .accumulation import AccumulatingStep, Accumulation
from .arrays import as_features, as_targets, check_counts, check_features, single_dimension
from .callbacks import Callback, records_in_step
from .checkpoint import Checkpoint, made_of
from .history import History
from .interrupts import interruptible
from .loading import LoaderPass, Rows, as_loader, data_record, inputs, joined
from .metrics import find_metric
from .model_checkpoint import ModelCheckpoint, find_checkpoint
from .model_file import load_model, save_model
from .monte_carlo import Spread, predict_with_spread
from .names import find_loss, find_optimizer
from .objective import Objective
from .progress import ProgressBar, Verbose
from .steps import Pass, Passes, TrainingStep, evaluation_step
from .weights import ClassWeight, check_sample_weight, class_weights

PREDICTION_ROWS = 1024
"""Rows of one call when predicting; fewer are padded to a power of two, so that a handful of programs serve all."""


class Trainer:
    """Trains a model on data that stays in native memory, many steps per native call.

    - ``loss``: a name (``"mse"``, ``"mae"``, ``"huber"``, ``"bce"``, ``"bce_with_logits"``, ``"cross_entropy"``,
      ``"hinge"`` ...: `chainrule.training.names.LOSSES`), a loss module or a function of (output, target).
    - ``optimizer``: a name (``"sgd"``, ``"adam"``, ``"adamw"``, ``"rmsprop"``, ``"lion"`` ...), a function of the
      parameters, or an optimiser.
    - ``metrics``: names (``"accuracy"``, ``"auc"``, ``"f1"``, ``"mse"``, ``"mae"``, ``"r2"`` ..., and those of
      scikit-learn's scorers, such as ``"balanced_accuracy"``, if that is installed), measured on validation data.
    - ``clip_norm``: limits the norm of all gradients together, ``clip_value`` each element, in this order if both are
      given (`nn.utils.clip_grad_norm_`, `clip_grad_value_`).
    - ``callbacks``: early stopping, schedules, averages of weights ... (`chainrule.training`). ``regularizers``: see
      `chainrule.nn.regularizers`; the history shows the loss without their penalties, so that it compares with the
      validation loss.
    - ``seed``: the order of rows, splits, dropout and noise follow from it, in ``fit``; None: from the global state.
      Initial weights are the model's: call ``chainrule.manual_seed`` before it is made to have the same ones again.

    >>> import numpy as np, chainrule as cr
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = cr.nn.Sequential(cr.nn.Linear(1, 16), cr.nn.Tanh(), cr.nn.Linear(16, 1))
    >>> trainer = cr.Trainer(model, loss="mse", optimizer=lambda p: cr.optim.Adam(p, lr=0.01), seed=0)
    >>> history = trainer.fit(X, np.sin(3 * X), epochs=100, verbose=0)
    >>> trainer.evaluate(X, np.sin(3 * X))["loss"] < 0.05
    True
    """

    def __init__(
        self,
        model: Any,
        loss: Any = "mse",
        optimizer: Any = "adam",
        metrics: Sequence[str] = (),
        callbacks: Sequence[Callback] = (),
        regularizers: Sequence[Regularizer] = (),
        seed: int | None = None,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"Trainer: model must be an nn.Module, got {type(model).__name__}")
        self.model = model
        self.objective = Objective(find_loss(loss), regularizers)
        self.optimizer = find_optimizer(optimizer, [p for p in model.parameters() if p.requires_grad])
        self.metrics = {name: find_metric(name, self.objective.tells_classes) for name in metrics}
        self.callbacks = list(callbacks)
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.epochs = self.steps_per_epoch = 0
        self.first_epoch = 1
        self.stopped_by: list[Callback] = []
        self.seed = seed
        self.epochs_before = 0  # of all fits so far, and what random numbers they have left to the next
        self._random_state: dict[str, Any] | None = None
        self.order_seed = seed
        self.shuffles = True
        self.history = History()
        self.accumulation = Accumulation()
        self._data: dict[str, Any] = {}
        self._forward = compile(self._compute)
        self._input_dtype = _parameter_dtype(model)
        self._training, self._validation, self._evaluation = (Passes(self._ingredients) for _ in range(3))

    # Training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        shuffle: bool = True,
        verbose: Verbose = "auto",
        resume_from: str | os.PathLike[str] | None = None,
        gradient_accumulation_steps: int = 1,
    ) -> History:
        """Train for ``epochs`` and return the history: loss, metrics and validation figures per epoch.

        ``X`` is an array, tensor or frame, or, without ``y``, a data set of (input, target) rows or a `DataLoader`,
        which has its own size of batches and order; the transform of a data set draws anew in every epoch.
        The rows are shuffled before every epoch; afterwards the model is in evaluation mode. A further ``fit`` goes on
        where the last one ended: two of one epoch do what one of two epochs does. ``validation_data`` is (X, y),
        (X, y, sample_weight), a data set or a loader; ``validation_split`` takes that share of the rows of arrays,
        shuffled and, for classes, stratified. ``sample_weight`` has one number per row of arrays, ``class_weight`` is
        ``{class: weight}`` or ``"balanced"`` (in training only); the loss is Σ wᵢ·lossᵢ / Σ wᵢ, metrics are not
        weighted. Ctrl-C ends training; callbacks then restore the best weights and the history says so.

        ``gradient_accumulation_steps``: so many batches on end make one step of the optimiser, with the mean over all
        their rows: that of a batch which would not fit into memory. Clipping, regularisers, schedules and callbacks see
        this step alone; batch normalisation sees every batch. The last step of an epoch has the batches that are left.

        ``resume_from``: a file that `ModelCheckpoint` wrote in such a call. The epochs that it lacks are trained, and
        the weights in the end are those of a training that was never interrupted, to the last bit. Where a
        `ModelCheckpoint` of this trainer has yet to write the file, training begins with epoch 1.

        Errors: `DataError` for unusable data, `NonFiniteError` if the loss stops being finite, `ModelFileError` for a
        checkpoint of another training; nothing is changed then.
        """
        check_counts(epochs=epochs, batch_size=batch_size, gradient_accumulation_steps=gradient_accumulation_steps)
        checkpoint = find_checkpoint(resume_from, self.callbacks)
        self._begin_random_numbers()
        loader = as_loader(X, y, batch_size, shuffle)
        of_arrays = validation_split, sample_weight, class_weight
        training, validation = self._prepare((X, y) if loader is None else loader, validation_data, *of_arrays)
        self.epochs, self.shuffles, self._data = epochs, shuffle, data_record(training)
        self.accumulation.batches = gradient_accumulation_steps
        with self._passes(training, validation, batch_size):
            self._run_epochs(self._with_display(verbose), checkpoint)
        return self.history

    def _begin_random_numbers(self) -> None:
        """What the seed says; a further fit goes on with the numbers of the last one."""
        if self.order_seed is None:
            self.order_seed = int(default_generator.numpy().integers(1 << 63))
        if self._random_state is not None and self.seed is not None:
            set_rng_state(self._random_state)
        elif self.seed is not None:
            manual_seed(self.seed)

    def _with_display(self, verbose: Verbose) -> list[Callback]:
        """The callbacks, and the display of ``verbose`` unless one of them shows how far the training is."""
        has_display = any(isinstance(callback, ProgressBar) for callback in self.callbacks)
        return [*([] if has_display else [ProgressBar(verbose)]), *self.callbacks]

    @contextlib.contextmanager
    def _passes(
        self, training: Rows | DataLoader, validation: Rows | DataLoader | None, batch_size: int
    ) -> Iterator[None]:
        """Go over these data for the time being."""
        with self._pass(self._training, training, batch_size) as rows, contextlib.ExitStack() as stack:
            held_out = None
            if validation is not None:
                held_out = stack.enter_context(self._pass(self._validation, validation, PREDICTION_ROWS))
            self.training_rows, self.validation_rows = rows, held_out
            self.steps_per_epoch = -(-rows.steps // self.accumulation.batches)
            yield

    def _pass(
        self, passes: Passes, data: Rows | DataLoader, batch_size: int
    ) -> contextlib.AbstractContextManager[Pass]:
        """A pass over the batches of a loader, or over rows in memory, of which steps may be captured already."""
        if isinstance(data, DataLoader):
            return contextlib.nullcontext(LoaderPass(data, self.objective.targets, self._ingredients))
        return passes.over(*data, batch_size)

    def _run_epochs(self, callbacks: Sequence[Callback], checkpoint: Checkpoint | None) -> None:
        """All epochs, or those behind a checkpoint, and what must be done however they end."""
        training, validation, shuffles = self.training_rows, self.validation_rows, self.shuffles  # fits nest
        step = self._training_step(training)
        if checkpoint is not None or any(isinstance(callback, ModelCheckpoint) for callback in callbacks):
            self.made_of = made_of(self)
        if checkpoint is not None:
            checkpoint.check(self)
        self.history = History() if checkpoint is None else checkpoint.history
        self.first_epoch = 1 if checkpoint is None else checkpoint.epoch + 1
        begun: list[Callback] = []
        try:
            with interruptible() as raise_dropped:
                for callback in callbacks:
                    callback.on_fit_begin(self)
                    begun.append(callback)
                if checkpoint is not None:
                    checkpoint.restore(self)
                advance = partial(self._advance, callbacks, raise_dropped)
                if checkpoint is None or not checkpoint.is_ended(self):
                    for epoch in range(self.first_epoch, self.epochs + 1):
                        self.epochs_before += 1
                        if shuffles and self.order_seed is not None:
                            training.shuffle(self.order_seed, self.epochs_before)
                        self._run_epoch(epoch, training, partial(step.run, advance), validation, callbacks)
                        if self.stopped_by:
                            break
        except KeyboardInterrupt:
            self.history.interrupted = True
        finally:
            self._random_state = get_rng_state()
            self.model.eval()
            for callback in begun:
                callback.on_fit_end(self)

    def _training_step(self, training: Pass) -> TrainingStep:
        before: list[Callable[[], Any]] = [*self.clips()]
        before += [partial(callback.before_update, self) for callback in self.callbacks]
        after = [partial(callback.after_update, self) for callback in self.callbacks]
        parts = self.model, self.objective, self.optimizer, training, before, after
        return AccumulatingStep(self.accumulation, *parts) if self.accumulation.batches > 1 else TrainingStep(*parts)

    def clips(self) -> Iterator[Callable[[], Any]]:
        """What limits the gradients in every step."""
        parameters = list(self.model.parameters())
        if self.clip_norm is not None:
            yield partial(nn.utils.clip_grad_norm_, parameters, self.clip_norm)
        if self.clip_value is not None:
            yield partial(nn.utils.clip_grad_value_, parameters, self.clip_value)

    def _run_epoch(
        self,
        epoch: int,
        training: Pass,
        train: Callable[[], None],
        validation: Pass | None,
        callbacks: Sequence[Callback],
    ) -> None:
        """One epoch, for which ``train`` goes over all rows, and its row of the history."""
        for callback in callbacks:
            callback.on_epoch_begin(self)
        started = time.perf_counter()
        train()
        row: dict[str, float] = {"epoch": epoch, "loss": training.mean_loss}
        if "accuracy" in self.metrics:
            row["accuracy"] = training.accuracy
        if not math.isfinite(row["loss"]):
            raise NonFiniteError(
                f"epoch {epoch}: the loss became {row['loss']}. fix: a smaller learning rate (now "
                f"{self.optimizer.param_groups[0]['lr']:g}), standardised inputs, or gradient clipping"
            )
        if validation is not None:
            row.update({f"val_{name}": value for name, value in self._measure(validation).items()})
        row["seconds"] = time.perf_counter() - started
        self.history.append(row)
        # All of them see every epoch, before those that look at what it has come to.
        self.stopped_by = [callback for callback in callbacks if callback.on_epoch_end(self, row)]
        for callback in callbacks:
            callback.after_epoch(self, row)

    def _advance(self, callbacks: Sequence[Callback], raise_dropped: Callable[[], None], rows: int) -> None:
        raise_dropped()
        for callback in callbacks:
            callback.on_rows(self, rows)

    def _prepare(
        self,
        data: DataLoader | tuple[Any, Any],
        validation_data: Any,
        validation_split: float,
        sample_weight: Any,
        class_weight: ClassWeight,
    ) -> tuple[Rows | DataLoader, Rows | DataLoader | None]:
        """Data for training, and for validation or None: loaders, or tensors (X, y and weights)."""
        if isinstance(data, DataLoader):
            if validation_split or sample_weight is not None or class_weight is not None:
                raise ArgumentError(
                    "validation_split, sample_weight and class_weight are for arrays, not for loaders and data sets. "
                    "fix: data.random_split and validation_data; a WeightedRandomSampler, or weights in the loss"
                )
            return data, self._validation_data(validation_data)
        training = self._rows(*data, sample_weight)
        validation = self._validation_data(validation_data)
        if validation is None and validation_split:
            training, validation = self._split(training, validation_split)
        if class_weight is None:
            return training, validation
        features, targets, weights = training
        by_class = class_weights(targets._array(), class_weight)
        if weights is not None:
            by_class = by_class * weights._array()
        by_class = check_sample_weight(by_class, len(by_class), "class_weight")
        return (features, targets, from_array(by_class, _parameter_dtype(self.model))), validation

    def _validation_data(self, data: Any) -> Rows | DataLoader | None:
        loader = as_loader(data, None, PREDICTION_ROWS, shuffle=False)
        if data is None or loader is not None:
            return loader
        if len(data) not in (2, 3):
            raise ArgumentError(f"validation_data must be (X, y) or (X, y, sample_weight), got {len(data)} items")
        X, y, weight = (*data, None)[:3]
        return self._rows(X, y, weight, "validation ")

    def _rows(self, X: Any, y: Any, sample_weight: Any, name: str = "") -> Rows:
        """X, y and weights or None as tensors, checked."""
        if y is None:
            raise DataError(f"{name}y is missing: arrays need targets beside them, one per row of X")
        features = as_features(X, f"{name}X")
        targets = as_targets(y, features.shape[0], self.objective.targets, f"{name}y")
        if sample_weight is None:
            return features, targets, None
        weights = check_sample_weight(sample_weight, features.shape[0], f"{name}sample_weight")
        return features, targets, from_array(weights, _parameter_dtype(self.model))

    def _split(self, training: Rows, share: float) -> tuple[Rows, Rows]:
        if not 0 < share < 1:
            raise ArgumentError(f"validation_split must lie between 0 and 1, got {share}")
        count = training[0].shape[0]
        seed = 0 if self.seed is None else self.seed
        labels = self.objective.labels(training[1]._array())
        kept, held = split_rows(count, (1 - share, share), seed=seed, labels=labels)
        if not len(kept) or not len(held):
            raise DataError(f"validation_split={share} of {count} rows leaves one part empty")

        def rows(chosen: Any) -> Any:
            return tuple(None if tensor is None else from_array(tensor._array()[chosen]) for tensor in training)

        return rows(kept), rows(held)

    def _ingredients(self) -> list[Any] | None:
        """What steps are captured with; None where code of the user's decides what they record."""
        model, loss, optimizer = self.model, self.objective.loss, self.optimizer
        regularizers = self.objective.regularizers
        is_library_code = type(loss) in vars(nn).values() and type(optimizer) in vars(optim).values()
        if not is_library_code or not has_only_builtin_parts(model) or loss._has_hooks or "forward" in vars(loss):
            return None
        options = [value for regularizer in regularizers for value in vars(regularizer).values()]
        if any(map(callable, options)) or any(type(r) not in vars(nn.regularizers).values() for r in regularizers):
            return None
        recorders = [callback for callback in self.callbacks if records_in_step(callback)]
        if any(not type(callback).__module__.startswith(__package__) for callback in recorders):
            return None
        states = [value for entries in optimizer.state.values() for value in entries.values()]
        parts = [*options, *states, *recorders, self.clip_norm, self.clip_value, self.accumulation.batches > 1]
        return [model, loss, optimizer, *vars(loss).values(), *parts, state.is_grad_enabled]

    # Using the model -----------------------------------------------------------------------------------------------

    def evaluate(
        self, X: Any, y: Any = None, batch_size: int = PREDICTION_ROWS, sample_weight: Any = None
    ) -> dict[str, float]:
        """Return the loss, weighted if asked, and the metrics on (X, y), in evaluation mode; X as in ``fit``."""
        loader = as_loader(X, y, batch_size, shuffle=False)
        if loader is not None and sample_weight is not None:
            raise ArgumentError("sample_weight is for arrays, not for loaders and data sets. fix: weights in the loss")
        rows = self._rows(X, y, sample_weight) if loader is None else loader
        with self._pass(self._evaluation, rows, batch_size) as data:
            return self._measure(data)

    def _measure(self, data: Pass) -> dict[str, float]:
        data.run(evaluation_step(self.model, self.objective, data))
        figures = {"loss": data.mean_loss}
        if "accuracy" in self.metrics:
            figures["accuracy"] = data.accuracy
        others = {name: metric for name, metric in self.metrics.items() if name != "accuracy"}
        if others:
            outputs, targets = data.outputs(self.predict)
            scores = self.objective.scores(outputs)
            labels = self.objective.labels(targets) if self.objective.targets == "signs" else None
            targets = targets if labels is None else labels
            figures.update({name: metric(targets, scores) for name, metric in others.items()})
        return figures

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """Return the model's output for the rows of X; the model is, and stays, in evaluation mode.

        Of a data set or a loader the inputs are used, in its order, and targets are left alone.
        """
        if self.model.training:
            self.model.eval()
        loader = as_loader(X, None, PREDICTION_ROWS, shuffle=False)
        if loader is not None:
            return joined(self.predict(batch) for batch in inputs(loader))
        array = check_features(X)
        if len(array) <= PREDICTION_ROWS:
            return self._predict_block(array)
        starts = range(0, len(array), PREDICTION_ROWS)
        return np.concatenate([self._predict_block(array[start : start + PREDICTION_ROWS]) for start in starts])

    def predict_with_spread(self, X: Any, samples: int = 100) -> Spread:
        """Return mean and standard deviation of the output over ``samples`` passes with dropout left on.

        See `chainrule.training.monte_carlo`.
        """
        return predict_with_spread(self.model, X, samples)

    def _predict_block(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows = len(block)
        size = 1 << (rows - 1).bit_length()
        if size != rows:
            block = np.concatenate([block, np.zeros((size - rows, *block.shape[1:]), block.dtype)])
        try:
            output = self._forward(from_array(block, self._input_dtype))._array()
        except ShapeError as error:
            raise ShapeError(
                f"predict cannot use rows of shape {block.shape[1:]}: X has rows first. fix: the columns of the "
                f"training. The model says, with rows filled up to {size}: {error}"
            ) from None
        if output.ndim == 0 or len(output) != size:
            if block.ndim == 1:
                raise single_dimension((rows,))
            raise ShapeError(
                f"the model gives shape {output.shape} for {size} rows; its first dimension must be that of the rows"
            )
        return np.array(output[:rows])

    def _compute(self, X: Any) -> Any:
        with no_grad():
            return self.model(X)

    # Files --------------------------------------------------------------------------------------------------------

    def save(self, path: File) -> None:
        """Save the model, its history and the `training_record` in one file; see `chainrule.save`."""
        save_model(path, self.model, history=self.history, training=self.training_record())

    def training_record(self) -> dict[str, Any]:
        """How the model was trained, in JSON types: loss with its options, metrics, optimiser, seed, and on which data.

        Of arrays of up to 1 MiB together the SHA-256 is known (`chainrule.files.provenance.fingerprint` of X, y and
        weights), of others the number of rows.
        """
        made_of = {"loss": describe(self.objective.loss), "metrics": list(self.metrics), "seed": self.seed}
        return {**made_of, "optimizer": type(self.optimizer).__name__, **self._data}

    @classmethod
    def load(cls, path: File, optimizer: Any = "adam") -> Trainer:
        """Return a trainer of the model that ``save`` wrote; the optimiser starts anew.

        Errors: `ModelFileError` for a file that is not one, or a loss that is not part of ``chainrule.nn`` or has
        weights.
        """
        loaded = load_model(path)
        training = loaded.metadata["training"]
        loss = training.get("loss")
        if not isinstance(loss, dict) or "unknown" in loss:
            raise ModelFileError(
                f"{name_of(path)} was trained with a loss that no file can hold: {loss}. "
                "fix: Trainer(cr.load(path), loss=...)"
            )
        metrics, seed = training.get("metrics", []), training.get("seed")
        if not isinstance(metrics, list) or not {str, *map(type, metrics)} == {str} or not isinstance(seed, int | None):
            raise ModelFileError(f"{name_of(path)}: the record of its training is damaged: metrics or seed")
        trainer = cls(loaded.module, build(loss, vars(nn), "the loss"), optimizer, metrics, seed=seed)
        trainer.history = loaded.history or trainer.history
        return trainer

    # Weights --------------------------------------------------------------------------------------------------------

    def copy_weights(self, reuse: list[np.ndarray[Any, Any]] | None = None) -> list[np.ndarray[Any, Any]]:
        """Return copies of all parameters and buffers, into the arrays of an earlier copy if given."""
        current = [tensor._array() for tensor in self._state_tensors()]
        if reuse is None:
            return [array.copy() for array in current]
        for saved, array in zip(reuse, current, strict=True):
            saved[...] = array
        return reuse

    def set_weights(self, weights: list[np.ndarray[Any, Any]]) -> None:
        """Put back what `copy_weights` returned."""
        for tensor, saved in zip(self._state_tensors(), weights, strict=True):
            tensor._array()[...] = saved

    def _state_tensors(self) -> list[Any]:
        return [*self.model.parameters(), *self.model.buffers()]


def _parameter_dtype(model: Any) -> DType:
    """The element type that a model computes in."""
    parameter = next(iter(model.parameters()), None)
    return float32 if parameter is None else parameter.dtype
