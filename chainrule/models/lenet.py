"""LeNet-5, the convolutional network for handwritten digits of 1998."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..optim import SGD
from .recipe import Recipe


class LeNet5(nn.Module):
    """Two convolutions with tanh and average pooling, three linear layers; 61,706 parameters for ten classes.

    Shapes: input (N, 1, 28, 28), which the first layer pads to the paper's 32 × 32, or with as many channels as
    ``in_channels``; result (N, num_classes), logits. As usual today, each map of the second convolution sees all maps
    of the first, pooling has no weights of its own, and the output is linear instead of radial basis functions.
    Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".

    >>> import chainrule as cr
    >>> cr.models.lenet5()(cr.zeros(2, 1, 28, 28)).shape
    Size([2, 10])
    """

    recipe = Recipe(
        optimizer=partial(SGD, lr=0.05, momentum=0.9),
        batch_size=64,
        epochs=10,
        source="chainrule; the paper's 20 passes use a diagonal second-order method, batches of one, distortions",
    )

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Any) -> Any:
        x = nn.functional.avg_pool2d(self.conv1(x).tanh(), 2)
        x = nn.functional.avg_pool2d(self.conv2(x).tanh(), 2)
        x = self.fc1(x.flatten(1)).tanh()
        return self.fc3(self.fc2(x).tanh())


def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """`LeNet5`."""
    return LeNet5(num_classes, in_channels)
