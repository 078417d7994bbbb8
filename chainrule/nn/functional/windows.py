"""Windows that slide over the last axes of a tensor: their geometry, what they read, and what they refuse.

Along one axis, output o reads the elements o·stride - padding + k·dilation for k < kernel. The k-th elements of all
windows are its k-th *tap*: one strided slice of the padded axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...graph.vertex import Vertex
from ...ops.comparison import less, less_equal, logical_and, where
from ...ops.movement import pad, reshape, slice_
from ...ops.source import constant, iota
from ...types import Shape, bool_, int32

Sizes = int | Sequence[int]
"""One number for all axes, or one per axis."""


class Window(NamedTuple):
    """The windows along one axis of ``size`` elements; ``outputs`` of them."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    outputs: int

    @property
    def reach(self) -> int:
        """How many neighbouring elements a window lies over."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_disjoint(self) -> bool:
        """Whether no element lies under two windows."""
        return self.reach <= self.stride

    @property
    def blocks(self) -> int:
        """How many times the stride the windows lie over."""
        return self.outputs + (self.reach - 1) // self.stride

    def starting(self, tap: int) -> tuple[int, int]:
        """The outputs, from one to before the other, whose first element that is no padding is the one of ``tap``."""
        low, high = (-((tap * self.dilation - self.padding - gap) // self.stride) for gap in (0, self.dilation))
        return max(low, 0), min(high, self.outputs)


def whole_axis(size: int) -> Window:
    """One window over all elements."""
    return Window(size, size, size, 0, 1, 1)


# What windows read ----------------------------------------------------------------------------------------------------


def along(x: Vertex, axis: int, start: int, stop: int, step: int = 1) -> Vertex:
    """x[start:stop:step] along one axis."""
    if (start, stop, step) == (0, x.shape[axis], 1):
        return x
    ahead, behind = axis, len(x.shape) - axis - 1
    return slice_(
        x,
        (*(0,) * ahead, start, *(0,) * behind),
        (*x.shape[:axis], stop, *x.shape[axis + 1 :]),
        (*(1,) * ahead, step, *(1,) * behind),
    )


def resized(x: Vertex, axis: int, *sizes: int) -> Vertex:
    """x with one axis made several, or none."""
    return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def padded(x: Vertex, axis: int, low: int, high: int, fill: float = 0) -> Vertex:
    """x with ``fill`` before and behind its elements along one axis."""
    ahead, behind = (0,) * axis, (0,) * (len(x.shape) - axis - 1)
    wider = pad(x, (*ahead, low, *behind), (*ahead, high, *behind), (0,) * len(x.shape))
    if wider is x or not fill:
        return wider
    return where(between(wider, axis, low, low + x.shape[axis]), wider, fill)


def between(x: Vertex, axis: int, low: int, high: int) -> Vertex:
    """Where the index along an axis of x lies from ``low`` to before ``high``: a condition that broadcasts to x."""
    size = x.shape[axis]
    index = reshape(iota(int32, (size,)), (size, *(1,) * (len(x.shape) - axis - 1)))
    bounds = [less_equal(low, index)] * (low > 0) + [less(index, high)] * (high < size)
    if not bounds:
        return constant(True, bool_)
    return bounds[0] if len(bounds) == 1 else logical_and(*bounds)


def laid_out(x: Vertex, axis: int, window: Window, fill: float = 0) -> Vertex:
    """What the windows lie over, padded; its axis becomes two: (blocks, stride)."""
    length = window.blocks * window.stride
    kept = along(x, axis, 0, min(window.size, length - window.padding))
    wide = padded(kept, axis, window.padding, length - window.padding - kept.shape[axis], fill)
    return resized(wide, axis, window.blocks, window.stride)


def taps(x: Vertex, axis: int, window: Window, fill: float = 0) -> list[Vertex]:
    """The elements that the windows read, tap by tap.

    A tap is a run of blocks at one place within the stride. Gradients of different places lie side by side on the axis
    of the stride, so that they are written into one buffer; only those of one place have to be added.
    """
    wide = laid_out(x, axis, window, fill)
    found = []
    for position in range(0, window.reach, window.dilation):
        block, place = divmod(position, window.stride)
        column = resized(along(wide, axis + 1, place, place + 1), axis + 1)
        found.append(along(column, axis, block, block + window.outputs))
    return found


# What users give ------------------------------------------------------------------------------------------------------


def hashable(sizes: Any) -> Any:
    """Sizes as they can be looked up."""
    return tuple(sizes) if isinstance(sizes, list) else sizes


def per_axis(name: str, argument: str, sizes: Any, rank: int, least: int) -> Shape:
    """One whole number per axis. Errors: `ArgumentError` for another number of them, or one below ``least``."""
    given = tuple(sizes) if isinstance(sizes, tuple | list) else (sizes,)
    numbers = given * rank if len(given) == 1 else given
    if len(numbers) != rank or not all(isinstance(number, int | np.integer) for number in numbers):
        wanted = f"a whole number, or {rank} of them" if rank > 1 else "a whole number"
        raise ArgumentError(f"{name}: {argument} must be {wanted}, got {sizes!r}\n  where: {find_site()}")
    if min(numbers) < least:
        raise ArgumentError(
            f"{name}: {argument} must be at least {least}, got {sizes!r}\n  where: {find_site()}\n"
            f"  fix: {argument}={least} or more"
        )
    return tuple(map(int, numbers))


def check_spatial(name: str, shape: Shape, rank: int) -> Shape:
    """The sizes of the last ``rank`` axes. Errors: `ShapeError` unless channels, or rows and channels, come before."""
    if len(shape) in (rank + 1, rank + 2) and all(shape[-rank:]):
        return shape[-rank:]
    axes = ", ".join(("D", "H", "W")[-rank:]) if rank > 1 else "L"
    fix = f"an input with {rank} dimensions behind the channels, none of them empty"
    if len(shape) == rank:
        fix = "x.unsqueeze(0), if there is one channel and no rows"
    elif has_channels_last(shape, 2):
        fix = f"{channels_moved(shape, 2)}, as the channels of these images seem to come last, and {name[:-2]}2d"
    elif len(shape) > rank + 2:
        fix = f"x.flatten(0, {len(shape) - rank - 2}), if there are several axes of rows"
    raise ShapeError(
        f"{name} got an input of shape {shape}: expected (N, C, {axes}) or (C, {axes})\n"
        f"  where: {find_site()}\n  fix: {fix}"
    )


def has_channels_last(shape: Shape, rank: int) -> bool:
    """Whether a shape looks like that of grey or coloured images with the channels at the end."""
    return len(shape) > rank and shape[-1] in (1, 3) and min(shape[-rank - 1 : -1]) > 3


def channels_moved(shape: Shape, rank: int) -> str:
    """What puts the last dimension of an input before its ``rank`` spatial ones: x.permute(0, 3, 1, 2)."""
    order = list(range(len(shape) - 1))
    order.insert(len(shape) - 1 - rank, len(shape) - 1)
    return f"x.permute({', '.join(map(str, order))})"


def make_windows(name: str, shape: Shape, sizes: Sequence[Any], rank: int, ceil_mode: bool = False) -> list[Window]:
    """The windows along each of the last ``rank`` axes; ``sizes`` are kernel, stride (by default the kernel's), padding
    and dilation.

    Errors: `ShapeError` for an input of another rank or smaller than the kernel, `ArgumentError` for sizes that are
    too small.
    """
    axes = check_spatial(name, shape, rank)
    kernel, stride, padding, dilation = sizes
    kernels = per_axis(name, "kernel_size", kernel, rank, 1)
    strides = per_axis(name, "stride", kernels if stride is None or stride == () else stride, rank, 1)
    paddings, dilations = per_axis(name, "padding", padding, rank, 0), per_axis(name, "dilation", dilation, rank, 1)
    windows = []
    for size, one, step, edge, gap in zip(axes, kernels, strides, paddings, dilations, strict=True):
        room = size + 2 * edge - (one - 1) * gap - 1
        outputs = (room + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (outputs - 1) * step >= size + edge:
            outputs -= 1  # the last window would lie in the padding
        windows.append(Window(size, one, step, edge, gap, outputs))
    _check_fit(name, shape, windows)
    return windows


def _check_fit(name: str, shape: Shape, windows: list[Window]) -> None:
    rank = len(windows)
    for axis, window in enumerate(windows, len(shape) - rank):
        if window.outputs < 1:
            fits = (window.size + 2 * window.padding - 1) // window.dilation + 1
            dilated = f", which reaches over {window.reach} elements," * (window.dilation > 1)
            fix = f"a kernel_size of at most {fits}, or larger inputs"
            if has_channels_last(shape, rank):
                fix = f"{channels_moved(shape, rank)}, as the channels of this input seem to come last"
            raise ShapeError(
                f"{name}: kernel_size {window.kernel}{dilated} is larger than the input of shape {shape}, which has "
                f"{window.size} elements along dim {axis}{' and padding' * (window.padding > 0)}\n"
                f"  where: {find_site()}\n  fix: {fix}"
            )


def check_half(name: str, windows: Sequence[Window]) -> None:
    """Errors: `ArgumentError` for a padding of more than half a kernel, by which whole windows would lie in it."""
    for window in windows:
        if window.padding > window.kernel // 2:
            raise ArgumentError(
                f"{name}: padding should be at most half of kernel_size, got padding={window.padding} for "
                f"kernel_size={window.kernel}\n  where: {find_site()}\n  fix: padding={window.kernel // 2}"
            )
