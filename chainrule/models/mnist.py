"""The two-convolution network for MNIST of PyTorch's examples."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..optim import Adadelta
from ..optim.lr_scheduler import StepLR
from .recipe import Recipe


class MnistNet(nn.Module):
    """Convolutions with 32 and 64 maps, max pooling, dropout and two linear layers; 1,199,882 parameters.

    Shapes: input (N, 1, 28, 28), result (N, num_classes), logarithms of probabilities.
    Source: the MNIST example of PyTorch, with dropout of whole channels.

    >>> import chainrule as cr
    >>> cr.models.mnist_net()(cr.zeros(2, 1, 28, 28)).shape
    Size([2, 10])
    """

    recipe = Recipe(
        optimizer=partial(Adadelta, lr=1.0),
        schedule=partial(StepLR, step_size=1, gamma=0.7),
        batch_size=64,
        epochs=14,
        loss="nll",
        source="github.com/pytorch/examples, mnist/main.py; pixels are normalised by mean 0.1307, deviation 0.3081",
    )

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, x: Any) -> Any:
        x = nn.functional.relu(self.conv1(x))
        x = nn.functional.relu(self.conv2(x))
        x = self.dropout1(nn.functional.max_pool2d(x, 2))
        x = nn.functional.relu(self.fc1(x.flatten(1)))
        return nn.functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def mnist_net(num_classes: int = 10) -> MnistNet:
    """`MnistNet`."""
    return MnistNet(num_classes)
