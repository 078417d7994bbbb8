"""scikit-learn's scorers as metrics, by their names. Needs scikit-learn (extra ``sklearn``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.errors import TargetError

Numbers = NDArray[np.float64]


def scorer_names() -> list[str]:
    """The names that scikit-learn knows; none where it is not installed."""
    try:
        from sklearn.metrics import get_scorer_names
    except ImportError:
        return []
    return list(get_scorer_names())


def scorer_metric(name: str, tells_classes: bool) -> Callable[[ArrayLike, ArrayLike], float]:
    """A scorer as a function of targets and predictions, as `chainrule.training.metrics` has them.

    A scorer wants an estimator: it gets one that has predicted already. Raises TargetError where the scorer is not
    made for such predictions.

    >>> scorer_metric("balanced_accuracy", tells_classes=True)([0, 1, 1, 1], [0.2, 0.9, 0.9, 0.4])
    0.8333333333333333
    """
    from sklearn.metrics import get_scorer

    scorer = get_scorer(name)

    def metric(y_true: ArrayLike, prediction: ArrayLike) -> float:
        outputs = np.asarray(prediction, np.float64)
        targets = np.asarray(y_true)
        if outputs.ndim == 2 and outputs.shape[1] == 1:
            outputs, targets = outputs[:, 0], targets.reshape(len(targets))
        try:
            if not tells_classes:
                return float(scorer(_predicted_numbers(), outputs, targets))
            scores = np.column_stack([1 - outputs, outputs]) if outputs.ndim == 1 else outputs
            return float(scorer(_predicted_classes(scores.shape[1]), scores, targets.astype(np.int64)))
        except (ValueError, TypeError, AttributeError) as error:
            raise TargetError(f"scikit-learn's {name!r} cannot judge this network: {error}") from None

    return metric


def _predicted_numbers() -> Any:
    from sklearn.base import BaseEstimator, RegressorMixin

    class Predicted(RegressorMixin, BaseEstimator):
        def predict(self, X: Numbers) -> Numbers:
            return X

    return Predicted()


def _predicted_classes(count: int) -> Any:
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Predicted(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(count)

        def predict(self, X: Numbers) -> NDArray[np.int64]:
            return np.asarray(X[:, 1] > 0.5).astype(np.int64) if count == 2 else X.argmax(axis=1)

        def predict_proba(self, X: Numbers) -> Numbers:
            return X

    return Predicted()
