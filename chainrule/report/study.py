"""Everything that is measured for a report: scores with intervals, calibration, importance, dependence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.encoders import Encoder
from ..data.preparation import Preparation
from ..data.table import Table
from ..data.target import TargetPreparation
from ..errors import TargetError
from ..training.history import History
from ..training.metrics import HIGHER_IS_BETTER, METRICS
from .bootstrap import Interval, confidence_interval
from .calibration import Reliability, reliability
from .dependence import Grid, encoded, grid_of, partial_dependence
from .importance import Predict, permutation_importance

Array = NDArray[Any]

MEASURES = {
    "binary": ("auc", "accuracy", "log_loss", "f1", "precision", "recall"),
    "multiclass": ("accuracy", "f1", "log_loss"),
    "regression": ("r2", "rmse", "mae"),
}
"""Of each task; the first is the main one."""

REPEATS = 10
MOST_SHUFFLED_ROWS, FEWEST_SHUFFLED_ROWS, MOST_SHUFFLED_TOGETHER = 2000, 200, 1_000_000
DEPENDENCE_ROWS = 500
SHOWN_DEPENDENCES = 6
ROWS_PER_BIN, FEWEST_BINS, MOST_BINS = 15, 3, 10


@dataclass(frozen=True)
class Part:
    """Rows of the table, what the network reads of them, and the truth: class numbers, or in the target's unit."""

    rows: NDArray[np.int64]
    X: Array
    truth: Array


@dataclass(frozen=True)
class Run:
    """A finished training. ``predict`` gives probabilities, shape (n, classes), or the target in its unit, (n,)."""

    table: Table
    preparation: Preparation
    target: TargetPreparation
    train: Part
    validation: Part
    test: Part
    history: History
    predict: Predict


@dataclass(frozen=True)
class Measured:
    """One measure on the test rows, its 95 % interval, the baseline's, and on the training rows; None: not defined."""

    name: str
    value: float | None
    interval: Interval | None
    baseline: float | None
    training: float | None

    @property
    def more_is_better(self) -> bool:
        return self.name in HIGHER_IS_BETTER


@dataclass(frozen=True)
class Reliance:
    """How much the main measure loses when a column is shuffled: mean and standard deviation over the repeats."""

    column: str
    mean: float
    deviation: float


@dataclass(frozen=True)
class Dependence:
    """The mean prediction per value of a column, shape (grid,) or (grid, classes)."""

    column: str
    grid: Grid
    outputs: NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """What was measured, and on how many rows where not on all of them. Columns that matter most come first."""

    prediction: Array
    measured: list[Measured]
    confusion: NDArray[np.int64] | None
    reliability: Reliability | None
    importance: list[Reliance]
    shuffled_rows: int
    importance_measure: str
    dependence: list[Dependence]
    dependence_rows: int


def study(run: Run, seed: int = 0) -> Study:
    """Measure a training; everything random follows from the seed."""
    prediction = run.predict(run.test.X)
    measured = measure(run, prediction, seed)
    name = measured[0].name if measured[0].value is not None else "log_loss"
    shuffled = _some_rows(run.test, _shuffled_rows(len(run.test.rows), len(run.preparation.encoders)), seed)
    importance = rank(run, shuffled, name, seed)
    averaged = _some_rows(run.train, DEPENDENCE_ROWS, seed)
    classes = len(run.target.classes)
    return Study(
        prediction=prediction,
        measured=measured,
        confusion=confusion_matrix(run.test.truth, prediction.argmax(axis=1), classes) if classes else None,
        reliability=judge_probabilities(run.test.truth, prediction) if classes else None,
        importance=importance,
        shuffled_rows=len(shuffled.rows),
        importance_measure=name,
        dependence=depend(run, averaged, [item.column for item in importance]),
        dependence_rows=len(averaged.rows),
    )


def measure(run: Run, prediction: Array, seed: int) -> list[Measured]:
    """Take the measures of the task; the baseline says the same of every row: the shares of classes, or the mean."""
    constant = baseline_prediction(run)
    on_training = _some_rows(run.train, MOST_SHUFFLED_ROWS * 5, seed)
    training_prediction = run.predict(on_training.X)
    truth = run.test.truth
    found = []
    for name in MEASURES[run.target.task]:
        value = _value(name, truth, prediction)
        interval = None if value is None else confidence_interval(METRICS[name], truth, prediction, seed=seed)
        baseline = _value(name, truth, np.repeat(constant, len(truth), axis=0))
        found.append(Measured(name, value, interval, baseline, _value(name, on_training.truth, training_prediction)))
    return found


def baseline_prediction(run: Run) -> NDArray[np.float64]:
    """Return what is known of the target without looking at the columns, as a prediction of one row."""
    truth = run.train.truth
    if run.target.task == "regression":
        return np.array([truth.mean()])
    return np.bincount(truth, minlength=len(run.target.classes))[None, :] / len(truth)


def confusion_matrix(truth: Array, predicted: Array, classes: int) -> NDArray[np.int64]:
    """Return how many rows of each true class (rows) were predicted as each class (columns).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def judge_probabilities(truth: Array, probabilities: Array) -> Reliability:
    """Judge the probability of the second of two classes; of more, that of the predicted class."""
    bins = int(np.clip(len(truth) // ROWS_PER_BIN, FEWEST_BINS, MOST_BINS))
    if probabilities.shape[1] == 2:
        return reliability(truth, probabilities[:, 1], bins)
    return reliability(probabilities.argmax(axis=1) == truth, probabilities.max(axis=1), bins)


def rank(run: Run, rows: Part, name: str, seed: int) -> list[Reliance]:
    """Return every column the network reads by how much it relies on it, most first."""
    sign = 1.0 if name in HIGHER_IS_BETTER else -1.0

    def score(prediction: Array) -> float:
        return sign * METRICS[name](rows.truth, prediction)

    groups = feature_groups(run.preparation)
    falls = permutation_importance(score, run.predict, rows.X, list(groups.values()), repeats=REPEATS, seed=seed)
    found = [
        Reliance(column, float(fall.mean()), float(fall.std())) for column, fall in zip(groups, falls, strict=True)
    ]
    return sorted(found, key=lambda item: -item.mean)


def depend(run: Run, rows: Part, columns: list[str]) -> list[Dependence]:
    """Return the dependence on the first of the columns that have more than one value to compare."""
    groups = feature_groups(run.preparation)
    encoders: dict[str, Encoder] = {encoder.column: encoder for encoder in run.preparation.encoders}
    found: list[Dependence] = []
    for name in columns:
        encoder, column = encoders[name], run.table[name]
        if len(found) == SHOWN_DEPENDENCES:
            break
        grid = grid_of(encoder, column, run.train.rows)
        if len(grid.cells) > 1:
            outputs = partial_dependence(run.predict, rows.X, groups[name], encoded(encoder, column, grid))
            found.append(Dependence(name, grid, outputs))
    return found


def feature_groups(preparation: Preparation) -> dict[str, slice]:
    """Return which features of the prepared matrix each original column became."""
    groups, start = {}, 0
    for encoder in preparation.encoders:
        groups[encoder.column] = slice(start, start + len(encoder.features))
        start += len(encoder.features)
    return groups


def _value(name: str, truth: Array, prediction: Array) -> float | None:
    measure: Callable[..., float] = METRICS[name]
    try:
        return measure(truth, prediction)
    except TargetError:  # such as an AUC where all rows are of one class
        return None


def _shuffled_rows(rows: int, columns: int) -> int:
    together = MOST_SHUFFLED_TOGETHER // (REPEATS * columns)
    return min(rows, MOST_SHUFFLED_ROWS, max(FEWEST_SHUFFLED_ROWS, together))


def _some_rows(part: Part, most: int, seed: int) -> Part:
    """The part, or so many of its rows at random, in their order."""
    if len(part.rows) <= most:
        return part
    chosen = np.sort(np.random.default_rng(seed).choice(len(part.rows), most, replace=False))
    return Part(part.rows[chosen], part.X[chosen], part.truth[chosen])
