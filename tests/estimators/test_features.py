"""What goes beyond scikit-learn's perceptrons, each against something independent."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

pytest.importorskip("sklearn")
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_moons(160, noise=0.2, random_state=0)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (6,), "batch_size": 40, "max_iter": 5, "random_state": 0}


def by_hand(
    network: Any,
    loss: Any,
    optimizer: Any,
    data: np.ndarray,
    target: np.ndarray,
    order: np.random.RandomState,
) -> None:
    """The training as a plain loop over tensors: the same start and order of rows as an estimator's."""
    rows = np.arange(len(data))
    for _ in range(SMALL["max_iter"]):
        indices = np.arange(len(data))
        order.shuffle(indices)
        rows = rows[indices]
        for start in range(0, len(data), 40):
            batch = rows[start : start + 40]
            optimizer.zero_grad()
            output = network(cr.tensor(data[batch]))
            squares = sum((p * p).sum() for p in network.parameters() if p.dim() > 1)
            (loss(output, cr.tensor(target[batch])) + squares * (0.5e-4 / len(batch))).backward()
            optimizer.step()


def start_of(network: Any, sizes: tuple[int, ...]) -> np.random.RandomState:
    """Give the linear layers of a network the weights with which an estimator starts; the random state goes on."""
    random = np.random.RandomState(0)
    layers = [part for part in network.modules() if isinstance(part, nn.Linear)]
    for layer, inputs, outputs in zip(layers, sizes[:-1], sizes[1:], strict=True):
        bound = np.sqrt(6 / (inputs + outputs))
        layer.weight.detach()._array()[...] = random.uniform(-bound, bound, (inputs, outputs)).T
        layer.bias.detach()._array()[...] = random.uniform(-bound, bound, outputs)
    return random


@pytest.mark.parametrize(
    ("options", "parts", "rule"),
    [
        ({"activation": "gelu"}, [nn.GELU()], optim.Adam),
        ({"activation": nn.LeakyReLU(0.3), "solver": "rmsprop"}, [nn.LeakyReLU(0.3)], partial(optim.RMSprop, lr=0.001)),
        ({"activation": nn.ELU, "solver": "adamw", "alpha": 1e-4}, [nn.ELU()], partial(optim.AdamW, lr=0.001)),
        ({"batch_norm": True, "solver": optim.Adagrad}, [nn.BatchNorm1d(6), nn.ReLU()], optim.Adagrad),
    ],
    ids=["gelu", "rmsprop", "adamw", "batch_norm"],
)  # fmt: skip
def test_layers_and_optimisers_of_chainrule(options: dict[str, Any], parts: list[Any], rule: Any) -> None:
    model = cr.MLPClassifier(**SMALL | options).fit(X, y)
    network = nn.Sequential(nn.Linear(2, 6), *parts, nn.Linear(6, 1)).double()
    order = start_of(network, (2, 6, 1))
    by_hand(network, nn.BCEWithLogitsLoss(), rule(network.parameters()), X, y[:, None].astype(float), order)
    expected = network.eval()(cr.tensor(X)).sigmoid().detach().numpy()
    np.testing.assert_allclose(model.predict_proba(X)[:, 1:], expected, rtol=1e-4)  # of ε in Adam


@pytest.mark.parametrize(
    ("loss", "module"),
    [
        ("huber", nn.HuberLoss()),
        ("absolute_error", nn.L1Loss()),
        ("quantile", nn.QuantileLoss()),
        (nn.QuantileLoss(0.9), nn.QuantileLoss(0.9)),
        ("epsilon_insensitive", nn.EpsilonInsensitiveLoss()),
    ],
    ids=str,
)
def test_losses_of_chainrule(loss: Any, module: Any) -> None:
    target = X[:, 0] * 2 + X[:, 1]
    model = cr.MLPRegressor(loss, **SMALL, solver="rmsprop").fit(X, target)
    network = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    order = start_of(network, (2, 6, 1))
    by_hand(network, module, optim.RMSprop(network.parameters(), lr=0.001), X, target[:, None], order)
    np.testing.assert_allclose(model.predict(X), network(cr.tensor(X)).detach().numpy()[:, 0], rtol=1e-9)
    assert model.out_activation_ == "identity"


def test_a_quantile_is_one() -> None:
    random = np.random.default_rng(0)
    noise = random.exponential(size=2000)
    model = cr.MLPRegressor(nn.QuantileLoss(0.9), (4,), max_iter=60, learning_rate_init=0.02, random_state=0)
    below = noise <= model.fit(np.zeros((2000, 1)), noise).predict(np.zeros((2000, 1)))
    assert np.mean(below) == pytest.approx(0.9, abs=0.01)


def test_dropout_is_off_in_prediction_and_repeats_with_the_random_state() -> None:
    options = {**SMALL, "dropout": 0.5, "max_iter": 30, "learning_rate_init": 0.05}
    state = cr.get_rng_state()
    first, second, other = (cr.MLPClassifier(**{**options, "random_state": seed}).fit(X, y) for seed in (1, 1, 2))
    assert cr.get_rng_state()["seed"] == state["seed"]
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    np.testing.assert_array_equal(first.predict_proba(X), first.predict_proba(X))
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])
    hidden = np.maximum(X @ first.coefs_[0] + first.intercepts_[0], 0)
    scores = hidden @ first.coefs_[1] + first.intercepts_[1]
    np.testing.assert_allclose(first.predict_proba(X)[:, 1:], 1 / (1 + np.exp(-scores)), rtol=1e-9)
    plain = cr.MLPClassifier(**{**options, "dropout": 0.0, "random_state": 1}).fit(X, y)
    assert plain.loss_ < first.loss_


def test_weights_of_classes_are_those_of_rows() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    labels = np.where(X[:, 0] > 1, "rare", "common")
    by_class = cr.MLPClassifier(**SMALL, class_weight="balanced").fit(X, labels)
    by_row = cr.MLPClassifier(**SMALL).fit(X, labels, sample_weight=compute_sample_weight("balanced", labels))
    np.testing.assert_array_equal(by_class.coefs_[0], by_row.coefs_[0])
    both = cr.MLPClassifier(**SMALL, class_weight={"rare": 2.0}).fit(X, labels, sample_weight=X[:, 1] ** 2)
    weights = X[:, 1] ** 2 * np.where(labels == "rare", 2, 1)
    np.testing.assert_array_equal(both.coefs_[0], cr.MLPClassifier(**SMALL).fit(X, labels, weights).coefs_[0])


def test_early_stopping_watches_given_data_and_scores() -> None:
    """The best epoch by the ROC area on given rows: a model trained for so many epochs has the same weights."""
    from sklearn.metrics import roc_auc_score

    held = make_moons(80, noise=0.3, random_state=1)
    options = {**SMALL, "max_iter": 40, "learning_rate_init": 0.1}
    model = cr.MLPClassifier(**options, early_stopping=True, scoring="roc_auc", n_iter_no_change=5)
    model.fit(X, y, validation_data=held)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ < 40
    assert model.best_validation_score_ == max(scores) == roc_auc_score(held[1], model.predict_proba(held[0])[:, 1])
    again = cr.MLPClassifier(**{**options, "max_iter": int(np.argmax(scores)) + 1}).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], again.coefs_[0])
    watched = cr.MLPClassifier(**SMALL).fit(X, y, validation_data=held)
    assert watched.validation_scores_[-1] == watched.score(*held)
    assert watched.n_iter_ == 5


def check_categories(table: Any, columns: Any, town: Any, number: Any, new: Any) -> None:
    """Encoding inside equals encoding before; categories never seen are all 0."""
    from sklearn.preprocessing import OneHotEncoder

    target = number + (town == "Ulm")
    model = cr.MLPRegressor(**SMALL, categorical_features=columns).fit(table, target)
    assert model.n_features_in_ == 2
    towns = OneHotEncoder(sparse_output=False).fit_transform(np.asarray(town).reshape(-1, 1))
    encoded = np.hstack([towns, np.asarray(number, float).reshape(-1, 1)])
    plain = cr.MLPRegressor(**SMALL).fit(encoded, target)
    np.testing.assert_array_equal(model.predict(table), plain.predict(encoded))
    np.testing.assert_array_equal(model.predict(new), plain.predict([[0, 0, 0, 0.5]]))


def test_columns_of_categories_of_an_array() -> None:
    random = np.random.default_rng(0)
    number, town = random.normal(size=90), random.choice(["Ulm", "Bonn", "Kiel"], 90)
    table = np.empty((90, 2), object)
    table[:, 0], table[:, 1] = number, town
    check_categories(table, [1], town, number, np.array([[0.5, "Köln"]], object))
    with pytest.raises(ValueError, match="'from_dtype' or a list of columns"):
        cr.MLPRegressor(categorical_features="town").fit(table, number)


def test_columns_of_categories_of_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": random.normal(size=90), "town": random.choice(["Ulm", "Bonn", "Kiel"], 90)})
    new = pandas.DataFrame({"a": [0.5], "town": ["Köln"]})
    for columns in ("from_dtype", ["town"]):
        check_categories(frame, columns, frame["town"], frame["a"], new)
    model = cr.MLPRegressor(**SMALL, categorical_features="from_dtype").fit(frame, frame["a"])
    assert list(model.feature_names_in_) == ["a", "town"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["town", "a"]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1}, r"alpha must be a number in \[0, inf\)"),
        ({"max_iter": 1.5}, "max_iter must be a whole number"),
        ({"solver": "adma"}, "unknown solver 'adma' .did you mean 'adamax'"),
        ({"activation": "rleu"}, "unknown activation 'rleu' .did you mean 'relu'"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be whole numbers above 0"),
        ({"learning_rate": "adaptiv"}, "did you mean 'adaptive'"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
        ({"batch_size": 0}, "batch_size must be 'auto' or a whole number"),
        ({"shuffle": "yes"}, "shuffle must be True or False"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cr.MLPClassifier(**SMALL | options).fit(X, y)


def test_too_few_rows_to_validate_on() -> None:
    with pytest.raises(ValueError, match="leaves 1. fix: a larger fraction"):
        cr.MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.005).fit(X, y)


def test_losses_that_are_not_finite_end_the_training() -> None:
    from chainrule.errors import NonFiniteError

    with pytest.raises(NonFiniteError, match="epoch 1: the loss became"):
        cr.MLPRegressor(**SMALL).fit(X * 1e200, y * 1e200)


def test_classes_that_come_later() -> None:
    model = cr.MLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on the last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="has the classes"):
        model.partial_fit(X, y + 5)
    assert model.predict_proba(X).shape == (160, 3)
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'"):
        _ = cr.MLPClassifier(solver="lbfgs").partial_fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warm = cr.MLPClassifier(**SMALL, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start needs the same classes"):
        warm.fit(X, np.zeros(len(X)))


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_frames_of_other_libraries_give_the_model_of_pandas(kind: str) -> None:
    pandas, other = pytest.importorskip("pandas"), pytest.importorskip(kind)
    random = np.random.default_rng(3)
    columns = {
        "a": random.normal(size=90),
        "town": random.choice(["Ulm", "Bonn", "Kiel"], 90),
        "is_new": random.random(90) < 0.5,
    }
    target = columns["a"] + (columns["town"] == "Ulm")
    wanted = cr.MLPRegressor(**SMALL, categorical_features="from_dtype").fit(pandas.DataFrame(columns), target)
    frame = other.DataFrame(columns) if kind == "polars" else other.table(columns)
    for chosen in ("from_dtype", ["town", "is_new"]):
        model = cr.MLPRegressor(**SMALL, categorical_features=chosen).fit(frame, target)
        np.testing.assert_array_equal(model.predict(frame), wanted.predict(pandas.DataFrame(columns)))
        assert model.feature_names_in_.tolist() == list(columns)


def test_an_array_has_no_types_of_columns() -> None:
    with pytest.raises(ValueError, match="needs a frame of pandas, polars or Arrow, got ndarray"):
        cr.MLPRegressor(categorical_features="from_dtype").fit(np.zeros((4, 2)), np.arange(4))
