"""Sliding windows as a view: the elements under every position of a window, without copying them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import Shape, TensorType, float32, tensor_type
from .arithmetic import add
from .movement import pad, reshape, slice_

Array = np.ndarray[Any, Any]


def window_size(size: int, dilation: int) -> int:
    """How many positions a window of ``size`` elements spans."""
    return (size - 1) * dilation + 1


def _split(shape: Shape, count: int) -> tuple[Shape, Shape]:
    """The dimensions before those that windows move along, and these."""
    return shape[: -count - 1], shape[-count - 1 : -1]


def _type_rule(
    x: TensorType, *, window: Shape, strides: Shape, dilation: Shape, low: Shape, high: Shape
) -> TensorType:  # fmt: skip
    if not x.rank > len(window) == len(strides) == len(dilation) == len(low) == len(high):
        raise ShapeError(f"windows need a size, stride, dilation and padding for some of the dimensions of {x.shape}")
    if min((*window, *strides, *dilation), default=1) < 1 or min((*low, *high), default=0) < 0:
        raise ArgumentError("sizes, strides and dilations of windows must be at least 1, paddings at least 0")
    outer, sizes = _split(x.shape, len(window))
    spans = [window_size(r, step) for r, step in zip(window, dilation, strict=True)]
    padded = [a + n + b for a, n, b in zip(low, sizes, high, strict=True)]
    for size, span in zip(padded, spans, strict=True):
        if size < span:
            raise ShapeError(f"a window of {span} is larger than the dimension of {size}")
    positions = ((n - span) // s + 1 for n, span, s in zip(padded, spans, strides, strict=True))
    return tensor_type(x.dtype, (*outer, *positions, *window, x.shape[-1]))


def _around(x: Array | Vertex, low: Shape, high: Shape) -> tuple[Shape, Shape]:
    """The zeros around all dimensions of x."""
    none = (0,) * (len(x.shape) - 1 - len(low))
    return (*none, *low, 0), (*none, *high, 0)


def _reference(x: Array, *, window: Shape, strides: Shape, dilation: Shape, low: Shape, high: Shape) -> Array:
    if any((*low, *high)):
        x = np.pad(x, tuple(zip(*_around(x, low, high), strict=True)))
    none = (0,) * len(low)
    type = _type_rule(
        tensor_type(float32, x.shape), window=window, strides=strides, dilation=dilation, low=none, high=none
    )
    outer, steps = _split(x.strides, len(window))
    far = (step * stride for step, stride in zip(steps, strides, strict=True))
    near = (step * gap for step, gap in zip(steps, dilation, strict=True))
    return np.lib.stride_tricks.as_strided(x, type.shape, (*outer, *far, *near, x.strides[-1]), writeable=False)


def _vjp(
    g: Vertex, out: Vertex, x: Vertex, *, window: Shape, strides: Shape, dilation: Shape, low: Shape, high: Shape
) -> tuple[Vertex | None]:
    """Each element of the window puts its gradients back to where it was taken from; the zeros' are cut off."""
    before, after = _around(x, low, high)
    padded = tuple(a + n + b for a, n, b in zip(before, x.shape, after, strict=True))
    (outer, sizes), channels = _split(padded, len(window)), x.shape[-1]
    positions = out.shape[len(outer) : len(outer) + len(window)]
    none, total = (0,) * len(outer), None
    for place in itertools.product(*map(range, window)):
        starts = (0,) * (len(outer) + len(window)) + place + (0,)
        stops = (*outer, *positions, *(index + 1 for index in place), channels)
        part = reshape(slice_(g, starts, stops, (1,) * len(stops)), (*outer, *positions, channels))
        first = tuple(index * gap for index, gap in zip(place, dilation, strict=True))
        left = (n - a - window_size(o, s) for n, a, o, s in zip(sizes, first, positions, strides, strict=True))
        term = pad(part, (*none, *first, 0), (*none, *left, 0), (*none, *(s - 1 for s in strides), 0))
        total = term if total is None else add(total, term)
    if total is None or padded == x.shape:
        return (total,)
    ends = tuple(a + n for a, n in zip(before, x.shape, strict=True))
    return (slice_(total, before, ends, (1,) * len(ends)),)


def _plain(window: Shape, strides: Shape, dilation: Shape, low: Shape = (), high: Shape = ()) -> dict[str, Shape]:
    none = (0,) * len(window)
    return {"window": window, "strides": strides, "dilation": dilation, "low": low or none, "high": high or none}


_IMAGE = tensor_type(float32, (2, 5, 6, 3))

WINDOWS = register(
    Primitive(
        name="windows",
        family="movement",
        meaning="out[..., o, r, c] = x[..., o·strides + r·dilation - low, c] for positions o and elements r of a "
        "window over the dimensions before the last; zeros before and behind x",
        attributes=("window", "strides", "dilation", "low", "high"),
        type_rule=_type_rule,
        reference=_reference,
        vjp=_vjp,
        native="view",
        xla="conv_general_dilated_patches",
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 7, 3)),), _plain((3,), (2,), (1,))),
            Sample((rng.normal(size=(2, 5, 6, 2)),), _plain((2, 3), (1, 2), (3, 1))),
            Sample((rng.normal(size=(3, 4)),), _plain((), (), ())),
            Sample((rng.normal(size=(2, 3, 5, 2)),), _plain((2,), (3,), (2,))),
            Sample((rng.normal(size=(0, 4, 1)),), _plain((4,), (1,), (1,))),
            Sample((rng.normal(size=(2, 5, 4, 3)),), _plain((3, 2), (2, 1), (1, 2), (1, 0), (1, 2))),
        ],
        invalid=(
            Invalid((_IMAGE,), "larger than the dimension", _plain((3, 4), (1, 1), (1, 2))),
            Invalid((_IMAGE,), "at least 1", _plain((3, 0), (1, 1), (1, 1))),
            Invalid((_IMAGE,), "a size, stride", _plain((3,), (1, 1), (1,))),
        ),
        cost=lambda out, x: 0,
    )
)


def windows(x: Vertex, window: Shape, strides: Shape, dilation: Shape, low: Shape, high: Shape) -> Vertex:
    """What lies under each position of a window: see `WINDOWS`."""
    return apply(WINDOWS, x, window=window, strides=strides, dilation=dilation, low=low, high=high)
