"""What training minimises: the loss of a batch, and what regularisers add to it."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn
from ..errors import ArgumentError, ShapeError
from ..nn.regularizers import Regularizer
from ..tensor import operations

Array = np.ndarray[Any, Any]


class Objective:
    """The loss of a batch, with targets brought into the form that the loss expects, and the regularisers.

    What the loss compares with, and from where on an output means yes, is what the loss says of itself
    (`chainrule.nn.losses.Loss`); a function as loss compares numbers.
    """

    def __init__(self, loss: Any, regularizers: Sequence[Regularizer] = ()) -> None:
        for regularizer in regularizers:
            if not isinstance(regularizer, Regularizer):
                raise ArgumentError(f"{regularizer!r} is no regularizer. fix: e.g. nn.regularizers.L2(1e-4)")
        self.loss = loss
        self.regularizers = tuple(regularizers)
        self.targets: str = getattr(loss, "targets", "values")
        self.threshold: float | None = getattr(loss, "threshold", None)
        self.is_sum = getattr(loss, "reduction", "mean") == "sum"

    def matched(self, output: Any, target: Any) -> Any:
        """The target in the form in which the loss compares it with the output.

        Whole numbers of the output's own shape are probabilities of classes, all others are classes.
        """
        is_like_output = tuple(output.shape) == tuple(target.shape)
        if self.targets == "classes":
            return target.to(output.dtype) if is_like_output and output.dim() > 1 else target
        return target if is_like_output else self._aligned(output, target)

    def of(self, output: Any, target: Any, weights: Any) -> Any:
        """The loss of a batch; with weights Σ wᵢ·lossᵢ / Σ wᵢ, and 0 if they are all 0.

        The loss of a row is the mean (the sum, for losses that are summed) of what ``reduction="none"`` gives for it.
        """
        if weights is None:
            loss = self.loss(output, target)
            if loss.dim():
                raise ShapeError(
                    f"the loss of a batch must be one number, got shape {tuple(loss.shape)}. fix: take its mean()"
                )
            return loss
        losses = self._unreduced(output, target)
        if losses.dim() > 1:
            rows = losses.flatten(1)
            losses = rows.sum(1) if getattr(self.loss, "reduction", "mean") in ("sum", "batchmean") else rows.mean(1)
        total = (losses * weights).sum()
        if self.is_sum:
            return total
        weight = weights.sum()
        return total / operations.where(operations.eq(weight, 0), 1.0, weight)

    def count(self, output: Any, target: Any, weights: Any) -> Any:
        """What `of` is a mean over: rows, or the weights of rows or classes; None for a sum."""
        if self.is_sum:
            return None
        if weights is not None:
            return weights.sum()
        counted = self.loss.counted(target) if isinstance(self.loss, nn.losses.Loss) else None
        return output.shape[0] if counted is None else counted

    def penalty(self, model: Any, output: Any) -> Any:
        """The sum of the regularisers' penalties for a batch; None without any."""
        found = [regularizer.penalty(model, output) for regularizer in self.regularizers]
        penalties = [penalty for penalty in found if penalty is not None]
        return functools.reduce(operations.add, penalties) if penalties else None

    def check(self, targets: Any, classes: int) -> None:
        """Refuse stored targets that the loss cannot be compared with; ``classes`` is what the model tells apart."""
        if isinstance(self.loss, nn.losses.Loss):
            self.loss.check_targets(targets, classes)

    def _unreduced(self, output: Any, target: Any) -> Any:
        if hasattr(self.loss, "reduction"):
            each = copy.copy(self.loss)
            each.reduction = "none"
            return each(output, target)
        if not isinstance(self.loss, nn.Module) and "reduction" in inspect.signature(self.loss).parameters:
            return self.loss(output, target, reduction="none")
        raise ArgumentError(
            f"weights of rows need a loss that can be had row by row: {self.loss!r} has no `reduction`. "
            "fix: a loss of chainrule.nn, or a module with that attribute that gives one loss per row for 'none'"
        )

    def _aligned(self, output: Any, target: Any) -> Any:
        if output.numel() != target.numel():
            raise ShapeError(
                f"the model gives outputs of shape {tuple(output.shape)[1:]} per row, the targets have shape "
                f"{tuple(target.shape)[1:]}. fix: make the last layer give {int(np.prod(target.shape[1:]))} value(s), "
                "or choose a loss for class numbers ('cross_entropy')"
            )
        return target.reshape(tuple(output.shape))

    # For metrics ----------------------------------------------------------------------------------------------------

    @property
    def tells_classes(self) -> bool:
        """Whether `scores` are probabilities of classes."""
        return self.targets == "classes" or self.threshold is not None

    def labels(self, targets: Array) -> Array | None:
        """The class number of each row; None where rows have none, or several."""
        if self.targets == "classes":
            return targets if targets.dtype.kind == "i" and targets.ndim == 1 else None
        if self.threshold is None or targets.size != len(targets):
            return None
        return np.asarray(targets.reshape(len(targets)) > (0.0 if self.targets == "signs" else 0.5)).astype(np.int64)

    def scores(self, output: Array) -> Array:
        """Outputs as what metrics compare with targets: probabilities for classes, else the outputs."""
        if self.threshold == 0.0:
            return np.asarray(1 / (1 + np.exp(-output.astype(float))))
        if isinstance(self.loss, nn.NLLLoss):
            return np.exp(output)
        if self.targets == "classes":
            exponentials = np.exp(output.astype(float) - output.max(1, keepdims=True))
            return np.asarray(exponentials / exponentials.sum(1, keepdims=True))
        return output

    def correct(self, output: Any, target: Any) -> Any:
        """How many rows of a batch are classified right, in parts where a row has several answers; None without any."""
        if self.targets == "classes":
            classes = target.argmax(1) if target.dtype.is_floating_point else target
            return _count_rows(operations.eq(output.argmax(1), classes))
        if self.threshold is None:
            return None
        middle = 0.0 if self.targets == "signs" else 0.5
        return _count_rows(operations.eq(operations.gt(output, self.threshold), operations.gt(target, middle)))


def _count_rows(is_right: Any) -> Any:
    answers = is_right.numel() // is_right.shape[0]
    return is_right.sum() if answers == 1 else is_right.sum() / answers
