"""The residual networks for CIFAR's small images, with 20 to 110 layers."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..optim import SGD
from ..optim.lr_scheduler import MultiStepLR
from ..vision.transforms import RandomCrop, RandomHorizontalFlip
from .recipe import Recipe
from .resnet import BasicBlock, start_convolutions


class PaddedShortcut(nn.Module):
    """Every second pixel in both directions and ``added`` channels of zeros: a shortcut without weights (option A)."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, x: Any) -> Any:
        before = self.added // 2
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.added - before))

    def extra_repr(self) -> str:
        return f"added={self.added}"


class CifarResNet(nn.Module):
    """A 3 × 3 convolution, three stages of n blocks with 16, 32 and 64 channels, a global average, a linear layer.

    ``depth`` = 6 n + 2. Shapes: input (N, 3, 32, 32) or larger images, result (N, num_classes), logits. Convolutions
    start from N(0, 2/fan_out). Source: He, Zhang, Ren, Sun 2016, section 4.2.

    >>> import chainrule as cr
    >>> cr.models.resnet20().eval()(cr.zeros(2, 3, 32, 32)).shape
    Size([2, 10])
    """

    recipe = Recipe(
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=partial(MultiStepLR, milestones=(82, 123), gamma=0.1),
        batch_size=128,
        epochs=164,
        augmentation=(RandomCrop(32, padding=4), RandomHorizontalFlip()),
        source="He et al. 2016, section 4.2: 64,000 steps, the rate divided by 10 at 32,000 and 48,000; with 110 "
        "layers the first 400 steps have the rate 0.01",
    )

    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16) for _ in range(blocks)))
        self.layer2 = _smaller_stage(16, 32, blocks)
        self.layer3 = _smaller_stage(32, 64, blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes)
        start_convolutions(self)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _smaller_stage(inputs: int, channels: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(inputs, channels, stride=2, downsample=PaddedShortcut(channels - inputs))
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(1, blocks)))


def resnet20(num_classes: int = 10) -> CifarResNet:
    """`CifarResNet` of 20 layers: 269,722 parameters."""
    return CifarResNet(20, num_classes)


def resnet32(num_classes: int = 10) -> CifarResNet:
    """`CifarResNet` of 32 layers: 464,154 parameters."""
    return CifarResNet(32, num_classes)


def resnet44(num_classes: int = 10) -> CifarResNet:
    """`CifarResNet` of 44 layers: 658,586 parameters."""
    return CifarResNet(44, num_classes)


def resnet56(num_classes: int = 10) -> CifarResNet:
    """`CifarResNet` of 56 layers: 853,018 parameters."""
    return CifarResNet(56, num_classes)


def resnet110(num_classes: int = 10) -> CifarResNet:
    """`CifarResNet` of 110 layers: 1,727,962 parameters."""
    return CifarResNet(110, num_classes)
