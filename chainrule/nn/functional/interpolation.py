"""Resampling sequences, images and volumes to other sizes, one axis after the other, under PyTorch's names.

Output o lies at s = (o + ½)·n/m - ½ between the n elements of an axis that m are made of; with aligned corners at
s = o·(n - 1)/(m - 1). It is a weighted sum of the elements around s, where those beyond the ends are the last ones. An
axis that grows by a small whole factor f has only f different fractions of s: then whole slices are summed, whose
gradients are slices too; otherwise elements are read at computed positions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ArgumentError, DTypeError, ShapeError, did_you_mean
from ...graph.site import find_site
from ...graph.vertex import Vertex, apply
from ...ops.arithmetic import add, maximum, minimum, multiply, subtract
from ...ops.elementwise import FLOOR, cast
from ...ops.indexing import take
from ...ops.movement import broadcast, concatenate, reshape
from ...ops.source import constant, iota
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
from ...tensor.remembered import remembered_vertices
from ...types import DType, Shape, float32, int64
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .windows import along, per_axis, resized

RANKS = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,),
    "bicubic": (2,), "area": (1, 2, 3),
}  # fmt: skip
"""How many axes behind the channels each mode is for."""

CAN_ALIGN = ("linear", "bilinear", "trilinear", "bicubic")

SHARPNESS = -0.75
"""The parameter of the cubic kernel, as in PyTorch and OpenCV."""

MOST_PHASES = 8
"""The largest factor for which there is a sum of slices for every fraction."""

Weights = Callable[[Vertex], list[Vertex]]
"""The weights of the elements around s, from the fraction of s."""

Factors = float | Sequence[float] | None


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: Factors = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Any:
    """The input at another ``size``, or ``scale_factor`` times as large (rounded down); numbers, or one per axis.

    ``mode``: ``"nearest"`` takes the element at ⌊o·n/m⌋ for n elements and m outputs, ``"nearest-exact"`` the one at
    ⌊(o + ½)·n/m⌋; ``"linear"``, ``"bilinear"`` and ``"trilinear"`` weigh the two around each place by their distance,
    ``"bicubic"`` the four around it; ``"area"`` is `adaptive_avg_pool2d`. ``align_corners``: the first and last
    elements of input and output lie on each other, instead of the outer edges of these elements.
    ``recompute_scale_factor``: places follow from the sizes, not from ``scale_factor``.

    Shapes: input (N, C, L), (N, C, H, W) or (N, C, D, H, W), result with the new sizes.
    Errors: `ShapeError` for other inputs or empty results, `ArgumentError` for options that do not fit, `DTypeError`.

    >>> import chainrule as cr
    >>> cr.nn.functional.interpolate(cr.tensor([[[1.0, 3.0]]]), scale_factor=2, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    x = input if isinstance(input, Handle) else as_tensor(input)
    given = type_of(x)
    axes = given.shape[2:]
    _check_mode(mode, given.shape, align_corners)
    factors = None if scale_factor is None else _factors(scale_factor, len(axes))
    outputs = _output_sizes(axes, size, factors)
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[len(axes) - 1](x, outputs)
    if not mode.startswith("nearest") and not given.dtype.is_floating_point:
        raise DTypeError(f"interpolate: mode {mode!r} needs floats, got {given.dtype}\n  where: {find_site()}")
    if align_corners:
        steps = tuple((n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(axes, outputs, strict=True))
    elif factors is None or recompute_scale_factor:
        steps = tuple(n / m for n, m in zip(axes, outputs, strict=True))
    else:
        steps = tuple(1 / factor for factor in factors)
    return _interpolated(x, outputs=outputs, steps=steps, mode=mode, is_aligned=bool(align_corners))


def _check_mode(mode: str, shape: Shape, align_corners: bool | None) -> None:
    """Errors: `ArgumentError` for an unknown mode or one without corners, `ShapeError` for an input it is not for."""
    where = f"\n  where: {find_site()}"
    if mode not in RANKS:
        raise ArgumentError(f"interpolate: unknown mode {mode!r}{did_you_mean(mode, RANKS)}{where}")
    if align_corners is not None and mode not in CAN_ALIGN:
        raise ArgumentError(
            f"interpolate: align_corners is an option of the modes {', '.join(CAN_ALIGN)}, not of {mode!r}{where}"
        )
    if len(shape) - 2 not in RANKS[mode] or not all(shape[2:]):
        ranks = " or ".join(f"{rank + 2}" for rank in RANKS[mode])
        fits = [name for name, ranks_of in RANKS.items() if len(shape) - 2 in ranks_of]
        raise ShapeError(
            f"interpolate: mode {mode!r} is for inputs with {ranks} dimensions (N, C, ...), none of them empty behind "
            f"C, got shape {shape}{where}" + f"\n  fix: mode {', '.join(map(repr, fits))}" * bool(fits)
        )


def _factors(given: Any, rank: int) -> tuple[float, ...]:
    factors = tuple(given) if isinstance(given, tuple | list) else (given,) * rank
    if len(factors) != rank or not all(isinstance(factor, int | float) and factor > 0 for factor in factors):
        raise ArgumentError(
            f"interpolate: scale_factor must be a positive number, or {rank} of them, got {given!r}\n"
            f"  where: {find_site()}"
        )
    return factors


def _output_sizes(axes: Shape, size: Any, factors: tuple[float, ...] | None) -> Shape:
    if (size is None) == (factors is None):
        raise ArgumentError(f"interpolate: give either size or scale_factor\n  where: {find_site()}")
    if factors is None:
        return per_axis("interpolate", "size", size, len(axes), 1)
    outputs = tuple(int(n * factor) for n, factor in zip(axes, factors, strict=True))
    if not all(outputs):
        raise ShapeError(
            f"interpolate: axes of {axes} elements, scaled by {factors}, have none left\n  where: {find_site()}"
        )
    return outputs


@remembered_vertices
def _interpolated(x: Vertex, *, outputs: Shape, steps: tuple[float, ...], mode: str, is_aligned: bool) -> Vertex:
    for axis, (size, step) in enumerate(zip(outputs, steps, strict=True), 2):
        if size == x.shape[axis] and step == 1:
            continue
        if mode.startswith("nearest"):
            x = _nearest(x, axis, size, step, 0.5 if mode == "nearest-exact" else 0.0)
            continue
        weights = _cubic if mode == "bicubic" else _linear
        factor, rest = divmod(size, x.shape[axis])
        if not rest and factor <= MOST_PHASES and step == x.shape[axis] / size and not is_aligned:
            x = _grown(x, axis, factor, weights)
        else:
            x = _resampled(x, axis, size, step, weights, is_aligned)
    return x


def _nearest(x: Vertex, axis: int, size: int, step: float, offset: float) -> Vertex:
    """The elements at ⌊(o + offset)·step⌋ along an axis."""
    n = x.shape[axis]
    if size % n == 0 and step == n / size:
        repeated = broadcast(resized(x, axis, n, 1), (*x.shape[: axis + 1], size // n, *x.shape[axis + 1 :]))
        return reshape(repeated, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    if n % size == 0 and step == n / size:
        return along(x, axis, int(offset * step), n, n // size)
    dtype = _counting(x.dtype)
    places = cast(multiply(add(iota(dtype, (size,)), offset), step), int64)
    return take(x, minimum(places, n - 1), axis)


def _counting(dtype: DType) -> DType:
    """In which type places are computed: PyTorch's choice, so that both round to the same element."""
    return dtype if dtype.is_floating_point else float32


def _grown(x: Vertex, axis: int, factor: int, weights: Weights) -> Vertex:
    """An axis that is ``factor`` times as long: outputs with equal fractions are sums of slices, interleaved."""
    n, reach = x.shape[axis], len(weights(constant(0, x.dtype))) // 2
    wide = _with_edges(x, axis, reach)
    phases = []
    for phase in range(factor):
        shift = (2 * phase + 1 - factor) / (2 * factor)
        low = 1 if shift >= 0 else 0  # of the 2·reach elements around it, in the axis with its edges
        shares = weights(constant(shift + 1 - low, x.dtype))
        terms = [multiply(along(wide, axis, low + k, low + k + n), share) for k, share in enumerate(shares)]
        phases.append(resized(functools.reduce(add, terms), axis, n, 1))
    return reshape(concatenate(*phases, axis=axis + 1), (*x.shape[:axis], n * factor, *x.shape[axis + 1 :]))


def _with_edges(x: Vertex, axis: int, count: int) -> Vertex:
    """x with its first and last elements along an axis repeated ``count`` times on both sides."""
    edges = [along(x, axis, 0, 1), along(x, axis, x.shape[axis] - 1, x.shape[axis])]
    before, behind = (broadcast(edge, (*x.shape[:axis], count, *x.shape[axis + 1 :])) for edge in edges)
    return concatenate(before, x, behind, axis=axis)


def _resampled(x: Vertex, axis: int, size: int, step: float, weights: Weights, is_aligned: bool) -> Vertex:
    """Weighted sums of the elements around computed places."""
    n = x.shape[axis]
    count = iota(x.dtype, (size,))
    places = multiply(count, step) if is_aligned else subtract(multiply(add(count, 0.5), step), 0.5)
    low = apply(FLOOR, places)
    shares = weights(subtract(places, low))
    first = subtract(cast(low, int64), len(shares) // 2 - 1)
    terms = []
    for k, share in enumerate(shares):
        elements = take(x, maximum(minimum(add(first, k), n - 1), 0), axis)
        terms.append(multiply(elements, reshape(share, (size, *(1,) * (len(x.shape) - axis - 1)))))
    return functools.reduce(add, terms)


def _linear(fraction: Vertex) -> list[Vertex]:
    return [subtract(1.0, fraction), fraction]


def _cubic(fraction: Vertex) -> list[Vertex]:
    """Keys' kernel with a = `SHARPNESS`, at the distances 1 + t, t, 1 - t and 2 - t. Source: Keys 1981."""
    other = subtract(1.0, fraction)
    return [_cubic_far(add(fraction, 1.0)), _cubic_near(fraction), _cubic_near(other), _cubic_far(add(other, 1.0))]


def _cubic_near(d: Vertex) -> Vertex:
    """((a + 2)·d - (a + 3))·d² + 1 for d up to 1."""
    return add(multiply(multiply(subtract(multiply(d, SHARPNESS + 2), SHARPNESS + 3), d), d), 1.0)


def _cubic_far(d: Vertex) -> Vertex:
    """((a·d - 5a)·d + 8a)·d - 4a for d from 1 to 2."""
    inner = add(multiply(subtract(multiply(d, SHARPNESS), 5 * SHARPNESS), d), 8 * SHARPNESS)
    return subtract(multiply(inner, d), 4 * SHARPNESS)
