"""The convolution, of any number of dimensions. Its gradients are convolutions too, so one primitive is enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import Shape, TensorType, float32, int64, tensor_type
from .movement import flip, reshape, transpose
from .source import zeros_like
from .window import window_size

Array = np.ndarray[Any, Any]


def spread_size(size: int, low: int, high: int, expansion: int) -> int:
    """How long a dimension is with ``expansion - 1`` zeros between its elements and zeros before and behind them."""
    return low + max((size - 1) * expansion + 1, 0) + high


def _type_rule(
    x: TensorType, w: TensorType, *, strides: Shape, low: Shape, high: Shape, dilation: Shape, expansion: Shape,
    groups: int,
) -> TensorType:  # fmt: skip
    if x.dtype.kind != "float" or x.dtype is not w.dtype:
        raise DTypeError(f"convolution needs two float operands of one dtype, got {x.dtype} and {w.dtype}")
    rank = x.rank - 2
    if rank < 0 or w.rank != x.rank or any(len(sizes) != rank for sizes in (strides, low, high, dilation, expansion)):
        raise ShapeError(
            "convolution needs operands (N, C, ...) and (K, C / groups, ...) and one number per further dimension, got "
            f"shapes {x.shape} and {w.shape}"
        )
    if min((*strides, *dilation, *expansion, groups), default=1) < 1 or min(w.shape[2:], default=1) < 1:
        raise ArgumentError("strides, dilations, groups and windows of a convolution must be at least 1")
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ShapeError(
            f"{x.shape[1]} channels and weights of shape {w.shape} do not divide into {groups} groups of channels"
        )
    sizes = []
    for n, r, a, b, step, gap, e in zip(x.shape[2:], w.shape[2:], low, high, dilation, expansion, strides, strict=True):
        size, window = spread_size(n, a, b, gap), window_size(r, step)
        if size < window:
            raise ShapeError(f"a window of {window} is larger than the padded input of {size}")
        sizes.append((size - window) // e + 1)
    return tensor_type(x.dtype, (x.shape[0], w.shape[0], *sizes))


def _spread(x: Array, low: Shape, high: Shape, expansion: Shape) -> Array:
    """Zeros put between, before and behind the elements; negative sizes cut off."""
    sizes = [spread_size(*each) for each in zip(x.shape[2:], low, high, expansion, strict=True)]
    out = np.zeros((*x.shape[:2], *sizes), x.dtype)
    to, source = [slice(None)] * 2, [slice(None)] * 2
    for n, size, start, gap in zip(x.shape[2:], sizes, low, expansion, strict=True):
        first = max(0, -(start // gap)) if start < 0 else 0
        count = max(0, min(n, (size - start - 1) // gap + 1) - first)
        begin = start + first * gap
        to.append(slice(begin, begin + max(count - 1, 0) * gap + min(count, 1), gap))
        source.append(slice(first, first + count))
    out[tuple(to)] = x[tuple(source)]
    return out


def _reference(
    x: Array, w: Array, *, strides: Shape, low: Shape, high: Shape, dilation: Shape, expansion: Shape, groups: int
) -> Array:
    """The rows of all windows, times the weights of each group."""
    rank, count = len(strides), x.shape[0]
    windows = tuple(window_size(r, step) for r, step in zip(w.shape[2:], dilation, strict=True))
    spread = _spread(x, low, high, expansion)
    views = np.lib.stride_tricks.sliding_window_view(spread, windows, tuple(range(2, rank + 2)))
    views = views[(slice(None), slice(None), *(slice(None, None, s) for s in (*strides, *dilation)))]
    positions = views.shape[2 : rank + 2]
    rows = views.reshape(count, groups, x.shape[1] // groups, *views.shape[2:])
    order = (1, 0, *range(3, rank + 3), 2, *range(rank + 3, 2 * rank + 3))
    outputs, depth = w.shape[0] // groups, math.prod(w.shape[1:])
    rows = rows.transpose(order).reshape(groups, count * math.prod(positions), depth)
    columns = w.reshape(groups, outputs, depth).transpose(0, 2, 1)
    product = np.matmul(rows, columns).reshape(groups, count, *positions, outputs)
    result = product.transpose(1, 0, rank + 2, *range(2, rank + 2))
    return result.reshape(count, w.shape[0], *positions)


def _vjp(
    g: Vertex, out: Vertex, x: Vertex, w: Vertex, *, strides: Shape, low: Shape, high: Shape, dilation: Shape,
    expansion: Shape, groups: int,
) -> tuple[Vertex, Vertex]:  # fmt: skip
    """dX: G, with zeros between for the strides, under the weights turned round; dW: X under G, channels as batch."""
    if not x.type.size:  # there is nothing but padding
        return zeros_like(x), zeros_like(w)
    sizes = list(zip(x.shape[2:], w.shape[2:], out.shape[2:], strides, low, dilation, expansion, strict=True))
    before = tuple(window_size(r, d) - 1 - a for _, r, _, _, a, d, _ in sizes)
    after = tuple(
        window_size(n, e) + window_size(r, d) - 1 - window_size(o, s) - b
        for b, (n, r, o, s, _, d, e) in zip(before, sizes, strict=True)
    )
    by_x = convolution(g, turned_weights(w, groups), expansion, before, after, dilation, strides, groups)
    behind = tuple(window_size(o, s) - window_size(n, e) + window_size(r, d) - 1 - a for n, r, o, s, a, d, e in sizes)
    rows, columns = _by_channels(x, groups), transpose(g, (1, 0, *range(2, len(g.shape))))
    by_w = convolution(rows, columns, dilation, low, behind, strides, expansion, groups)
    return by_x, transpose(by_w, (1, 0, *range(2, len(g.shape))))


def turned_weights(w: Vertex, groups: int) -> Vertex:
    """Weights (K, C / groups, ...) for the way back: (C, K / groups, ...), with every window turned round."""
    outputs, inputs, *window = w.shape
    rank = len(window)
    w = reshape(flip(w, tuple(range(2, rank + 2))), (groups, outputs // groups, inputs, *window))
    return reshape(transpose(w, (0, 2, 1, *range(3, rank + 3))), (groups * inputs, outputs // groups, *window))


def _by_channels(x: Vertex, groups: int) -> Vertex:
    """(N, C, ...) → (C / groups, groups · N, ...): what was summed over is a batch, and the batch is summed over."""
    count, channels, *sizes = x.shape
    if groups in (1, channels):
        turned = transpose(x, (1, 0, *range(2, len(sizes) + 2)))
        return reshape(turned, (channels // groups, groups * count, *sizes))
    split = reshape(x, (count, groups, channels // groups, *sizes))
    turned = transpose(split, (2, 1, 0, *range(3, len(sizes) + 3)))
    return reshape(turned, (channels // groups, groups * count, *sizes))


def _plain(rank: int, **others: Any) -> dict[str, Any]:
    ones, none = (1,) * rank, (0,) * rank
    return {"strides": ones, "low": none, "high": none, "dilation": ones, "expansion": ones, "groups": 1, **others}


def _samples(rng: np.random.Generator) -> list[Sample]:
    def draw(*shape: int) -> Array:
        return rng.normal(size=shape)

    several = {"strides": (2, 1), "low": (1, 0), "high": (0, 2), "dilation": (1, 2), "expansion": (1, 3)}
    return [
        Sample((draw(2, 3, 7), draw(4, 3, 3)), _plain(1, strides=(2,), low=(1,), high=(1,))),
        Sample((draw(2, 3, 5, 6), draw(4, 3, 3, 2)), _plain(2)),
        Sample((draw(2, 4, 5, 6), draw(6, 2, 3, 2)), _plain(2, **several, groups=2)),
        Sample((draw(1, 3, 6, 6), draw(3, 1, 3, 3)), _plain(2, low=(1, 1), high=(1, 1), groups=3)),
        Sample((draw(2, 2, 5, 5), draw(3, 2, 2, 2)), _plain(2, low=(-1, 0), high=(0, -2), expansion=(2, 1))),
        Sample((draw(2, 5, 4, 4), draw(3, 5, 1, 1)), _plain(2)),
        Sample((draw(1, 2, 3, 4, 3), draw(2, 2, 2, 2, 2)), _plain(3, strides=(1, 2, 1))),
        Sample((draw(0, 3, 5), draw(2, 3, 2)), _plain(1)),
    ]


_IMAGE, _WEIGHTS = tensor_type(float32, (2, 4, 5, 5)), tensor_type(float32, (6, 4, 3, 3))

CONVOLUTION = register(
    Primitive(
        name="convolution",
        family="convolution",
        meaning="out[n, k, o] = Σ_c Σ_r w[k, c, r] · x[n, c, o·strides + r·dilation - low]; x has `expansion - 1` "
        "zeros between its elements and zeros around; channels in `groups` that do not mix. Products with these zeros "
        "may be left out: weights that are not finite then give no NaN there",
        attributes=("strides", "low", "high", "dilation", "expansion", "groups"),
        type_rule=_type_rule,
        reference=_reference,
        vjp=_vjp,
        native="convolution",
        xla="conv_general_dilated",
        samples=_samples,
        invalid=(
            Invalid((_IMAGE, tensor_type(float32, (6, 3, 3, 3))), "do not divide into 1 groups", _plain(2)),
            Invalid((_IMAGE, _WEIGHTS), "do not divide into 2 groups", _plain(2, groups=2)),
            Invalid((_IMAGE, tensor_type(float32, (6, 4, 7, 3))), "larger than the padded input of 5", _plain(2)),
            Invalid((_IMAGE, tensor_type(int64, (6, 4, 3, 3))), "one dtype", _plain(2)),
            Invalid((_IMAGE, _WEIGHTS), "one number per further dimension", _plain(1)),
            Invalid((_IMAGE, _WEIGHTS), "at least 1", _plain(2, strides=(0, 1))),
        ),
        cost=lambda out, x, w: 2 * out.size * math.prod(w.shape[1:]),
    )
)


def convolution(
    x: Vertex, w: Vertex, strides: Shape, low: Shape, high: Shape, dilation: Shape, expansion: Shape, groups: int
) -> Vertex:
    """Sums over windows of x, weighted by w: see `CONVOLUTION`."""
    return apply(
        CONVOLUTION, x, w, strides=strides, low=low, high=high, dilation=dilation, expansion=expansion, groups=groups
    )
