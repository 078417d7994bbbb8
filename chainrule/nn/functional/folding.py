"""Windows as columns, and columns summed back into images, under PyTorch's names."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from ...errors import ShapeError
from ...graph.site import find_site
from ...graph.vertex import Vertex
from ...ops.arithmetic import add
from ...ops.movement import concatenate, pad, reshape, slice_
from ...tensor.remembered import remembered_vertices
from ...types import Shape
from .windows import Sizes, Window, hashable, make_windows, per_axis, taps


def unfold(input: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Any:
    """The elements of every window of an image as a column.

    Shapes: input (N, C, H, W) or (C, H, W), result (N, C · k₁ · k₂, number of windows). Padding is 0.
    Errors: `ShapeError` for an input of another rank or smaller than a window, `ArgumentError` for sizes too small.

    >>> import chainrule as cr
    >>> cr.nn.functional.unfold(cr.arange(6).reshape(1, 2, 3), 2)
    tensor([[0, 1],
            [1, 2],
            [3, 4],
            [4, 5]])
    """
    return _unfold(input, sizes=(hashable(kernel_size), hashable(stride), hashable(padding), hashable(dilation)))


@remembered_vertices
def _unfold(x: Vertex, *, sizes: tuple[Any, ...]) -> Vertex:
    windows = make_windows("unfold", x.shape, sizes, rank=2)
    leading, places = x.shape[:-2], math.prod(window.outputs for window in windows)
    rows = taps(x, len(leading), windows[0])
    elements = [tap for row in rows for tap in taps(row, len(leading) + 1, windows[1])]
    columns = concatenate(*(reshape(each, (*leading, 1, places)) for each in elements), axis=len(leading))
    return reshape(columns, (*leading[:-1], leading[-1] * len(elements), places))


def fold(
    input: Any, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Any:
    """Columns put back to where `unfold` took them from, and summed where windows overlap: its transposed map.

    Shapes: input (N, C · k₁ · k₂, number of windows) or without N, result (N, C, *output_size).
    Errors: `ShapeError` for an input that is not made of the columns of such an image, `ArgumentError` as in `unfold`.

    >>> import chainrule as cr
    >>> cr.nn.functional.fold(cr.ones(1, 4, 2), (2, 3), 2)
    tensor([[[[1., 2., 1.],
              [1., 2., 1.]]]])
    """
    sizes = (hashable(kernel_size), hashable(stride), hashable(padding), hashable(dilation))
    return _fold(input, output_size=hashable(output_size), sizes=sizes)


@remembered_vertices
def _fold(x: Vertex, *, output_size: Any, sizes: tuple[Any, ...]) -> Vertex:
    image = per_axis("fold", "output_size", output_size, 2, 1)
    windows = make_windows("fold", (1, *image), sizes, rank=2)
    _check_columns(x.shape, windows)
    leading, elements = x.shape[:-2], math.prod(window.kernel for window in windows)
    grid = tuple(window.outputs for window in windows)
    columns = reshape(x, (*leading, x.shape[-2] // elements, elements, *grid))
    axis = len(leading) + 1
    placed = []
    for number, positions in enumerate(itertools.product(*map(_positions, windows))):
        starts = (*(0,) * axis, number, 0, 0)
        column = slice_(columns, starts, (*columns.shape[:axis], number + 1, *grid), (1,) * len(starts))
        placed.append(_placed(reshape(column, (*columns.shape[:axis], *grid)), positions, windows))
    low = (*(0,) * axis, *(window.padding for window in windows))
    high = (*columns.shape[:axis], *(window.padding + window.size for window in windows))
    return slice_(functools.reduce(add, placed), low, high, (1,) * len(low))


def _positions(window: Window) -> range:
    return range(0, window.reach, window.dilation)


def _placed(column: Vertex, positions: Sequence[int], windows: Sequence[Window]) -> Vertex:
    """One element of every window, where it lies in the padded image; 0 elsewhere."""
    lengths = [window.size + 2 * window.padding for window in windows]
    ends = [at + (each.outputs - 1) * each.stride + 1 for at, each in zip(positions, windows, strict=True)]
    ahead = (0,) * (len(column.shape) - 2)
    return pad(
        column,
        (*ahead, *positions),
        (*ahead, *(length - end for length, end in zip(lengths, ends, strict=True))),
        (*ahead, *(window.stride - 1 for window in windows)),
    )


def _check_columns(shape: Shape, windows: Sequence[Window]) -> None:
    """Errors: `ShapeError` for columns of other lengths, or another number of them."""
    elements = math.prod(window.kernel for window in windows)
    places = math.prod(window.outputs for window in windows)
    if len(shape) not in (2, 3) or shape[-2] % elements or shape[-1] != places:
        raise ShapeError(
            f"fold got an input of shape {shape}: expected (N, C · {elements}, {places}) or (C · {elements}, {places}) "
            f"for {places} windows of {elements} elements\n  where: {find_site()}\n"
            "  fix: the sizes that were given to unfold"
        )
