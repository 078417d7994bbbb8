"""Training epoch by epoch as scikit-learn does: its order of rows, its schedules of the rate, its rule for stopping."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..errors import NonFiniteError
from ..training.interrupts import interruptible
from .learner import Learner, Rows

SMALLEST_RATE = 1e-6
"""At this rate "adaptive" gives up."""


def run_epochs(
    estimator: Any,
    learner: Learner,
    rows: Rows,
    random: np.random.RandomState,
    score: Callable[[], float] | None,
    is_single: bool,
) -> None:
    """Train an estimator's learner until nothing improves any more, or for a single epoch.

    Fills ``loss_curve_``, ``loss_``, ``best_loss_``, ``n_iter_``, ``t_`` and, if ``score`` measures how good the
    network is, the scores; with early stopping the learner has the best weights in the end.
    Errors: `NonFiniteError` if the loss stops being finite.
    """
    order = np.arange(rows.rows)
    best = learner.weights() if score is not None and estimator.early_stopping else None
    estimator.n_iter_ = 0
    try:
        with interruptible() as raise_dropped:
            _set_options(estimator, learner)
            while estimator.n_iter_ < (1 if is_single else estimator.max_iter):
                if estimator.shuffle:
                    indices = np.arange(rows.rows)
                    random.shuffle(indices)
                    order = order[indices]
                    rows.set_order(order)
                _note_loss(estimator, rows.train(), rows.rows)
                raise_dropped()
                if _has_schedule(estimator, "invscaling"):
                    estimator._rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
                    _set_options(estimator, learner)
                if score is not None and _note_score(estimator, score()) and best is not None:
                    best = learner.weights()
                if _has_settled(estimator):
                    if _stops(estimator):
                        break
                    _set_options(estimator, learner)
                if estimator.n_iter_ == estimator.max_iter and not is_single:
                    warnings.warn(
                        f"the training has not settled after max_iter={estimator.max_iter} epochs. "
                        "fix: more of them, a larger learning rate, or a larger tol",
                        ConvergenceWarning,
                        stacklevel=5,
                    )
    except KeyboardInterrupt:
        warnings.warn("training was interrupted; the weights are those of the last step", stacklevel=5)
    if best is not None:
        learner.set_weights(best)


def begin_curves(estimator: Any) -> None:
    """Nothing has been measured yet, and nothing will be where SciPy does the steps."""
    estimator.t_ = 0
    if estimator.solver == "lbfgs":
        return
    estimator.loss_curve_ = []
    estimator._epochs_without_gain = 0
    estimator.best_loss_ = None if estimator.early_stopping else np.inf
    estimator.validation_scores_ = None
    estimator.best_validation_score_ = -np.inf if estimator.early_stopping else None


def _note_loss(estimator: Any, loss: float, rows: int) -> None:
    if not math.isfinite(loss):
        raise NonFiniteError(
            f"epoch {estimator.n_iter_ + 1}: the loss became {loss}. fix: scale the inputs (StandardScaler), or a "
            f"smaller learning_rate_init (now {estimator.learning_rate_init:g})"
        )
    estimator.n_iter_ += 1
    estimator.t_ += rows
    estimator.loss_ = loss
    estimator.loss_curve_.append(loss)
    if estimator.verbose:
        print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
    if not estimator.early_stopping:
        _count_gain(estimator, loss > estimator.best_loss_ - estimator.tol)
        estimator.best_loss_ = min(loss, estimator.best_loss_)


def _note_score(estimator: Any, score: float) -> bool:
    """Note the score of an epoch; whether it is the best so far."""
    if estimator.validation_scores_ is None:
        estimator.validation_scores_ = []
    estimator.validation_scores_.append(score)
    if estimator.verbose:
        print(f"Validation score: {score:f}")
    if not estimator.early_stopping:
        return False
    best = estimator.best_validation_score_
    _count_gain(estimator, score < best + estimator.tol)
    estimator.best_validation_score_ = max(score, best) if score == score else best
    return score > best


def _count_gain(estimator: Any, has_none: bool) -> None:
    estimator._epochs_without_gain = estimator._epochs_without_gain + 1 if has_none else 0


def _has_settled(estimator: Any) -> bool:
    return bool(estimator._epochs_without_gain > estimator.n_iter_no_change)


def _stops(estimator: Any) -> bool:
    """Whether to stop now that nothing improves: with an adaptive rate, a fifth of it may help."""
    what = "Validation score" if estimator.early_stopping else "Training loss"
    message = f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} epochs."
    stops = not _has_schedule(estimator, "adaptive") or estimator._rate <= SMALLEST_RATE
    if not stops:
        estimator._rate /= 5
        estimator._epochs_without_gain = 0
    if estimator.verbose:
        print(message, "Stopping." if stops else f"Setting learning rate to {estimator._rate:f}")
    return stops


def _set_options(estimator: Any, learner: Learner) -> None:
    rate = None if callable(estimator.solver) else estimator._rate
    learner.set_options(rate, estimator.alpha, estimator.momentum if estimator.solver == "sgd" else None)


def _has_schedule(estimator: Any, name: str) -> bool:
    return bool(estimator.solver == "sgd" and estimator.learning_rate == name)
