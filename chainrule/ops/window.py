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


def _type_rule(x: TensorType, *, window: Shape, strides: Shape, dilation: Shape) -> TensorType:
    if not x.rank > len(window) == len(strides) == len(dilation):
        raise ShapeError(f"windows need a size, a stride and a dilation for some of the dimensions of {x.shape}")
    if min((*window, *strides, *dilation), default=1) < 1:
        raise ArgumentError("sizes, strides and dilations of windows must be at least 1")
    outer, sizes = _split(x.shape, len(window))
    spans = [window_size(r, step) for r, step in zip(window, dilation, strict=True)]
    for size, span in zip(sizes, spans, strict=True):
        if size < span:
            raise ShapeError(f"a window of {span} is larger than the dimension of {size}")
    positions = ((n - span) // s + 1 for n, span, s in zip(sizes, spans, strides, strict=True))
    return tensor_type(x.dtype, (*outer, *positions, *window, x.shape[-1]))


def _reference(x: Array, *, window: Shape, strides: Shape, dilation: Shape) -> Array:
    type = _type_rule(tensor_type(float32, x.shape), window=window, strides=strides, dilation=dilation)
    outer, steps = _split(x.strides, len(window))
    far = (step * stride for step, stride in zip(steps, strides, strict=True))
    near = (step * gap for step, gap in zip(steps, dilation, strict=True))
    return np.lib.stride_tricks.as_strided(x, type.shape, (*outer, *far, *near, x.strides[-1]), writeable=False)


def _vjp(
    g: Vertex, out: Vertex, x: Vertex, *, window: Shape, strides: Shape, dilation: Shape
) -> tuple[Vertex | None]:
    """Each element of the window puts its gradients back to where it was taken from."""
    (outer, sizes), channels = _split(x.shape, len(window)), x.shape[-1]
    positions = out.shape[len(outer) : len(outer) + len(window)]
    total = None
    for place in itertools.product(*map(range, window)):
        starts = (0,) * (len(outer) + len(window)) + place + (0,)
        stops = (*outer, *positions, *(index + 1 for index in place), channels)
        part = reshape(slice_(g, starts, stops, (1,) * len(stops)), (*outer, *positions, channels))
        low = tuple(index * gap for index, gap in zip(place, dilation, strict=True))
        high = (n - a - window_size(o, s) for n, a, o, s in zip(sizes, low, positions, strides, strict=True))
        none = (0,) * len(outer)
        term = pad(part, (*none, *low, 0), (*none, *high, 0), (*none, *(s - 1 for s in strides), 0))
        total = term if total is None else add(total, term)
    return (total,)


_IMAGE = tensor_type(float32, (2, 5, 6, 3))

WINDOWS = register(
    Primitive(
        name="windows",
        family="movement",
        meaning="out[..., o, r, c] = x[..., o·strides + r·dilation, c] for positions o and elements r of a window over "
        "the dimensions before the last",
        attributes=("window", "strides", "dilation"),
        type_rule=_type_rule,
        reference=_reference,
        vjp=_vjp,
        native="view",
        xla="conv_general_dilated_patches",
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 7, 3)),), {"window": (3,), "strides": (2,), "dilation": (1,)}),
            Sample((rng.normal(size=(2, 5, 6, 2)),), {"window": (2, 3), "strides": (1, 2), "dilation": (3, 1)}),
            Sample((rng.normal(size=(3, 4)),), {"window": (), "strides": (), "dilation": ()}),
            Sample((rng.normal(size=(2, 3, 5, 2)),), {"window": (2,), "strides": (3,), "dilation": (2,)}),
            Sample((rng.normal(size=(0, 4, 1)),), {"window": (4,), "strides": (1,), "dilation": (1,)}),
        ],
        invalid=(
            Invalid((_IMAGE,), "larger than the dimension", {"window": (3, 4), "strides": (1, 1), "dilation": (1, 2)}),
            Invalid((_IMAGE,), "at least 1", {"window": (3, 0), "strides": (1, 1), "dilation": (1, 1)}),
            Invalid((_IMAGE,), "a size, a stride", {"window": (3,), "strides": (1, 1), "dilation": (1,)}),
        ),
        cost=lambda out, x: 0,
    )
)


def windows(x: Vertex, window: Shape, strides: Shape, dilation: Shape) -> Vertex:
    """What lies under each position of a window: see `WINDOWS`."""
    return apply(WINDOWS, x, window=window, strides=strides, dilation=dilation)
