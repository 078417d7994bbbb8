"""One training step of LeNet-5, where each convolution is short."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "one training step of LeNet-5 on images of 28 x 28, batch 16, SGD with momentum",
    ImageTask("lenet", "lenet5", batch=16, size=28, steps=100, channels=1),
    ratio=4,
)
