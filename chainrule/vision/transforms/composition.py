"""Transforms made of others, and of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...data.datasets import defined_together
from ...data.draws import draw_uniform
from ...errors import ArgumentError, ShapeError
from ...tensor.operands import from_array
from ...tensor.tensor import Tensor
from .images import check_probability


class Compose:
    """One transform after another.

    >>> from chainrule.vision import transforms
    >>> transforms.Compose([transforms.CenterCrop(2), transforms.ToTensor()])(np.zeros((4, 4), np.uint8)).shape
    Size([1, 2, 2])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def batch(self, images: Any) -> Any:
        """The same for a batch; every transform must have ``batch``."""
        for transform in self.transforms:
            images = transform.batch(images)  # type: ignore[attr-defined]
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class Lambda:
    """Any function of one image.

    >>> cr.vision.transforms.Lambda(lambda image: image[::2])(np.zeros((4, 4))).shape
    (2, 4)
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise ArgumentError(f"Lambda needs a function, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)


class RandomApply(Compose):
    """All of these transforms one after another, with probability ``p``; they must keep shape and type of an image.

    An image of a batch gets the same random numbers whether others of the batch are changed or not.

    Errors: `ShapeError` where shape or type change.

    >>> flip = cr.vision.transforms.RandomHorizontalFlip(p=1)
    >>> cr.vision.transforms.RandomApply([flip], p=1)(np.array([[1, 2]]))
    array([[2, 1]])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = check_probability(p)

    def __call__(self, image: Any) -> Any:
        is_applied = draw_uniform(1)[0] < self.p
        changed = super().__call__(image)
        return changed if is_applied else image

    def batch(self, images: Any) -> Any:
        """The same for a batch; every transform must have ``batch``."""
        is_applied = draw_uniform(len(images)) < self.p
        return _chosen([images, super().batch(images)], is_applied.astype(np.int64))

    def __repr__(self) -> str:
        return f"RandomApply({', '.join(map(repr, self.transforms))}, p={self.p})"


class RandomChoice(Compose):
    """One of these transforms, each with the same probability; all must give the same shape and type.

    Errors: `ShapeError` where shapes or types differ, in batches.

    >>> choices = [cr.vision.transforms.Pad(1), cr.vision.transforms.Pad((1, 1))]
    >>> cr.vision.transforms.RandomChoice(choices)(np.zeros((2, 2))).shape
    (4, 4)
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        super().__init__(transforms)
        if not transforms:
            raise ArgumentError("RandomChoice needs one or more transforms, got none")

    def __call__(self, image: Any) -> Any:
        choice = int(draw_uniform(1)[0] * len(self.transforms))
        return [transform(image) for transform in self.transforms][choice]

    def batch(self, images: Any) -> Any:
        """The same for a batch; every transform must have ``batch``."""
        choices = (draw_uniform(len(images)) * len(self.transforms)).astype(np.int64)
        return _chosen([transform.batch(images) for transform in self.transforms], choices)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"RandomChoice({', '.join(map(repr, self.transforms))})"


def _chosen(batches: Sequence[Any], choices: Any) -> Any:
    """From each row of the batches the one that is chosen: random numbers do not depend on which others are."""
    arrays = [batch.detach()._array() if isinstance(batch, Tensor) else batch for batch in batches]
    kinds = sorted({f"{array.shape[1:]} {array.dtype}" for array in arrays})
    if len(kinds) > 1:
        raise ShapeError(f"images that are changed or not, at random, must keep shape and type, got {kinds}")
    chosen = arrays[0].copy()
    for number, array in enumerate(arrays[1:], 1):
        chosen[choices == number] = array[choices == number]
    return from_array(chosen) if isinstance(batches[0], Tensor) else chosen


def works_on_batches(transform: Any) -> bool:
    """Whether ``transform.batch`` does to every image of a batch what a call does to one."""
    parts = transform.transforms if isinstance(transform, Compose) else ()
    return defined_together(type(transform), "batch", "__call__") and all(map(works_on_batches, parts))
