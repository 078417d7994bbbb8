"""Gradient accumulation, against the one large batch that it stands for, and the loop that PyTorch's users write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import DataLoader, IterableDataset, StreamedTable, TensorDataset
from chainrule.errors import ArgumentError, ModelFileError
from chainrule.nn import regularizers
from chainrule.optim import lr_scheduler
from chainrule.training import EMA, Callback, LossPlateau, LRSchedule, ModelCheckpoint

Array = np.ndarray[Any, Any]
DIABETES = Path(__file__).parents[2] / "examples" / "data" / "diabetes.csv"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(110, 4))  # in groups of 3 batches of 8 the last has 14 rows, in two batches
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0.5)
VALUES = np.sin(X.sum(1))
WEIGHTS = np.where(np.arange(110) % 3 == 0, 0.0, RNG.uniform(0.1, 5, 110))


class Losses(Callback):
    """The loss that callbacks are given in the steps, added up."""

    def __init__(self) -> None:
        self.total = cr.training.steps.Counter(cr.float64)

    def after_update(self, trainer: Any, loss: Any) -> None:
        self.total.add(loss.detach())


def new_trainer(loss: Any, optimizer: Any = None, outputs: int = 3, regularizers: Any = None, **options: Any) -> Any:
    cr.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs)).double()
    made = () if regularizers is None else regularizers(model)
    optimizer = optimizer or (lambda p: optim.SGD(p, lr=0.1, momentum=0.9))
    return cr.Trainer(model, loss, optimizer, regularizers=made, seed=1, **options)


def penalties(model: Any) -> list[Any]:
    return [
        regularizers.L2(0.05),
        regularizers.ConfidencePenalty(0.1),
        regularizers.ActivityRegularization(model[1], l1=0.01),
        regularizers.MaxNorm(0.9),
    ]


def mean_square(output: Any, target: Any) -> Any:
    return ((output - target) ** 2).mean()


CLASS_WEIGHTS = cr.tensor([0.5, 2.0, 4.0], dtype=cr.float64)
CASES: dict[str, tuple[Callable[[], Any], Any, dict[str, Any]]] = {
    "mean": (lambda: new_trainer("mse", outputs=1), VALUES, {}),
    "a function": (lambda: new_trainer(mean_square, outputs=1), VALUES, {}),
    "sum": (
        lambda: new_trainer(nn.CrossEntropyLoss(reduction="sum"), lambda p: optim.SGD(p, lr=0.001), 3, penalties),
        Y,
        {},
    ),
    "adamw": (lambda: new_trainer("cross_entropy", "adamw"), Y, {}),
    "weights of rows": (lambda: new_trainer("cross_entropy"), Y, {"sample_weight": WEIGHTS}),
    "weights of classes": (lambda: new_trainer("cross_entropy"), Y, {"class_weight": {0: 1.0, 1: 5.0, 2: 0.1}}),
    "weights in the loss": (lambda: new_trainer(nn.CrossEntropyLoss(CLASS_WEIGHTS)), Y, {}),
    "ignored": (lambda: new_trainer(nn.CrossEntropyLoss(CLASS_WEIGHTS, ignore_index=2)), Y, {}),
    "soft targets": (lambda: new_trainer("cross_entropy"), np.eye(3)[Y], {}),
    "penalties": (lambda: new_trainer("cross_entropy", regularizers=penalties), Y, {}),
    "penalties and weights": (
        lambda: new_trainer("cross_entropy", regularizers=penalties),
        Y,
        {"sample_weight": WEIGHTS},
    ),
    "noise": (lambda: new_trainer("cross_entropy", regularizers=lambda m: [regularizers.GradientNoise(0.1)]), Y, {}),
    "clipping": (lambda: new_trainer("cross_entropy", clip_norm=0.3, clip_value=0.05), Y, {}),
    "schedule": (
        lambda: new_trainer(
            "cross_entropy", callbacks=[LRSchedule(lr_scheduler.OneCycleLR, max_lr=0.2, per="step"), EMA(0.9)]
        ),
        Y,
        {},
    ),
}


def assert_same_weights(one: Any, other: Any) -> None:
    for a, b in zip(one.copy_weights(), other.copy_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_group_of_batches_is_one_large_batch(name: str) -> None:
    make, targets, options = CASES[name]
    whole, grouped = make(), make()
    seen = [Losses(), Losses()]
    for trainer, losses in zip((whole, grouped), seen, strict=True):
        trainer.callbacks.append(losses)
    before = whole.fit(X, targets, epochs=3, batch_size=24, verbose=0, **options)
    after = grouped.fit(X, targets, epochs=3, batch_size=8, gradient_accumulation_steps=3, verbose=0, **options)
    assert_same_weights(grouped, whole)
    assert grouped.steps_per_epoch == whole.steps_per_epoch == 5
    assert seen[1].total.value == pytest.approx(seen[0].total.value, rel=1e-12)
    if name not in ("weights in the loss", "ignored"):  # there an epoch's figure weighs batches by their rows
        np.testing.assert_allclose(after["loss"], before["loss"], rtol=1e-12)


@pytest.mark.parametrize(("rows", "steps"), [(96, 4), (100, 5), (104, 5), (97, 5)])
def test_the_last_group_of_an_epoch_has_what_is_left(rows: int, steps: int) -> None:
    whole, grouped = new_trainer("mse", outputs=1), new_trainer("mse", outputs=1)
    whole.fit(X[:rows], VALUES[:rows], epochs=2, batch_size=24, verbose=0)
    grouped.fit(X[:rows], VALUES[:rows], epochs=2, batch_size=8, gradient_accumulation_steps=3, verbose=0)
    assert grouped.steps_per_epoch == steps
    assert_same_weights(grouped, whole)


def test_pytorchs_loop_gives_the_same() -> None:
    torch = pytest.importorskip("torch")
    trainer = new_trainer("cross_entropy", lambda p: optim.AdamW(p, lr=0.01), clip_norm=0.5)
    twin = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    twin.load_state_dict({name: torch.tensor(value.numpy()) for name, value in trainer.model.state_dict().items()})
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01)
    options = {"epochs": 3, "batch_size": 12, "shuffle": False, "verbose": 0}
    trainer.fit(X[:96], Y[:96], gradient_accumulation_steps=4, **options)
    for _ in range(3):
        for number, start in enumerate(range(0, 96, 12), 1):
            output = twin(torch.tensor(X[start : start + 12]))
            loss = torch.nn.functional.cross_entropy(output, torch.tensor(Y[start : start + 12]))
            (loss / 4).backward()
            if number % 4 == 0:
                torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
    for ours, theirs in zip(trainer.model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


class Stream(IterableDataset):
    """Batches one after another, of different sizes."""

    def __init__(self, sizes: list[int]) -> None:
        self.ends = np.cumsum(sizes)

    def __iter__(self) -> Any:
        for start, end in zip([0, *self.ends], self.ends, strict=False):
            yield cr.tensor(X[start:end]), cr.tensor(Y[start:end])

    def __len__(self) -> int:
        return len(self.ends)


def test_loaders_and_streams_are_accumulated_too() -> None:
    whole, loaded, streamed = (new_trainer("cross_entropy") for _ in range(3))
    options = {"epochs": 2, "verbose": 0}
    whole.fit(X, Y, batch_size=24, shuffle=False, **options)
    loaded.fit(DataLoader(TensorDataset(cr.tensor(X), cr.tensor(Y)), 8), gradient_accumulation_steps=3, **options)
    streamed.fit(DataLoader(Stream([5, 10, 9] * 4 + [14]), batch_size=None), gradient_accumulation_steps=3, **options)
    assert_same_weights(loaded, whole)
    assert_same_weights(streamed, whole)
    assert loaded.steps_per_epoch == streamed.steps_per_epoch == 5


def test_a_streamed_table_is_accumulated_too() -> None:
    table = StreamedTable(DIABETES, target="outcome", validation_fraction=0.2)
    weights, losses = [], []
    for size, batches in ((96, 1), (32, 3)):
        cr.manual_seed(0)
        trainer = cr.Trainer(nn.Linear(table.inputs, 1), "bce_with_logits", lambda p: optim.SGD(p, lr=0.1), seed=0)
        options = {"batch_size": size, "gradient_accumulation_steps": batches, "validation_data": table.validation}
        losses.append(trainer.fit(table.training, epochs=2, verbose=0, **options)["val_loss"])
        weights.append(np.concatenate([array.ravel() for array in trainer.copy_weights()]))
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-5, atol=1e-6)  # in float32
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


class OnlyWide(nn.Module):
    """Uses its second layer for batches of more than 4 rows alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.never = (nn.Linear(4, 3).double() for _ in range(3))

    def forward(self, x: Any) -> Any:
        return self.first(x) + self.second(x) if x.shape[0] > 4 else self.first(x)


def test_parameters_without_a_gradient_are_left_alone() -> None:
    def trained(sizes: list[int]) -> dict[str, Array]:
        cr.manual_seed(0)
        trainer = cr.Trainer(OnlyWide(), nn.CrossEntropyLoss(), lambda p: optim.AdamW(p, weight_decay=0.5), seed=0)
        loader = DataLoader(Stream(sizes), batch_size=None)
        trainer.fit(loader, epochs=1, verbose=0, gradient_accumulation_steps=2)
        return {name: value.detach().numpy() for name, value in trainer.model.named_parameters()}

    before = {name: np.array(value.detach().numpy()) for name, value in seeded().named_parameters()}
    narrow = trained([4, 4])
    np.testing.assert_array_equal(narrow["never.weight"], before["never.weight"])
    np.testing.assert_array_equal(narrow["second.weight"], before["second.weight"])
    assert not np.array_equal(narrow["first.weight"], before["first.weight"])
    mixed = trained([4, 4, 4, 10])
    np.testing.assert_array_equal(mixed["never.weight"], before["never.weight"])
    assert not np.array_equal(mixed["second.weight"], before["second.weight"])


def test_a_parameter_that_is_frozen_between_two_fits_stays_as_it_is() -> None:
    trainer = new_trainer("cross_entropy", lambda p: optim.AdamW(p, weight_decay=0.5))
    options = {"epochs": 2, "batch_size": 8, "gradient_accumulation_steps": 3, "verbose": 0}
    trainer.fit(X, Y, **options)
    trainer.model[0].requires_grad_(False)
    before = trainer.copy_weights()
    trainer.fit(X, Y, **options)
    changed = [not np.array_equal(a, b) for a, b in zip(trainer.copy_weights(), before, strict=True)]
    assert changed == [False, False, True, True]


def seeded() -> nn.Module:
    cr.manual_seed(0)
    return OnlyWide()


class LostError(Exception):
    pass


class Stop(Callback):
    """Ends everything in the middle of a group."""

    def on_rows(self, trainer: Any, rows: int) -> None:
        if self.left is not None:
            self.left -= rows
            if self.left <= 0:
                self.left = None
                raise KeyboardInterrupt

    left: int | None = None


def test_what_an_interrupted_group_has_added_is_forgotten() -> None:
    once, twice = new_trainer("cross_entropy", callbacks=[Stop()]), new_trainer("cross_entropy")
    options = {"batch_size": 8, "gradient_accumulation_steps": 100, "shuffle": False, "verbose": 0}
    once.callbacks[0].left = 8
    before = once.copy_weights()
    assert once.fit(X, Y, epochs=1, **options).interrupted
    for now, then in zip(once.copy_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    once.fit(X, Y, epochs=1, **options)
    twice.fit(X, Y, epochs=1, **options)
    assert_same_weights(once, twice)


def test_a_fit_may_accumulate_and_the_next_not() -> None:
    one, other = new_trainer("cross_entropy"), new_trainer("cross_entropy")
    for size, batches in ((8, 3), (24, 1), (12, 2), (8, 3)):
        one.fit(X, Y, epochs=1, batch_size=size, gradient_accumulation_steps=batches, verbose=0)
        other.fit(X, Y, epochs=1, batch_size=24, verbose=0)
    one.fit(X, Y, epochs=1, batch_size=8, verbose=0)
    other.fit(X, Y, epochs=1, batch_size=8, verbose=0)
    assert_same_weights(one, other)


def test_a_training_is_resumed_exactly(tmp_path: Any) -> None:
    path = tmp_path / "model.chain"
    options = {"batch_size": 8, "gradient_accumulation_steps": 3, "verbose": 0}

    def make(*callbacks: Any) -> Any:
        schedule = LRSchedule(lr_scheduler.OneCycleLR, max_lr=0.2, per="step")
        return new_trainer("cross_entropy", "adam", callbacks=[schedule, *callbacks, ModelCheckpoint(path)])

    class Die(Stop):
        def on_rows(self, trainer: Any, rows: int) -> None:
            if len(trainer.history) == 2:
                raise LostError

    whole = make()
    whole.fit(X, Y, epochs=4, **options)
    path.unlink()
    with pytest.raises(LostError):  # in the middle of the first group of the third epoch
        make(Die()).fit(X, Y, epochs=4, **options)
    resumed = make()
    resumed.fit(X, Y, epochs=4, resume_from=path, **options)
    for a, b in zip(resumed.copy_weights(), whole.copy_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ModelFileError, match="gradient_accumulation_steps was 3 then, and is 2 now"):
        make().fit(X, Y, epochs=4, resume_from=path, **{**options, "gradient_accumulation_steps": 2})


def test_the_running_loss_is_that_of_the_large_batches() -> None:
    values = []
    for size, batches in ((24, 1), (8, 3)):
        plateau = LossPlateau(0.0, patience=100)
        trainer = new_trainer("mse", outputs=1, callbacks=[plateau])
        trainer.fit(X, VALUES, epochs=3, batch_size=size, gradient_accumulation_steps=batches, verbose=0)
        values.append(plateau.values)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", True, None])
def test_bad_numbers_are_refused(number: Any) -> None:
    with pytest.raises(ArgumentError, match="gradient_accumulation_steps must be a whole number of at least 1, got"):
        new_trainer("cross_entropy").fit(X, Y, gradient_accumulation_steps=number)
