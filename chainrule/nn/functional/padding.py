"""Putting something around tensors: numbers, mirror images, the nearest elements, or what lies on the other side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError, did_you_mean
from ...graph.site import find_site
from ...graph.vertex import Vertex
from ...ops import movement
from ...ops.comparison import where
from ...ops.source import constant
from ...tensor.operands import as_tensor, enter_all
from ...tensor.recording import Handle, pending, type_of
from ...tensor.remembered import remembered
from ...types import Shape, bool_

MODES = ("reflect", "replicate", "circular")


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """The input with ``pad`` = (left, right, top, bottom, ...) elements around its last dimensions; negative ones cut.

    ``mode``: ``"constant"`` (``value``, 0 by default), ``"reflect"`` (without the edge), ``"replicate"`` (the edge) or
    ``"circular"``. Errors: `ArgumentError`, `ShapeError` for more than there is to reflect or to go round.

    >>> import chainrule as cr
    >>> cr.nn.functional.pad(cr.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    x = input if isinstance(input, Handle) else as_tensor(input)
    rank, sizes = len(type_of(x).shape), tuple(pad)
    if len(sizes) % 2 or len(sizes) // 2 > rank or any(not isinstance(size, int | np.integer) for size in sizes):
        raise ArgumentError(
            f"pad must be pairs of whole numbers for at most {rank} dimensions, the last one first, got {pad!r}\n"
            f"  where: {find_site()}"
        )
    if mode != "constant" and mode not in MODES:
        hint = did_you_mean(mode, ("constant", *MODES))
        raise ArgumentError(f"unknown padding mode {mode!r}{hint}\n  where: {find_site()}")
    sizes = tuple(map(int, sizes))
    outer = (0,) * (rank - len(sizes) // 2)
    low, high = (*outer, *sizes[-2::-2]), (*outer, *sizes[:0:-2])
    return _padded(x, low=low, high=high, mode=mode, value=0.0 if value is None else value)


@remembered
def _padded(x: Any, *, low: Shape, high: Shape, mode: str, value: float) -> Any:
    segment, (vertex,) = enter_all(x)
    if mode == "constant":
        return pending(_constant(vertex, low, high, value), segment)
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        if before or after:
            vertex = _continued(vertex, axis, before, after, mode)
    return pending(vertex, segment)


def _constant(x: Vertex, low: Shape, high: Shape, value: float) -> Vertex:
    if min((*low, *high), default=0) < 0:
        starts = tuple(max(-size, 0) for size in low)
        stops = tuple(n - max(-size, 0) for n, size in zip(x.shape, high, strict=True))
        _check(all(a <= b for a, b in zip(starts, stops, strict=True)), x, "cut off", low, high)
        x = movement.slice_(x, starts, stops, (1,) * len(starts))
    low, high = (tuple(max(size, 0) for size in sizes) for sizes in (low, high))
    none = (0,) * len(low)
    padded = movement.pad(x, low, high, none)
    if not value:
        return padded
    inside = movement.pad(movement.broadcast(constant(True, bool_), x.shape), low, high, none)
    return where(inside, padded, value)


def _continued(x: Vertex, axis: int, before: int, after: int, mode: str) -> Vertex:
    """One dimension with its own elements continued on both sides."""
    start, stop = max(-before, 0), x.shape[axis] - max(-after, 0)
    _check(start <= stop, x, mode, (before,), (after,))
    x = _along(x, axis, start, stop)
    size = stop - start
    most = {"reflect": size - 1, "circular": size, "replicate": max(before, after) if size else -1}[mode]
    _check(max(before, after) <= most, x, mode, (before,), (after,))
    parts = [x]
    if before > 0:
        parts.insert(0, _outside(x, axis, before, True, mode))
    if after > 0:
        parts.append(_outside(x, axis, after, False, mode))
    return movement.concatenate(*parts, axis=axis)


def _outside(x: Vertex, axis: int, count: int, is_before: bool, mode: str) -> Vertex:
    size = x.shape[axis]
    if mode == "circular":
        return _along(x, axis, size - count, size) if is_before else _along(x, axis, 0, count)
    if mode == "reflect":
        start = 1 if is_before else size - 1 - count
        return movement.flip(_along(x, axis, start, start + count), (axis,))
    edge = _along(x, axis, 0, 1) if is_before else _along(x, axis, size - 1, size)
    return movement.broadcast(edge, (*x.shape[:axis], count, *x.shape[axis + 1 :]))


def _along(x: Vertex, axis: int, start: int, stop: int) -> Vertex:
    starts = tuple(start if i == axis else 0 for i in range(len(x.shape)))
    stops = tuple(stop if i == axis else size for i, size in enumerate(x.shape))
    return movement.slice_(x, starts, stops, (1,) * len(starts))


def _check(is_possible: bool, x: Vertex, what: str, low: Shape, high: Shape) -> None:
    if not is_possible:
        raise ShapeError(
            f"padding of {low} before and {high} behind is not possible for an input of shape {list(x.shape)} ({what}: "
            f"there are not so many elements)\n  where: {find_site()}"
        )
