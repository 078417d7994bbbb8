"""Losses and optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import nn, optim
from ..errors import ArgumentError, did_you_mean

LOSSES: dict[str, Callable[[], Any]] = {
    "mse": nn.MSELoss,
    "mae": nn.L1Loss,
    "l1": nn.L1Loss,
    "bce": nn.BCELoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
}
OPTIMIZERS: dict[str, Callable[[Iterable[Any]], Any]] = {
    "sgd": lambda parameters: optim.SGD(parameters, lr=0.01),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
}


def find_loss(loss: Any) -> Any:
    """Return the loss module of a name; a module or function is returned as it is."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ArgumentError(f"unknown loss {loss!r}{did_you_mean(loss, LOSSES)}; expected one of {', '.join(LOSSES)}")
    return LOSSES[loss]()


def find_optimizer(optimizer: Any, parameters: list[Any]) -> Any:
    """Return the optimiser of a name or of a function of the parameters; an optimiser is returned as it is."""
    if isinstance(optimizer, optim.Optimizer):
        return optimizer
    if callable(optimizer):
        return optimizer(parameters)
    if optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        hint = did_you_mean(optimizer, OPTIMIZERS)
        raise ArgumentError(f"unknown optimizer {optimizer!r}{hint}; expected one of {known}")
    return OPTIMIZERS[optimizer](parameters)
