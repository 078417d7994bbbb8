"""Parts of images taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.draws import draw_uniform
from .crops import cut, random_boxes
from .geometry import positive_range
from .images import Array, OfPixels, check_probability, fill_values


class RandomErasing(OfPixels):
    """A rectangle of random area, shape and place becomes ``value``, a number or one per channel, with probability p.

    ``scale``: the area's share of the image, uniform; ``ratio``: height / width, whose logarithm is uniform. What is
    larger than the image is drawn anew; after ten of these nothing is erased. Sources: Zhong et al. 2017; cut-out of
    DeVries and Taylor 2017 erases one square of fixed size: ``p=1, scale=(s, s), ratio=(1, 1)``.

    Errors: `ShapeError` for another number of values than channels.

    >>> cr.vision.transforms.RandomErasing(p=1, scale=(0.25, 0.25), ratio=(1, 1))(np.ones((4, 4))).sum()
    np.float64(12.0)
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
    ) -> None:
        self.p = check_probability(p)
        self.scale = positive_range("scale", scale)
        self.ratio = positive_range("ratio", ratio)
        self.value = value

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        height, width = images.shape[axes[0]], images.shape[axes[1]]
        is_erased = draw_uniform(len(images)) < self.p
        size = (width, height)  # the ratio is that of a `RandomResizedCrop` of the image on its side
        lefts, tops, widths, heights = random_boxes(len(images), size, self.scale, self.ratio)
        channels = images.shape[3 if axes == (1, 2) else 1] if images.ndim == 4 else 1
        value = fill_values(self.value, images.dtype, channels)
        if value.ndim and axes != (1, 2):
            value = value[:, None, None]
        erased = images.copy()
        behind = (axes[0] % images.ndim - images.ndim, axes[1] % images.ndim - images.ndim)
        for row in np.flatnonzero(is_erased).tolist():
            cut(erased[row], (heights[row], widths[row]), behind, tops[row], lefts[row])[...] = value
        return erased
