"""One training step of ResNet-20, the residual network for CIFAR."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "one training step of ResNet-20 on images of 32 x 32, batch 64, SGD with momentum",
    ImageTask("cifar_resnet", "resnet20", batch=64, size=32, steps=2),
    ratio=1.6,
)
