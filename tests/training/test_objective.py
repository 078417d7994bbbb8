"""What `Trainer` minimises: losses by name, weights of rows, regularisers, and targets that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DataError, IndexOutOfRangeError, ModelFileError, TargetError
from chainrule.nn import regularizers
from chainrule.training.names import LOSSES
from chainrule.training.weights import class_weights

Array = np.ndarray[Any, Any]


def data(rows: int = 37) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 4))
    return X, np.sin(X[:, :1]) + 0.5 * X[:, 1:2]


def network(outputs: int = 1) -> nn.Sequential:
    cr.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6, dtype="float64"), nn.Tanh(), nn.Linear(6, outputs, dtype="float64"))


def sgd(parameters: Any) -> Any:
    return cr.optim.SGD(parameters, lr=0.1)


def arrays(model: nn.Module) -> list[Array]:
    return [parameter.detach().numpy().copy() for parameter in model.parameters()]


def assert_equal(ours: nn.Module, expected: nn.Module) -> None:
    for a, b in zip(arrays(ours), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


# Losses by name -------------------------------------------------------------------------------------------------------

TARGETS: dict[str, Array] = {
    "values": np.linspace(0.1, 2, 24).reshape(24, 1),
    "probabilities": (np.arange(24) % 3 == 0).astype(float),
    "signs": np.where(np.arange(24) % 3 == 0, 1, -1),
    "classes": np.arange(24) % 3,
    "label_lists": np.array([[0, -1, -1], [2, 1, -1], [-1, 0, 1]] * 8),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_by_its_name_and_weights_of_1_change_nothing(name: str) -> None:
    loss = LOSSES[name]()
    outputs = 3 if loss.targets in ("classes", "label_lists") or name == "kl_div" else 1
    y = np.full((24, 3), 1 / 3) if name == "kl_div" else TARGETS[loss.targets]
    X = np.random.default_rng(1).normal(size=(24, 4))
    last = {"bce": [nn.Sigmoid()], "nll": [nn.LogSoftmax(1)], "kl_div": [nn.LogSoftmax(1)]}.get(name, [])
    models = []
    for weight in (None, np.ones(24)):
        model = nn.Sequential(*network(outputs), *last)
        trainer = cr.Trainer(model, loss=name, optimizer=sgd, seed=0)
        history = trainer.fit(X, y, epochs=3, batch_size=8, sample_weight=weight, verbose=0)
        assert history["loss"][-1] < history["loss"][0]
        assert trainer.evaluate(X, y)["loss"] == pytest.approx(
            trainer.evaluate(X, y, sample_weight=np.full(24, 7.0))["loss"], rel=1e-10
        )
        models.append(model)
    assert_equal(*models)


def test_a_wrong_name() -> None:
    with pytest.raises(ArgumentError, match="unknown loss 'huberr' .did you mean 'huber'"):
        cr.Trainer(network(), loss="huberr")


def test_a_loss_that_is_summed_shows_its_mean_per_row() -> None:
    X, y = data()
    mean = cr.Trainer(network(), loss=nn.MSELoss()).evaluate(X, y)
    assert cr.Trainer(network(), loss=nn.MSELoss(reduction="sum")).evaluate(X, y) == pytest.approx(mean)


def test_accuracy_of_signs_and_of_many_labels() -> None:
    X = np.random.default_rng(2).normal(size=(50, 4))
    signs = np.where(X[:, 0] > 0, 1, -1)
    trainer = cr.Trainer(network(), loss="hinge", optimizer=sgd, metrics=("accuracy", "auc"), seed=0)
    trainer.fit(X, signs, epochs=20, validation_split=0.2, verbose=0)
    figures, output = trainer.evaluate(X, signs), trainer.predict(X)[:, 0]
    assert figures["accuracy"] == pytest.approx((np.sign(output) == signs).mean())
    assert figures["auc"] > 0.9
    labels = np.stack([X[:, 0] > 0, X[:, 1] > 0], 1).astype(float)
    trainer = cr.Trainer(network(2), loss="bce_with_logits", optimizer=sgd, metrics=("accuracy",), seed=0)
    trainer.fit(X, labels, epochs=5, validation_split=0.2, verbose=0)
    expected = ((trainer.predict(X) > 0) == labels).mean()
    assert trainer.evaluate(X, labels)["accuracy"] == pytest.approx(expected)


def test_the_options_of_a_loss_are_saved_with_the_model(tmp_path: Any) -> None:
    X, y = data()
    trainer = cr.Trainer(network(), loss=nn.QuantileLoss(0.9))
    trainer.save(tmp_path / "model.chain")
    loaded = cr.Trainer.load(tmp_path / "model.chain")
    assert loaded.objective.loss.quantile == 0.9
    assert loaded.evaluate(X, y) == trainer.evaluate(X, y)
    for loss in (nn.functional.mse_loss, nn.BCELoss(weight=cr.ones(1))):
        cr.Trainer(network(), loss=loss).save(tmp_path / "model.chain")
        with pytest.raises(ModelFileError, match="trained with a loss that no file can hold"):
            cr.Trainer.load(tmp_path / "model.chain")


# Weights of rows ------------------------------------------------------------------------------------------------------


def test_weights_equal_the_weighted_mean_written_out() -> None:
    X, y = data()
    weight = np.random.default_rng(3).uniform(0, 2, len(X))
    weight[:8] = 0.0  # a whole batch
    trained, by_hand = network(), network()
    trainer = cr.Trainer(trained, loss="huber", optimizer=sgd)
    history = trainer.fit(X, y, epochs=2, batch_size=8, sample_weight=weight, shuffle=False, verbose=0)
    optimizer = sgd(by_hand.parameters())
    for _ in range(2):
        total = 0.0
        for start in range(0, len(X), 8):
            rows = slice(start, start + 8)
            w = cr.tensor(weight[rows])
            losses = nn.functional.huber_loss(by_hand(cr.tensor(X[rows])), cr.tensor(y[rows]), reduction="none")
            weighted = (losses[:, 0] * w).sum()
            optimizer.zero_grad()
            if w.sum().item():
                (weighted / w.sum()).backward()
                optimizer.step()
            total += weighted.item()
    assert_equal(trained, by_hand)
    assert history["loss"][-1] == pytest.approx(total / weight.sum())


def test_a_weight_of_2_is_a_row_given_twice() -> None:
    X, y = data()
    weight = np.arange(len(X)) % 3
    once, repeated = network(), network()
    twice = np.repeat(np.arange(len(X)), weight)
    size = 10**6
    first = cr.Trainer(once, optimizer=sgd).fit(X, y, epochs=3, batch_size=size, sample_weight=weight, verbose=0)
    second = cr.Trainer(repeated, optimizer=sgd).fit(X[twice], y[twice], epochs=3, batch_size=size, verbose=0)
    assert_equal(once, repeated)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-12)


def test_a_function_with_a_reduction_can_be_weighted() -> None:
    X, y = data()
    weight = np.arange(len(X)) + 1.0
    function, module = network(), network()
    for model, loss in ((function, nn.functional.mse_loss), (module, "mse")):
        cr.Trainer(model, loss=loss, optimizer=sgd, seed=0).fit(X, y, epochs=2, sample_weight=weight, verbose=0)
    assert_equal(function, module)
    trainer = cr.Trainer(network(), loss=lambda output, target: (output - target).abs().mean())
    with pytest.raises(ArgumentError, match="weights of rows need a loss that can be had row by row"):
        trainer.fit(X, y, sample_weight=weight, verbose=0)


def test_validation_with_weights() -> None:
    X, y = data()
    weight = np.random.default_rng(4).uniform(0, 1, 37)
    trainer = cr.Trainer(network(), optimizer=sgd, seed=0)
    history = trainer.fit(X, y, epochs=1, validation_data=(X, y, weight), verbose=0)
    expected = trainer.evaluate(X, y, sample_weight=weight)["loss"]
    assert history["val_loss"] == [expected]
    assert expected == pytest.approx((weight * ((trainer.predict(X) - y) ** 2)[:, 0]).sum() / weight.sum())
    history = trainer.fit(X, y, epochs=1, validation_split=0.3, sample_weight=weight, verbose=0)
    assert np.isfinite(history["val_loss"][0])


def test_class_weights_are_scikit_learns() -> None:
    utilities = pytest.importorskip("sklearn.utils.class_weight")
    y = np.array([0, 0, 0, 2, 2, 5])
    for weight in ("balanced", {0: 0.5, 5: 3.0}):
        np.testing.assert_allclose(class_weights(y, weight), utilities.compute_sample_weight(weight, y))


def test_class_weights_hold_in_training_only() -> None:
    X, _ = data(60)
    y = (np.arange(60) < 50).astype(int)
    table = {0: 5.0, 1: 0.5}
    by_class, by_row = network(2), network(2)
    for model, options in (
        (by_class, {"class_weight": table}),
        (by_row, {"sample_weight": np.where(y == 0, 5.0, 0.5)}),
    ):
        trainer = cr.Trainer(model, loss="cross_entropy", optimizer=sgd, seed=0)
        history = trainer.fit(X, y, epochs=2, validation_data=(X, y), verbose=0, **options)
        assert history["val_loss"][-1] == trainer.evaluate(X, y)["loss"]
    assert_equal(by_class, by_row)


ONES = np.ones(37)


@pytest.mark.parametrize(
    ("loss", "y", "options", "error", "message"),
    [
        ("mse", data()[1], {"sample_weight": ONES[:3]}, DataError, r"one number per row: 37, got shape \(3,\)"),
        ("mse", data()[1], {"sample_weight": -ONES}, DataError, "at least 0, got -1 in row 0"),
        ("mse", data()[1], {"sample_weight": ONES * np.nan}, DataError, "at least 0, got nan in row 0"),
        ("mse", data()[1], {"sample_weight": 0 * ONES}, DataError, "zero for every row"),
        ("mse", data()[1], {"validation_data": (data()[0], data()[1], -ONES)}, DataError, "validation sample_weight"),
        ("mse", data()[1], {"validation_data": (data()[0],)}, ArgumentError, r"sample_weight\), got 1 items"),
        ("mse", data()[1], {"class_weight": "balanced"}, TargetError, "needs class numbers, got fractions"),
        ("bce_with_logits", np.zeros((37, 2)), {"class_weight": {0: 1}}, TargetError, "one class per row"),
        ("bce_with_logits", np.zeros(37), {"class_weight": "balance"}, ArgumentError, "did you mean 'balanced'"),
        ("bce_with_logits", np.zeros(37), {"class_weight": {3: 1}}, ArgumentError, "names class 3, which no row has"),
        ("bce_with_logits", np.zeros(37), {"class_weight": {0: -1}}, ArgumentError, "got -1 for class 0"),
        ("bce_with_logits", np.zeros(37), {"class_weight": {0: 0}}, DataError, "class_weight is zero for every row"),
        ("cross_entropy", np.full(37, 3), {}, IndexOutOfRangeError, "label 3 in row 0, but the input has 2 classes"),
        ("cross_entropy", np.full(37, 0.5), {}, TargetError, "needs class numbers"),
        ("bce_with_logits", 3 * ONES, {}, TargetError, "elements of target should be between 0 and 1, got 3 in row 0"),
        ("hinge", 0 * ONES, {}, TargetError, r"HingeLoss needs targets -1 and 1, got 0(.*\n)*.*2 \* target - 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit(loss: str, y: Array, options: Any, error: type[Exception], message: str) -> None:
    outputs = 2 if loss == "cross_entropy" or y.shape[1:] == (2,) else 1
    with pytest.raises(error, match=message):
        cr.Trainer(network(outputs), loss=loss).fit(data()[0], y, epochs=1, verbose=0, **options)


def test_targets_are_checked_in_every_fit() -> None:
    """The second fit runs the steps that the first one has captured."""
    X, _ = data()
    y = np.arange(37) % 3
    trainer = cr.Trainer(network(3), loss="cross_entropy")
    trainer.fit(X, y, epochs=1, verbose=0)
    y[30] = -2
    with pytest.raises(IndexOutOfRangeError, match="label -2 in row 30"):
        trainer.fit(X, y, epochs=1, verbose=0)
    with pytest.raises(IndexOutOfRangeError, match="label 4 in row 36"):
        trainer.evaluate(X, np.append(y[:30] * 0, [0] * 6 + [4]))


# Regularisers ---------------------------------------------------------------------------------------------------------


def test_a_trainer_with_regularizers_equals_the_same_steps_in_python() -> None:
    X, y = data()
    trained, by_hand = network(), network()

    def made(model: nn.Sequential) -> list[Any]:
        return [
            regularizers.ElasticNet(0.01, 0.02),
            regularizers.MaxNorm(0.9),
            regularizers.ActivityRegularization(model[1], l2=0.1),
        ]

    trainer = cr.Trainer(trained, optimizer=sgd, regularizers=made(trained))
    history = trainer.fit(X, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    optimizer, parts = sgd(by_hand.parameters()), made(by_hand)
    for _ in range(2):
        total = 0.0
        for start in range(0, len(X), 8):
            rows = slice(start, start + 8)
            output = by_hand(cr.tensor(X[rows]))
            loss = nn.functional.mse_loss(output, cr.tensor(y[rows]))
            penalties = [penalty for part in parts if (penalty := part.penalty(by_hand, output)) is not None]
            optimizer.zero_grad()
            sum(penalties, loss).backward()
            optimizer.step()
            for part in parts:
                part.constrain(by_hand)
            total += loss.item() * len(X[rows])
    assert_equal(trained, by_hand)
    assert history["loss"][-1] == pytest.approx(total / len(X))


def test_noise_in_gradients_follows_the_seed() -> None:
    X, y = data()
    found = []
    for eta in (0.1, 0.1, 0.0):
        model = network()
        noise = regularizers.GradientNoise(eta)
        cr.Trainer(model, optimizer=sgd, regularizers=[noise], seed=5).fit(X, y, epochs=2, batch_size=8, verbose=0)
        assert noise.steps == 10
        found.append(arrays(model)[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 0.01


def test_another_strength_is_another_program() -> None:
    X, y = data()
    model = network()
    penalty = regularizers.L2(0.0)
    trainer = cr.Trainer(model, optimizer=sgd, regularizers=[penalty], seed=0)
    start = arrays(model)
    found = []
    for strength in (0.0, 1.0, 0.0):
        for parameter, value in zip(model.parameters(), start, strict=True):
            with cr.no_grad():
                parameter.copy_(cr.tensor(value))
        penalty.l2 = strength
        trainer.fit(X, y, epochs=5, shuffle=False, verbose=0)
        found.append(np.linalg.norm(arrays(model)[0]))
    assert found[0] == found[2] and found[1] < 0.5 * found[0]


def test_the_entropy_of_predictions_falls_and_rises() -> None:
    X, _ = data()
    y = np.arange(37) % 3
    entropies = []
    for parts in ([regularizers.EntropyMinimization(1.0)], [], [regularizers.ConfidencePenalty(1.0)]):
        trainer = cr.Trainer(network(3), loss="cross_entropy", optimizer=sgd, regularizers=parts, seed=0)
        trainer.fit(X, y, epochs=30, verbose=0)
        entropies.append(regularizers.prediction_entropy(cr.tensor(trainer.predict(X))).item())
    assert entropies[0] < entropies[1] < entropies[2]


def test_what_is_no_regularizer() -> None:
    with pytest.raises(ArgumentError, match="0.01 is no regularizer. fix: e.g. nn.regularizers.L2"):
        cr.Trainer(network(), regularizers=[0.01])


def test_classes_may_lie_in_further_dimensions() -> None:
    """A class for every step of every row, as PyTorch has them: outputs (N, C, T) and targets (N, T)."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    X, y = random.normal(size=(40, 3, 5)).astype(np.float32), random.integers(0, 4, (40, 5))
    model = nn.Conv1d(3, 4, 1)
    peer = torch.nn.Conv1d(3, 4, 1)
    peer.load_state_dict({name: torch.tensor(value.numpy()) for name, value in model.state_dict().items()})
    trainer = cr.Trainer(model, "cross_entropy", lambda p: cr.optim.SGD(p, lr=0.5), metrics=["accuracy"], seed=0)
    trainer.fit(X[:30], y[:30], epochs=3, batch_size=30, validation_data=(X[30:], y[30:]), verbose=0)
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(peer(torch.tensor(X[:30])), torch.tensor(y[:30])).backward()
        optimizer.step()
    outputs = peer(torch.tensor(X[30:])).detach()
    loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(y[30:])).item()
    figures = trainer.evaluate(X[30:], y[30:])
    assert figures["loss"] == pytest.approx(loss, rel=1e-5)
    assert figures["accuracy"] == pytest.approx((outputs.argmax(1).numpy() == y[30:]).mean(), rel=1e-6)
    assert trainer.fit(X, y, epochs=1, validation_split=0.25, verbose=0)["val_loss"]
    with pytest.raises(IndexOutOfRangeError, match="label 4"):
        trainer.evaluate(X, y + 1)


def test_whole_numbers_of_the_outputs_shape_are_probabilities() -> None:
    random = np.random.default_rng(0)
    X, labels = random.normal(size=(30, 3)).astype(np.float32), random.integers(0, 4, 30)
    trainer = cr.Trainer(nn.Linear(3, 4), "cross_entropy", metrics=["accuracy"])
    of_labels, of_rows = (trainer.evaluate(X, y) for y in (labels, np.eye(4, dtype=np.int64)[labels]))
    assert of_rows == pytest.approx(of_labels, rel=1e-6)
