"""Flips, borders, and pieces of images: pixels stay what they are."""

from __future__ import annotations

import numpy as np

from ...data.draws import draw_uniform, draw_uniforms
from ...errors import ShapeError
from .images import Array, OfPixels, Sizes, check_probability, fill_values, four_sides, height_and_width, new_array

TRIES = 10
"""Draws of a piece that fits, before it is given up."""


class RandomHorizontalFlip(OfPixels):
    """Left and right exchanged, with probability ``p``.

    Random numbers are those of the rows that a `DataLoader` reads, elsewhere those of ``manual_seed``.

    >>> cr.vision.transforms.RandomHorizontalFlip(p=1)(np.array([[1, 2]]))
    array([[2, 1]])
    """

    axis = 1

    def __init__(self, p: float = 0.5) -> None:
        self.p = check_probability(p)

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        is_flipped = draw_uniform(len(images)) < self.p
        flipped = new_array(images.shape, images.dtype)
        flipped[...] = images
        mirrored = np.flip(images, axes[self.axis])
        for row in np.flatnonzero(is_flipped).tolist():
            flipped[row] = mirrored[row]
        return flipped


class RandomVerticalFlip(RandomHorizontalFlip):
    """Top and bottom exchanged, with probability ``p``; see `RandomHorizontalFlip`.

    >>> cr.vision.transforms.RandomVerticalFlip(p=1)(np.array([[1], [2]])).tolist()
    [[2], [1]]
    """

    axis = 0


class Pad(OfPixels):
    """``fill`` around the image: so many pixels on all sides, or (left and right, top and bottom), or one number each
    for (left, top, right, bottom).

    >>> cr.vision.transforms.Pad((1, 0))(np.array([[5]]))
    array([[0, 5, 0]])
    """

    def __init__(self, padding: Sizes, fill: float = 0) -> None:
        self.padding = four_sides(padding)
        self.fill = fill

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        left, top, right, bottom = self.padding
        shape, (height, width) = list(images.shape), (images.shape[axes[0]], images.shape[axes[1]])
        shape[axes[0]], shape[axes[1]] = height + top + bottom, width + left + right
        padded = new_array(tuple(shape), images.dtype)
        padded[...] = fill_values(self.fill, images.dtype, 1)
        cut(padded, (height, width), axes, top, left)[...] = images
        return padded


class CenterCrop(OfPixels):
    """The middle of an image, of size ``size`` or (height, width).

    Errors: `ShapeError` for images that are smaller.

    >>> cr.vision.transforms.CenterCrop(1)(np.arange(9).reshape(3, 3))
    array([[4]])
    """

    def __init__(self, size: Sizes) -> None:
        self.size = height_and_width(size)

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        spare = _spare(images, self.size, axes)
        return cut(images, self.size, axes, *(round(pixels / 2) for pixels in spare)).copy()


class RandomCrop(OfPixels):
    """A piece at a random place, of size ``size`` or (height, width), of the image padded as by `Pad`.

    Random numbers are those of the rows that a `DataLoader` reads, elsewhere those of ``manual_seed``.

    Errors: `ShapeError` for images that are smaller.

    >>> cr.vision.transforms.RandomCrop(32, padding=4)(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(self, size: Sizes, padding: Sizes | None = None, fill: float = 0) -> None:
        self.size = height_and_width(size)
        self.padding = four_sides(padding or 0)
        self.fill = fill

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        padded = Pad(self.padding, self.fill)._apply(images, axes) if any(self.padding) else images
        spare = _spare(padded, self.size, axes)
        tops, lefts = (np.floor(draw_uniform(len(images)) * (pixels + 1)).astype(np.int64) for pixels in spare)
        shape = list(images.shape)
        shape[axes[0]], shape[axes[1]] = self.size
        pieces = new_array(tuple(shape), images.dtype)
        # every image alone: its axes are those of the batch, counted from behind
        behind = (axes[0] % images.ndim - images.ndim, axes[1] % images.ndim - images.ndim)
        for piece, image, top, left in zip(pieces, padded, tops.tolist(), lefts.tolist(), strict=True):
            piece[...] = cut(image, self.size, behind, top, left)
        return pieces


def cut(images: Array, size: tuple[int, int], axes: tuple[int, int], top: int, left: int) -> Array:
    """A piece of this size, as a view."""
    index: list[slice] = [slice(None)] * images.ndim
    index[axes[0]], index[axes[1]] = slice(top, top + size[0]), slice(left, left + size[1])
    return images[tuple(index)]


def _spare(images: Array, size: tuple[int, int], axes: tuple[int, int]) -> tuple[int, int]:
    """By how many pixels images are higher and wider than ``size``."""
    height, width = images.shape[axes[0]], images.shape[axes[1]]
    if height < size[0] or width < size[1]:
        raise ShapeError(f"a piece of {size[0]} x {size[1]} pixels does not fit into an image of {height} x {width}")
    return height - size[0], width - size[1]


def random_boxes(
    rows: int, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Top, left, height and width of a random piece of every image; all 0 where none of ten draws fitted into it.

    The share of the area is uniform in ``scale``, the logarithm of width / height in ``ratio``, the place uniform.
    """
    height, width = size
    draws = draw_uniforms(rows, 2 * TRIES + 2).astype(np.float64)
    areas = height * width * (scale[0] + draws[:TRIES] * (scale[1] - scale[0]))
    low, high = np.log(ratio)
    ratios = np.exp(low + draws[TRIES:-2] * (high - low))
    widths, heights = (np.rint(np.sqrt(areas * factor)) for factor in (ratios, 1 / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.argmax(0), np.arange(rows)
    heights, widths = (np.where(fits[first], sizes[first], 0) for sizes in (heights, widths))
    tops, lefts = (
        np.where(fits[first], np.floor(draw * (room + 1)), 0)
        for draw, room in ((draws[-2], height - heights), (draws[-1], width - widths))
    )
    boxes = np.stack([tops, lefts, heights, widths]).astype(np.int64).tolist()
    return boxes[0], boxes[1], boxes[2], boxes[3]
