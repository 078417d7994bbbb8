"""One training step of ResNet-18 on small images."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "one training step of ResNet-18 on images of 64 x 64, batch 16, SGD with momentum",
    ImageTask("resnet", "resnet18", batch=16, size=64, steps=2, classes=1000),
    ratio=1.15,
)
