"""Checkpoints: all that a training goes on from, in one file, which is a model file as well.

Beside the network, its history and the record of its training, such a file has a document ``checkpoint`` and a part
with arrays: the state of the optimiser, of callbacks and regularisers, what is random, and what the training was made
of, for it can only go on with the same.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ChainruleError, ModelFileError
from ..files.architecture import describe
from ..files.archive import Arrays, read_archive
from ..files.network import write_network
from ..files.values import pack_values, unpack_values
from ..tensor.generator import Generator, default_generator
from ..tensor.recording import Handle
from .callbacks import Callback
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

DOCUMENT = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """What `read_checkpoint` found in a file: the last epoch that was trained, and all that a training goes on from.

    ``needed`` and ``stopped_by`` name callbacks: those without which it would be another training, and those that
    ended it.
    """

    path: str
    epoch: int
    made_of: dict[str, Any]
    needed: list[str]
    stopped_by: list[str]
    history: History
    weights: dict[str, Any]
    state: dict[str, Any]

    def check(self, trainer: Trainer) -> None:
        """Errors: `ModelFileError` unless a trainer and the data that it is about to train on are those of the file."""
        found = _difference(self.made_of, trainer.made_of, "")
        if found is not None:
            place, before, now = found
            raise self._unfit(f"{place} was {before} then, and is {now} now")
        now = [name for name, callback in _stateful(trainer).items() if callback.changes_training]
        if set(now) != set(self.needed):
            raise self._unfit(f"its callbacks with a state were {_names(self.needed)} then, and are {_names(now)} now")
        if self.epoch > trainer.epochs:
            raise ModelFileError(
                f"{self.path} has trained {self.epoch} epochs already, and fit is asked for {trainer.epochs}. fix: "
                f"epochs={self.epoch} or more, or the checkpoint of an earlier epoch"
            )

    def restore(self, trainer: Trainer) -> None:
        """Put a trainer, whose callbacks have begun, where the file was written."""
        state = self.state
        try:
            trainer.model.load_state_dict(self.weights)
            for name, array in _transient(trainer.model):
                array[...] = state["transient"][name]
            for name, callback in _stateful(trainer).items():
                if name in state["callbacks"]:
                    callback.load_state_dict(state["callbacks"][name], trainer)
            for regularizer, saved in zip(trainer.objective.regularizers, state["regularizers"], strict=True):
                regularizer.load_state_dict(saved)
            trainer.optimizer.load_exact_state(state["optimizer"])  # at last, for schedules that begin change rates
            trainer.order_seed, trainer.epochs_before = state["order_seed"], state["epochs_before"]
            for generator, saved in zip(_generators(trainer), state["generators"], strict=True):
                generator.set_state(saved)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ChainruleError):
                raise
            raise ModelFileError(f"{self.path}: the checkpoint is damaged: {error!r}") from None

    def is_ended(self, trainer: Trainer) -> bool:
        """Whether a callback has ended the training for good."""
        callbacks = _named(trainer)
        return any(callbacks[name].stays_stopped(trainer) for name in self.stopped_by if name in callbacks)

    def _unfit(self, reason: str) -> ModelFileError:
        return ModelFileError(
            f"{self.path} is a checkpoint of another training: {reason}. fix: the trainer and the call of fit that it "
            "was written by; or no resume_from, to begin anew (with its weights: cr.load_weights(path))"
        )


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint of this moment holds, beside the network."""

    trainer: Trainer
    documents: dict[str, Any]
    arrays: Arrays

    def write(self, path: str | os.PathLike[str]) -> None:
        """Errors: `ModelFileError` where the file cannot be written; an earlier one is then unchanged."""
        trainer = self.trainer
        write_network(path, trainer.model, self.documents, trainer.training_record(), {DOCUMENT: self.arrays})


def take_snapshot(trainer: Trainer, run: str) -> Snapshot:
    """Gather where a training is at the end of an epoch; ``run`` tells it from other trainings.

    Errors: `ArgumentError` for a state that no file can hold.
    """
    state = {
        "optimizer": trainer.optimizer.exact_state(),
        "callbacks": {name: callback.state_dict() for name, callback in _stateful(trainer).items()},
        "regularizers": [regularizer.state_dict() for regularizer in trainer.objective.regularizers],
        "transient": dict(_transient(trainer.model)),
        "generators": [generator.get_state() for generator in _generators(trainer)],
        "order_seed": trainer.order_seed,
        "epochs_before": trainer.epochs_before,
    }
    packed, arrays = pack_values(state, _is_tensor)
    document = {
        "run": run,
        "epoch": int(trainer.history.epochs[-1]["epoch"]),
        "needed": [name for name, callback in _stateful(trainer).items() if callback.changes_training],
        "stopped_by": [name for name, callback in _named(trainer).items() if callback in trainer.stopped_by],
        "made_of": pack_values(trainer.made_of, _is_tensor)[0],
        "state": packed,
    }
    return Snapshot(trainer, {"history": trainer.history.to_json(), DOCUMENT: document}, arrays)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what a `Snapshot` has written. Errors: `ModelFileError` for any other file."""
    archive = read_archive(path)
    document, arrays = archive.documents.get(DOCUMENT), archive.parts.get(DOCUMENT)
    if document is None or arrays is None:
        raise ModelFileError(
            f"{path} holds a network, but no training to resume. fix: a file that ModelCheckpoint wrote"
        )
    try:
        return Checkpoint(
            os.fspath(path),
            int(document["epoch"]),
            {"gradient_accumulation_steps": 1, **unpack_values(document["made_of"], {}, np.asarray)},  # older files
            list(document["needed"]),
            list(document["stopped_by"]),
            History.from_json(archive.documents["history"]),
            archive.arrays,
            unpack_values(document["state"], arrays, np.asarray),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: the checkpoint is damaged: {error!r}") from None


def run_of(path: str | os.PathLike[str]) -> str | None:
    """Which training wrote a checkpoint; None for a file that is not there, or is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read(f"{DOCUMENT}.json"))["run"])
    except (OSError, EOFError, zipfile.BadZipFile, KeyError, ValueError, TypeError, RuntimeError):
        return None


# What a training is made of -------------------------------------------------------------------------------------------


def made_of(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for a training to be the same, in JSON types."""
    optimizer, rows = trainer.optimizer, trainer.validation_rows
    groups = [len(group["params"]) for group in optimizer.param_groups]
    shapes = {name: [list(p.shape), p.dtype.name] for name, p in trainer.model.named_parameters()}
    return {
        "the model": describe(trainer.model),
        "the model's parameter": shapes,
        "the optimizer": type(optimizer).__name__,
        "the optimizer's": {name: _plain(value) for name, value in optimizer.defaults.items()},
        "the numbers of parameters in the optimizer's groups": groups,
        "the loss": describe(trainer.objective.loss),
        "the regularizers": [type(regularizer).__name__ for regularizer in trainer.objective.regularizers],
        "clip_norm": trainer.clip_norm,
        "clip_value": trainer.clip_value,
        "seed": trainer.seed,
        "shuffle": trainer.shuffles,
        "the training data's": trainer.training_rows.description(),
        "batch_size": trainer.training_rows.batch_size,
        "gradient_accumulation_steps": trainer.accumulation.batches,
        "the validation data's": None if rows is None else rows.description(),
    }


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Handle)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _difference(before: Any, now: Any, place: str) -> tuple[str, Any, Any] | None:
    """The first place in which two descriptions differ, and what stands there."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            found = _difference(before.get(name), now.get(name), f"{place} {name}".strip())
            if found is not None:
                return found
        return None
    return None if before == now else (place, before, now)


# What has a state -----------------------------------------------------------------------------------------------------


def _named(trainer: Trainer) -> dict[str, Callback]:
    """All callbacks, by the names of their classes; the second of a class has a number."""
    seen: Counter[str] = Counter()
    named = {}
    for callback in trainer.callbacks:
        name = type(callback).__name__
        seen[name] += 1
        named[name if seen[name] == 1 else f"{name} {seen[name]}"] = callback
    return named


def _stateful(trainer: Trainer) -> dict[str, Callback]:
    """The callbacks that say that they have a state: it may depend on the epoch what that is."""
    return {
        name: callback
        for name, callback in _named(trainer).items()
        if type(callback).state_dict is not Callback.state_dict
    }


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _transient(model: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The buffers that are no part of a model's state dict."""
    stored = model.state_dict()
    return ((name, buffer._array()) for name, buffer in model.named_buffers() if name not in stored)


def _generators(trainer: Trainer) -> list[Generator]:
    """The sources of random numbers, each once: the default one, and those of loaders and samplers."""
    passes = [trainer.training_rows, trainer.validation_rows]
    own = [generator for rows in passes if rows is not None for generator in rows.generators()]
    return list(dict.fromkeys([default_generator, *own]))
