"""VGG, stacks of 3 × 3 convolutions between poolings, with 11 to 19 layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import nn
from ..optim import SGD
from ..optim.lr_scheduler import StepLR
from ..vision.transforms import RandomCrop, RandomHorizontalFlip
from .recipe import Recipe

STAGES = (64, 128, 256, 512, 512)
"""Channels of the convolutions between two poolings."""

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many convolutions each stage has, by the number of layers (A, B, D and E in the paper's table 1)."""


class VGG(nn.Module):
    """Five stages of 3 × 3 convolutions, each followed by a pooling that halves the image; three linear layers.

    ``convolutions``: how many each stage has; ``batch_norm``: each is followed by batch normalisation.
    Shapes: input (N, 3, H, W) with H, W ≥ 32, 224 in the paper; result (N, num_classes), logits. Weights of
    torchvision's ``vgg16`` and so on load. Initial values are torchvision's: N(0, 2/fan_out) for convolutions (He et
    al. 2015), N(0, 0.01²) for linear layers, 0 for biases; the paper draws all weights from N(0, 0.01²), and starts its
    deeper networks with the layers of a trained shallower one.
    Source: Simonyan, Zisserman 2014, "Very deep convolutional networks for large-scale image recognition".

    >>> import chainrule as cr
    >>> sum(cr.models.vgg.CONVOLUTIONS[16]) + 3
    16
    """

    recipe = Recipe(
        optimizer=partial(SGD, lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=partial(StepLR, step_size=20, gamma=0.1),
        batch_size=256,
        epochs=74,
        augmentation=(RandomCrop(224), RandomHorizontalFlip()),
        source="Simonyan, Zisserman 2014, section 3.1, for images whose shorter side is 256; the rate is divided by 10 "
        "when the validation accuracy settles, three times in all, here every 20 epochs",
    )

    def __init__(
        self, convolutions: Sequence[int], num_classes: int = 1000, batch_norm: bool = False, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = _features(convolutions, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Any) -> Any:
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))


def _features(convolutions: Sequence[int], batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for count, outputs in zip(convolutions, STAGES, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(channels, outputs, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
            channels = outputs
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def vgg11(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`VGG` of 11 layers: 132,863,336 parameters."""
    return VGG(CONVOLUTIONS[11], num_classes, False, dropout)


def vgg13(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`VGG` of 13 layers: 133,047,848 parameters."""
    return VGG(CONVOLUTIONS[13], num_classes, False, dropout)


def vgg16(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`VGG` of 16 layers: 138,357,544 parameters."""
    return VGG(CONVOLUTIONS[16], num_classes, False, dropout)


def vgg19(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`VGG` of 19 layers: 143,667,240 parameters."""
    return VGG(CONVOLUTIONS[19], num_classes, False, dropout)


def vgg11_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`vgg11` with batch normalisation: 132,868,840 parameters."""
    return VGG(CONVOLUTIONS[11], num_classes, True, dropout)


def vgg13_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`vgg13` with batch normalisation: 133,053,736 parameters."""
    return VGG(CONVOLUTIONS[13], num_classes, True, dropout)


def vgg16_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`vgg16` with batch normalisation: 138,365,992 parameters."""
    return VGG(CONVOLUTIONS[16], num_classes, True, dropout)


def vgg19_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """`vgg19` with batch normalisation: 143,678,248 parameters."""
    return VGG(CONVOLUTIONS[19], num_classes, True, dropout)
