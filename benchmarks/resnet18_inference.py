"""The prediction of ResNet-18 for one image."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "prediction of ResNet-18 for one image of 224 x 224",
    ImageTask("resnet", "resnet18", batch=1, size=224, steps=5, classes=1000),
    ratio=1.15,
    is_inference=True,
)
