"""From images to tensors, and normalisation of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.collation import new_tensor
from ...errors import ArgumentError, DTypeError, ShapeError
from ...tensor.operands import from_array
from ...tensor.tensor import Tensor
from ...types import float32
from .images import Array, as_array


class ToTensor:
    """From an array or Pillow image to a tensor with channels first; uint8 becomes float32 in [0, 1], divided by 255.

    Shapes: (height, width) to (1, height, width), (height, width, channels) to (channels, height, width). Arrays of
    other types than uint8 keep their values and type, as in torchvision.

    Errors: `ShapeError` for other shapes, `DTypeError` for what is not an image.

    >>> cr.vision.transforms.ToTensor()(np.array([[0, 51, 255]], np.uint8))
    tensor([[[0.0000, 0.2000, 1.0000]]])
    """

    def __call__(self, image: Any) -> Any:
        array = as_array(image)
        if array.ndim not in (2, 3):
            raise ShapeError(
                f"an image must have shape (height, width) or (height, width, channels), got {array.shape}"
            )
        return _scaled(array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0))

    def batch(self, images: Array) -> Any:
        """The same for (n, height, width) or (n, height, width, channels)."""
        return _scaled(images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1))

    def __repr__(self) -> str:
        return "ToTensor()"


def _scaled(pixels: Array) -> Any:
    if pixels.dtype != np.uint8:
        return from_array(pixels)
    tensor, array = new_tensor(pixels.shape, float32)
    array[...] = pixels
    array /= np.float32(255)
    return tensor


class Normalize:
    """(x - mean) / std, channel by channel, for float tensors (..., channels, height, width).

    ``mean`` and ``std`` have one number per channel, or one for all.

    Errors: `ArgumentError` for a std of 0, `DTypeError` for what is no tensor of floats, `ShapeError` for another
    number of channels.

    >>> cr.vision.transforms.Normalize((0.5,), (0.25,))(cr.ones(1, 1, 2))
    tensor([[[2., 2.]]])
    """

    def __init__(self, mean: Sequence[float] | float, std: Sequence[float] | float, inplace: bool = False) -> None:
        self.mean = np.atleast_1d(np.asarray(mean, np.float64))
        self.std = np.atleast_1d(np.asarray(std, np.float64))
        self.inplace = inplace
        if (self.std == 0).any():
            raise ArgumentError(f"Normalize would divide by 0: std = {std}")

    def __call__(self, image: Any) -> Any:
        if not isinstance(image, Tensor) or not image.dtype.is_floating_point:
            found = image.dtype if isinstance(image, Tensor) else type(image).__name__
            raise DTypeError(f"Normalize needs a tensor of floats, got {found}. fix: ToTensor() before it")
        channels = image.shape[-3] if image.ndim >= 3 else 0
        if not {len(self.mean), len(self.std)} <= {1, channels}:
            raise ShapeError(
                f"Normalize has {len(self.mean)} means and {len(self.std)} stds, the image has shape "
                f"{tuple(image.shape)}: expected (..., channels, height, width) and one number per channel"
                + ". fix: ToTensor() of an array, which puts channels first"
                * (image.shape[-1:] == self.mean.shape)
            )
        mean, std = (value.astype(image.dtype.numpy).reshape(-1, 1, 1) for value in (self.mean, self.std))
        if self.inplace:
            image[...] = (image - from_array(mean)) / from_array(std)
            return image
        tensor, array = new_tensor(tuple(image.shape), image.dtype)
        np.subtract(image.detach()._array(), mean, out=array)
        np.divide(array, std, out=array)
        return tensor

    batch = __call__

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"
