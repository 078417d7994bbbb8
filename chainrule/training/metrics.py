"""Measures of predictions by name: functions ``(y_true, prediction) → float`` over NumPy arrays.

For classes ``y_true`` holds class numbers, shape (n,) or (n, 1), and ``prediction`` is

- for two classes: the probability of class 1, shape (n,) or (n, 1), or both probabilities, shape (n, 2);
- for K classes: the probabilities, shape (n, K).

``accuracy``, ``f1``, ``precision`` and ``recall`` also accept predicted class numbers (integers or booleans,
shape (n,)). For regression both are numbers of one shape. The definitions are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.errors import ArgumentError, ShapeError, TargetError, did_you_mean
from chainrule.training.scorers import scorer_metric, scorer_names

Metric = Callable[[ArrayLike, ArrayLike], float]
Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


def accuracy(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the share of rows whose predicted class is the true one.

    >>> accuracy([0, 1, 1], [0.2, 0.9, 0.4])
    0.6666666666666666
    """
    labels, predicted, _ = _classes(y_true, prediction)
    return float(np.mean(labels == predicted))


def auc(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a row of class 1 is ranked above one of class 0.

    A tie counts one half (Mann and Whitney's U over n₀·n₁). Scores of any monotone scale will do for two classes.
    For K classes the mean over the classes of "this one against the rest". Raises TargetError where a class, or all
    the others, has no row: the area is not defined then.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    scores = _scores(prediction)
    labels = _labels(y_true, len(scores))
    if scores.ndim == 1:
        return _two_class_auc(labels == 1, scores)
    return float(np.mean([_two_class_auc(labels == number, scores[:, number]) for number in range(scores.shape[1])]))


def log_loss(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean of -log p(true class); probabilities are kept away from 0 and 1 by the float64 epsilon.

    >>> round(log_loss([1, 0], [0.5, 0.5]), 4)
    0.6931
    """
    scores = _scores(prediction)
    labels = _labels(y_true, len(scores))
    probabilities = np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    _check_range(labels, probabilities.shape[1])
    epsilon = np.finfo(np.float64).eps
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.clip(chosen, epsilon, 1 - epsilon))))


def precision(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the share of rows predicted as class 1 that are of class 1; for more than two classes the mean over them.

    0 where nothing is predicted as the class.
    """
    right, predicted, _ = _counts(y_true, prediction)
    return float(np.mean(_share(right, predicted)))


def recall(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the share of rows of class 1 that are predicted as such; for more than two classes the mean over them.

    0 for a class without rows.
    """
    right, _, present = _counts(y_true, prediction)
    return float(np.mean(_share(right, present)))


def f1(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the harmonic mean of precision and recall of class 1; for more than two classes the mean over them.

    >>> f1([0, 1, 1, 1], [0, 1, 1, 0])
    0.8
    """
    right, predicted, present = _counts(y_true, prediction)
    return float(np.mean(_share(2 * right, predicted + present)))


def mse(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean squared error."""
    true, predicted = _numbers(y_true, prediction)
    return float(np.mean((true - predicted) ** 2))


def rmse(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(mse(y_true, prediction)))


def mae(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean absolute error, in the unit of the target."""
    true, predicted = _numbers(y_true, prediction)
    return float(np.mean(np.abs(true - predicted)))


def r2(y_true: ArrayLike, prediction: ArrayLike) -> float:
    """Return R², the share of the target's variance that is explained: 1 - Σ(y - p)² / Σ(y - ȳ)².

    The variance is taken per output and R² is the mean over outputs. For constant targets it is 1 if they are hit
    exactly and else 0.
    """
    true, predicted = _numbers(y_true, prediction)
    true, predicted = true.reshape(len(true), -1), predicted.reshape(len(true), -1)
    error = np.sum((true - predicted) ** 2, axis=0)
    spread = np.sum((true - true.mean(axis=0)) ** 2, axis=0)
    explained = 1 - np.divide(error, spread, out=np.ones_like(error), where=spread > 0)
    explained[(spread == 0) & (error == 0)] = 1.0
    return float(np.mean(explained))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "auc": auc,
    "log_loss": log_loss,
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "mse": mse,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
}
HIGHER_IS_BETTER = frozenset({"accuracy", "auc", "f1", "precision", "recall", "r2"})


def is_score(name: str) -> bool:
    """Whether larger values of a measure are better; false for losses, errors, and what is no measure.

    >>> is_score("accuracy"), is_score("rmse")
    (True, False)
    """
    return name in HIGHER_IS_BETTER or (name not in ("loss", *METRICS) and name in scorer_names())


def find_metric(name: str, tells_classes: bool = True) -> Metric:
    """Return the metric of a name, one of scikit-learn's scorers among them if that is installed.

    ``tells_classes`` says what predictions are for scorers: probabilities of classes, or numbers.
    Raises ArgumentError for an unknown name, with the closest known one.

    >>> find_metric("accuracy")([1, 0], [1, 1])
    0.5
    """
    if name in METRICS:
        return METRICS[name]
    scorers = scorer_names()
    if name in scorers:
        return scorer_metric(name, tells_classes)
    more = "and the scorers of scikit-learn" if scorers else 'and, with "chainrule[sklearn]", scorers of scikit-learn'
    hint = did_you_mean(name, [*METRICS, *scorers])
    raise ArgumentError(f"there is no metric {name!r}{hint}; known are {', '.join(METRICS)}, {more}")


def _two_class_auc(positive: NDArray[np.bool_], scores: Numbers) -> float:
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        raise TargetError("auc is not defined: a class has no row, or all rows; use accuracy or log_loss here")
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index.reshape(-1)]  # tied scores share the mean of their ranks
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _counts(y_true: ArrayLike, prediction: ArrayLike) -> tuple[Numbers, Numbers, Numbers]:
    """Return per class how many rows were predicted rightly, were predicted, and are present; class 1 alone of two."""
    labels, predicted, classes = _classes(y_true, prediction)
    counted = [np.bincount(found, minlength=classes) for found in (labels[labels == predicted], predicted, labels)]
    right, predictions, present = (count.astype(np.float64) for count in counted)
    seen = (predictions + present) > 0  # a class that occurs nowhere is not averaged over
    chosen: Any = slice(1, 2) if classes == 2 else seen
    return right[chosen], predictions[chosen], present[chosen]


def _share(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _classes(y_true: ArrayLike, prediction: ArrayLike) -> tuple[Labels, Labels, int]:
    """Return true and predicted class numbers, both of shape (n,), and the number of classes."""
    given = np.asarray(prediction)
    if given.dtype.kind in "iub":
        predicted, width = _labels(given, len(given)), 2
    else:
        scores = _scores(given)
        predicted = (scores > 0.5).astype(np.int64) if scores.ndim == 1 else scores.argmax(axis=1)
        width = 2 if scores.ndim == 1 else scores.shape[1]
    labels = _labels(y_true, len(predicted))
    return labels, predicted, int(max(width, labels.max() + 1, predicted.max() + 1))


def _scores(prediction: ArrayLike) -> Numbers:
    """Return scores of class 1, shape (n,), or of K > 2 classes, shape (n, K)."""
    scores = np.asarray(prediction, dtype=np.float64)
    if scores.ndim == 2 and scores.shape[1] <= 2:
        return scores[:, -1]
    if scores.ndim not in (1, 2):
        raise ShapeError(f"expected predictions of shape (n,) or (n, classes), got {scores.shape}")
    return scores


def _labels(y_true: ArrayLike, count: int) -> Labels:
    """Return class numbers of shape (count,)."""
    values = np.asarray(y_true)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (count,):
        raise ShapeError(f"expected one class number per row, shape ({count},), got shape {values.shape}")
    if count == 0:
        raise ShapeError("a metric needs at least one row, got none")
    labels = values.astype(np.int64)
    if np.any(labels != values) or labels.min() < 0:
        raise TargetError(f"expected class numbers 0, 1, 2 ..., got {values[(labels != values) | (labels < 0)][0]!r}")
    return labels


def _check_range(labels: Labels, classes: int) -> None:
    if labels.max() >= classes:
        raise TargetError(f"got label {labels.max()}, but the prediction has {classes} classes (0..{classes - 1})")


def _numbers(y_true: ArrayLike, prediction: ArrayLike) -> tuple[Numbers, Numbers]:
    """Return targets and predictions as float64 of one shape; (n,) and (n, 1) are the same."""
    true = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(prediction, dtype=np.float64)
    if true.shape != predicted.shape:
        if true.size != predicted.size or {true.ndim, predicted.ndim} != {1, 2} or len(true) != len(predicted):
            raise ShapeError(f"targets have shape {true.shape}, but predictions {predicted.shape}: give one shape")
        true, predicted = true.reshape(-1), predicted.reshape(-1)
    if not true.size:
        raise ShapeError("a metric needs at least one row, got none")
    return true, predicted
