"""Images turned, moved, sheared, resized and distorted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...data.draws import draw_generators, draw_uniforms
from ...errors import ArgumentError
from .crops import cut, random_boxes
from .images import Array, OfColours, Sizes, height_and_width
from .sampling import InterpolationMode, as_mode, resized, sampled

Range = float | Sequence[float]
"""From minus a number to it, or from one number to another."""


class Resize(OfColours):
    """The image with size (height, width), or, for one number, with that as its shorter side and the same shape.

    ``interpolation`` is ``"bilinear"`` (with ``antialias``, the mean of all pixels under a triangle, where images get
    smaller) or ``"nearest"``; the results are those of PyTorch's ``interpolate`` (nearest: ``"nearest-exact"``).

    >>> cr.vision.transforms.Resize(1)(np.array([[0, 2], [4, 6]], np.uint8)).tolist()
    [[3]]
    """

    def __init__(self, size: Sizes, interpolation: str = InterpolationMode.BILINEAR, *, antialias: bool = True) -> None:
        self.size = size if isinstance(size, int) else tuple(size)
        height_and_width(size)
        self.interpolation = as_mode(interpolation)
        self.antialias = antialias

    def _change(self, images: Array, top: float) -> Array:
        size = self.size
        if isinstance(size, int) or len(size) == 1:
            shorter = height_and_width(size)[0]
            height, width = images.shape[1:3]
            size = (
                (shorter, int(shorter * width / height)) if height < width else (int(shorter * height / width), shorter)
            )
        return resized(images, height_and_width(size), self.interpolation, self.antialias)


class RandomResizedCrop(OfColours):
    """A piece of random area and shape at a random place, resized to ``size`` or (height, width), as by `Resize`.

    ``scale``: the area's share of the image, uniform; ``ratio``: width / height, whose logarithm is uniform. A piece
    that does not fit is drawn anew; after ten of these it is the middle of the image. Source: Szegedy et al. 2015.

    >>> cr.vision.transforms.RandomResizedCrop(24)(np.zeros((32, 32, 3), np.uint8)).shape
    (24, 24, 3)
    """

    def __init__(
        self,
        size: Sizes,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = InterpolationMode.BILINEAR,
        antialias: bool = True,
    ) -> None:
        self.size = height_and_width(size)
        self.scale = positive_range("scale", scale)
        self.ratio = positive_range("ratio", ratio)
        self.interpolation = as_mode(interpolation)
        self.antialias = antialias

    def _change(self, images: Array, top: float) -> Array:
        height, width = images.shape[1:3]
        tops, lefts, heights, widths = random_boxes(len(images), (height, width), self.scale, self.ratio)
        middle = self._middle(height, width)
        pieces = []
        for image, *box in zip(images, tops, lefts, heights, widths, strict=True):
            y, x, h, w = box if box[2] else middle
            piece = cut(image[None], (h, w), (1, 2), y, x)
            pieces.append(resized(piece, self.size, self.interpolation, self.antialias))
        return np.concatenate(pieces)

    def _middle(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The largest piece in the middle whose shape is allowed."""
        low, high = self.ratio
        w = min(width, round(height * high))
        h = min(height, round(width / low))
        return (height - h) // 2, (width - w) // 2, h, w


class RandomAffine(OfColours):
    """The image turned, scaled and sheared about its middle, and moved, by random amounts; it keeps its size.

    - ``degrees``: clockwise angles from -degrees to degrees, or from one to another.
    - ``translate``: the largest shift along x and y, as shares of width and height; shifts are whole pixels.
    - ``scale``: the smallest and the largest factor. ``shear``: degrees along x (one number or two), or four numbers:
      from one to another along x, then along y.
    - ``interpolation`` is ``"nearest"`` or ``"bilinear"``; ``fill`` (a number, or one per channel) lies outside the
      image; ``center`` is (x, y) in pixels from the upper left corner.

    >>> cr.vision.transforms.RandomAffine((90, 90))(np.array([[1, 2], [3, 4]])).tolist()
    [[3, 1], [4, 2]]
    """

    clockwise = 1

    def __init__(
        self,
        degrees: Range,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Range | None = None,
        interpolation: str = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        self.degrees = _symmetric_range("degrees", degrees)
        if translate is not None and (len(translate) != 2 or not all(0 <= share <= 1 for share in translate)):
            raise ArgumentError(f"translate must be two shares between 0 and 1, of width and height, got {translate}")
        self.translate = translate
        self.scale = None if scale is None else positive_range("scale", scale)
        if shear is None or isinstance(shear, int | float) or len(shear) == 2:
            self.shear = (*_symmetric_range("shear", shear or 0), 0.0, 0.0)
        else:
            self.shear = (*_symmetric_range("shear", shear[:2]), *_symmetric_range("shear", shear[2:]))
        self.interpolation = as_mode(interpolation)
        self.fill = fill
        self.center = center

    def _change(self, images: Array, top: float) -> Array:
        n, height, width, _ = images.shape
        draws = draw_uniforms(n, 6).astype(np.float64)
        degrees = _between(draws[0], self.degrees) * self.clockwise
        limits = np.array(self.translate or (0, 0)) * (width, height)
        shifts = np.rint((2 * draws[1:3] - 1) * limits[:, None])
        scales = np.ones(n) if self.scale is None else _between(draws[3], self.scale)
        shears = np.stack([_between(draws[4], self.shear[:2]), _between(draws[5], self.shear[2:])])
        x, y = ((width - 1) / 2, (height - 1) / 2) if self.center is None else np.subtract(self.center, 0.5)
        back = np.linalg.inv(_matrices(np.radians(degrees), scales, np.radians(shears)))
        columns = (np.arange(width) - x - shifts[0][:, None])[:, None, :]
        rows = (np.arange(height) - y - shifts[1][:, None])[:, :, None]
        a, b, c, d = back.reshape(n, 4).T[:, :, None, None]
        return sampled(images, c * columns + d * rows + y, a * columns + b * rows + x, self.fill, self.interpolation)


def _matrices(angles: Array, scales: Array, shears: Array) -> Array:
    """scale · rotation · shear along y · shear along x, (n, 2, 2), of (x, y), y downwards: angles are clockwise."""
    one, zero = np.ones_like(angles), np.zeros_like(angles)
    cos, sin, (tan_x, tan_y) = np.cos(angles), np.sin(angles), np.tan(shears)
    factors = ((cos, -sin, sin, cos), (one, zero, -tan_y, one), (one, -tan_x, zero, one))
    rotation, along_y, along_x = (np.stack(factor, -1).reshape(-1, 2, 2) for factor in factors)
    product: Array = scales[:, None, None] * (rotation @ along_y @ along_x)
    return product


class RandomRotation(RandomAffine):
    """The image turned about its middle by a random angle; it keeps its size.

    ``degrees``: counter-clockwise angles from -degrees to degrees, or from one to another. The rest is as in
    `RandomAffine`.

    >>> cr.vision.transforms.RandomRotation((90, 90))(np.array([[1, 2], [3, 4]])).tolist()
    [[2, 4], [1, 3]]
    """

    clockwise = -1

    def __init__(
        self,
        degrees: Range,
        interpolation: str = InterpolationMode.NEAREST,
        *,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__(degrees, interpolation=interpolation, fill=fill, center=center)


class ElasticTransform(OfColours):
    """The image with every pixel taken from a place nearby: alpha / 2 pixels · noise, smooth over ``sigma`` pixels.

    The noise is uniform in [-1, 1) along x and y, blurred with a Gaussian; as in torchvision, which makes alpha twice
    that of Simard, Steinkraus and Platt 2003. ``fill`` lies outside the image.

    Errors: `ArgumentError` for a sigma that is not positive.

    >>> cr.vision.transforms.ElasticTransform(alpha=30.0, sigma=4.0)(np.zeros((28, 28), np.uint8)).shape
    (28, 28)
    """

    def __init__(
        self,
        alpha: float = 50.0,
        sigma: float = 5.0,
        interpolation: str = InterpolationMode.BILINEAR,
        fill: Any = 0,
    ) -> None:
        if not sigma > 0:
            raise ArgumentError(f"sigma must be a positive number of pixels, got {sigma}")
        self.alpha = alpha
        self.sigma = sigma
        self.interpolation = as_mode(interpolation)
        self.fill = fill

    def _change(self, images: Array, top: float) -> Array:
        n, height, width, _ = images.shape
        noise = np.stack([source.random((2, height, width), np.float32) for source in draw_generators(n)]) * 2 - 1
        shifts = blur_matrix(height, self.sigma) @ noise @ blur_matrix(width, self.sigma).T * np.float32(self.alpha / 2)
        rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
        return sampled(images, rows + shifts[:, 1], columns + shifts[:, 0], self.fill, self.interpolation)


@lru_cache(16)
def blur_matrix(size: int, sigma: float) -> Array:
    """The Gaussian blur of a line of pixels, mirrored at its ends, over 4 sigma to both sides; float32 (size, size)."""
    reach = int(8 * sigma + 1) // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    mirrored = np.pad(np.eye(size), ((reach, reach), (0, 0)), mode="reflect")
    shifted = np.stack([mirrored[step : step + size] for step in range(2 * reach + 1)])
    return np.tensordot(weights / weights.sum(), shifted, 1).astype(np.float32)


def _between(uniform: Array, limits: Sequence[float]) -> Array:
    return limits[0] + uniform * (limits[1] - limits[0])


def _symmetric_range(name: str, value: Range) -> tuple[float, float]:
    limits = (-value, value) if isinstance(value, int | float) else tuple(value)
    if len(limits) != 2 or np.asarray(limits).dtype.kind not in "fiu" or not limits[0] <= limits[1]:
        raise ArgumentError(f"{name} must be a number that is not negative, or (from, to), got {value}")
    return limits


def positive_range(name: str, value: Sequence[float]) -> tuple[float, float]:
    """Errors: `ArgumentError` unless there are two numbers, both positive and in order."""
    if isinstance(value, int | float) or len(value) != 2 or not 0 < value[0] <= value[1]:
        raise ArgumentError(f"{name} must be (smallest, largest), both positive, got {value}")
    return value[0], value[1]
