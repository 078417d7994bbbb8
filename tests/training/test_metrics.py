"""Metrics against scikit-learn, on random data with ties, and their errors."""

import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError, TargetError
from chainrule.training import EarlyStopping
from chainrule.training.metrics import (
    HIGHER_IS_BETTER,
    METRICS,
    accuracy,
    auc,
    f1,
    find_metric,
    log_loss,
    precision,
    r2,
    recall,
)

sklearn_metrics = pytest.importorskip("sklearn.metrics")
BINARY = {
    "accuracy": lambda y, p: sklearn_metrics.accuracy_score(y, p > 0.5),
    "auc": sklearn_metrics.roc_auc_score,
    "log_loss": sklearn_metrics.log_loss,
    "f1": lambda y, p: sklearn_metrics.f1_score(y, p > 0.5),
    "precision": lambda y, p: sklearn_metrics.precision_score(y, p > 0.5),
    "recall": lambda y, p: sklearn_metrics.recall_score(y, p > 0.5),
}
MULTICLASS = {
    "accuracy": lambda y, p: sklearn_metrics.accuracy_score(y, p.argmax(1)),
    "auc": lambda y, p: sklearn_metrics.roc_auc_score(y, p, multi_class="ovr", average="macro"),
    "log_loss": sklearn_metrics.log_loss,
    "f1": lambda y, p: sklearn_metrics.f1_score(y, p.argmax(1), average="macro"),
    "precision": lambda y, p: sklearn_metrics.precision_score(y, p.argmax(1), average="macro", zero_division=0),
    "recall": lambda y, p: sklearn_metrics.recall_score(y, p.argmax(1), average="macro"),
}
REGRESSION = {
    "mse": sklearn_metrics.mean_squared_error,
    "rmse": sklearn_metrics.root_mean_squared_error,
    "mae": sklearn_metrics.mean_absolute_error,
    "r2": sklearn_metrics.r2_score,
}


def binary_data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities rounded so that many are tied."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, 60)
    return y, np.clip(np.round(0.3 * y + random.random(60) * 0.7, 1), 0.05, 0.95)


def multiclass_data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat([0, 1, 2, 3], [30, 20, 7, 3]))
    scores = np.round(random.random((60, 4)) + 0.5 * np.eye(4)[y], 1) + 0.01
    return y, scores / scores.sum(1, keepdims=True)


def test_the_tables_name_every_metric() -> None:
    assert set(METRICS) == set(BINARY) | set(REGRESSION)
    assert set(METRICS) - HIGHER_IS_BETTER == {"log_loss", "mse", "rmse", "mae"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", BINARY)
def test_two_classes(name: str, seed: int) -> None:
    y, p = binary_data(seed)
    expected = BINARY[name](y, p)
    assert METRICS[name](y, p) == pytest.approx(expected, abs=1e-12)
    assert METRICS[name](y.reshape(-1, 1).astype(np.float32), p.reshape(-1, 1)) == pytest.approx(expected, abs=1e-12)
    assert METRICS[name](y, np.column_stack([1 - p, p])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", MULTICLASS)
def test_many_classes(name: str, seed: int) -> None:
    y, p = multiclass_data(seed)
    assert METRICS[name](y, p) == pytest.approx(MULTICLASS[name](y, p), abs=1e-12)


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)])
def test_regression(name: str, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    y, p = random.normal(3, 2, shape), random.normal(3, 2, shape)
    if len(shape) > 1 and shape[1] > 1 and name == "rmse":
        expected = np.sqrt(sklearn_metrics.mean_squared_error(y, p))  # ours is the root of the mean over all outputs
    else:
        expected = REGRESSION[name](y, p)
    assert METRICS[name](y, p) == pytest.approx(expected, abs=1e-12)


def test_r2_of_constant_targets_is_scikit_learns() -> None:
    assert r2([2.0, 2.0], [2.0, 2.0]) == sklearn_metrics.r2_score([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert r2([2.0, 2.0], [2.0, 3.0]) == sklearn_metrics.r2_score([2.0, 2.0], [2.0, 3.0]) == 0.0


def test_column_and_flat_targets_are_the_same_but_no_matrix_is_made_of_them() -> None:
    y = np.arange(4.0)
    assert r2(y, y.reshape(-1, 1)) == 1.0
    with pytest.raises(ShapeError, match=r"\(4,\).*\(3, 1\)"):
        r2(y, np.ones((3, 1)))


def test_predicted_class_numbers_are_accepted() -> None:
    y, p = multiclass_data(0)
    classes = p.argmax(1)
    for metric in (accuracy, f1, precision, recall):
        assert metric(y, classes) == pytest.approx(metric(y, p), abs=1e-12)
    assert accuracy([1, 0, 1], np.array([True, False, False])) == pytest.approx(2 / 3)


def test_nothing_predicted_or_present_counts_as_zero() -> None:
    assert precision([1, 1, 0], [0, 0, 0]) == recall([0, 0, 0], [1, 0, 0]) == f1([0, 0], [0, 0]) == 0.0


def test_auc_without_one_of_the_classes_is_refused() -> None:
    with pytest.raises(TargetError, match="not defined"):
        auc([1, 1, 1], [0.2, 0.3, 0.9])


def test_all_tied_scores_have_auc_one_half() -> None:
    assert auc([0, 1, 1, 0, 1], np.full(5, 0.3)) == 0.5


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert np.isfinite(log_loss([1, 0], [0.0, 0.0]))


class Logistic:
    """Two or three classes as scikit-learn's own estimator tells them, for its scorers to judge."""

    def __init__(self, classes: int) -> None:
        linear = pytest.importorskip("sklearn.linear_model")
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(200, 4))
        self.y = (self.X[:, 0] + rng.normal(size=200) > 0).astype(int) + (classes == 3) * (self.X[:, 1] > 1)
        self.estimator = linear.LogisticRegression().fit(self.X, self.y)
        self.probabilities = self.estimator.predict_proba(self.X)


@pytest.mark.parametrize("classes", [2, 3])
def test_scorers_of_classes_judge_as_they_judge_an_estimator(classes: int) -> None:
    problem = Logistic(classes)
    names = ["balanced_accuracy", "neg_log_loss", "f1_weighted", "matthews_corrcoef", "roc_auc_ovr"]
    for name in [*names, *(["roc_auc", "average_precision", "neg_brier_score"] if classes == 2 else [])]:
        expected = sklearn_metrics.get_scorer(name)(problem.estimator, problem.X, problem.y)
        assert find_metric(name)(problem.y, problem.probabilities) == pytest.approx(expected, rel=1e-9), name
        if classes == 2:
            one = problem.probabilities[:, 1:]
            assert find_metric(name)(problem.y.reshape(-1, 1), one) == pytest.approx(expected, rel=1e-9), name


def test_scorers_of_numbers_judge_as_they_judge_an_estimator() -> None:
    y, p = np.random.default_rng(0).normal(size=(2, 50))
    for name, function in (("explained_variance", "explained_variance_score"), ("neg_max_error", "max_error")):
        expected = getattr(sklearn_metrics, function)(y, p) * (-1 if name.startswith("neg_") else 1)
        assert find_metric(name, tells_classes=False)(y, p.reshape(-1, 1)) == pytest.approx(expected)


def test_a_trainer_takes_scorers_and_stops_by_them() -> None:
    y = np.arange(60) % 2
    X = np.random.default_rng(0).normal(size=(60, 2)) + 3 * y[:, None]
    cr.manual_seed(0)
    stopping = EarlyStopping("val_balanced_accuracy", patience=3)
    options = {"metrics": ["balanced_accuracy", "accuracy"], "callbacks": [stopping], "seed": 0}
    trainer = cr.Trainer(cr.nn.Linear(2, 1), "bce_with_logits", lambda p: cr.optim.Adam(p, lr=0.3), **options)
    history = trainer.fit(X, y, epochs=50, validation_split=0.5, verbose=0)
    values = history["val_balanced_accuracy"]
    assert values == pytest.approx(history["val_accuracy"])  # the split is stratified: equally many of both
    assert stopping.best == max(values)
    with pytest.raises(TargetError, match="scikit-learn's 'roc_auc' cannot judge this network: multi_class must be"):
        cr.Trainer(cr.nn.Linear(2, 3), "cross_entropy", metrics=["roc_auc"]).evaluate(X, np.arange(60) % 3)


def test_without_scikit_learn_its_scorers_are_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(ArgumentError, match=r'no metric .balanced_accuracy.*with "chainrule\[sklearn\]", scorers'):
        find_metric("balanced_accuracy")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: find_metric("acuracy"),
            ArgumentError,
            r"no metric 'acuracy' \(did you mean 'accuracy'\?\); known are",
        ),
        (lambda: accuracy([0, 1], [0.1, 0.2, 0.3]), ShapeError, r"shape \(3,\), got shape \(2,\)"),
        (lambda: accuracy([], []), ShapeError, "at least one row"),
        (lambda: r2([], []), ShapeError, "at least one row"),
        (lambda: accuracy([0.5, 1], [0.1, 0.2]), TargetError, "class numbers.*0.5"),
        (lambda: log_loss([0, 3], np.full((2, 3), 1 / 3)), TargetError, r"label 3, but the prediction has 3 classes"),
        (lambda: accuracy([0], np.zeros((1, 2, 2))), ShapeError, r"\(1, 2, 2\)"),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
