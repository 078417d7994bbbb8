"""Batches of images mixed with themselves, and their labels likewise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.collation import new_tensor
from ...data.draws import draw_generators
from ...errors import ArgumentError, DTypeError, ShapeError
from ...tensor.tensor import Tensor
from ...types import as_dtype, float32
from .images import Array


class MixUp:
    """λᵢ · imageᵢ + (1 - λᵢ) · imageᵢ₋₁, and the same for the labels, with λᵢ from the distribution Beta(alpha, alpha).

    It takes a batch, images and labels, and is called on what a `DataLoader` gives, or in its ``collate_fn``. Class
    numbers become probabilities (n, ``num_classes``), which `nn.CrossEntropyLoss` takes as targets; labels that are
    floats are mixed as they are. Source: Zhang et al. 2018.

    Errors: `ArgumentError` for an alpha that is not positive, and for class numbers without ``num_classes``;
    `DTypeError` for images that are not floats; `ShapeError` where the numbers of images and labels differ.

    >>> mixup = cr.vision.transforms.MixUp(alpha=0.2, num_classes=3)
    >>> images, labels = mixup(cr.ones(2, 1, 4, 4), cr.tensor([0, 2]))
    >>> images.shape, labels.shape, labels.sum(1)
    (Size([2, 1, 4, 4]), Size([2, 3]), tensor([1., 1.]))
    """

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        if not alpha > 0:
            raise ArgumentError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha
        self.num_classes = num_classes

    def __call__(self, images: Any, labels: Any) -> tuple[Any, Any]:
        if not isinstance(images, Tensor) or not images.dtype.is_floating_point:
            found = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise DTypeError(f"MixUp needs a tensor of floats, got {found}. fix: ToTensor() before it")
        pixels, targets = (
            images.detach()._array(),
            np.asarray(labels.detach() if isinstance(labels, Tensor) else labels),
        )
        if not pixels.ndim or targets.shape[:1] != pixels.shape[:1]:
            raise ShapeError(f"MixUp needs one label per image, got images {pixels.shape} and labels {targets.shape}")
        if targets.dtype.kind in "iu":
            targets = self._probabilities(targets)
        shares = np.array([source.beta(self.alpha, self.alpha) for source in draw_generators(len(pixels))])
        return _mixed(pixels, shares), _mixed(targets, shares)

    def _probabilities(self, classes: Array) -> Array:
        if self.num_classes is None or classes.ndim != 1 or not ((classes >= 0) & (classes < self.num_classes)).all():
            raise ArgumentError(
                f"MixUp needs class numbers (n,) from 0 to num_classes - 1, num_classes is {self.num_classes}; got "
                f"shape {classes.shape}, largest {classes.max(initial=0)}. fix: MixUp(num_classes=...)"
            )
        return np.eye(self.num_classes, dtype=float32.numpy)[classes]

    def __repr__(self) -> str:
        return f"MixUp(alpha={self.alpha}, num_classes={self.num_classes})"


def _mixed(values: Array, shares: Array) -> Any:
    tensor, mixed = new_tensor(values.shape, as_dtype(values.dtype))
    own = shares.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
    np.multiply(values, own, out=mixed)
    mixed += np.roll(values, 1, axis=0) * (1 - own)
    return tensor
