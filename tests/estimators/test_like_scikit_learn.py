"""The same arguments and random state give scikit-learn's weights, up to the rounding of float64."""

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr

pytest.importorskip("sklearn")
from sklearn import neural_network

ROWS = 157
SMALL = {"hidden_layer_sizes": (7, 5), "batch_size": 32, "max_iter": 12, "random_state": 3}

random = np.random.default_rng(0)
X = random.normal(size=(ROWS, 4))
SIGNAL = X[:, 0] + X[:, 1] ** 2
TARGETS = {
    "two": np.where(SIGNAL > 0.8, "yes", "no"),
    "three": np.digitize(SIGNAL, [0.2, 1.2]),
    "labels": np.c_[SIGNAL > 0.8, X[:, 2] > 0, X[:, 3] > 1].astype(int),
    "number": SIGNAL,
    "numbers": np.c_[SIGNAL, X[:, 2] * X[:, 3]],
    "counts": random.poisson(np.exp(0.5 * X[:, 0])).astype(float),
}
WEIGHTS = random.uniform(0.2, 2, ROWS)
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("MLPClassifier", "two", {}),
    ("MLPClassifier", "three", {}),
    ("MLPClassifier", "labels", {"activation": "logistic", "alpha": 0.1}),
    ("MLPClassifier", "two", {"activation": "tanh", "shuffle": False}),
    ("MLPClassifier", "two", {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 2}),
    ("MLPClassifier", "three", {"early_stopping": True, "validation_fraction": 0.3, "batch_size": "auto"}),
    ("MLPClassifier", "two", {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}),
    ("MLPClassifier", "two", {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 1}),
    ("MLPClassifier", "three", {"solver": "sgd", "momentum": 0, "nesterovs_momentum": False}),
    ("MLPClassifier", "two", {"solver": "lbfgs", "alpha": 0.1}),
    ("MLPRegressor", "number", {"activation": "identity", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}),
    ("MLPRegressor", "numbers", {"hidden_layer_sizes": 6}),
    ("MLPRegressor", "numbers", {"solver": "lbfgs", "activation": "tanh"}),
    ("MLPRegressor", "number", {"early_stopping": True, "validation_fraction": 0.3}),
    ("MLPRegressor", "counts", {"loss": "poisson"}),
]


def both(kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    return getattr(cr, kind)(**SMALL | options), getattr(neural_network, kind)(**SMALL | options)


def assert_equal(ours: Any, theirs: Any) -> None:
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9, err_msg=name)
        else:
            assert getattr(ours, name, None) is None, name


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("kind", "target", "options"), CASES, ids=str)
def test_weights_and_curves_are_scikit_learns(kind: str, target: str, options: dict[str, Any]) -> None:
    ours, theirs = (model.fit(X, TARGETS[target]) for model in both(kind, options))
    assert_equal(ours, theirs)
    if kind == "MLPClassifier":
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-8, atol=1e-12)
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
    assert ours.score(X, TARGETS[target]) == pytest.approx(theirs.score(X, TARGETS[target]), rel=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_weights_of_rows_are_scikit_learns(solver: str) -> None:
    """Not their curve: in ours batches count as their weights do, in scikit-learn's as their rows do."""
    ours, theirs = (
        model.fit(X, TARGETS["number"], sample_weight=WEIGHTS) for model in both("MLPRegressor", {"solver": solver})
    )
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_going_on_is_scikit_learns() -> None:
    """``warm_start`` and ``partial_fit``: weights, curves and the optimiser's state go on; also through a pickle."""
    import pickle

    y = TARGETS["three"]
    ours, theirs = both("MLPClassifier", {"warm_start": True})
    for part in (slice(0, 90), slice(60, ROWS)):
        ours.fit(X[part], y[part])
        theirs.fit(X[part], y[part])
    assert_equal(ours, theirs)
    for solver in ("adam", "sgd"):
        ours, theirs = both("MLPClassifier", {"solver": solver, "learning_rate": "invscaling"})
        for start in (0, 40, 80):
            ours.partial_fit(X[start : start + 70], y[start : start + 70], classes=[0, 1, 2])
            theirs.partial_fit(X[start : start + 70], y[start : start + 70], classes=[0, 1, 2])
            ours = pickle.loads(pickle.dumps(ours))
        assert_equal(ours, theirs)


def test_float32_stays() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (model.fit(X.astype(np.float32), SIGNAL) for model in both("MLPRegressor", {}))
    assert ours.coefs_[0].dtype == ours.predict(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3, atol=1e-4)


def test_weights_that_somebody_changed_are_used() -> None:
    model = cr.MLPRegressor(hidden_layer_sizes=(3,), max_iter=300, random_state=0, tol=1).fit(X, SIGNAL)
    model.coefs_[1][:] = 0
    model.intercepts_[1][:] = 5
    np.testing.assert_array_equal(model.predict(X), np.full(ROWS, 5.0))


def test_settled_and_unsettled_trainings() -> None:
    from sklearn.exceptions import ConvergenceWarning

    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        cr.MLPRegressor(hidden_layer_sizes=(3,), max_iter=2).fit(X, SIGNAL)
    with pytest.warns(ConvergenceWarning, match="not converged"):
        cr.MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=2).fit(X, SIGNAL)
    ours, theirs = (library.MLPRegressor(hidden_layer_sizes=(3,), tol=10.0) for library in (cr, neural_network))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ours.fit(X, SIGNAL).n_iter_ == theirs.fit(X, SIGNAL).n_iter_ == 12


def test_verbose_says_what_scikit_learn_says(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for model in both("MLPClassifier", {"verbose": True, "early_stopping": True, "max_iter": 3}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, TARGETS["two"])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
