"""One `Trainer`, several fits: what was captured before is used again where nothing has changed, and only there."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.training.callbacks import Callback
from tests.training.test_trainer import Array, classes, network, regression, weights


class Scaled(nn.Module):
    """A user's module, whose ``forward`` reads what Python may change at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.factor = 1.0

    def forward(self, x: Any) -> Any:
        return self.inner(x) * self.factor


def freeze(trainer: cr.Trainer) -> None:
    trainer.model[0].weight.requires_grad_(False)


def drop_more(trainer: cr.Trainer) -> None:
    trainer.model[2].p = 0.75


def replace_layer(trainer: cr.Trainer) -> None:
    cr.manual_seed(7)
    trainer.model[1] = nn.ReLU()


def decay(trainer: cr.Trainer) -> None:
    trainer.optimizer.param_groups[0]["weight_decay"] = 0.5


def change_rate(trainer: cr.Trainer) -> None:
    trainer.optimizer.param_groups[0]["lr"] = 0.1


def restore_optimizer(trainer: cr.Trainer) -> None:
    trainer.optimizer.load_state_dict(cr.optim.Adam(trainer.model.parameters(), lr=0.03).state_dict())


def replace_optimizer(trainer: cr.Trainer) -> None:
    trainer.optimizer = cr.optim.SGD(trainer.model.parameters(), lr=0.1)


def forget_state(trainer: cr.Trainer) -> None:
    trainer.optimizer.state.clear()


def load_weights(trainer: cr.Trainer) -> None:
    trainer.model.load_state_dict({name: value * 0.5 for name, value in trainer.model.state_dict().items()})


def smooth(trainer: cr.Trainer) -> None:
    trainer.objective.loss.label_smoothing = 0.3


def hook(trainer: cr.Trainer) -> None:
    trainer.model[4].register_forward_hook(lambda module, inputs, output: output * 0.5)


def scale(trainer: cr.Trainer) -> None:
    trainer.model[4].factor = 0.25


def make_double(trainer: cr.Trainer) -> None:
    trainer.model.double()


def nothing(trainer: cr.Trainer) -> None:
    pass


CHANGES = [
    freeze, drop_more, replace_layer, decay, change_rate, restore_optimizer, replace_optimizer, forget_state,
    load_weights, smooth, hook, scale, make_double, nothing,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_fits_is_seen(change: Any) -> None:
    """Against a trainer that captures every step anew."""
    X, y = classes()

    def trained(captures_anew: bool) -> list[Array]:
        cr.manual_seed(1)
        last = Scaled() if change is scale else nn.Linear(3, 3)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3), last)
        trainer = cr.Trainer(model, "cross_entropy", cr.optim.Adam(model.parameters(), lr=0.02), seed=0)
        trainer.fit(X, y, epochs=2, batch_size=50, verbose=0)
        change(trainer)
        if captures_anew:
            trainer._training._unused.clear()
        dtype = np.float64 if change is make_double else np.float32
        trainer.fit(X.astype(dtype), y, epochs=2, batch_size=50, verbose=0)
        return weights(model)

    for ours, expected in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("change", [freeze, drop_more, decay, hook])
def test_a_callback_may_change_the_model_between_epochs(change: Any) -> None:
    X, y = classes()

    class Change(Callback):
        def on_epoch_end(self, trainer: cr.Trainer, row: dict[str, float]) -> bool:
            if row["epoch"] == 1:
                change(trainer)
                self.weights = weights(trainer.model)
            return False

    def trained(changes: bool) -> list[Array]:
        cr.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3), nn.Linear(3, 3))
        callbacks = [Change()] if changes else []
        cr.Trainer(model, "cross_entropy", callbacks=callbacks, seed=0).fit(X, y, epochs=2, batch_size=50, verbose=0)
        if changes and change is freeze:
            np.testing.assert_array_equal(weights(model)[0], callbacks[0].weights[0])
        return weights(model)

    assert any((ours != plain).any() for ours, plain in zip(trained(True), trained(False), strict=True))


def test_fits_on_other_data_equal_those_of_new_trainers() -> None:
    def trained(is_new: bool) -> list[Array]:
        cr.manual_seed(2)
        model = network()
        optimizer = cr.optim.SGD(model.parameters(), lr=0.05)
        trainer = cr.Trainer(model, optimizer=optimizer, seed=0)
        for rows, dtype, shuffle in ((50, "f4", True), (50, "f4", False), (40, "f4", False), (50, "f4", False)):
            X, y = regression(rows)
            X = X + len(weights(model)) * 0.1 * rows
            X = X / np.abs(X).max()
            if is_new:
                trainer = cr.Trainer(model, optimizer=optimizer, seed=0)
            trainer.fit(X.astype(dtype), y, epochs=2, batch_size=16, shuffle=shuffle, verbose=0, validation_split=0.2)
            assert trainer.evaluate(X, y)["loss"] == cr.Trainer(model).evaluate(X, y)["loss"]
        return weights(model)

    for ours, expected in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_fit_within_fit() -> None:
    X, y = regression()

    class Inner(Callback):
        def on_epoch_end(self, trainer: cr.Trainer, row: dict[str, float]) -> bool:
            trainer.callbacks = []  # only once
            trainer.fit(X[:60] * 2, y[:60], epochs=1, verbose=0)
            trainer.fit(X, y, epochs=1, verbose=0)
            return False

    model = network()
    trainer = cr.Trainer(model, callbacks=[Inner()], seed=0)
    trainer.fit(X, y, epochs=3, verbose=0)
    assert all(np.isfinite(values).all() for values in weights(model))


def test_a_trainer_keeps_no_data_alive() -> None:
    X, y = regression()
    X = X.astype(np.float32)
    trainer = cr.Trainer(network())
    trainer.fit(X, y, epochs=1, verbose=0)
    trainer.evaluate(X, y)
    alive = weakref.ref(X)
    del X
    assert alive() is None


def test_without_a_seed_the_global_one_decides_the_order() -> None:
    X, y = regression()

    def trained(seed: int) -> list[Array]:
        model = network()
        cr.manual_seed(seed)
        cr.Trainer(model).fit(X, y, epochs=1, verbose=0)
        return weights(model)

    np.testing.assert_array_equal(trained(5)[0], trained(5)[0])
    assert (trained(5)[0] != trained(6)[0]).any()
