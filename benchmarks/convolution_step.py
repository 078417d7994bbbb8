"""One training step of the two-convolution network for MNIST."""

from __future__ import annotations

from .image_networks import ImageTask, against_torch

BENCHMARK = against_torch(
    "one training step of the two-convolution network for MNIST, batch 64, Adadelta",
    ImageTask("mnist", "mnist_net", batch=64, size=28, steps=10, channels=1),
    ratio=1.7,
)
