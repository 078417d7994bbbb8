"""Checkpoints: a training that ends anywhere and is resumed gives the bits of one that never ended."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import DataLoader, Dataset
from chainrule.errors import ArgumentError, DataError, ModelFileError
from chainrule.files import atomic
from chainrule.optim import lr_scheduler
from chainrule.training import (
    EMA,
    SWA,
    Callback,
    EarlyStopping,
    LossPlateau,
    LRSchedule,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TimeBudget,
)
from chainrule.vision import transforms

Array = np.ndarray[Any, Any]
EPOCHS = 6


class CrashError(Exception):
    pass


class CrashAfter(Callback):
    """Stands behind a `ModelCheckpoint`: what happens to the trainer after that is lost."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_epoch(self, trainer: Any, row: dict[str, float]) -> None:
        if row["epoch"] == self.epoch:
            raise CrashError


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def data() -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return random.normal(size=(103, 6)).astype(np.float32), random.integers(0, 3, 103)


def network() -> nn.Sequential:
    cr.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def trainer(callbacks: Any = (), optimizer: Any = "adam", seed: int | None = 1, **options: Any) -> cr.Trainer:
    options = {"metrics": ["accuracy"], "clip_norm": 5.0, **options}
    return cr.Trainer(network(), "cross_entropy", optimizer, callbacks=callbacks, seed=seed, **options)


def fit(trainer: cr.Trainer, *rows: Any, resume: bool = False, **options: Any) -> tuple[list[Array], list[Any]]:
    """All weights, buffers included, and the history without its clock."""
    options = {"epochs": EPOCHS, "verbose": 0, **options}
    if not rows:
        rows, options = data(), {"batch_size": 16, "validation_split": 0.2, **options}
    history = trainer.fit(*rows, resume_from="model.chain" if resume else None, **options)
    return [array.copy() for array in trainer.copy_weights()], [{**row, "seconds": 0} for row in history]


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1] == other[1]


def assert_resumes_exactly(make: Callable[[Any], cr.Trainer], fit: Any = fit, crash: int = 3) -> None:
    """A training, and one that is lost after an epoch and resumed by other objects, with another random state."""
    whole = fit(make([]))
    with pytest.raises(CrashError):
        fit(make([ModelCheckpoint("model.chain"), CrashAfter(crash)]))
    resumed = make([ModelCheckpoint("model.chain")])
    for parameter in resumed.model.parameters():
        parameter.write(1.0)
    cr.manual_seed(9)
    assert_same(fit(resumed, resume=True), whole)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "dampening": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.05),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_on_to_the_bit(name: str) -> None:
    assert_resumes_exactly(lambda more: trainer(more, OPTIMIZERS[name]))


def sgd(parameters: Any) -> Any:
    return optim.SGD(parameters, lr=0.05, momentum=0.9)


CALLBACKS: dict[str, tuple[Any, Callable[[], list[Callback]]]] = {
    "one cycle": ("adam", lambda: [LRSchedule(lr_scheduler.OneCycleLR, max_lr=0.05, per="step")]),
    "cycle": ("adam", lambda: [LRSchedule(lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2))]),
    "milestones": (sgd, lambda: [LRSchedule(lr_scheduler.MultiStepLR, milestones=[2, 5])]),
    "sequence": (
        sgd,
        lambda: [
            LRSchedule(
                lambda o: lr_scheduler.SequentialLR(
                    o, [lr_scheduler.LinearLR(o), lr_scheduler.CosineAnnealingLR(o, 25)], [5]
                ),
                per="step",
            )
        ],
    ),
    "plateaus": (sgd, lambda: [ReduceLROnPlateau(patience=0, factor=0.5), LossPlateau(0.02, weights=True)]),
    "patience": (sgd, lambda: [EarlyStopping("val_accuracy", patience=2)]),
    "averages": (sgd, lambda: [EMA(0.9, replace=False), SWA(0.4, lr=0.02, anneal_epochs=2)]),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_go_on_to_the_bit(name: str) -> None:
    optimizer, callbacks = CALLBACKS[name]
    assert_resumes_exactly(lambda more: trainer([*callbacks(), *more], optimizer))


def test_without_a_seed_and_with_noise_a_training_goes_on_to_the_bit() -> None:
    assert_resumes_exactly(lambda more: trainer(more, seed=None, regularizers=[nn.regularizers.GradientNoise(0.01)]))


@pytest.mark.parametrize("crash", [1, EPOCHS])
def test_any_epoch_will_do(crash: int) -> None:
    assert_resumes_exactly(lambda more: trainer([EMA(0.9), *more]), crash=crash)


class Pictures(Dataset[Any]):
    transform = transforms.Compose([transforms.RandomCrop(8, padding=1), transforms.ToTensor()])

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        picture = np.random.default_rng(index).integers(0, 255, (8, 8), dtype=np.uint8)
        return self.transform(picture), index % 3


@pytest.mark.parametrize("has_generator", [False, True])
def test_a_loader_with_random_transforms_goes_on_to_the_bit(has_generator: bool) -> None:
    def make(more: Any) -> cr.Trainer:
        cr.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
        return cr.Trainer(nn.Sequential(*layers), "cross_entropy", callbacks=more, seed=1)

    def fit_loader(trainer: cr.Trainer, resume: bool = False) -> Any:
        own = cr.Generator().manual_seed(3) if has_generator else None
        loader = DataLoader(Pictures(), batch_size=20, shuffle=True, num_workers=2, generator=own)
        return fit(trainer, loader, resume=resume, validation_data=Pictures())

    assert_resumes_exactly(make, fit_loader)


def test_a_trainer_that_was_used_before_goes_back_to_the_checkpoint() -> None:
    whole = fit(trainer([LRSchedule(lr_scheduler.StepLR, step_size=2)], sgd))
    used = trainer([LRSchedule(lr_scheduler.StepLR, step_size=2), ModelCheckpoint("model.chain"), CrashAfter(3)], sgd)
    with pytest.raises(CrashError):
        fit(used)
    used.callbacks.pop()
    assert_same(fit(used, resume=True), whole)


# What fit makes of a checkpoint ---------------------------------------------------------------------------------------


def test_one_script_begins_resumes_and_has_nothing_left_to_do() -> None:
    first = fit(trainer([ModelCheckpoint("model.chain")]), resume=True)
    before = Path("model.chain").read_bytes()
    again = trainer([ModelCheckpoint("model.chain")])
    assert_same(fit(again, resume=True), first)
    assert Path("model.chain").read_bytes() == before
    longer = fit(trainer([ModelCheckpoint("model.chain")]), resume=True, epochs=EPOCHS + 2)
    assert_same(longer, fit(trainer(), epochs=EPOCHS + 2))


def test_a_file_that_nobody_writes_is_an_error() -> None:
    fit(trainer([ModelCheckpoint("models.chain")]), epochs=1)
    with pytest.raises(ModelFileError, match=r"no file model.chain to resume from \(did you mean 'models.chain'\?\)"):
        fit(trainer(), resume=True)


def test_a_training_that_patience_has_ended_stays_ended_unless_there_is_more_of_it() -> None:
    make: Any = lambda patience, *more: trainer([EarlyStopping(patience=patience, min_delta=9.0), *more])
    stopped = fit(make(2, ModelCheckpoint("model.chain")), resume=True)
    assert len(stopped[1]) == 3
    assert_same(fit(make(2), resume=True), stopped)
    assert_same(fit(make(4), resume=True), fit(make(4)))


class StopAfter(Callback):
    def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
        return row["epoch"] == 2


def test_a_training_that_a_callback_of_the_users_has_ended_stays_ended() -> None:
    for _ in range(2):
        assert len(fit(trainer([StopAfter(), ModelCheckpoint("model.chain", every=5)]), resume=True)[1]) == 2


def test_a_time_budget_is_that_of_one_fit() -> None:
    for epochs in range(1, 4):
        history = fit(trainer([TimeBudget(1e-9), ModelCheckpoint("model.chain", every=5)]), resume=True)[1]
        assert len(history) == epochs
    assert_same(fit(trainer(), resume=True), fit(trainer()))


X, Y = data()
OTHERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "layer": (
        "the model children 0 arguments bias was True then, and is False now",
        lambda: fit(cr.Trainer(nn.Sequential(nn.Linear(6, 3, bias=False)), "cross_entropy", seed=1), resume=True),
    ),
    "optimizer": ("the optimizer was Adam then, and is SGD now", lambda: fit(trainer(optimizer="sgd"), resume=True)),
    "rate": (
        "the optimizer's lr was 0.001 then, and is 0.1 now",
        lambda: fit(trainer(optimizer=lambda p: optim.Adam(p, lr=0.1)), resume=True),
    ),
    "loss": (
        "the loss arguments label_smoothing was 0.0 then, and is 0.1 now",
        lambda: fit(cr.Trainer(plain(), nn.CrossEntropyLoss(label_smoothing=0.1), seed=1), resume=True),
    ),
    "seed": ("seed was 1 then, and is 2 now", lambda: fit(plain_trainer(seed=2), resume=True)),
    "rows": (
        "the training data's number of rows was 82 then, and is 80 now",
        lambda: fit(plain_trainer(), X[:100], Y[:100], resume=True, validation_split=0.2, batch_size=16),
    ),
    "targets": (
        "data's checksum of y was",
        lambda: fit(plain_trainer(), X, np.roll(Y, 1), resume=True, batch_size=16),
    ),
    "batch": ("batch_size was 16 then, and is 17 now", lambda: fit(plain_trainer(), resume=True, batch_size=17)),
    "order": ("shuffle was True then, and is False now", lambda: fit(plain_trainer(), resume=True, shuffle=False)),
    "epochs": ("trained 2 epochs already, and fit is asked for 1", lambda: fit(plain_trainer(), resume=True, epochs=1)),
    "callback": (
        "callbacks with a state were none then, and are EMA now",
        lambda: fit(plain_trainer([EMA()]), resume=True),
    ),
}


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 3))


def plain_trainer(callbacks: Any = (), seed: int = 1, **options: Any) -> cr.Trainer:
    return cr.Trainer(plain(), "cross_entropy", callbacks=callbacks, seed=seed, **options)


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_training_is_refused_and_nothing_changes(name: str) -> None:
    message, resume = OTHERS[name]
    model = trainer if name in ("optimizer", "rate") else plain_trainer
    rows: tuple[Any, ...] = (X, Y) if name == "targets" else ()
    fit(model([ModelCheckpoint("model.chain")]), *rows, epochs=2, batch_size=16)
    before = Path("model.chain").read_bytes()
    with pytest.raises(ModelFileError, match=f"model.chain .*{message}.*fix: "):
        resume()
    assert Path("model.chain").read_bytes() == before


def test_a_schedule_of_another_length_is_refused() -> None:
    def make() -> cr.Trainer:
        return plain_trainer([LRSchedule(lr_scheduler.OneCycleLR, max_lr=0.1), ModelCheckpoint("model.chain")])

    fit(make())
    with pytest.raises(ArgumentError, match="OneCycleLR began with total_steps=6, and would go on with total_steps=7"):
        fit(make(), resume=True, epochs=7)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\x03\x04 and no more", "truncated or damaged"), (b"", "is empty"), (b"epoch,loss\n", "it is a text file")],
)
def test_a_file_that_is_no_checkpoint_is_no_reason_to_begin_anew(content: bytes, message: str) -> None:
    Path("model.chain").write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        fit(plain_trainer([ModelCheckpoint("model.chain")]), resume=True)


def test_a_model_file_is_no_checkpoint_but_a_checkpoint_is_a_model_file() -> None:
    trained = plain_trainer([ModelCheckpoint("model.chain")], metrics=["accuracy"])
    weights, rows = fit(trained)
    for ours, saved in zip(cr.load("model.chain").parameters(), weights, strict=True):
        np.testing.assert_array_equal(ours.detach().numpy(), saved)
    loaded = cr.Trainer.load("model.chain")
    assert [{**row, "seconds": 0} for row in loaded.history] == rows
    loaded.save("saved.chain")
    with pytest.raises(ModelFileError, match="saved.chain holds a network, but no training to resume"):
        loaded.fit(*data(), resume_from="saved.chain")


# What is written ------------------------------------------------------------------------------------------------------


def test_the_best_and_the_latest_are_there() -> None:
    checkpoint = ModelCheckpoint("runs/a/model.chain", monitor="val_accuracy", keep=2)
    epochs: list[int] = []

    class Look(Callback):
        def after_epoch(self, trainer: Any, row: dict[str, float]) -> None:
            accuracy = trainer.history["val_accuracy"]
            ranked = sorted(range(len(accuracy)), key=lambda number: (-accuracy[number], number))[:2]
            assert [path.name for path in checkpoint.best] == [f"model.epoch-{number + 1}.chain" for number in ranked]
            found = {path.name for path in Path("runs/a").iterdir()}
            assert found == {"model.chain", *(path.name for path in checkpoint.best)}
            epochs.append(len(cr.Trainer.load("runs/a/model.chain").history))

    _, rows = fit(trainer([checkpoint, Look()], sgd))
    assert epochs == list(range(1, EPOCHS + 1))
    best = max(row["val_accuracy"] for row in rows)
    assert cr.Trainer.load(checkpoint.best[0]).history["val_accuracy"][-1] == best


def test_figures_that_are_not_numbers_are_never_the_best() -> None:
    checkpoint = ModelCheckpoint("model.chain", monitor="score", mode="max", keep=2)

    class Score(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            row["score"] = [1.0, float("nan"), 3.0, float("nan"), 2.0, 0.0][int(row["epoch"]) - 1]
            return False

    fit(plain_trainer([Score(), checkpoint]))
    assert [path.name for path in checkpoint.best] == ["model.epoch-3.chain", "model.epoch-5.chain"]


def test_checkpoints_every_few_epochs_and_at_the_end() -> None:
    checkpoint = ModelCheckpoint("model.chain", every=4)
    epochs: list[int] = []

    class Look(Callback):
        def after_epoch(self, trainer: Any, row: dict[str, float]) -> None:
            epochs.append(len(cr.Trainer.load("model.chain").history) if os.path.exists("model.chain") else 0)

    fit(plain_trainer([checkpoint, Look()]))
    assert epochs == [0, 0, 0, 4, 4, 6]


@pytest.mark.parametrize("options", [{"every": 0}, {"keep": -1}, {"mode": "best"}, {"monitor": "loss", "keep": 0}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        ModelCheckpoint("model.chain", **options)


def test_a_full_disk_costs_neither_the_earlier_checkpoint_nor_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    class FillDisk(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            monkeypatch.setattr(atomic.os, "fsync", fail if row["epoch"] in (3, 4) else flush)
            if row["epoch"] == 5:
                assert len(cr.Trainer.load("model.chain").history) == 2
            return False

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole = fit(trainer())
    full = trainer([ModelCheckpoint("model.chain", keep=9), FillDisk()])
    with pytest.warns(UserWarning, match="epoch 3: .* was not saved: no space left on device.*goes on") as found:
        assert_same(fit(full), whole)
    assert len(found) == 1
    assert len(cr.Trainer.load("model.chain").history) == EPOCHS
    kept = {path.name for path in Path().iterdir()}
    assert kept == {"model.chain", *(f"model.epoch-{epoch}.chain" for epoch in (1, 2, 5, 6))}


def test_the_best_before_the_disk_was_full_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Better(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            row["score"] = row["epoch"]
            if row["epoch"] == 5:
                monkeypatch.setattr(atomic.os, "fsync", fail)
            return False

    checkpoint = ModelCheckpoint("model.chain", monitor="score", mode="max")
    with pytest.warns(UserWarning, match="epoch 5"):
        fit(plain_trainer([Better(), checkpoint]))
    assert [path.name for path in checkpoint.best] == ["model.epoch-4.chain"]
    assert {path.name for path in Path().iterdir()} == {"model.chain", "model.epoch-4.chain"}


def test_a_folder_that_vanishes_costs_no_training() -> None:
    class Vanish(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            if row["epoch"] == 2:
                os.rename("runs", "elsewhere")
            return False

    checkpoint = ModelCheckpoint("runs/model.chain", keep=1)
    with pytest.warns(UserWarning, match="epoch 2: .* was not saved: the folder .*runs does not exist") as found:
        assert_same(fit(trainer([checkpoint, Vanish()])), fit(trainer()))
    assert (len(found), checkpoint.best) == (1, [])
    assert len(cr.Trainer.load("elsewhere/model.chain").history) == 1


def test_a_place_that_cannot_be_written_is_an_error_before_the_first_epoch() -> None:
    Path("file").write_text("text")
    for path, message in (("file/model.chain", "cannot be written"), (".", "it is a folder")):
        attempt = plain_trainer([ModelCheckpoint(path)])
        with pytest.raises(ModelFileError, match=message):
            fit(attempt)
        assert len(attempt.history) == 0
    if os.name == "posix" and os.getuid():
        Path("locked").mkdir(mode=0o500)
        with pytest.raises(ModelFileError, match="permission denied"):
            fit(plain_trainer([ModelCheckpoint("locked/model.chain")]))


def test_two_trainings_that_write_one_file_are_told_apart() -> None:
    class TrainAnother(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            if row["epoch"] == 2:
                other = plain_trainer([ModelCheckpoint("model.chain")], seed=5)
                fit(other, epochs=4)
            return False

    first = plain_trainer([ModelCheckpoint("model.chain"), TrainAnother()])
    with pytest.raises(ModelFileError, match="by another training since this one began.*fix: a file of its own"):
        fit(first)
    assert len(first.history) == 2
    assert len(cr.Trainer.load("model.chain").history) == 4


def test_a_state_that_no_file_can_hold_is_named() -> None:
    class Holds(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"thing": [object()]}

    with pytest.raises(ArgumentError, match=r"\['callbacks'\]\['Holds'\]\['thing'\]\[0\] is an object, which cannot"):
        fit(plain_trainer([Holds(), ModelCheckpoint("model.chain")]))


def test_what_killed_writers_left_is_removed() -> None:
    Path(".model.chain.0123abcd.tmp").write_bytes(b"part")
    Path(".model.epoch-7.chain.0123abcd.tmp").write_bytes(b"part")
    others = {".model.chain.notes.tmp", ".model2.chain.0123abcd.tmp"}
    for name in others:
        Path(name).write_bytes(b"not ours")
    fit(plain_trainer([ModelCheckpoint("model.chain")]), epochs=1)
    assert {path.name for path in Path().iterdir()} == {"model.chain", *others}


def test_errors_of_data_come_before_those_of_checkpoints() -> None:
    with pytest.raises(DataError):
        plain_trainer([ModelCheckpoint("model.chain")]).fit(X, Y[:9], resume_from="model.chain")
