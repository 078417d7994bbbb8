"""Training recipes: with which optimiser, rates, batches and augmentation a network was trained, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..nn.regularizers import Regularizer
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: what `Trainer` and `DataLoader` are to be given.

    >>> import chainrule as cr
    >>> recipe = cr.models.MnistNet.recipe
    >>> optimizer = recipe.optimizer(cr.models.mnist_net().parameters())
    >>> type(optimizer).__name__, type(recipe.schedule(optimizer)).__name__, recipe.epochs
    ('Adadelta', 'StepLR', 14)
    """

    optimizer: Callable[[Any], Optimizer]
    """makes the optimiser of the parameters"""
    batch_size: int
    epochs: int
    source: str
    """who says so"""
    loss: Any = "cross_entropy"
    """a name that `Trainer` knows, or a function of output and target"""
    schedule: Callable[[Optimizer], LRScheduler] | None = None
    """makes the schedule of the rate, which is to step after every epoch"""
    augmentation: tuple[Any, ...] = ()
    """what is done to training images before they become tensors: transforms of `chainrule.vision`"""
    regularizers: tuple[Regularizer, ...] = ()
    """what keeps the network from fitting its training rows too closely"""
    clip_norm: float | None = None
    """the norm beyond which gradients are clipped"""
