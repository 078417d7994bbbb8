"""What transforms have in common: one image or a batch, pixels of arrays, Pillow images and tensors, sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, ShapeError
from ...tensor.operands import from_array
from ...tensor.storage import spare_memory
from ...tensor.tensor import Tensor
from ...types import Shape

Array = np.ndarray[Any, Any]
Sizes = int | Sequence[int]


def new_array(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An array for a batch, with unspecified elements; its memory serves again when it is gone."""
    nbytes = math.prod(shape) * dtype.itemsize
    return np.ndarray(shape, dtype, spare_memory(nbytes).array.data) if nbytes >= 1 << 16 else np.empty(shape, dtype)


def as_array(image: Any) -> Array:
    """The pixels of an array or of a Pillow image."""
    if isinstance(image, Tensor) or not hasattr(image, "__array_interface__"):
        raise DTypeError(
            f"an image must be a NumPy array or a Pillow image, got {type(image).__name__}. fix: numpy.asarray"
        )
    array = np.asarray(image)
    return (
        array.astype(np.uint8) * np.uint8(255) if array.dtype == bool and not isinstance(image, np.ndarray) else array
    )


class OfPixels:
    """A transform of the pixels of arrays (channels last) and of tensors (channels first).

    A subclass has ``_apply(images, axes)`` for an array of images, whose axes of height and width are ``axes``.
    """

    def __call__(self, image: Any) -> Any:
        if isinstance(image, Tensor):
            return from_array(self._apply(image.detach()._array()[None], (-2, -1))[0])
        return self._apply(as_array(image)[None], (1, 2))[0]

    def batch(self, images: Any) -> Any:
        """The same for a batch."""
        if isinstance(images, Tensor):
            return from_array(self._apply(images.detach()._array(), (-2, -1)))
        return self._apply(images, (1, 2))

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


class OfColours(OfPixels):
    """A transform that computes with pixels, and does so in floats whatever they are.

    A subclass has ``_change(images, top)`` for floats (n, height, width, channels); ``top`` is the value of the
    brightest pixel: 1 in tensors and arrays of floats, else the largest number of the type.
    """

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        if images.ndim not in (3, 4):
            raise ShapeError(
                f"{type(self).__name__} needs images (height, width) or (height, width, channels), or tensors "
                f"(channels, height, width), got one of shape {images.shape[1:]}"
            )
        is_whole = images.dtype.kind in "iu"
        top = np.iinfo(images.dtype).max if is_whole else 1
        planes = images[..., None] if images.ndim == 3 else images if axes == (1, 2) else np.moveaxis(images, 1, 3)
        floats = new_array(planes.shape, np.result_type(images.dtype, np.float32))
        floats[...] = planes
        changed = self._change(floats, top)
        if is_whole:
            changed = np.clip(np.rint(changed, out=changed), np.iinfo(images.dtype).min, top, out=changed)
        if images.ndim == 3 and changed.shape[3] == 1:
            changed = changed[..., 0]
        elif axes != (1, 2):
            changed = np.moveaxis(changed, 3, 1)
        if changed.dtype == images.dtype and changed.flags.c_contiguous:
            return changed
        result = new_array(changed.shape, images.dtype)
        result[...] = changed
        return result

    def _change(self, images: Array, top: float) -> Array:
        raise NotImplementedError


def fill_values(fill: Any, dtype: np.dtype[Any], channels: int) -> Array:
    """A number for all channels, (), or one for each, (channels,). Errors: `ArgumentError`, `ShapeError`."""
    values = np.asarray(fill)
    if values.dtype.kind not in "fiub":
        raise ArgumentError(f"pixels must be filled with a number, or one per channel, got {fill!r}")
    if values.shape not in ((), (channels,)):
        raise ShapeError(f"pixels are to be filled with {values.size} numbers, and the images have {channels} channels")
    if dtype.kind in "iu" and not ((values >= np.iinfo(dtype).min) & (values <= np.iinfo(dtype).max)).all():
        raise ArgumentError(f"pixels of type {dtype} cannot be filled with {fill!r}")
    return values.astype(dtype)


def check_probability(p: float) -> float:
    """Errors: `ArgumentError` for what is no probability."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"a probability must lie between 0 and 1, got p={p}")
    return p


def height_and_width(size: Sizes) -> tuple[int, int]:
    """The same number for both, or two. Errors: `ArgumentError`."""
    sizes = (size, size) if isinstance(size, int) else tuple(size) * (2 if len(size) == 1 else 1)
    if len(sizes) != 2 or min(sizes) < 1:
        raise ArgumentError(f"size must be a positive number or (height, width), got {size}")
    return sizes


def four_sides(padding: Sizes) -> tuple[int, int, int, int]:
    """Left, top, right and bottom, from one number, two or four. Errors: `ArgumentError`."""
    sides = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(sides) not in (1, 2, 4) or min(sides) < 0:
        raise ArgumentError(f"padding must be 1, 2 or 4 numbers of pixels, none negative, got {padding}")
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom
