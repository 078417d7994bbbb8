"""What is done to images before a network sees them, under torchvision's names; one by one, or to whole batches.

An image is a uint8 array (height, width) or (height, width, channels) or a Pillow image until `ToTensor` makes a tensor
(channels, height, width) of it. A batch has one dimension more in front. Every transform here but `Lambda` has, besides
the call for one image, ``batch(images)``, with the same results to the bit; `DataLoader` uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data.collation import new_tensor
from ..data.datasets import defined_together
from ..data.draws import draw_uniform
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor
from ..types import float32

Array = np.ndarray[Any, Any]
Sizes = int | Sequence[int]


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


def works_on_batches(transform: Any) -> bool:
    """Whether ``transform.batch`` does to every image of a batch what a call does to one."""
    parts = transform.transforms if isinstance(transform, Compose) else ()
    return defined_together(type(transform), "batch", "__call__") and all(map(works_on_batches, parts))


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


class ToTensor:
    """From an array or Pillow image to a tensor with channels first; uint8 becomes float32 in [0, 1], divided by 255.

    Shapes: (height, width) to (1, height, width), (height, width, channels) to (channels, height, width). Arrays of
    other types than uint8 keep their values and type, as in torchvision.

    Errors: `ShapeError` for other shapes, `DTypeError` for what is not an image.

    >>> cr.vision.transforms.ToTensor()(np.array([[0, 51, 255]], np.uint8))
    tensor([[[0.0000, 0.2000, 1.0000]]])
    """

    def __call__(self, image: Any) -> Any:
        array = _as_array(image)
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


def _as_array(image: Any) -> Array:
    """The pixels of an array or of a Pillow image."""
    if isinstance(image, Tensor) or not hasattr(image, "__array_interface__"):
        raise DTypeError(f"an image must be a NumPy array or a Pillow image, got {type(image).__name__}")
    array = np.asarray(image)
    return (
        array.astype(np.uint8) * np.uint8(255) if array.dtype == bool and not isinstance(image, np.ndarray) else array
    )


class _OfPixels:
    """A transform of the pixels of arrays (channels last) and of tensors (channels first).

    A subclass has ``_apply(images, axes)`` for an array of images, whose axes of height and width are ``axes``.
    """

    def __call__(self, image: Any) -> Any:
        if isinstance(image, Tensor):
            return from_array(self._apply(image.detach()._array()[None], (-2, -1))[0])
        return self._apply(_as_array(image)[None], (1, 2))[0]

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


class RandomHorizontalFlip(_OfPixels):
    """Left and right exchanged, with probability ``p``.

    Random numbers are those of the rows that a `DataLoader` reads, elsewhere those of ``manual_seed``.

    >>> cr.vision.transforms.RandomHorizontalFlip(p=1)(np.array([[1, 2]]))
    array([[2, 1]])
    """

    axis = 1

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"a probability must lie between 0 and 1, got p={p}")
        self.p = p

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        is_flipped = draw_uniform(len(images)) < self.p
        flipped = images.copy()
        flipped[is_flipped] = np.flip(images[is_flipped], axes[self.axis])
        return flipped


class RandomVerticalFlip(RandomHorizontalFlip):
    """Top and bottom exchanged, with probability ``p``; see `RandomHorizontalFlip`.

    >>> cr.vision.transforms.RandomVerticalFlip(p=1)(np.array([[1], [2]])).tolist()
    [[2], [1]]
    """

    axis = 0


class Pad(_OfPixels):
    """``fill`` around the image: so many pixels on all sides, or (left and right, top and bottom), or one number each
    for (left, top, right, bottom).

    >>> cr.vision.transforms.Pad((1, 0))(np.array([[5]]))
    array([[0, 5, 0]])
    """

    def __init__(self, padding: Sizes, fill: float = 0) -> None:
        self.padding = _four_sides(padding)
        self.fill = fill

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        left, top, right, bottom = self.padding
        widths = [(0, 0)] * images.ndim
        widths[axes[0]], widths[axes[1]] = (top, bottom), (left, right)
        return np.pad(images, widths, constant_values=self.fill)


class CenterCrop(_OfPixels):
    """The middle of an image, of size ``size`` or (height, width).

    Errors: `ShapeError` for images that are smaller.

    >>> cr.vision.transforms.CenterCrop(1)(np.arange(9).reshape(3, 3))
    array([[4]])
    """

    def __init__(self, size: Sizes) -> None:
        self.size = _height_and_width(size)

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        spare = _spare(images, self.size, axes)
        return _cut(images, self.size, axes, *(round(pixels / 2) for pixels in spare)).copy()


class RandomCrop(_OfPixels):
    """A piece at a random place, of size ``size`` or (height, width), of the image padded as by `Pad`.

    Random numbers are those of the rows that a `DataLoader` reads, elsewhere those of ``manual_seed``.

    Errors: `ShapeError` for images that are smaller.

    >>> cr.vision.transforms.RandomCrop(32, padding=4)(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(self, size: Sizes, padding: Sizes | None = None, fill: float = 0) -> None:
        self.size = _height_and_width(size)
        self.padding = _four_sides(padding or 0)
        self.fill = fill

    def _apply(self, images: Array, axes: tuple[int, int]) -> Array:
        padded = Pad(self.padding, self.fill)._apply(images, axes) if any(self.padding) else images
        spare = _spare(padded, self.size, axes)
        tops, lefts = (np.floor(draw_uniform(len(images)) * (pixels + 1)).astype(np.int64) for pixels in spare)
        # every image alone: its axes are those of the batch, counted from behind
        behind = (axes[0] % images.ndim - images.ndim, axes[1] % images.ndim - images.ndim)
        places = zip(padded, tops.tolist(), lefts.tolist(), strict=True)
        return np.stack([_cut(image, self.size, behind, top, left) for image, top, left in places])


def _cut(images: Array, size: tuple[int, int], axes: tuple[int, int], top: int, left: int) -> Array:
    index: list[slice] = [slice(None)] * images.ndim
    index[axes[0]], index[axes[1]] = slice(top, top + size[0]), slice(left, left + size[1])
    return images[tuple(index)]


def _spare(images: Array, size: tuple[int, int], axes: tuple[int, int]) -> tuple[int, int]:
    """By how many pixels images are higher and wider than ``size``."""
    height, width = images.shape[axes[0]], images.shape[axes[1]]
    if height < size[0] or width < size[1]:
        raise ShapeError(f"a piece of {size[0]} x {size[1]} pixels does not fit into an image of {height} x {width}")
    return height - size[0], width - size[1]


def _height_and_width(size: Sizes) -> tuple[int, int]:
    sizes = (size, size) if isinstance(size, int) else tuple(size) * (2 if len(size) == 1 else 1)
    if len(sizes) != 2 or min(sizes) < 1:
        raise ArgumentError(f"size must be a positive number or (height, width), got {size}")
    return sizes


def _four_sides(padding: Sizes) -> tuple[int, int, int, int]:
    sides = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(sides) not in (1, 2, 4) or min(sides) < 0:
        raise ArgumentError(f"padding must be 1, 2 or 4 numbers of pixels, none negative, got {padding}")
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom
