"""GoogLeNet, the first Inception network, with batch normalisation and auxiliary heads."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from .. import nn
from ..optim import SGD
from ..optim.lr_scheduler import StepLR
from ..tensor.shaping import cat
from ..vision.transforms import RandomCrop, RandomHorizontalFlip
from .recipe import Recipe

AUXILIARY_WEIGHT = 0.3
"""How much each auxiliary head counts in the loss. Source: Szegedy et al. 2015, section 5."""

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GoogLeNetOutputs(NamedTuple):
    """What a GoogLeNet gives in training: the logits of the network, of its second and of its first auxiliary head."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


def auxiliary_cross_entropy(outputs: Any, target: Any) -> Any:
    """Cross-entropy of a `GoogLeNet`'s output plus 0.3 times that of each auxiliary head, if it has them.

    >>> import chainrule as cr
    >>> outputs = cr.models.GoogLeNetOutputs(*cr.zeros(3, 5, 10))
    >>> cr.models.auxiliary_cross_entropy(outputs, cr.zeros(5).long())
    tensor(3.6841)
    """
    if not isinstance(outputs, tuple):
        return nn.functional.cross_entropy(outputs, target)
    loss, second, first = (nn.functional.cross_entropy(logits, target) for logits in outputs)
    return loss + AUXILIARY_WEIGHT * (first + second)


class BasicConv2d(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **sizes: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **sizes)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Any) -> Any:
        return nn.functional.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Convolutions of different sizes beside each other, whose channels are joined.

    ``reduced3`` and ``reduced5`` are the channels before the larger convolutions. As in torchvision the one that is
    5 × 5 in the paper is 3 × 3, with which the published weights were trained.
    """

    def __init__(
        self, in_channels: int, ones: int, reduced3: int, threes: int, reduced5: int, fives: int, pooled: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ones, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, reduced3, kernel_size=1),
            BasicConv2d(reduced3, threes, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, reduced5, kernel_size=1),
            BasicConv2d(reduced5, fives, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(in_channels, pooled, kernel_size=1),
        )

    def forward(self, x: Any) -> Any:
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A classifier on an intermediate result, through which the gradient reaches the lower layers."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, x: Any) -> Any:
        x = self.conv(nn.functional.adaptive_avg_pool2d(x, (4, 4)))
        x = nn.functional.relu(self.fc1(x.flatten(1)))
        return self.fc2(self.dropout(x))


class GoogLeNet(nn.Module):
    """Nine `Inception` blocks; 6,624,904 parameters for a thousand classes, 13,004,888 with the auxiliary heads.

    In training with ``aux_logits`` the result is `GoogLeNetOutputs`, whose loss is `auxiliary_cross_entropy`; in
    evaluation the heads rest. ``transform_input``: turn images normalised by torchvision's mean and deviation into
    those normalised by 0.5 and 0.5, for which the published weights were trained.
    Shapes: input (N, 3, H, W) with H, W ≥ 32, 224 in the paper; result (N, num_classes), logits. Weights of
    torchvision's ``googlenet`` load. Initial weights are N(0, 0.01²) within ±2, as torchvision's; the paper names none.
    Source: Szegedy et al. 2015, "Going deeper with convolutions"; batch normalisation: Ioffe, Szegedy 2015.

    >>> import chainrule as cr
    >>> cr.models.googlenet(num_classes=10, aux_logits=False).eval()(cr.zeros(1, 3, 32, 32)).shape
    Size([1, 10])
    """

    recipe = Recipe(
        optimizer=partial(SGD, lr=0.01, momentum=0.9, weight_decay=2e-4),
        schedule=partial(StepLR, step_size=8, gamma=0.96),
        batch_size=32,
        epochs=60,
        loss=auxiliary_cross_entropy,
        augmentation=(RandomCrop(224), RandomHorizontalFlip()),
        source="momentum and schedule: Szegedy et al. 2015, section 6; rate, batch, decay and epochs: the model zoo of "
        "Caffe (bvlc_googlenet), for images of 256 × 256",
    )

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        if aux_logits:
            self.aux1 = InceptionAux(512, num_classes, dropout_aux)
            self.aux2 = InceptionAux(528, num_classes, dropout_aux)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=dropout)
        self.fc = nn.Linear(1024, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, mean=0.0, std=0.01, a=-2, b=2)

    def forward(self, x: Any) -> Any:
        if self.transform_input:
            x = _normalized_by_halves(x)
        has_heads = self.training and self.aux_logits
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        first = self.aux1(x) if has_heads else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x) if has_heads else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        x = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        return GoogLeNetOutputs(x, second, first) if has_heads else x


def _normalized_by_halves(x: Any) -> Any:
    """Images normalised by ImageNet's mean and deviation, normalised by 0.5 and 0.5 instead."""
    statistics = zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)
    channels = [
        x[:, c : c + 1] * (deviation / 0.5) + (mean - 0.5) / 0.5 for c, (mean, deviation) in enumerate(statistics)
    ]
    return cat(channels, 1)


def googlenet(
    num_classes: int = 1000,
    aux_logits: bool = True,
    transform_input: bool = False,
    dropout: float = 0.2,
    dropout_aux: float = 0.7,
) -> GoogLeNet:
    """`GoogLeNet`."""
    return GoogLeNet(num_classes, aux_logits, transform_input, dropout, dropout_aux)
