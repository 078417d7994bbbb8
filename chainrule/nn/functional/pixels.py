"""Channels as pixels, and pixels as channels."""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError
from ...graph.site import find_site
from ...graph.vertex import Vertex
from ...ops.movement import reshape, transpose
from ...tensor.remembered import remembered_vertices


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., C r², H, W) → (..., C, H r, W r): every r² channels become a square of r by r pixels.

    Errors: `ShapeError` for channels that r² does not divide. Source: Shi et al. 2016.

    >>> import chainrule as cr
    >>> cr.nn.functional.pixel_shuffle(cr.arange(4.0).reshape(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    return _shuffled(input, factor=upscale_factor)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(..., C, H r, W r) → (..., C r², H, W), the inverse of `pixel_shuffle`."""
    return _unshuffled(input, factor=downscale_factor)


@remembered_vertices
def _shuffled(x: Vertex, *, factor: int) -> Vertex:
    _check("pixel_shuffle", x, factor, (-3,), factor * factor)
    *batch, channels, height, width = x.shape
    split = reshape(x, (*batch, channels // factor**2, factor, factor, height, width))
    n = len(batch)
    turned = transpose(split, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshape(turned, (*batch, channels // factor**2, height * factor, width * factor))


@remembered_vertices
def _unshuffled(x: Vertex, *, factor: int) -> Vertex:
    _check("pixel_unshuffle", x, factor, (-2, -1), factor)
    *batch, channels, height, width = x.shape
    split = reshape(x, (*batch, channels, height // factor, factor, width // factor, factor))
    n = len(batch)
    turned = transpose(split, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshape(turned, (*batch, channels * factor**2, height // factor, width // factor))


def _check(name: str, x: Vertex, factor: int, axes: tuple[int, ...], divisor: int) -> None:
    if factor < 1 or len(x.shape) < 3 or any(x.shape[axis] % divisor for axis in axes):
        raise ShapeError(
            f"{name} needs (..., C, H, W) with {'channels' if axes == (-3,) else 'height and width'} that {divisor} "
            f"divides, got {list(x.shape)}\n  where: {find_site()}"
        )
