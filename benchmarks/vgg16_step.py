"""One training step of VGG16: large convolutions, and 138 million parameters to update."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "one training step of VGG16 on images of 64 x 64, batch 8, SGD with momentum",
    ImageTask("vgg", "vgg16", batch=8, size=64, steps=1, classes=1000),
    ratio=1.05,
    rounds=5,
    repeats=2,
)
