"""ResNet, networks of residual blocks with 18 to 152 layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import nn
from ..optim import SGD
from ..optim.lr_scheduler import StepLR
from ..vision.transforms import RandomCrop, RandomHorizontalFlip
from .recipe import Recipe


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions; their result plus the input, or its ``downsample`` where shapes differ."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """Convolutions of 1 × 1, 3 × 3 and 1 × 1, the last with four times the channels, and the shortcut of `BasicBlock`.

    The stride is that of the 3 × 3 convolution, as in torchvision, and not of the first 1 × 1 one, as in the paper.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """A 7 × 7 convolution, four stages of ``blocks`` with 64 to 512 channels, a global average, a linear layer.

    ``blocks``: how many of ``block``, `BasicBlock` or `Bottleneck`, each stage has. Shortcuts between stages are 1 × 1
    convolutions (the paper's option B). Shapes: input (N, 3, H, W), 224 × 224 in the paper; result (N, num_classes),
    logits. Weights of torchvision's ``resnet18`` and so on load. Convolutions start from N(0, 2/fan_out).
    Source: He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition"; initial values: He et al. 2015.

    >>> import chainrule as cr
    >>> cr.models.resnet18(num_classes=10).eval()(cr.zeros(1, 3, 32, 32)).shape
    Size([1, 10])
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    recipe = Recipe(
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=partial(StepLR, step_size=30, gamma=0.1),
        batch_size=256,
        epochs=90,
        augmentation=(RandomCrop(224), RandomHorizontalFlip()),
        source="He et al. 2016, section 3.4, for images whose shorter side is drawn from 256 to 480; the rate "
        "is divided by 10 when the error settles, here every 30 epochs (torchvision)",
    )

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], blocks: Sequence[int], num_classes: int = 1000
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        inputs = 64
        for stage, count in enumerate(blocks):
            channels, stride = 64 * 2**stage, 1 if stage == 0 else 2
            self.add_module(f"layer{stage + 1}", _stage(block, inputs, channels, count, stride))
            inputs = channels * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, num_classes)
        start_convolutions(self)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(block: Any, inputs: int, channels: int, count: int, stride: int) -> nn.Sequential:
    """Blocks of one size; the first makes the image smaller, and its shortcut a convolution where shapes differ."""
    outputs = channels * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
        )
    first = block(inputs, channels, stride, downsample)
    return nn.Sequential(first, *(block(outputs, channels) for _ in range(1, count)))


def start_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 2/fan_out). Source: He et al. 2015, equation 14."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(num_classes: int = 1000) -> ResNet:
    """`ResNet` of 18 layers: 11,689,512 parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """`ResNet` of 34 layers: 21,797,672 parameters."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """`ResNet` of 50 layers: 25,557,032 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """`ResNet` of 101 layers: 44,549,160 parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """`ResNet` of 152 layers: 60,192,808 parameters."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes)
