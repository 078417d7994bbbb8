"""Convolutions as matrix products: the elements under every window are rows, the weights columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from ..graph.vertex import Vertex
from ..ops.convolution import window_size
from ..types import Shape
from .rewriting import build, rule


@rule("convolution")
def multiply_windows(vertex: Vertex) -> Vertex:
    """convolution(x, w) → matmul(windows of x, w), with channels last; without a product where channels do not mix"""
    x, w = vertex.inputs
    count, outputs, *positions = vertex.shape
    rank, groups = len(positions), vertex.attributes["groups"]
    x = _spread(vertex, build(vertex, "transpose", x, permutation=(0, *range(2, rank + 2), 1)))
    if groups > 1 and groups == outputs == x.shape[-1]:
        result = _by_channel(vertex, x, w)
    elif math.prod(w.shape[2:]) <= math.prod(positions):
        rows = _join(vertex, list(_taps(vertex, x, w.shape[2:])), rank + 1)
        result = _product(vertex, rows, w)
    else:  # few positions of large windows, as in the gradient of the weights
        rows = _join(vertex, list(_places(vertex, x, w.shape[2:])), 0)
        result = build(vertex, "reshape", _product(vertex, rows, w), shape=(*positions, count, outputs))
        return build(vertex, "transpose", result, permutation=(rank, rank + 1, *range(rank)))
    result = build(vertex, "reshape", result, shape=(count, *positions, outputs))
    return build(vertex, "transpose", result, permutation=(0, rank + 1, *range(1, rank + 1)))


def _spread(vertex: Vertex, x: Vertex) -> Vertex:
    """Zeros between and around the elements of each inner dimension; negative sizes cut off."""
    low, high, expansion = (vertex.attributes[name] for name in ("low", "high", "expansion"))
    before, after = (tuple(max(size, 0) for size in sizes) for sizes in (low, high))
    if any((*before, *after)) or max(expansion, default=1) > 1:
        gaps = tuple(e - 1 for e in expansion)
        x = build(vertex, "pad", x, low=(0, *before, 0), high=(0, *after, 0), interior=(0, *gaps, 0))
    if min((*low, *high), default=0) < 0:
        starts = tuple(max(-size, 0) for size in low)
        stops = tuple(n - max(-size, 0) for n, size in zip(x.shape[1:-1], high, strict=True))
        x = _cut(vertex, x, starts, stops, (1,) * len(starts))
    return x


def _cut(vertex: Vertex, x: Vertex, starts: Shape, stops: Shape, steps: Shape) -> Vertex:
    """A slice along the inner dimensions of (N, ..., C)."""
    count, *_, channels = x.shape
    return build(vertex, "slice", x, starts=(0, *starts, 0), stops=(count, *stops, channels), steps=(1, *steps, 1))


def _taps(vertex: Vertex, x: Vertex, window: Shape) -> Iterator[Vertex]:
    """For each element of the window what lies under it, at all positions: (N, positions..., C)."""
    return _cuts(vertex, x, window, vertex.attributes["dilation"], vertex.shape[2:], vertex.attributes["strides"])


def _places(vertex: Vertex, x: Vertex, window: Shape) -> Iterator[Vertex]:
    """For each position what lies under the window there: (N, window..., C)."""
    return _cuts(vertex, x, vertex.shape[2:], vertex.attributes["strides"], window, vertex.attributes["dilation"])


def _cuts(vertex: Vertex, x: Vertex, outer: Shape, far: Shape, inner: Shape, near: Shape) -> Iterator[Vertex]:
    """``outer`` slices of x, which begin ``far`` apart, of ``inner`` elements that lie ``near`` apart."""
    spans = [window_size(count, step) for count, step in zip(inner, near, strict=True)]
    for place in itertools.product(*map(range, outer)):
        starts = tuple(number * step for number, step in zip(place, far, strict=True))
        yield _cut(vertex, x, starts, tuple(map(sum, zip(starts, spans, strict=True))), near)


def _join(vertex: Vertex, parts: list[Vertex], axis: int) -> Vertex:
    return parts[0] if len(parts) == 1 else build(vertex, "concatenate", *parts, axis=axis)


def _product(vertex: Vertex, rows: Vertex, w: Vertex) -> Vertex:
    """Rows of (window, channels) times the weights: (rows, K)."""
    groups, (outputs, channels, *window) = vertex.attributes["groups"], w.shape
    taps, rank = math.prod(window), len(window)
    depth = taps * channels
    columns = build(vertex, "reshape", w, shape=(groups, outputs // groups, channels, *window))
    columns = build(vertex, "transpose", columns, permutation=(0, *range(3, rank + 3), 2, 1))
    columns = build(vertex, "reshape", columns, shape=(groups, depth, outputs // groups))
    count = rows.type.size // (depth * groups) if depth else vertex.type.size // outputs
    if groups == 1:
        rows = build(vertex, "reshape", rows, shape=(count, depth))
        return build(vertex, "matmul", rows, build(vertex, "reshape", columns, shape=(depth, outputs)))
    rows = build(vertex, "reshape", rows, shape=(count, taps, groups, channels))
    rows = build(vertex, "transpose", rows, permutation=(2, 0, 1, 3))
    rows = build(vertex, "reshape", rows, shape=(groups, count, depth))
    return build(vertex, "transpose", build(vertex, "matmul", rows, columns), permutation=(1, 0, 2))


def _by_channel(vertex: Vertex, x: Vertex, w: Vertex) -> Vertex:
    """Σ over the window of what lies under each element, times the weight of its channel."""
    channels, window = w.shape[0], w.shape[2:]
    total = None
    for number, part in enumerate(_taps(vertex, x, window)):
        flat = build(vertex, "reshape", w, shape=(channels, math.prod(window)))
        weight = build(
            vertex, "slice", flat, starts=(0, number), stops=(channels, number + 1), steps=(1, 1)
        )  # one number per channel
        term = build(vertex, "multiply", part, build(vertex, "reshape", weight, shape=(channels,)))
        total = term if total is None else build(vertex, "add", total, term)
    assert total is not None
    return total
