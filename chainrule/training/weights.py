"""Weights of rows: how much each counts in the loss.

The loss of a batch is Σ wᵢ·lossᵢ / Σ wᵢ, as in scikit-learn; an epoch's is the same over all its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.samplers import balanced_weights
from ..errors import ArgumentError, DataError, TargetError, did_you_mean
from .arrays import as_array

Array = np.ndarray[Any, Any]
ClassWeight = Mapping[Any, float] | str | None


def check_sample_weight(sample_weight: Any, rows: int, name: str = "sample_weight") -> Array:
    """Return weights as one number per row.

    Errors: `DataError` for another number of them, for what is negative, NaN or infinite, and if all are 0.
    """
    weights = as_array(sample_weight, name).astype(np.float64)
    if weights.shape != (rows,):
        raise DataError(f"{name} must have one number per row: {rows}, got shape {weights.shape}")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{name} must be numbers of at least 0, got {weights[row]:g} in row {row}")
    if not weights.any():
        raise DataError(f"{name} is zero for every row: nothing is left to learn from")
    return weights


def class_weights(targets: Array, class_weight: ClassWeight) -> Array:
    """Return the weight of the class of each row, one per row.

    ``class_weight``: ``{class: weight}``, or ``"balanced"`` for n / (k · count), with which all of the k classes count
    the same. Classes that a dictionary leaves out have weight 1.
    Errors: `ArgumentError` for what is neither, for negative weights and for classes that no row has; `TargetError`
    for targets that are no classes.
    """
    rows = len(targets)
    if targets.size != rows:
        raise TargetError(f"class_weight needs one class per row, got targets of shape {targets.shape}")
    classes, which = np.unique(targets.reshape(rows), return_inverse=True)
    if isinstance(class_weight, Mapping):
        return _weights_by_class(classes, class_weight)[which]
    if class_weight != "balanced":
        raise ArgumentError(
            f"class_weight must be 'balanced' or a dictionary of class: weight, got {class_weight!r}"
            f"{did_you_mean(str(class_weight), ['balanced'])}"
        )
    if (classes != np.round(classes)).any():
        raise TargetError("class_weight='balanced' needs class numbers, got fractions. fix: sample_weight")
    return balanced_weights(targets.reshape(rows))


def _weights_by_class(classes: Array, table: Mapping[Any, float]) -> Array:
    unknown = [label for label in table if label not in classes]
    if unknown:
        known = ", ".join(f"{label:g}" for label in classes[:10])
        raise ArgumentError(f"class_weight names class {unknown[0]!r}, which no row has; the targets are {known}")
    weights = np.array([float(table.get(label, 1.0)) for label in classes.tolist()])
    if not (weights >= 0).all():
        worst = int(np.argmin(weights >= 0))
        raise ArgumentError(f"class_weight must be at least 0, got {weights[worst]:g} for class {classes[worst]:g}")
    return weights
