"""What a training's figures say of it: better than the baseline, over-fitted, stopped too early, too few rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .numbers import count, number, percent, score, sentence
from .study import Measured, Run, Study

NAMES = {
    "auc": "AUC", "accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1",
    "log_loss": "log loss", "r2": "R²", "rmse": "RMSE", "mae": "MAE",
}  # fmt: skip
"""Of measures, as people write them."""

LATE = 0.9
"""A best epoch behind this share of the allowed epochs says that more of them would help."""
RARE, SUSPICIOUS, DOMINANT, MISSING = 0.1, 0.995, 0.9, 0.3
NEGLIGIBLE = 0.02
"""With many rows even differences that nobody would mind are more than chance."""


@dataclass(frozen=True)
class Finding:
    """One thing to know: how bad it is, what it is, the figures that show it, and what to do about it."""

    severity: Literal["good", "note", "warning"]
    symptom: str
    evidence: str
    advice: str = ""


def findings(run: Run, found: Study, epochs: int) -> list[Finding]:
    """Return what there is to say, warnings first; ``epochs`` is how many the training was allowed."""
    main = found.measured[0]
    said = [
        _baseline(main),
        _gap(main),
        _ending(run, epochs),
        _precision(main, len(run.test.rows)),
        _leak(main, found),
        _calibration(found),
        _imbalance(run),
        _gaps_in_columns(run),
    ]
    order = ["warning", "note", "good"]
    return sorted((item for item in said if item is not None), key=lambda item: order.index(item.severity))


def _baseline(main: Measured) -> Finding | None:
    if main.value is None or main.baseline is None:
        return Finding("note", "Not comparable", "All test rows are of one class.", "Evaluate on more rows.")
    name = sentence(NAMES[main.name])
    figures = f"{name} is {score(main.value)} on the test rows, {score(main.baseline)} without looking at the columns"
    if main.value <= main.baseline:  # the main measure is always one of which more is better
        return Finding(
            "warning",
            "No better than the baseline",
            f"{figures}.",
            "The other columns may say little about the target, or there are too few rows.",
        )
    if main.interval is not None and main.interval.low <= main.baseline:
        return Finding(
            "warning",
            "Perhaps no better than the baseline",
            f"{figures}; the 95 % interval, {score(main.interval.low)} to {score(main.interval.high)}, includes it.",
            "Test on more rows before relying on it.",
        )
    return Finding("good", "Better than the baseline", f"{figures}.")


def _gap(main: Measured) -> Finding | None:
    if main.value is None or main.training is None or main.interval is None:
        return None
    name = sentence(NAMES[main.name])
    figures = f"{name} is {score(main.training)} on the training rows and {score(main.value)} on the test rows"
    if main.training > main.interval.high and main.training - main.value > NEGLIGIBLE:
        return Finding(
            "note",
            "Over-fitting",
            f"{figures}: more than chance explains (95 % interval up to {score(main.interval.high)}).",
            "More rows, more --dropout, or fewer --hidden units narrow the gap.",
        )
    return Finding("good", "No over-fitting to be seen", f"{figures}.")


def _ending(run: Run, epochs: int) -> Finding | None:
    history, best = run.history, run.history.best_epoch
    if history.interrupted:
        return Finding(
            "note",
            "Interrupted",
            f"Training was ended by hand after {count(len(history), 'epoch')}.",
            "Train again to see whether it gets better.",
        )
    if best is None:
        return None
    if len(history) < epochs:
        return Finding(
            "good",
            "Stopped in time",
            f"The validation loss was lowest in epoch {best}; training went on to epoch {len(history)} of at most "
            f"{epochs} in vain, and the weights of epoch {best} were kept.",
        )
    if best > LATE * epochs:
        return Finding(
            "note",
            "Still improving at the end",
            f"The validation loss was lowest in epoch {best} of {epochs}, all that were allowed.",
            "Give it more --epochs.",
        )
    return Finding(
        "good", "Enough epochs", f"The validation loss was lowest in epoch {best} of {epochs}; its weights were kept."
    )


def _precision(main: Measured, rows: int) -> Finding | None:
    if main.value is None or main.interval is None:
        return None
    half = (main.interval.high - main.interval.low) / 2
    if half < 0.03:
        return None
    return Finding(
        "note",
        "Few test rows",
        f"With {count(rows, 'test row')}, {NAMES[main.name]} is known to about ±{number(half, 2)}.",
        "Differences between models that are smaller than this mean nothing here.",
    )


def _leak(main: Measured, found: Study) -> Finding | None:
    if main.value is None or not found.importance:
        return None
    first = found.importance[0]
    total = sum(max(item.mean, 0.0) for item in found.importance)
    if main.value < SUSPICIOUS or first.mean < DOMINANT * total or len(found.importance) == 1:
        return None
    return Finding(
        "warning",
        "Too good to be true?",
        f"{sentence(NAMES[main.name])} is {score(main.value)}, nearly all of it from one column, {first.column}.",
        "Make sure that this column is known before the target is, and does not follow from it.",
    )


def _calibration(found: Study) -> Finding | None:
    bins = found.reliability
    if bins is None:
        return None
    figures = f"Predicted and observed shares differ by {percent(bins.error)} on average"
    # Of 20 groups that are right, about one is off by chance.
    if bins.bins_off > max(1, len(bins.counts) // 5) and bins.error > NEGLIGIBLE:
        return Finding(
            "note",
            "Probabilities are off",
            f"{figures}; {bins.bins_off} of {len(bins.counts)} groups lie outside their 95 % interval.",
            "Use the order of the probabilities, or calibrate them before taking them at their word.",
        )
    return Finding("good", "No wrong probabilities to be seen", f"{figures}.")


def _imbalance(run: Run) -> Finding | None:
    if run.target.task == "regression":
        return None
    shares = np.bincount(run.train.truth, minlength=len(run.target.classes)) / len(run.train.truth)
    rarest = int(shares.argmin())
    if shares[rarest] >= RARE / max(1, len(shares) - 1):
        return None
    return Finding(
        "note",
        "A rare class",
        f"{run.target.classes[rarest]} is {percent(float(shares[rarest]))} of the training rows.",
        "Accuracy says little here; look at the confusion matrix, precision and recall.",
    )


def _gaps_in_columns(run: Run) -> Finding | None:
    shares = {encoder.column: float(run.table[encoder.column].missing.mean()) for encoder in run.preparation.encoders}
    many = [f"{name} ({percent(share)})" for name, share in shares.items() if share > MISSING]
    if not many:
        return None
    more = f" and {len(many) - 5} more" if len(many) > 5 else ""
    return Finding(
        "note",
        "Many missing values",
        f"Missing in many rows: {', '.join(many[:5])}{more}.",
        "They were filled and marked; make sure that new data lack them for the same reasons.",
    )
