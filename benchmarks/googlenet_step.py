"""One training step of GoogLeNet with its auxiliary heads: many branches of small convolutions."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "one training step of GoogLeNet on images of 96 x 96, batch 8, SGD with momentum",
    ImageTask("googlenet", "googlenet", batch=8, size=96, steps=2, classes=1000),
    ratio=1.3,
)
