"""Classification and regression: what targets are for a network, and what its outputs mean."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from .. import nn
from ..errors import ArgumentError, TargetError
from .base import STARTED, NetworkEstimator, is_stochastic
from .learner import Array


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Classes: two of them are one output, more are one each; with several labels per row, one output per label."""

    _is_multilabel: bool

    def _read_targets(self, y: Any, first: bool) -> Array:
        """Class numbers (rows,) for several classes; else 0 and 1, (rows, outputs)."""
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind == "multiclass-multioutput":
            raise TargetError("several targets per row must be labels, 0 or 1 each. fix: MultiOutputClassifier")
        if kind.startswith("continuous"):
            raise TargetError("Unknown label type: y has fractions, no classes. fix: a regressor, or bins of y")
        if hasattr(y, "toarray"):
            y = y.toarray()
        is_multilabel = kind == "multilabel-indicator"
        y = np.asarray(y) if is_multilabel else column_or_1d(y, warn=True)
        if first:
            self.classes_ = getattr(self, "_given_classes", np.arange(y.shape[1]) if is_multilabel else np.unique(y))
            self._is_multilabel = is_multilabel
        if is_multilabel != self._is_multilabel:
            raise TargetError("y has another form than in the first fit: one class per row, or labels of 0 and 1")
        if is_multilabel:
            self._check_labels(y.shape[1])
            return y.astype(bool)
        self._check_classes(np.unique(y))
        numbers = np.searchsorted(self.classes_, y)
        if len(self.classes_) > 2 or self._find_loss().targets == "classes":
            return numbers
        ones = numbers.reshape(-1, 1).astype(bool)
        return np.where(ones, 1.0, -1.0) if self._find_loss().targets == "signs" else ones

    def _find_loss(self) -> Any:
        self.out_activation_ = "softmax" if len(self.classes_) > 2 and not self._is_multilabel else "logistic"
        return nn.CrossEntropyLoss() if self.out_activation_ == "softmax" else nn.BCEWithLogitsLoss()

    def _check_labels(self, count: int) -> None:
        if count != len(self.classes_):
            raise TargetError(f"y has {count} labels per row, and {len(self.classes_)} in the first fit")

    def _check_classes(self, found: Array) -> None:
        new = np.setdiff1d(found, self.classes_)
        if len(new):
            raise TargetError(f"y has the classes {new}, which the first fit did not have: {self.classes_}")
        if self.warm_start and hasattr(self, STARTED) and len(found) != len(self.classes_):
            raise TargetError(
                f"warm_start needs the same classes as before: y has {found}, the first fit had {self.classes_}"
            )

    def _stratified_by(self, y: Array) -> Array | None:
        return y if y.ndim == 2 and y.shape[1] == 1 else None

    def _score_targets(self, targets: Array, predictions: Array, weights: Array | None) -> float:
        if not np.isfinite(predictions).all():
            return np.nan
        if targets.ndim == 1:
            return float(np.average(predictions.argmax(1) == targets, weights=weights))
        return float(np.average(((predictions > 0.5) == (targets > 0)).all(1), weights=weights))

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch more, on these rows. The first call needs all ``classes`` that will ever come."""
        is_first = not hasattr(self, STARTED)
        if is_first and classes is None:
            raise ArgumentError("classes must be passed on the first call to partial_fit. fix: classes=np.unique(y)")
        if classes is not None:
            given = np.unique(classes)
            if is_first:
                self._given_classes = given
            elif not np.array_equal(self.classes_, given):
                raise ArgumentError(f"classes={classes} is not the same as on the last call: {self.classes_}")
        try:
            self._fit(X, y, sample_weight, None, is_first, True)
        finally:
            self.__dict__.pop("_given_classes", None)
        return self

    def predict(self, X: Any) -> Array:
        """The class of each row, or its labels as 0 and 1, shape (rows, labels)."""
        outputs = self._outputs(X)
        if self._is_multilabel:
            return (outputs > 0.5).astype(int)
        if outputs.shape[1] > 1:
            return self.classes_[outputs.argmax(1)]
        return self.classes_[np.minimum(outputs[:, 0] > 0.5, len(self.classes_) - 1).astype(int)]

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, shape (rows, classes), in the order of ``classes_``; of each label."""
        outputs = self._outputs(X)
        if self._is_multilabel or outputs.shape[1] > 1:
            return outputs
        return np.hstack([1 - outputs, outputs])[:, : len(self.classes_)]

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):  # a probability may be 0
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Numbers, one or several per row."""

    def _read_targets(self, y: Any, first: bool) -> Array:
        """Numbers, (rows, outputs)."""
        array = np.asarray(y)
        if array.ndim == 2 and array.shape[1] == 1:
            array = column_or_1d(array, warn=True)
        return array.reshape(len(array), -1)

    def _score_targets(self, targets: Array, predictions: Array, weights: Array | None) -> float:
        if not np.isfinite(predictions).all():
            return np.nan
        return float(r2_score(targets, predictions, sample_weight=weights))

    def predict(self, X: Any) -> Array:
        """The number of each row, or its numbers, shape (rows, outputs)."""
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.ndim == 1 or outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
