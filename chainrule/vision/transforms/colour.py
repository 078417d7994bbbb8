"""Brightness, contrast and colours of images, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from ...data.draws import draw_generators, draw_uniforms
from ...errors import ArgumentError, ShapeError
from .images import Array, OfColours

GREY = (0.299, 0.587, 0.114)
"""Parts of red, green and blue in what the eye sees as brightness (ITU-R BT.601)."""


def _grey(images: Array) -> Array:
    """The brightness (n, height, width, 1). Errors: `ShapeError` unless there are 3 channels or 1."""
    if images.shape[3] not in (1, 3):
        raise ShapeError(f"colours need images with 3 channels, or grey ones with 1, got {images.shape[3]} channels")
    return images if images.shape[3] == 1 else images @ np.array(GREY, images.dtype)[:, None]


class Grayscale(OfColours):
    """The brightness 0.299 red + 0.587 green + 0.114 blue, in one channel or in three equal ones.

    Errors: `ShapeError` for images without 3 channels or 1.

    >>> cr.vision.transforms.Grayscale()(np.array([[[255, 0, 0]]], np.uint8)).tolist()
    [[[76]]]
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(f"num_output_channels must be 1 or 3, got {num_output_channels}")
        self.num_output_channels = num_output_channels

    def _change(self, images: Array, top: float) -> Array:
        return np.repeat(_grey(images), self.num_output_channels, axis=3)


class ColorJitter(OfColours):
    """Brightness, contrast and saturation changed by random factors, in random order.

    A number x stands for factors from max(0, 1 - x) to 1 + x, a pair for those between its numbers. A factor f makes
    f · image + (1 - f) · other, cut off at black and white, where the other is black (brightness), the mean brightness
    of the image (contrast), or its brightness at every pixel (saturation).

    Errors: `ArgumentError` for negative numbers, `ShapeError` for images without 3 channels or 1.

    >>> cr.vision.transforms.ColorJitter(brightness=(2, 2))(np.array([[10, 200]], np.uint8)).tolist()
    [[20, 255]]
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)

    def _change(self, images: Array, top: float) -> Array:
        draws = draw_uniforms(len(images), 4).astype(images.dtype)
        orders = np.array(list(permutations(range(3))))[(draws[0] * 6).astype(np.int64)]
        for place in range(3):
            for number, (low, high) in enumerate((self.brightness, self.contrast, self.saturation)):
                rows = np.flatnonzero(orders[:, place] == number)
                if len(rows) and (low, high) != (1, 1):
                    factors = (low + draws[number + 1][rows] * (high - low)).reshape(-1, 1, 1, 1)
                    images[rows] = _blended(images[rows], factors, number, top)
        return images


def _blended(images: Array, factors: Array, number: int, top: float) -> Array:
    blended = images * factors
    if number == 1:
        blended += _grey(images).mean((1, 2, 3), keepdims=True) * (1 - factors)
    elif number == 2:
        blended += _grey(images) * (1 - factors)
    return np.clip(blended, 0, top, out=blended)


def _factors(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    is_number = isinstance(value, int | float)
    limits = (max(0, 1 - value), 1 + value) if is_number else tuple(value)  # type: ignore[operator,arg-type]
    if len(limits) != 2 or not 0 <= limits[0] <= limits[1] or (is_number and value < 0):  # type: ignore[operator]
        raise ArgumentError(f"{name} must be a number that is not negative, or (smallest, largest factor), got {value}")
    return limits[0], limits[1]


class GaussianNoise(OfColours):
    """The image plus normal noise of this mean and standard deviation, in units of the brightest pixel.

    That is 1 in tensors of floats and 255 in bytes. ``clip`` cuts off at black and white: False behind `Normalize`.

    Errors: `ArgumentError` for a negative sigma.

    >>> cr.vision.transforms.GaussianNoise(mean=0.5, sigma=0)(np.array([[0.0, 0.25, 0.75]])).tolist()
    [[0.5, 0.75, 1.0]]
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        if not sigma >= 0:
            raise ArgumentError(f"sigma must be a standard deviation, not negative, got {sigma}")
        self.mean = mean
        self.sigma = sigma
        self.clip = clip

    def _change(self, images: Array, top: float) -> Array:
        for image, source in zip(images, draw_generators(len(images)), strict=True):
            noise = source.standard_normal(image.shape, np.float32)
            noise *= self.sigma * top
            noise += self.mean * top
            image += noise
        return np.clip(images, 0, top, out=images) if self.clip else images
