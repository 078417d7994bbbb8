"""What all estimators share: checking data, fitting, and going on with a fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data

from ..errors import ArgumentError, DataError
from ..execution.threads import busy_thread
from ..tensor.generator import get_rng_state, manual_seed, set_rng_state
from ..training.weights import check_sample_weight
from .arguments import check_arguments
from .epochs import begin_curves, run_epochs
from .lbfgs import run_lbfgs
from .learner import Array, Data, Learner

FLOATS = (np.float64, np.float32)

STARTED = "n_iter_"
"""An estimator that has this has been fitted."""


def is_stochastic(estimator: Any) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs a solver that goes batch by batch, not 'lbfgs'. fix: solver='adam'")
    return True


class NetworkEstimator(BaseEstimator):
    """The base class. What is learned, subclasses say in the methods that this one leaves open.

    Options have the meanings and defaults of scikit-learn's `MLPClassifier
    <https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPClassifier.html>`_.
    """

    allow_nd = False
    """Whether rows may have more than one dimension, as images have."""

    classes_: Array
    solver: Any
    alpha: float
    batch_size: Any
    class_weight: Any = None
    max_iter: int
    random_state: Any
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    scoring: Any
    learning_rate_init: float
    momentum: float = 0.9
    _rate: float
    _optimizer_state: list[Array] | None
    _solver_before: Any

    # For subclasses ---------------------------------------------------------------------------------------------------

    def _read_targets(self, y: Any, first: bool) -> Array:
        """Targets, checked, as the loss of the network takes them; ``first``: what they are like is learned."""
        raise NotImplementedError

    def _find_loss(self) -> Any:
        """The loss module for targets that have been read."""
        raise NotImplementedError

    def _encode(self, X: Any, first: bool) -> Any:
        """X with columns of categories in another form, if that was asked for."""
        return X

    def _start(self, X: Array, y: Array, random: np.random.RandomState) -> None:
        """Draw initial weights."""
        raise NotImplementedError

    def _learner(self) -> AbstractContextManager[Learner]:
        """Lend the learner of this network, with its weights."""
        raise NotImplementedError

    def _keep_weights(self, learner: Learner) -> None:
        """Take over what the learner has learned."""
        raise NotImplementedError

    def _score_targets(self, targets: Array, predictions: Array, weights: Array | None) -> float:
        """How good predictions are, in terms of the network: accuracy or R²."""
        raise NotImplementedError

    def _stratified_by(self, y: Array) -> Array | None:
        """What the parts of a split should have equal shares of."""
        return None

    # Fitting ----------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Train on X (rows, features) and y (rows,) or (rows, outputs).

        ``sample_weight``: one number per row; the loss is Σ wᵢ·lossᵢ / Σ wᵢ. ``validation_data``: (X, y), whose score
        after every epoch is kept in ``validation_scores_``; with ``early_stopping`` it takes the place of the
        ``validation_fraction`` of the rows.
        Errors: `ValueError` for unusable data or options, `NonFiniteError` if the loss stops being finite.
        """
        self._fit(X, y, sample_weight, validation_data, not (self.warm_start and hasattr(self, STARTED)), False)
        return self

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch more, on these rows."""
        self._fit(X, y, sample_weight, None, not hasattr(self, STARTED), True)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, held_out: Any, first: bool, is_single: bool) -> None:
        check_arguments(self)
        if self.early_stopping and is_single:
            raise ArgumentError("partial_fit does not support early_stopping=True. fix: fit, or early_stopping=False")
        if held_out is not None and self.solver == "lbfgs":
            raise ArgumentError("validation_data needs a solver that goes epoch by epoch, not 'lbfgs'. fix: 'adam'")
        features, targets = self._read(X, y, first)
        data = Data(features, targets, self._weights(sample_weight, y, len(features)))
        random = check_random_state(self.random_state)
        if first:
            self._start(features, targets, random)
            begin_curves(self)
        if first or not is_single or self.solver != self._solver_before:
            self._rate, self._optimizer_state = self.learning_rate_init, None
        self._solver_before = self.solver
        with busy_thread(), self._learner() as learner:
            if self.solver == "lbfgs":
                with learner.over(data, len(features)) as rows:
                    run_lbfgs(self, learner, rows)
            else:
                self._train(learner, data, Data(X, y), held_out, random, is_single)
                self._optimizer_state = learner.optimizer_state()
            self._keep_weights(learner)

    def _train(
        self, learner: Learner, data: Data, raw: Data, held_out: Any, random: np.random.RandomState, is_single: bool
    ) -> None:
        """Hold out rows if asked, and go over the others epoch by epoch."""
        data, score = self._hold_out(learner, data, raw, held_out, random)
        with learner.over(data, self._batch_size(len(data.X))) as rows:
            learner.set_optimizer_state(self._optimizer_state)
            if not learner.draws:
                run_epochs(self, learner, rows, random, score, is_single)
                return
            before = get_rng_state()
            manual_seed(int(random.randint(np.iinfo(np.int32).max)))
            try:
                run_epochs(self, learner, rows, random, score, is_single)
            finally:
                set_rng_state(before)

    def _hold_out(
        self, learner: Learner, data: Data, raw: Data, held_out: Any, random: np.random.RandomState
    ) -> tuple[Data, Callable[[], float] | None]:
        """The rows to train on, and what measures the score on the others (None without any)."""
        if held_out is not None:
            if len(held_out) != 2:
                raise ArgumentError(f"validation_data must be (X, y), got {len(held_out)} parts")
            X, y = held_out
            return data, self._scorer(learner, Data(*self._read(X, y, False)), Data(X, y))
        if not self.early_stopping:
            return data, None
        kept, held = train_test_split(
            np.arange(len(data.X)),
            random_state=random,
            test_size=self.validation_fraction,
            stratify=self._stratified_by(data.y),
        )
        if len(held) < 2:
            raise DataError(
                f"validation_fraction={self.validation_fraction} of {len(data.X)} rows leaves {len(held)}. "
                "fix: a larger fraction, or more rows"
            )
        measured = data.each(lambda part: part[held])
        score = self._scorer(learner, measured, raw.each(lambda part: _safe_indexing(part, held)))
        return data.each(lambda part: part[kept]), score

    def _scorer(self, learner: Learner, data: Data, raw: Data) -> Callable[[], float]:
        """What measures the score of the learner on rows, given as numbers for it, and as the user has them."""
        if self.scoring is None:
            return lambda: self._score_targets(data.y, learner.predict(data.X), data.weights)
        scorer = check_scoring(self, scoring=self.scoring)

        def score() -> float:
            self._keep_weights(learner)
            return float(scorer(self, raw.X, raw.y))

        return score

    def _weights(self, sample_weight: Any, y: Any, rows: int) -> Array | None:
        """Weights of rows and of their classes together; None without any."""
        if sample_weight is not None:
            given = np.full(rows, sample_weight) if np.isscalar(sample_weight) else sample_weight
            sample_weight = check_sample_weight(given, rows)
        if self.class_weight is None:
            return sample_weight
        by_class = compute_sample_weight(self.class_weight, y)
        return by_class if sample_weight is None else by_class * sample_weight

    def _batch_size(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn(f"batch_size={self.batch_size} is larger than the number of rows, {rows}", stacklevel=5)
        return min(int(self.batch_size), rows)

    # Data -------------------------------------------------------------------------------------------------------------

    def _read(self, X: Any, y: Any, first: bool) -> tuple[Array, Array]:
        """X and y, checked, as numbers for the network."""
        features, y = self._checked(X, first, y)
        targets = self._read_targets(y, first)
        if first:
            self._loss = self._find_loss()
            self.n_outputs_ = targets.shape[1] if targets.ndim == 2 else len(self.classes_)
        return features, targets

    def _checked(self, X: Any, first: bool, *y: Any) -> list[Any]:
        """X as numbers, and y if it is given, as scikit-learn checks them."""
        options: dict[str, Any] = {"accept_sparse": ["csr", "csc"], "dtype": FLOATS, "allow_nd": self.allow_nd}
        both = {**options, "multi_output": True, "y_numeric": is_regressor(self)}
        encoded = self._encode(X, first)
        if encoded is not X:
            checked = check_X_y(encoded, *y, **both) if y else [check_array(encoded, **options)]
        else:
            checked = (
                validate_data(self, X, *y, reset=first, **both)
                if y
                else [validate_data(self, X, reset=first, **options)]
            )
        return [checked[0].toarray() if hasattr(checked[0], "toarray") else checked[0], *checked[1:]]

    # Using ------------------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Array:
        """What the network says of X."""
        check_is_fitted(self, STARTED)
        (features,) = self._checked(X, False)
        with busy_thread(), self._learner() as learner:
            return learner.predict(features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
