"""The multi-layer perceptron: linear layers with ReLU and dropout between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from .. import nn
from ..optim import RMSprop
from .recipe import Recipe


class MLP(nn.Module):
    """Linear layers of ``hidden`` sizes, each followed by ReLU and dropout, and one to the outputs.

    Shapes: input (N, in_features) or images with as many pixels, result (N, num_classes), logits.

    >>> import chainrule as cr
    >>> cr.models.mlp(8, hidden=(12, 8), num_classes=3)(cr.zeros(5, 8)).shape
    Size([5, 3])
    """

    recipe = Recipe(
        optimizer=partial(RMSprop, lr=0.001, alpha=0.9, eps=1e-7),
        batch_size=128,
        epochs=20,
        source="the example mnist_mlp of Keras: 98.4 % on MNIST",
    )

    def __init__(
        self, in_features: int = 784, hidden: Sequence[int] = (512, 512), num_classes: int = 10, dropout: float = 0.2
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((in_features, *hidden)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear((in_features, *hidden)[-1], num_classes))

    def forward(self, x: Any) -> Any:
        return self.layers(x.flatten(1))


def mlp(in_features: int = 784, hidden: Sequence[int] = (512, 512), num_classes: int = 10, dropout: float = 0.2) -> MLP:
    """`MLP`."""
    return MLP(in_features, hidden, num_classes, dropout)
