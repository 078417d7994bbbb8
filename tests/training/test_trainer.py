"""`Trainer`: what it trains is what PyTorch-shaped Python would, and nothing is lost when it ends early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DataError, NonFiniteError, ShapeError, TargetError
from chainrule.training.callbacks import Callback, EarlyStopping

Array = np.ndarray[Any, Any]


def network(inputs: int = 4, outputs: int = 1, dropout: float = 0.0) -> nn.Sequential:
    cr.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, outputs))


def regression(rows: int = 103) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 4))
    return X, np.sin(X[:, 0]) + 0.5 * X[:, 1]


def classes(rows: int = 120, count: int = 3) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    y = random.integers(0, count, rows)
    return random.normal(size=(rows, 4)) + 2 * np.eye(count, 4)[y], y


def weights(model: nn.Module) -> list[Array]:
    return [parameter.detach().numpy().copy() for parameter in model.parameters()]


def test_an_epoch_without_shuffling_equals_the_same_steps_in_python() -> None:
    X, y = regression()
    trained, by_hand = network(), network()
    trainer = cr.Trainer(trained, loss="mse", optimizer=lambda p: cr.optim.SGD(p, lr=0.1, momentum=0.9))
    history = trainer.fit(X, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    optimizer = cr.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    inputs, targets = cr.tensor(X, dtype=cr.float32), cr.tensor(y, dtype=cr.float32).reshape(-1, 1)
    total = 0.0
    for epoch in range(2):
        for start in range(0, len(X), 16):
            batch = targets[start : start + 16]
            loss = nn.functional.mse_loss(by_hand(inputs[start : start + 16]), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch) if epoch == 1 else 0.0
    for ours, expected in zip(weights(trained), weights(by_hand), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=1e-6)
    assert history["loss"][1] == pytest.approx(total / len(X), rel=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_seed_gives_the_same_bits_twice_and_for_any_number_of_threads(threads: int) -> None:
    X, y = classes()

    def run() -> list[Array]:
        model = network(outputs=3, dropout=0.3)
        cr.Trainer(model, loss="cross_entropy", seed=7).fit(X, y, epochs=3, batch_size=32, verbose=0)
        return weights(model)

    before = cr.get_num_threads()
    expected = run()
    cr.set_num_threads(threads)
    try:
        for ours, first in zip(run(), expected, strict=True):
            np.testing.assert_array_equal(ours, first)
    finally:
        cr.set_num_threads(before)


@pytest.mark.parametrize("seed", [7, None])
def test_two_fits_do_what_one_of_as_many_epochs_does(seed: int | None) -> None:
    X, y = classes()
    whole = network(outputs=3, dropout=0.3)  # makes the global state, which None goes on with, the same
    cr.Trainer(whole, loss="cross_entropy", seed=seed).fit(X, y, epochs=3, validation_split=0.2, verbose=0)
    parts = network(outputs=3, dropout=0.3)
    trainer = cr.Trainer(parts, loss="cross_entropy", seed=seed)
    for epochs in (1, 2):
        if seed is not None:
            cr.rand(3)  # what is drawn in between does not matter
        trainer.fit(X, y, epochs=epochs, validation_split=0.2, verbose=0)
    for ours, expected in zip(weights(parts), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_another_seed_gives_another_order() -> None:
    X, y = classes()
    models = [network(outputs=3) for _ in range(2)]
    for seed, model in enumerate(models):
        cr.Trainer(model, loss="cross_entropy", seed=seed).fit(X, y, epochs=1, verbose=0)
    assert any((a != b).any() for a, b in zip(weights(models[0]), weights(models[1]), strict=True))


def test_evaluate_and_predict_agree_with_numpy() -> None:
    X, y = classes()
    metrics = ("accuracy", "log_loss")
    trainer = cr.Trainer(network(outputs=3, dropout=0.5), loss="cross_entropy", metrics=metrics, seed=0)
    trainer.fit(X, y, epochs=5, verbose=0)
    output = trainer.predict(X).astype(float)
    log_probabilities = output - np.log(np.exp(output).sum(1, keepdims=True))
    expected = -log_probabilities[np.arange(len(y)), y].mean()
    figures = trainer.evaluate(X, y)
    assert figures["loss"] == pytest.approx(expected, rel=1e-5)
    assert figures["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert figures["accuracy"] == pytest.approx((output.argmax(1) == y).mean())
    for rows in (1, 2, 3, 17):
        np.testing.assert_allclose(trainer.predict(X[:rows]), output[:rows], rtol=1e-4, atol=1e-6)


def test_prediction_of_many_rows_is_put_together_in_order() -> None:
    X = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
    trainer = cr.Trainer(network())
    whole = trainer.predict(X)
    assert whole.shape == (2500, 1)
    np.testing.assert_allclose(whole[2040:2060], trainer.predict(X[2040:2060]), rtol=1e-4, atol=1e-6)


def test_validation_split_is_stratified_and_of_the_asked_size() -> None:
    X, y = classes(rows=100, count=2)
    sizes: list[tuple[int, int]] = []

    class Sizes(Callback):
        def on_epoch_end(self, trainer: cr.Trainer, row: dict[str, float]) -> bool:
            sizes.append((len(trainer.history), int(row["epoch"])))
            return False

    trainer = cr.Trainer(network(), loss="bce_with_logits", metrics=("accuracy",), callbacks=[Sizes()], seed=0)
    history = trainer.fit(X, y, epochs=2, validation_split=0.2, verbose=0)
    assert set(history.names) >= {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert sizes == [(1, 1), (2, 2)]


def test_early_stopping_goes_back_to_the_best_weights() -> None:
    X, y = regression(40)
    saved: dict[int, list[Array]] = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer: cr.Trainer, row: dict[str, float]) -> bool:
            saved[int(row["epoch"])] = weights(trainer.model)
            return False

    stopping = EarlyStopping(patience=3)
    model = network()
    optimizer = lambda p: cr.optim.SGD(p, lr=1.2)
    trainer = cr.Trainer(model, optimizer=optimizer, callbacks=[Keep(), stopping], seed=0)
    history = trainer.fit(X, y, epochs=60, validation_data=regression(30), verbose=0)
    best = 1 + int(np.nanargmin(history["val_loss"]))
    assert stopping.best_epoch == best and len(history) == best + 3 < 60
    for ours, expected in zip(weights(model), saved[best], strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_ctrl_c_ends_training_and_keeps_the_best() -> None:
    X, y = regression()

    class Interrupt(Callback):
        def on_epoch_end(self, trainer: cr.Trainer, row: dict[str, float]) -> bool:
            if row["epoch"] == 2:
                raise KeyboardInterrupt
            return False

    stopping = EarlyStopping()
    history = cr.Trainer(network(), callbacks=[stopping, Interrupt()], seed=0).fit(X, y, epochs=50, verbose=0)
    assert history.interrupted and len(history) == 2 and stopping.best_epoch == 2


def test_a_weight_of_zero_is_a_row_left_out_of_the_gradient() -> None:
    X, y = regression(64)
    y = y.copy()
    keep = np.arange(64) % 2 == 0
    models = []
    for spoil in (0.0, 1000.0):
        model = network()
        targets = np.where(keep, y, y + spoil)
        trainer = cr.Trainer(model, optimizer="sgd", seed=0)
        trainer.fit(X, targets, epochs=3, batch_size=8, sample_weight=keep.astype(float), verbose=0)
        models.append(weights(model))
    for a, b in zip(*models, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_balanced_class_weights_equal_the_weights_written_out() -> None:
    X, y = classes(rows=90, count=2)
    y = np.where(np.arange(90) < 70, 0, y)
    counts = np.bincount(y)
    by_name, by_number = network(), network()
    for model, weight in ((by_name, "balanced"), (by_number, {0: 45 / counts[0], 1: 45 / counts[1]})):
        cr.Trainer(model, loss="bce_with_logits", seed=0).fit(X, y, epochs=2, class_weight=weight, verbose=0)
    for a, b in zip(weights(by_name), weights(by_number), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_batch_may_be_larger_than_the_data_and_an_epoch_may_have_a_shorter_tail() -> None:
    X, y = regression(7)
    for size in (1, 3, 7, 100):
        assert len(cr.Trainer(network(), seed=0).fit(X, y, epochs=2, batch_size=size, verbose=0)) == 2


def test_saving_and_loading_keeps_predictions(tmp_path: Any) -> None:
    X, y = regression()
    trainer = cr.Trainer(network(), metrics=("r2",), seed=3)
    trainer.fit(X, y, epochs=3, verbose=0)
    trainer.save(tmp_path / "model.chain")
    loaded = cr.Trainer.load(tmp_path / "model.chain")
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
    assert loaded.history.epochs == trainer.history.epochs and loaded.evaluate(X, y) == trainer.evaluate(X, y)


@pytest.mark.parametrize(
    ("X", "y", "options", "error", "message"),
    [
        (np.ones((3, 4)), np.ones(4), {}, DataError, "different numbers of rows: 3 and 4"),
        (np.ones((0, 4)), np.ones(0), {}, DataError, "no rows"),
        (np.full((3, 4), np.nan), np.ones(3), {}, DataError, "NaN or infinity in 3 row"),
        (np.ones((3, 4)), np.array([1, np.inf, 2]), {}, DataError, "y contains NaN or infinity"),
        (np.array([["a", "b"]]), np.ones(1), {}, DataError, "expected numbers"),
        (np.ones((3, 4)), np.ones(3), {"epochs": 0}, ArgumentError, "at least 1"),
        (np.ones((3, 4)), np.ones(3), {"validation_split": 1.5}, ArgumentError, "between 0 and 1"),
        (np.ones((3, 4)), np.ones(3), {"sample_weight": np.ones(2)}, DataError, "one number per row"),
    ],
)
def test_bad_data_gets_one_clear_error(X: Array, y: Array, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cr.Trainer(network()).fit(X, y, verbose=0, **options)


def test_a_single_dimension_may_be_a_row_or_a_column() -> None:
    trainer = cr.Trainer(network())
    for row in (np.ones(4), np.ones(3), np.ones(4, np.int64), np.ones(3, np.int64), [1, 2, 3, 4], cr.ones(4)):
        with pytest.raises(DataError, match=r"X has shape \([34],\): .*X.reshape\(1, -1\) for a single row"):
            trainer.predict(row)
    assert trainer.predict(np.ones((1, 4))).shape == (1, 1)
    with pytest.raises(DataError, match=r"X has shape \(4,\)"):
        trainer.fit(np.ones(4), np.ones(4), verbose=0)
    table = cr.Trainer(nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 1)))
    assert table.predict([1, 4, 4]).shape == (3, 1)


def test_a_model_that_mixes_its_rows_cannot_predict() -> None:
    class Mean(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean(0)

    with pytest.raises(ShapeError, match="shape \\(4,\\) for 8 rows; its first dimension must be that of"):
        cr.Trainer(Mean(), optimizer=lambda parameters: None).predict(np.ones((6, 4)))


def test_fractions_are_no_classes() -> None:
    with pytest.raises(TargetError, match="class numbers"):
        cr.Trainer(network(outputs=3), loss="cross_entropy").fit(np.ones((3, 4)), np.array([0.5, 1, 2]), verbose=0)


def test_a_network_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(cr.errors.ShapeError, match="cannot be multiplied"):
        cr.Trainer(network(inputs=5)).fit(*regression(), epochs=1, verbose=0)
    with pytest.raises(cr.errors.ShapeError, match="make the last layer give 1 value"):
        cr.Trainer(network(outputs=2)).fit(*regression(), epochs=1, verbose=0)


def test_a_loss_that_explodes_stops_training() -> None:
    X, y = regression()
    trainer = cr.Trainer(network(), optimizer=lambda p: cr.optim.SGD(p, lr=1e12), seed=0)
    with pytest.raises(NonFiniteError, match="smaller learning rate"):
        trainer.fit(X * 1e6, y * 1e6, epochs=20, verbose=0)


@pytest.mark.parametrize(("name", "hint"), [("loss", "mse"), ("optimizer", "adagrad"), ("metrics", "accuracy")])
def test_unknown_names_get_a_suggestion(name: str, hint: str) -> None:
    wrong: Any = hint[:-1] + "x"
    with pytest.raises(ArgumentError, match=f"did you mean '{hint}'"):
        cr.Trainer(network(), **{name: [wrong] if name == "metrics" else wrong})


def test_large_values_are_neither_refused_nor_warned_about(recwarn: pytest.WarningsRecorder) -> None:
    X = np.full((8, 4), 3e38, np.float32)
    assert np.isfinite(cr.Trainer(network()).predict(X / 1e38)).all()
    assert cr.training.arrays.check_features(X) is X and len(recwarn) == 0
    X[5, 2] = np.inf
    with pytest.raises(DataError, match="first in row 5"):
        cr.Trainer(network()).predict(X)


def test_training_leaves_the_callers_arrays_as_they_are() -> None:
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    y = X.sum(1)
    before = X.copy(), y.copy()
    cr.Trainer(network(), seed=0).fit(X, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_a_last_batch_of_one_row_joins_the_one_before_if_batches_are_normalised() -> None:
    X = np.random.default_rng(0).normal(size=(21, 3))
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    trainer = cr.Trainer(model, seed=0)
    trainer.fit(X, X[:, :1], epochs=3, batch_size=10, verbose=0)
    assert model[1].num_batches_tracked.item() == 6
    with pytest.raises(cr.errors.ShapeError, match="Expected more than 1 value per channel"):
        trainer.fit(X, X[:, :1], epochs=1, batch_size=1, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": lambda x: x}, "model must be an nn.Module, got function"),
        ({"loss": nn.HuberLoss}, r"got the class. fix: HuberLoss\(\)"),
        ({"optimizer": cr.optim.SGD(network().parameters(), lr=0.1)}, r"none of .* fix: SGD\(model.parameters\(\), "),
    ],
)
def test_what_cannot_be_trained_with_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        cr.Trainer(**{"model": network(), **options})


def test_shapes_of_losses_and_rows_are_explained() -> None:
    X, y = regression()
    with pytest.raises(ShapeError, match=r"must be one number, got shape \(32, 1\). fix: take its mean\(\)"):
        cr.Trainer(network(), loss=lambda output, target: (output - target) ** 2).fit(X, y, epochs=1, verbose=0)
    trainer = cr.Trainer(network())
    with pytest.raises(DataError, match=r"expected rows and columns. fix: X.reshape\(1, -1\) for a single row"):
        trainer.predict(X[0, :3])
    with pytest.raises(ShapeError, match=r"rows of shape \(2,\)"):
        trainer.predict(X[:, :2])
    with pytest.raises(ArgumentError, match="epochs must be a whole number of at least 1, got 1.5"):
        trainer.fit(X, y, epochs=1.5)
