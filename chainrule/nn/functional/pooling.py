"""Pooling: the maximum, average or p-norm of every window, under PyTorch's names.

Windows are reduced along one axis after the other, which reads each window's k₁ + k₂ instead of k₁ · k₂ elements. The
maximum goes from the last axis to the first and takes a later element only if it is larger: so the first maximum in
row-major order is found, and gets the gradient. NaN is larger than all others.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError
from ...graph.site import find_site
from ...graph.vertex import Vertex
from ...ops.arithmetic import add, divide, maximum, minimum, multiply, power, subtract
from ...ops.comparison import equal, less, logical_or, not_equal, where
from ...ops.elementwise import cast
from ...ops.movement import broadcast, concatenate, reshape
from ...ops.reduction import argmax_, sum_
from ...ops.source import iota
from ...tensor.remembered import remembered_vertices
from ...types import DType, Shape, bool_, float32, int32, int64
from .windows import (
    Sizes,
    Window,
    along,
    between,
    check_half,
    check_spatial,
    hashable,
    laid_out,
    make_windows,
    per_axis,
    resized,
    taps,
    whole_axis,
)

LONG = 8
"""The largest kernel whose taps are compared one by one; longer ones are searched by a reduction."""

OutputSize = int | None | Sequence[int | None]
"""The number of windows, for all axes or per axis; None for as many as there are elements."""

Parts = tuple[Vertex, ...]
"""What is reduced: values, and behind them, if it is asked for, where they come from."""

Reduce = Callable[[Parts, int, Window], Parts]
"""Reduces the windows along one axis."""

Join = Callable[[Sequence[Parts], int], Parts]
"""What windows of so many elements are, from the reductions of the segments that they consist of."""


# Maximum --------------------------------------------------------------------------------------------------------------


def max_pool1d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of every window of ``kernel_size``; the first of equal ones gets the gradient.

    Shapes: input (N, C, L) or (C, L), result (N, C, M) with M = ⌊(L + 2 · padding - dilation · (kernel_size - 1) - 1) /
    stride⌋ + 1, rounded up with ``ceil_mode``. ``stride`` is by default the kernel's size. Padding never wins.
    ``return_indices``: also the flat int64 index of each element found, within its channel.
    Errors: `ShapeError` for an input of another rank or smaller than a window, `ArgumentError` for sizes that are too
    small, and for padding of more than half a kernel.

    >>> import chainrule as cr
    >>> cr.nn.functional.max_pool1d(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]), 2)
    tensor([[3., 5.]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` of images (N, C, H, W) or (C, H, W); sizes are numbers or pairs."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` of volumes (N, C, D, H, W) or (C, D, H, W); sizes are numbers or triples."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_pool(
    rank: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, with_indices: bool
) -> Any:
    sizes = (hashable(kernel), hashable(stride), hashable(padding), hashable(dilation))
    values = _largest(input, rank=rank, sizes=sizes, ceil_mode=ceil_mode, wants_index=False)
    if not with_indices:
        return values
    return values, _largest(input, rank=rank, sizes=sizes, ceil_mode=ceil_mode, wants_index=True)


@remembered_vertices
def _largest(x: Vertex, *, rank: int, sizes: tuple[Any, ...], ceil_mode: bool, wants_index: bool) -> Vertex:
    name = f"max_pool{rank}d"
    windows = make_windows(name, x.shape, sizes, rank, ceil_mode)
    check_half(name, windows)
    parts = _parts(name, x, rank, wants_index)
    for axis in reversed(range(-rank, 0)):
        parts = _largest_along(parts, len(x.shape) + axis, windows[axis])
    return parts[-1]


def _parts(name: str, x: Vertex, rank: int, wants_index: bool) -> Parts:
    """x, and if wanted the flat index of every element within its channel. Errors: `DTypeError` for booleans."""
    if x.dtype is bool_:
        raise DTypeError(
            f"{name} needs numbers, got an input of type bool\n  where: {find_site()}\n  fix: x.float(), or x.long()"
        )
    plane = x.shape[-rank:]
    index = broadcast(reshape(iota(int64, (math.prod(plane),)), plane), x.shape)
    return (x, index) if wants_index else (x,)


def _largest_along(parts: Parts, axis: int, window: Window) -> Parts:
    """The largest values of the windows along one axis; what is behind them comes along."""
    if window.kernel > LONG and window.is_disjoint and window.dilation == 1 and not window.padding:
        return _searched(parts, axis, window)
    tapped = [taps(part, axis, window, fill) for part, fill in zip(parts, _fills(parts), strict=True)]
    best = tuple(each[0] for each in tapped)
    for tap in range(1, window.kernel):
        low, high = window.starting(tap)  # there what is best so far is padding, and even -inf is better
        always = between(tapped[0][tap], axis, low, high) if low < high else None
        best = _better(best, tuple(each[tap] for each in tapped), always)
    return best


def _better(best: Parts, other: Parts, always: Vertex | None = None) -> Parts:
    """``other`` where its value is larger or NaN, or where the condition ``always`` holds; ``best`` elsewhere."""
    is_better, value = less(best[0], other[0]), other[0]
    if value.dtype.is_floating_point:
        is_better = logical_or(is_better, not_equal(value, value))
    if always is not None:
        is_better = logical_or(is_better, always)
    return tuple(where(is_better, *pair) for pair in zip(other, best, strict=True))


def _fills(parts: Parts) -> list[float]:
    """What padding holds: of values, what is larger than nothing."""
    dtype = parts[0].dtype
    lowest = -math.inf if dtype.is_floating_point else int(np.iinfo(dtype.numpy).min)
    return [lowest, *(0 for _ in parts[1:])]


def _searched(parts: Parts, axis: int, window: Window) -> Parts:
    """`_largest_along` by a reduction of every window, for those whose taps would be many; it finds the first NaN."""
    candidates = [
        along(laid_out(part, axis, window, fill), axis + 1, 0, window.kernel)
        for part, fill in zip(parts, _fills(parts), strict=True)
    ]
    found = resized(argmax_(candidates[0], axis + 1), axis, window.outputs, 1)
    tap = iota(int64, (window.kernel,))
    is_found = equal(reshape(tap, (window.kernel, *(1,) * (len(parts[0].shape) - axis - 1))), found)
    return tuple(sum_(where(is_found, each, 0), (axis + 1,)) for each in candidates)


# Average and p-norm ---------------------------------------------------------------------------------------------------


def avg_pool1d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """The mean of every window of ``kernel_size``; integers are averaged in float32.

    Shapes as in `max_pool1d`. Padding counts as zeros; with ``count_include_pad=False`` the sum is divided by the
    number of elements that are none. What ``ceil_mode`` adds behind it never counts. Errors as in `max_pool1d`.

    >>> import chainrule as cr
    >>> cr.nn.functional.avg_pool1d(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]), 2)
    tensor([[2.0000, 3.5000]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """`avg_pool1d` of images (N, C, H, W) or (C, H, W); ``divisor_override`` divides every sum instead of its count."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """`avg_pool2d` of volumes (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _avg_pool(
    rank: int, input: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, counts_padding: bool, divisor: Any
) -> Any:
    if divisor == 0:
        raise ArgumentError(
            f"avg_pool{rank}d: divisor must be not zero\n  where: {find_site()}\n"
            "  fix: divisor_override=None, for the number of elements"
        )
    sizes = (hashable(kernel), hashable(stride), hashable(padding), 1)
    return _average(input, rank=rank, sizes=sizes, ceil_mode=ceil_mode, counts_padding=counts_padding, divisor=divisor)


@remembered_vertices
def _average(
    x: Vertex, *, rank: int, sizes: tuple[Any, ...], ceil_mode: bool, counts_padding: bool, divisor: int | None
) -> Vertex:
    name = f"avg_pool{rank}d"
    windows = make_windows(name, x.shape, sizes, rank, ceil_mode)
    check_half(name, windows)
    x, first = cast(x, _float_dtype(x)), len(x.shape) - rank
    if divisor is not None:
        return divide(_totals(x, first, windows), divisor)
    return _means(x, first, windows, counts_padding)


def _float_dtype(x: Vertex) -> DType:
    return x.dtype if x.dtype.is_floating_point else float32


def _totals(x: Vertex, first: int, windows: Sequence[Window]) -> Vertex:
    """The sums over the windows along axes from ``first`` on, the first one first, so that long rows are added whole.

    Disjoint windows are cut out of all axes before the first sum, as its result would have to be copied to be cut where
    channels are last in memory. Their gradient is a repetition.
    """
    if not all(window.is_disjoint and window.dilation == 1 for window in windows):
        for axis, window in enumerate(windows, first):
            x = functools.reduce(add, taps(x, axis, window))
        return x
    for axis, window in reversed([*enumerate(windows, first)]):
        x = along(laid_out(x, axis, window), axis + 1, 0, window.kernel)
    for axis in range(first, first + len(windows)):
        x = sum_(x, (axis + 1,))
    return x


def _means(x: Vertex, first: int, windows: Sequence[Window], counts_padding: bool) -> Vertex:
    """Sums divided by the number of elements of their windows."""
    same, differing = 1, None
    for axis, window in enumerate(windows, first):
        edge = window.padding if counts_padding else 0
        last = (window.outputs - 1) * window.stride - window.padding + window.kernel
        if last <= window.size + edge and edge == window.padding:
            same *= window.kernel
        else:
            count = cast(_counts(window, edge, len(x.shape) - axis - 1), x.dtype)
            differing = count if differing is None else multiply(differing, count)
    if differing is None and same & (same - 1) == 0:
        # A power of two scales without rounding, so it may come first, where it takes no pass of its own.
        return _totals(multiply(x, 1 / same), first, windows)
    return divide(_totals(x, first, windows), same if differing is None else multiply(differing, same))


def _counts(window: Window, edge: int, axes_behind: int) -> Vertex:
    """How many elements each window along an axis has, up to ``edge`` beside the axis."""
    output = reshape(iota(int32, (window.outputs,)), (window.outputs, *(1,) * axes_behind))
    start = subtract(multiply(output, window.stride), window.padding)
    return subtract(minimum(add(start, window.kernel), window.size + edge), maximum(start, -edge))


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Any:
    """(Σ x^p)^(1/p) over every window, with p = ``norm_type``; the sum itself for p = 1. The gradient where Σ = 0 is 0.

    Shapes as in `max_pool1d`. As in PyTorch x is not made positive: an odd p gives NaN for a negative sum; and a window
    that ``ceil_mode`` cuts off counts as if the rest of it had the same mean.
    Errors as in `max_pool1d`, and `ArgumentError` for p that is not positive and finite.

    >>> import chainrule as cr
    >>> cr.nn.functional.lp_pool1d(cr.tensor([[3.0, 4.0, 5.0, 12.0]]), 2, 2)
    tensor([[ 5., 13.]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Any:
    """`lp_pool1d` of images (N, C, H, W) or (C, H, W)."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(rank: int, input: Any, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool) -> Any:
    if not 0 < norm_type < math.inf:
        fix = f"max_pool{rank}d(x.abs(), ...)" if norm_type == math.inf else "norm_type=2"
        raise ArgumentError(
            f"lp_pool{rank}d: norm_type must be positive and finite, got {norm_type}\n"
            f"  where: {find_site()}\n  fix: {fix}"
        )
    sizes = (hashable(kernel), hashable(stride), 0, 1)
    return _norm(input, rank=rank, p=float(norm_type), sizes=sizes, ceil_mode=ceil_mode)


@remembered_vertices
def _norm(x: Vertex, *, rank: int, p: float, sizes: tuple[Any, ...], ceil_mode: bool) -> Vertex:
    windows = make_windows(f"lp_pool{rank}d", x.shape, sizes, rank, ceil_mode)
    x = cast(x, _float_dtype(x))
    powers = multiply(x, x) if p == 2 else x if p == 1 else power(x, p)
    count = math.prod(window.kernel for window in windows)
    total = multiply(_means(powers, len(x.shape) - rank, windows, True), count)
    is_zero = equal(total, 0)
    return where(is_zero, 0.0, power(where(is_zero, 1.0, total), 1 / p))


# Adaptive: as many windows as are asked for ---------------------------------------------------------------------------


def adaptive_avg_pool1d(input: Any, output_size: OutputSize) -> Any:
    """The means of ``output_size`` windows per axis that cover it: n elements from ⌊i n / o⌋ to before ⌈(i + 1) n / o⌉.

    Shapes: input (N, C, L) or (C, L), result (N, C, o). None keeps the size of an axis.
    Errors: `ShapeError` for an input of another rank, `ArgumentError` for an output size below 1.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_avg_pool1d(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]), 2)
    tensor([[2.0000, 3.6667]])
    """
    return _adaptive_average(input, rank=1, output_size=hashable(output_size))


def adaptive_avg_pool2d(input: Any, output_size: OutputSize) -> Any:
    """`adaptive_avg_pool1d` of images (N, C, H, W) or (C, H, W); 1 averages over the whole image."""
    return _adaptive_average(input, rank=2, output_size=hashable(output_size))


def adaptive_avg_pool3d(input: Any, output_size: OutputSize) -> Any:
    """`adaptive_avg_pool1d` of volumes (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive_average(input, rank=3, output_size=hashable(output_size))


def adaptive_max_pool1d(input: Any, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest elements of the windows of `adaptive_avg_pool1d`; ``return_indices`` as in `max_pool1d`.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_max_pool1d(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]), 2)
    tensor([[3., 5.]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: OutputSize, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` of images (N, C, H, W) or (C, H, W)."""
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: OutputSize, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` of volumes (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _adaptive_max_pool(rank: int, input: Any, output_size: OutputSize, with_indices: bool) -> Any:
    outputs = hashable(output_size)
    values = _adaptive_largest(input, rank=rank, output_size=outputs, wants_index=False)
    if not with_indices:
        return values
    return values, _adaptive_largest(input, rank=rank, output_size=outputs, wants_index=True)


def _output_sizes(name: str, shape: Shape, output_size: Any, rank: int) -> Shape:
    sizes = check_spatial(name, shape, rank)
    given = tuple(output_size) if isinstance(output_size, tuple) else (output_size,)
    wanted = given * rank if len(given) == 1 else given
    filled = [sizes[axis] if each is None and axis < rank else each for axis, each in enumerate(wanted)]
    return per_axis(name, "output_size", filled, rank, 1)


@remembered_vertices
def _adaptive_average(x: Vertex, *, rank: int, output_size: Any) -> Vertex:
    sizes = _output_sizes(f"adaptive_avg_pool{rank}d", x.shape, output_size, rank)
    return _adaptive((cast(x, _float_dtype(x)),), sizes, range(rank), _totals_along, _mean_of)[0]


def _totals_along(parts: Parts, axis: int, window: Window) -> Parts:
    return (_totals(parts[0], axis, (window,)),)


def _mean_of(segments: Sequence[Parts], count: int) -> Parts:
    return (divide(functools.reduce(add, (total for (total,) in segments)), count),)


@remembered_vertices
def _adaptive_largest(x: Vertex, *, rank: int, output_size: Any, wants_index: bool) -> Vertex:
    name = f"adaptive_max_pool{rank}d"
    sizes = _output_sizes(name, x.shape, output_size, rank)
    parts = _parts(name, x, rank, wants_index)
    return _adaptive(parts, sizes, reversed(range(rank)), _largest_along, _largest_of)[-1]


def _largest_of(segments: Sequence[Parts], count: int) -> Parts:
    return functools.reduce(_better, segments)


def _adaptive(parts: Parts, sizes: Shape, order: Iterable[int], reduce: Reduce, join: Join) -> Parts:
    """The windows of ``sizes``, one axis after the other in this order.

    Where windows overlap, the axis is cut into segments, so that each element is read, and given a gradient, once.
    """
    for place in order:
        axis, outputs = len(parts[0].shape) - len(sizes) + place, sizes[place]
        size = parts[0].shape[axis]
        if size == outputs:
            continue
        if size % outputs == 0:
            kernel = size // outputs
            parts = join([reduce(parts, axis, Window(size, kernel, kernel, 0, 1, outputs))], kernel)
            continue
        windows = [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
        segments = {
            low: reduce(tuple(along(part, axis, low, high) for part in parts), axis, whole_axis(high - low))
            for low, high in itertools.pairwise(sorted({edge for window in windows for edge in window}))
        }
        joined = [
            join([segments[edge] for edge in range(low, high) if edge in segments], high - low) for low, high in windows
        ]
        parts = tuple(concatenate(*column, axis=axis) for column in zip(*joined, strict=True))
    return parts
