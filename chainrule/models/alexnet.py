"""AlexNet, the network that won ImageNet in 2012, in its single-tower form."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..optim import SGD
from ..optim.lr_scheduler import StepLR
from ..vision.transforms import RandomCrop, RandomHorizontalFlip
from .recipe import Recipe


class AlexNet(nn.Module):
    """Five convolutions, three linear layers; 61,100,840 parameters for a thousand classes.

    Shapes: input (N, 3, H, W) with H, W ≥ 63, 224 in the paper; result (N, num_classes), logits. ``dropout``: the
    probability of dropping before the first two linear layers. Weights of torchvision's ``alexnet`` load.
    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", after Krizhevsky,
    Sutskever, Hinton 2012.

    >>> import chainrule as cr
    >>> cr.models.alexnet(num_classes=10).features(cr.zeros(1, 3, 224, 224)).shape
    Size([1, 256, 6, 6])
    """

    recipe = Recipe(
        optimizer=partial(SGD, lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=partial(StepLR, step_size=30, gamma=0.1),
        batch_size=128,
        epochs=90,
        augmentation=(RandomCrop(224), RandomHorizontalFlip()),
        source="Krizhevsky, Sutskever, Hinton 2012, sections 4.1 and 5, for images of 256 × 256; the rate is "
        "divided by 10 when the validation error settles, here every 30 epochs",
    )

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Any) -> Any:
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))


def alexnet(num_classes: int = 1000, dropout: float = 0.5) -> AlexNet:
    """`AlexNet`."""
    return AlexNet(num_classes, dropout)
