"""Convolutions as products: what lies under every window is a view, over whose elements a product sums.

Images have their channels last here: then what a window covers along one axis is consecutive in memory, for all
channels, and so are the results. Products with the zeros around an image are left out; these are put into memory only
around images of few channels, and where something else than a product reads the windows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from ..graph.vertex import Vertex, make_vertex
from ..ops.elementwise import STOP_GRADIENT
from ..ops.movement import PAD, TRANSPOSE
from ..ops.window import WINDOWS, window_size
from ..types import Shape, contiguous_strides
from .access import VIEWS
from .rewriting import build, filled, rule

FEW_CHANNELS = 8
"""Images of fewer channels are read as they lie, with zeros around them: what is under a window along one axis is one
run for all channels together, and copying it is cheap.
"""


@rule("convolution")
def multiply_windows(vertex: Vertex) -> Vertex:
    """convolution(x, w) → tensordot(windows of x, w)"""
    x, attributes = vertex.inputs[0], vertex.attributes
    outputs, groups = vertex.shape[1], attributes["groups"]
    if max(attributes["expansion"], default=1) > 1 and max(attributes["strides"], default=1) == 1:
        return _by_phases(vertex)
    if groups == 1:
        return _over_batch(vertex) if _sums_over_outermost(x) else _over_channels(vertex)
    if groups == outputs == x.shape[1]:
        return _by_channel(vertex)
    return _by_channel_over_batch(vertex) if x.shape[0] == 1 and groups == outputs else _by_group(vertex)


@rule("windows")
def pad_windows(vertex: Vertex) -> Vertex | None:
    """windows(x) that reach into zeros → windows(pad(x)); those that rules here make are read by products alone"""
    low, high = vertex.attributes["low"], vertex.attributes["high"]
    if not any((*low, *high)):
        return None
    x, none = vertex.inputs[0], (0,) * len(low)
    outer = (0,) * (len(x.shape) - 1 - len(low))
    around = {"low": (*outer, *low, 0), "high": (*outer, *high, 0), "interior": (0,) * len(x.shape)}
    padded = build(vertex, "pad", x, **around)
    return build(vertex, "windows", padded, **{**vertex.attributes, "low": none, "high": none})


@rule("tensordot")
def multiply_matrices(vertex: Vertex) -> Vertex | None:
    """tensordot(x, w) → matmul of matrices, where these lie so in memory, or where a row or column is all there is"""
    x, y = vertex.inputs
    axes = vertex.attributes["axes"]
    shape, columns = y.shape[:axes], y.shape[axes:]
    rows, size = x.shape[: len(x.shape) - axes], math.prod(columns)
    if not math.prod(shape):
        return filled(vertex, 0)
    if vertex.attributes["by_column"]:
        return _by_one_dimension(vertex)
    is_plain = axes == len(rows) == 1
    if len(columns) == 1 and _is_product(math.prod(rows), size) and not is_plain and axes and rows:
        return None
    left = build(vertex, "reshape", x, shape=(math.prod(rows), math.prod(shape)))
    right = build(vertex, "reshape", y, shape=(math.prod(shape), size))
    return build(vertex, "reshape", build(vertex, "matmul", left, right), shape=vertex.shape)


def _by_one_dimension(vertex: Vertex) -> Vertex | None:
    """A sum by column as one with rows, and one dimension of columns: None if it is one already."""
    x, y = vertex.inputs
    axes = vertex.attributes["axes"]
    rows, columns = x.shape[: len(x.shape) - len(y.shape)], y.shape[axes:]
    if not axes:  # a sum starts from 0, so that it is never -0
        return build(vertex, "add", build(vertex, "multiply", x, y), filled(vertex, 0.0))
    if rows and len(columns) == 1:
        return None
    size = math.prod(columns)
    left = build(vertex, "reshape", x, shape=(*(rows or (1,)), *y.shape[:axes], size))
    right = build(vertex, "reshape", y, shape=(*y.shape[:axes], size))
    result = build(vertex, "tensordot", left, right, axes=axes, by_column=True)
    return build(vertex, "reshape", result, shape=vertex.shape)


def _is_product(rows: int, columns: int) -> bool:
    """Whether sums for so many rows and columns are made by the register tiles of products."""
    return min(rows, columns) > 1


def _sums_over_outermost(x: Vertex) -> bool:
    """Whether the channels of x are the images of a batch, as in the gradient of weights."""
    if x.primitive.name == "transpose":
        return x.attributes["permutation"][1] == 0
    if x.primitive.name != "reshape" or x.shape[0] != 1:
        return False
    return x.inputs[0].shape[:2] == (x.shape[1], 1) != (1, 1)  # a transpose of two sizes of which one is 1


def _over_channels(vertex: Vertex) -> Vertex:
    """Rows are positions, sums are over a window and the channels: (N, positions..., K)."""
    x, w = vertex.inputs
    rank = len(w.shape) - 2
    inner = range(2, rank + 2)
    is_product = _is_product(vertex.type.size // vertex.shape[1], vertex.shape[1])
    view = _windows(vertex, _channels_last(vertex, x), w.shape[2:], is_product)
    columns = build(vertex, "transpose", w, permutation=(*inner, 1, 0))
    result = build(vertex, "tensordot", view, columns, axes=rank + 1, by_column=False)
    return _channels_first(vertex, result)


def _over_batch(vertex: Vertex) -> Vertex:
    """Rows are positions and what x has as images, sums are over what it has as channels, and windows.

    For x (C, N, ...) and w (K, N, ...) that is (positions..., C, K): the gradient of weights for (window..., C, K).
    """
    x, w = vertex.inputs
    rank = len(w.shape) - 2
    inner = range(2, rank + 2)
    turned = build(vertex, "transpose", x, permutation=(1, *inner, 0))
    is_product = _is_product(vertex.type.size // vertex.shape[1], vertex.shape[1])
    view = _windows(vertex, turned, w.shape[2:], is_product)
    outer = (*range(1, rank + 1), 2 * rank + 1)
    rows = _turned(view, (*outer, 0, *range(rank + 1, 2 * rank + 1)))
    columns = build(vertex, "transpose", w, permutation=(1, *inner, 0))
    result = build(vertex, "tensordot", rows, columns, axes=rank + 1, by_column=False)
    return build(vertex, "transpose", result, permutation=(rank, rank + 1, *range(rank)))


def _channels_last(vertex: Vertex, x: Vertex) -> Vertex:
    """(N, C, ...) → (N, ..., C)"""
    return build(vertex, "transpose", x, permutation=(0, *range(2, len(x.shape)), 1))


def _channels_first(vertex: Vertex, x: Vertex) -> Vertex:
    """(N, ..., C) → (N, C, ...)"""
    return build(vertex, "transpose", x, permutation=(0, len(x.shape) - 1, *range(1, len(x.shape) - 1)))


def _windows(vertex: Vertex, x: Vertex, window: Shape, is_product: bool) -> Vertex:
    """What lies under the windows of (N, ..., C): (N, positions..., window..., C).

    The zeros around x are only put into memory where it has few channels, or something else than a product reads them.
    """
    strides, dilation, expansion = (vertex.attributes[name] for name in ("strides", "dilation", "expansion"))
    low, high = (tuple(max(size, 0) for size in vertex.attributes[name]) for name in ("low", "high"))
    cut = (-min(a, 0) - min(b, 0) for a, b in zip(vertex.attributes["low"], vertex.attributes["high"], strict=True))
    is_left = all(map(int.__lt__, cut, x.shape[1:-1]))
    if not (is_product and is_left and _is_in_memory(x)) or x.shape[-1] < FEW_CHANNELS or max(expansion, default=1) > 1:
        x, low, high = _spread(vertex, x), (0,) * len(low), (0,) * len(high)
    else:
        x = _cut(vertex, _readable(vertex, x))
    attributes = {"window": window, "strides": strides, "dilation": dilation, "low": low, "high": high}
    return make_vertex(WINDOWS, (x,), attributes, vertex.site)


def _is_in_memory(x: Vertex) -> bool:
    while x.primitive.name in VIEWS:
        x = x.inputs[0]
    return x.primitive.name not in ("constant", "iota")


def _turned(view: Vertex, permutation: Shape) -> Vertex:
    """Windows transposed, also where that is only a reshape: a product looks for what is around the image there."""
    return make_vertex(TRANSPOSE, (view,), {"permutation": permutation}, view.site)


def _spread(vertex: Vertex, x: Vertex) -> Vertex:
    """Zeros between and around the elements of each inner dimension of (N, ..., C); negative sizes cut off."""
    low, high, expansion = (vertex.attributes[name] for name in ("low", "high", "expansion"))
    before, after = (tuple(max(size, 0) for size in sizes) for sizes in (low, high))
    if any((*before, *after)) or max(expansion, default=1) > 1:
        gaps = {"low": (0, *before, 0), "high": (0, *after, 0), "interior": (0, *(e - 1 for e in expansion), 0)}
        x = make_vertex(PAD, (x,), gaps, vertex.site)  # as it is: its memory shall have the channels last
    else:
        x = _readable(vertex, x)
    return _cut(vertex, x)


def _readable(vertex: Vertex, x: Vertex) -> Vertex:
    """x itself, or a copy of it in memory that has the channels last."""
    if x.primitive.name != "transpose" or x.shape[-1] < FEW_CHANNELS:
        return x
    base, axis = x.inputs[0], x.attributes["permutation"][-1]
    strides = base.attributes["strides"] if base.primitive.name == "input" else None
    is_consecutive = (strides or contiguous_strides(base.shape))[axis] == 1
    return x if is_consecutive else make_vertex(STOP_GRADIENT, (x,), {}, vertex.site)


def _cut(vertex: Vertex, x: Vertex) -> Vertex:
    """What negative paddings leave of the inner dimensions of (N, ..., C)."""
    starts, ends = (tuple(max(-size, 0) for size in vertex.attributes[name]) for name in ("low", "high"))
    stops = tuple(n - size for n, size in zip(x.shape[1:-1], ends, strict=True))
    steps = (1,) * len(x.shape)
    return build(
        vertex, "slice", x, starts=(0, *starts, 0), stops=(x.shape[0], *stops, x.shape[-1]), steps=steps
    )  # fmt: skip


def _by_group(vertex: Vertex) -> Vertex:
    """Groups of channels are a batch of products of copied windows."""
    x, w = vertex.inputs
    (count, outputs, *positions), groups = vertex.shape, vertex.attributes["groups"]
    channels, rank = w.shape[1], len(positions)
    x = _spread(vertex, _channels_last(vertex, x))
    x = build(vertex, "reshape", x, shape=(*x.shape[:-1], groups, channels))
    x = build(vertex, "transpose", x, permutation=(rank + 1, *range(rank + 1), rank + 2))
    depth, rows = math.prod(w.shape[1:]), count * math.prod(positions)
    names = ("strides", "dilation")
    none = (0,) * rank
    sizes = {"window": w.shape[2:], "low": none, "high": none, **{name: vertex.attributes[name] for name in names}}
    rows_of_groups = build(vertex, "reshape", build(vertex, "windows", x, **sizes), shape=(groups, rows, depth))
    columns = build(vertex, "reshape", w, shape=(groups, outputs // groups, *w.shape[1:]))
    columns = build(vertex, "transpose", columns, permutation=(0, *range(3, rank + 3), 2, 1))
    columns = build(vertex, "reshape", columns, shape=(groups, depth, outputs // groups))
    result = build(vertex, "transpose", build(vertex, "matmul", rows_of_groups, columns), permutation=(1, 0, 2))
    return _channels_first(vertex, build(vertex, "reshape", result, shape=(count, *positions, outputs)))


def _by_channel(vertex: Vertex) -> Vertex:
    """Each channel has one window of its own: sums are made by column."""
    x, w = vertex.inputs
    inner = range(2, len(w.shape))
    view = _windows(vertex, _channels_last(vertex, x), w.shape[2:], is_product=True)
    weights = build(vertex, "transpose", w, permutation=(*inner, 1, 0))
    weights = build(vertex, "reshape", weights, shape=(*w.shape[2:], w.shape[0]))
    return _channels_first(vertex, build(vertex, "tensordot", view, weights, axes=len(inner), by_column=True))


def _by_channel_over_batch(vertex: Vertex) -> Vertex:
    """The gradient of the weights of `_by_channel`, (1, C, window...), from x (1, C · N, ...) and w (C, N, ...)."""
    x, w = vertex.inputs
    rank, inner = len(w.shape) - 2, range(2, len(w.shape))
    x = build(vertex, "reshape", x, shape=(*w.shape[:2], *x.shape[2:]))
    view = _windows(vertex, build(vertex, "transpose", x, permutation=(1, *inner, 0)), w.shape[2:], is_product=True)
    rows = _turned(view, (*range(1, rank + 1), 0, *range(rank + 1, 2 * rank + 2)))
    weights = build(vertex, "transpose", w, permutation=(1, *inner, 0))
    result = build(vertex, "tensordot", rows, weights, axes=rank + 1, by_column=True)
    result = build(vertex, "transpose", result, permutation=(rank, *range(rank)))
    return build(vertex, "reshape", result, shape=vertex.shape)


# Zeros between elements ----------------------------------------------------------------------------------------------


def _by_phases(vertex: Vertex) -> Vertex:
    """Every ``expansion``-th result meets the same elements of a window and no zeros: a convolution of its own."""
    w = vertex.inputs[1]
    expansion, dilation, low = (vertex.attributes[name] for name in ("expansion", "dilation", "low"))
    each = zip(expansion, w.shape[2:], dilation, low, strict=True)
    phases = [[_phase(number, *sizes) for number in range(sizes[0])] for sizes in each]
    counts = tuple(-(-n // e) for n, e in zip(vertex.shape[2:], expansion, strict=True))
    parts, starts = [], []
    for numbers in itertools.product(*map(range, expansion)):
        chosen = [axis[number] for axis, number in zip(phases, numbers, strict=True)]
        if all(phase.taps for phase in chosen):
            parts.append(_convolve_phase(vertex, chosen, counts))
            starts.append((0, 0, *numbers))
    if not parts:
        return filled(vertex, 0)
    whole = (*vertex.shape[:2], *(n * e for n, e in zip(counts, expansion, strict=True)))
    result = build(vertex, "interleave", *parts, shape=whole, starts=tuple(starts), steps=(1, 1, *expansion))
    none, ones = (0,) * len(vertex.shape), (1,) * len(vertex.shape)
    return build(vertex, "slice", result, starts=none, stops=vertex.shape, steps=ones)


class Phase(NamedTuple):
    """The elements of a window that meet elements of x, not zeros between them, for one phase of the results.

    They are ``taps`` elements from ``tap`` on, ``step`` apart; at the first result they meet those of x from ``first``
    on, ``dilation`` apart.
    """

    tap: int
    step: int
    taps: int
    first: int
    dilation: int

    def last(self, count: int) -> int:
        """Behind the last element of x that is met by so many results."""
        return self.first + count - 1 + window_size(self.taps, self.dilation) if self.taps else 0


def _phase(number: int, expansion: int, size: int, dilation: int, low: int) -> Phase:
    step = expansion // math.gcd(expansion, dilation)
    met = [tap for tap in range(min(step, size)) if (number + tap * dilation - low) % expansion == 0]
    if not met:
        return Phase(0, 1, 0, 0, 1)
    first = (number + met[0] * dilation - low) // expansion
    return Phase(met[0], step, len(range(met[0], size, step)), first, step * dilation // expansion)


def _convolve_phase(vertex: Vertex, phases: Sequence[Phase], counts: Shape) -> Vertex:
    """The results of one phase."""
    x, w = vertex.inputs
    starts, steps = (0, 0, *(phase.tap for phase in phases)), (1, 1, *(phase.step for phase in phases))
    weights = build(vertex, "slice", w, starts=starts, stops=w.shape, steps=steps)
    low = tuple(-phase.first for phase in phases)
    ends = (phase.last(n) for phase, n in zip(phases, counts, strict=True))
    high = tuple(end - n for end, n in zip(ends, x.shape[2:], strict=True))
    ones, dilation = (1,) * len(counts), tuple(phase.dilation for phase in phases)
    return build(
        vertex, "convolution", x, weights, strides=ones, low=low, high=high, dilation=dilation, expansion=ones,
        groups=vertex.attributes["groups"],
    )  # fmt: skip
