"""Images between their pixels: values at any positions, and other sizes.

The middle of the pixel in row i lies at i. All arrays of images are (n, height, width, channels), of floats.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

import numpy as np

from ...errors import ArgumentError, did_you_mean
from .images import Array, fill_values, new_array

BLOCK = 1 << 13
"""Positions that are sampled at a time: what is known of them stays in the cache."""


class InterpolationMode(StrEnum):
    """How values between pixels are found: from the nearest pixel, or linearly along both axes; names are accepted too.

    >>> cr.vision.transforms.Resize(2, interpolation="nearest").interpolation is InterpolationMode.NEAREST
    True
    """

    NEAREST = "nearest"
    BILINEAR = "bilinear"


def as_mode(interpolation: Any) -> InterpolationMode:
    """Errors: `ArgumentError` for what is no name of an interpolation."""
    try:
        return InterpolationMode(interpolation)
    except ValueError:
        known = list(InterpolationMode)
        raise ArgumentError(
            f"interpolation must be {' or '.join(map(repr, map(str, known)))}, got {interpolation!r}"
            f"{did_you_mean(str(interpolation), known)}"
        ) from None


def sampled(images: Array, rows: Array, columns: Array, fill: Any, interpolation: InterpolationMode) -> Array:
    """The images at positions (n, height', width'); outside them lies ``fill``, a number or one per channel."""
    result = new_array((*rows.shape, images.shape[3]), images.dtype)
    filling = fill_values(fill, images.dtype, images.shape[3])
    step = max(1, BLOCK // rows[0].size)
    for start in range(0, len(images), step):
        block = slice(start, start + step)
        result[block] = _sampled(images[block], rows[block], columns[block], filling, interpolation)
    return result


def _sampled(images: Array, rows: Array, columns: Array, fill: Array, interpolation: InterpolationMode) -> Array:
    n, height, width, channels = images.shape
    framed = np.empty((n, height + 2, width + 2, channels), images.dtype)
    framed[...] = fill
    framed[:, 1:-1, 1:-1] = images
    pixels = framed.reshape(-1, channels)
    stride = width + 2
    first = (np.arange(n) * ((height + 2) * stride))[:, None, None]
    y, x = np.clip(rows, -1, height) + 1, np.clip(columns, -1, width) + 1
    if interpolation is InterpolationMode.NEAREST:
        return pixels.take(first + (np.rint(y) * stride + np.rint(x)).astype(np.int64), 0)
    top, left = np.minimum(np.floor(y), height), np.minimum(np.floor(x), width)
    below, right = ((each[0] - each[1])[..., None].astype(images.dtype) for each in ((y, top), (x, left)))
    corner = first + (top * stride + left).astype(np.int64)
    result = np.zeros((*corner.shape, channels), images.dtype)
    for step, weight in ((0, 1 - below), (stride, below)):
        for more, share in ((0, 1 - right), (1, right)):
            corners = pixels.take(corner + (step + more), 0)
            corners *= weight * share
            result += corners
    return result


def resized(images: Array, size: tuple[int, int], interpolation: InterpolationMode, antialias: bool) -> Array:
    """The images with another height and width, one axis after the other.

    Linearly: every new pixel is a mean of those under a triangle, whose half is as wide as a pixel, the larger of the
    old and the new where ``antialias``, which then is smooth however much smaller it gets.
    """
    for axis, length in ((1, size[0]), (2, size[1])):
        if images.shape[axis] != length:
            images = _resized_along(images, axis, length, interpolation, antialias)
    return images


def _resized_along(images: Array, axis: int, size: int, interpolation: InterpolationMode, antialias: bool) -> Array:
    length = images.shape[axis]
    middles = (np.arange(size) + 0.5) * (length / size)  # in units of old pixels, from the edge of the first
    nearest = np.floor(middles).astype(np.int64)
    if interpolation is InterpolationMode.NEAREST:
        return images.take(nearest, axis)
    reach = max(length / size, 1.0) if antialias else 1.0
    first = np.maximum(np.floor(middles - reach + 0.5), 0).astype(np.int64)
    index = first[:, None] + np.arange(math.ceil(2 * reach) + 1)
    weights = np.maximum(1 - np.abs(index + 0.5 - middles[:, None]) / reach, 0) * (index < length)
    weights /= weights.sum(1, keepdims=True)
    index = np.where(weights > 0, index, nearest[:, None])  # a pixel without weight is none that is not finite
    shape = (*images.shape[:axis], size, *images.shape[axis + 1 :])
    result, term = new_array(shape, images.dtype), new_array(shape, images.dtype)
    result[...] = 0
    for tap in np.flatnonzero(weights.any(0)).tolist():
        np.take(images, index[:, tap], axis, out=term, mode="clip")
        term *= weights[:, tap].astype(images.dtype).reshape(size, *(1,) * (3 - axis))
        result += term
    return result
