"""Losses and optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import nn, optim
from ..errors import ArgumentError, did_you_mean

LOSSES: dict[str, Callable[[], Any]] = {
    "mse": nn.MSELoss,
    "half_mse": nn.HalfMSELoss,
    "mae": nn.L1Loss,
    "l1": nn.L1Loss,
    "huber": nn.HuberLoss,
    "smooth_l1": nn.SmoothL1Loss,
    "epsilon_insensitive": nn.EpsilonInsensitiveLoss,
    "quantile": nn.QuantileLoss,
    "poisson_nll": nn.PoissonNLLLoss,
    "bce": nn.BCELoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "logistic": nn.SoftMarginLoss,
    "soft_margin": nn.SoftMarginLoss,
    "hinge": nn.HingeLoss,
    "squared_hinge": nn.SquaredHingeLoss,
    "exponential": nn.ExponentialLoss,
    "perceptron": nn.PerceptronLoss,
    "hinge_embedding": nn.HingeEmbeddingLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
    "kl_div": lambda: nn.KLDivLoss("batchmean"),
    "multi_margin": nn.MultiMarginLoss,
    "multilabel_margin": nn.MultiLabelMarginLoss,
    "multilabel_soft_margin": nn.MultiLabelSoftMarginLoss,
}
OPTIMIZERS: dict[str, Callable[[Iterable[Any]], Any]] = {
    "sgd": lambda parameters: optim.SGD(parameters, lr=0.01),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "adamax": optim.Adamax,
    "asgd": optim.ASGD,
    "lamb": optim.LAMB,
    "lion": optim.Lion,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
    "rmsprop": optim.RMSprop,
    "rprop": optim.Rprop,
}


def find_loss(loss: Any) -> Any:
    """Return the loss module of a name; a module or function is returned as it is.

    Errors: `ArgumentError` for an unknown name, and for a class in place of a loss.
    """
    if isinstance(loss, type):
        raise ArgumentError(f"loss must be a name, a loss module or a function, got the class. fix: {loss.__name__}()")
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ArgumentError(f"unknown loss {loss!r}{did_you_mean(loss, LOSSES)}; expected one of {', '.join(LOSSES)}")
    return LOSSES[loss]()


def find_optimizer(optimizer: Any, parameters: list[Any]) -> Any:
    """Return the optimiser of a name or of a function of the parameters; an optimiser is returned as it is.

    Errors: `ArgumentError` for an unknown name, and for an optimiser that holds none of the parameters.
    """
    if isinstance(optimizer, optim.Optimizer):
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if held.isdisjoint(map(id, parameters)):
            raise ArgumentError(
                "the optimizer holds none of the model's trainable parameters, so the model would stay as it is. "
                f"fix: {type(optimizer).__name__}(model.parameters(), ...) of this very model"
            )
        return optimizer
    if callable(optimizer):
        return optimizer(parameters)
    if optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        hint = did_you_mean(optimizer, OPTIMIZERS)
        raise ArgumentError(f"unknown optimizer {optimizer!r}{hint}; expected one of {known}")
    return OPTIMIZERS[optimizer](parameters)
