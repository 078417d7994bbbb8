"""What a fit minimises: the loss of a batch and the penalty α / (2 n) · Σ w², counted as scikit-learn counts them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .. import nn
from ..files.architecture import describe
from ..nn.losses import Loss
from ..optim.state import memory_of, state_number
from ..tensor.elementwise import xlogy
from ..tensor.operations import convert, exp, where
from ..training.names import find_loss
from ..training.objective import Objective


class PoissonDeviance(Loss):
    """Half the Poisson deviance y ln(y / μ) - y + μ, of the logarithm of the mean μ."""

    def forward(self, input: Any, target: Any) -> Any:
        losses = xlogy(target, target) - target * input - target + exp(input)
        return losses if self.reduction == "none" else losses.mean()


REGRESSION: dict[str, Any] = {
    "squared_error": nn.HalfMSELoss,
    "poisson": PoissonDeviance,
    "absolute_error": nn.L1Loss,
    "huber": nn.HuberLoss,
    "quantile": nn.QuantileLoss,
}
"""Losses by scikit-learn's names."""

SUMMED = (PoissonDeviance, nn.BCEWithLogitsLoss)
"""Losses that scikit-learn sums over the outputs of a row."""


def regression_loss(loss: Any) -> Any:
    """The loss module of a name of scikit-learn's or of `chainrule.training.names`; a module as it is."""
    return REGRESSION[loss]() if isinstance(loss, str) and loss in REGRESSION else find_loss(loss)


def key_of(module: Any) -> Any:
    """Something hashable that is equal for modules of one kind and options; the module itself where that is unknown."""
    text = json.dumps(describe(module)) if isinstance(module, nn.Module) else ""
    is_own = isinstance(module, PoissonDeviance)
    return type(module) if is_own else module if not text or '"unknown"' in text else text


class PenalisedObjective(Objective):
    """The loss of a batch plus α / (2 n) · Σ w² over ``weights``, for n rows or, with weights of rows, their sum.

    α is a run-time value. Of several ``outputs`` the losses of `SUMMED` are summed; of the squared error scikit-learn
    reports the mean over them and descends along the gradient of the sum.
    """

    def __init__(self, loss: Any, weights: Sequence[Any], outputs: int) -> None:
        super().__init__(loss)
        self.weights = list(weights)
        self._alpha = state_number(0.0)
        self._factor = outputs if isinstance(loss, SUMMED) else 1
        self._hidden_factor = outputs - 1 if isinstance(loss, nn.HalfMSELoss) else 0

    def set_alpha(self, alpha: float) -> None:
        """Set the strength of the penalty."""
        memory_of(self._alpha)[...] = alpha

    def of(self, output: Any, target: Any, weights: Any) -> Any:
        loss = super().of(output, target, weights)
        if self._factor > 1:
            loss = loss * self._factor
        if self._hidden_factor:
            rest = loss * self._hidden_factor
            loss = loss + (rest - rest.detach())
        if not self.weights:
            return loss
        squares = sum((weight * weight).sum() for weight in self.weights)
        rows: Any = output.shape[0]
        if weights is not None:
            total = weights.sum()
            rows = where(total == 0, 1.0, total)
        return loss + squares * convert(self._alpha, output.dtype) * 0.5 / rows


def activated(objective: Objective, output: Any) -> Any:
    """Record what a network says in the end: probabilities where it was trained on logits, the mean of counts."""
    loss = objective.loss
    if isinstance(loss, PoissonDeviance) or (isinstance(loss, nn.PoissonNLLLoss) and loss.log_input):
        return exp(output)
    if objective.targets == "classes":
        return exp(output) if isinstance(loss, nn.NLLLoss) else nn.functional.softmax(output, 1)
    return nn.functional.sigmoid(output) if objective.threshold == 0.0 else output
