"""Primitives that only rearrange elements. Programs mostly read through them instead of copying."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.primitive import Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import Shape, TensorType, broadcast_shapes, float32, int64, tensor_type

Array = np.ndarray[Any, Any]
_MATRIX = tensor_type(float32, (3, 4))


def _reshape_type_rule(x: TensorType, *, shape: Shape) -> TensorType:
    if math.prod(shape) != x.size or min(shape, default=0) < 0:
        raise ShapeError(f"shape {list(shape)} is invalid for input of size {x.size} (shape {x.shape})")
    return tensor_type(x.dtype, shape)


def _transpose_type_rule(x: TensorType, *, permutation: Shape) -> TensorType:
    shape = x.shape
    if sorted(permutation) != list(range(len(shape))):
        raise ShapeError(f"permute needs each of the {x.rank} dimensions of shape {shape} once, got {permutation}")
    return tensor_type(x.dtype, tuple([shape[axis] for axis in permutation]))


def _broadcast_type_rule(x: TensorType, *, shape: Shape) -> TensorType:
    if broadcast_shapes(x.shape, shape) != shape:
        raise ShapeError(f"shape {x.shape} cannot be expanded to {shape}")
    return tensor_type(x.dtype, shape)


def _slice_type_rule(x: TensorType, *, starts: Shape, stops: Shape, steps: Shape) -> TensorType:
    if not len(starts) == len(stops) == len(steps) == x.rank:
        raise ShapeError(f"slice needs a start, a stop and a step per dimension of {x.shape}")
    for size, start, stop, step in zip(x.shape, starts, stops, steps, strict=True):
        if not (0 <= start <= stop <= size and step > 0):
            raise ShapeError(f"slice {start}:{stop}:{step} does not lie in an axis of size {size}")
    return tensor_type(x.dtype, tuple(-((a - b) // c) for a, b, c in zip(starts, stops, steps, strict=True)))


def _pad_type_rule(x: TensorType, *, low: Shape, high: Shape, interior: Shape) -> TensorType:
    if not len(low) == len(high) == len(interior) == x.rank or min((*low, *high, *interior, 0)) < 0:
        raise ShapeError(
            f"padding needs one size of at least 0 per dimension of {x.shape}, got {low}, {high}, {interior}"
        )
    sizes = zip(x.shape, low, high, interior, strict=True)
    return tensor_type(x.dtype, tuple(a + n + b + max(n - 1, 0) * gap for n, a, b, gap in sizes))


def _flip_type_rule(x: TensorType, *, axes: Shape) -> TensorType:
    if any(not 0 <= axis < x.rank for axis in axes) or len(set(axes)) != len(axes):
        raise ArgumentError(f"axes {axes} are not distinct dimensions of shape {x.shape}")
    return x


def _concatenate_type_rule(*types: TensorType, axis: int) -> TensorType:
    if not types:
        raise ArgumentError("expected a non-empty list of tensors")
    first = types[0]
    if not 0 <= axis < first.rank:
        raise ArgumentError(f"axis {axis} is not a dimension of shape {first.shape}")
    for other in types[1:]:
        if other.dtype is not first.dtype:
            raise DTypeError(f"expected tensors of one dtype, got {first.dtype} and {other.dtype}")
        if other.rank != first.rank or any(
            a != b for i, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if i != axis
        ):
            raise ShapeError(
                f"sizes of tensors must match except in dimension {axis}, got {first.shape} and {other.shape}"
            )
    total = sum(type.shape[axis] for type in types)
    return tensor_type(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _pad_reference(x: Array, *, low: Shape, high: Shape, interior: Shape) -> Array:
    type = _pad_type_rule(tensor_type(float32, x.shape), low=low, high=high, interior=interior)
    out = np.zeros(type.shape, x.dtype)
    window = zip(x.shape, low, interior, strict=True)
    out[tuple(slice(a, a + n + max(n - 1, 0) * gap, gap + 1) for n, a, gap in window)] = x
    return out


def _interleave_type_rule(*types: TensorType, shape: Shape, starts: tuple[Shape, ...], steps: Shape) -> TensorType:
    if not types or len(types) != len(starts) or any(type.dtype is not types[0].dtype for type in types):
        raise ArgumentError(f"interleave needs tensors of one dtype and a start for each, got {types} and {starts}")
    for type, start in zip(types, starts, strict=True):
        if not type.rank == len(shape) == len(start) == len(steps):
            raise ShapeError(f"interleave needs a start and a step per dimension of {shape}, got {start} and {steps}")
        ends = (a + max(n - 1, 0) * s + min(n, 1) for a, n, s in zip(start, type.shape, steps, strict=True))
        if min((*start, *(s - 1 for s in steps)), default=0) < 0 or any(map(int.__gt__, ends, shape)):
            raise ShapeError(f"interleave: {type.shape} from {start} in steps of {steps} does not lie in {shape}")
    return tensor_type(types[0].dtype, shape)


def _every(start: Shape, sizes: Shape, steps: Shape) -> tuple[slice, ...]:
    """The places of a part of `INTERLEAVE`."""
    return tuple(slice(a, a + n * s, s) for a, n, s in zip(start, sizes, steps, strict=True))


def _interleave_reference(*parts: Array, shape: Shape, starts: tuple[Shape, ...], steps: Shape) -> Array:
    out = np.zeros(shape, parts[0].dtype)
    for part, start in zip(parts, starts, strict=True):
        out[_every(start, part.shape, steps)] = part
    return out


def _interleave_vjp(
    g: Vertex, out: Vertex, *parts: Vertex, shape: Shape, starts: tuple[Shape, ...], steps: Shape
) -> tuple[Vertex, ...]:
    gradients = []
    for part, start in zip(parts, starts, strict=True):
        places = _every(start, part.shape, steps)
        stops = tuple(min(place.stop, size) for place, size in zip(places, shape, strict=True))
        gradients.append(slice_(g, start, stops, steps))
    return tuple(gradients)


def _slice_vjp(g: Vertex, out: Vertex, x: Vertex, *, starts: Shape, stops: Shape, steps: Shape) -> tuple[Vertex]:
    """Put the gradient back where it was taken from: zeros before, between and behind."""
    last = tuple(a + (n - 1) * step + 1 if n else a for a, n, step in zip(starts, out.shape, steps, strict=True))
    high = tuple(size - end for size, end in zip(x.shape, last, strict=True))
    return (pad(g, starts, high, tuple(step - 1 for step in steps)),)


def _pad_vjp(g: Vertex, out: Vertex, x: Vertex, *, low: Shape, high: Shape, interior: Shape) -> tuple[Vertex]:
    stops = tuple(size - end for size, end in zip(out.shape, high, strict=True))
    return (slice_(g, low, stops, tuple(gap + 1 for gap in interior)),)


def _concatenate_vjp(g: Vertex, out: Vertex, *inputs: Vertex, axis: int) -> tuple[Vertex, ...]:
    parts, start = [], 0
    for operand in inputs:
        stop = start + operand.shape[axis]
        starts = tuple(start if i == axis else 0 for i in range(len(g.shape)))
        stops = tuple(stop if i == axis else size for i, size in enumerate(g.shape))
        parts.append(slice_(g, starts, stops, (1,) * len(g.shape)))
        start = stop
    return tuple(parts)


RESHAPE = register(
    Primitive(
        name="reshape", family="movement", meaning="the same elements in row-major order under another shape",
        attributes=("shape",), type_rule=_reshape_type_rule,
        reference=lambda x, *, shape: x.reshape(shape),
        vjp=lambda g, out, x, *, shape: (reshape(g, x.shape),),
        native="view", xla="reshape",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"shape": (2, 6)}), Sample((rng.normal(size=()),), {"shape": (1, 1)}),
            Sample((rng.normal(size=(0, 4)),), {"shape": (2, 0)}),
            Sample((rng.normal(size=(2, 3, 5)),), {"shape": (30,)}),
        ],
        invalid=(
            Invalid((_MATRIX,), "is invalid for input of size 12", {"shape": (5,)}),
            Invalid((_MATRIX,), "is invalid for input of size 12", {"shape": (-3, -4)}),
        ),
        cost=lambda out, x: 0,
    )
)  # fmt: skip
TRANSPOSE = register(
    Primitive(
        name="transpose", family="movement", meaning="axis i of the result is axis permutation[i] of x",
        attributes=("permutation",), type_rule=_transpose_type_rule,
        reference=lambda x, *, permutation: x.transpose(permutation),
        vjp=lambda g, out, x, *, permutation: (transpose(g, tuple(int(i) for i in np.argsort(permutation))),),
        native="view", xla="transpose",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"permutation": (1, 0)}),
            Sample((rng.normal(size=(2, 3, 5)),), {"permutation": (2, 0, 1)}),
        ],
        invalid=(Invalid((_MATRIX,), "each of the 2 dimensions", {"permutation": (0, 0)}),), cost=lambda out, x: 0,
    )
)  # fmt: skip
BROADCAST = register(
    Primitive(
        name="broadcast", family="movement", meaning="x repeated along new axes and axes of size 1, by NumPy's rule",
        attributes=("shape",), type_rule=_broadcast_type_rule,
        reference=lambda x, *, shape: np.broadcast_to(x, shape),
        vjp=lambda g, out, x, *, shape: (g,),
        native="view", xla="broadcast_in_dim",
        samples=lambda rng: [
            Sample((rng.normal(size=(4,)),), {"shape": (3, 4)}),
            Sample((rng.normal(size=(3, 1)),), {"shape": (2, 3, 5)}),
            Sample((rng.normal(size=()),), {"shape": (2, 2)}),
            Sample((rng.normal(size=(1, 3)),), {"shape": (0, 3)}),
        ],
        invalid=(Invalid((_MATRIX,), "cannot be", {"shape": (3, 5)}),), cost=lambda out, x: 0,
    )
)  # fmt: skip
SLICE = register(
    Primitive(
        name="slice", family="movement", meaning="x[start:stop:step] along every axis, steps above 0",
        attributes=("starts", "stops", "steps"), type_rule=_slice_type_rule,
        reference=lambda x, *, starts, stops, steps: x[tuple(map(slice, starts, stops, steps))],
        vjp=_slice_vjp, native="view", xla="slice",
        samples=lambda rng: [
            Sample((rng.normal(size=(5, 6)),), {"starts": (1, 0), "stops": (4, 6), "steps": (1, 1)}),
            Sample((rng.normal(size=(7, 6)),), {"starts": (0, 1), "stops": (7, 6), "steps": (3, 2)}),
            Sample((rng.normal(size=(4,)),), {"starts": (2,), "stops": (2,), "steps": (1,)}),
        ],
        invalid=(
            Invalid((_MATRIX,), "does not lie", {"starts": (0, 0), "stops": (4, 4), "steps": (1, 1)}),
            Invalid((_MATRIX,), "per dimension", {"starts": (0,), "stops": (2,), "steps": (1,)}),
        ),
        cost=lambda out, x: 0,
    )
)  # fmt: skip
FLIP = register(
    Primitive(
        name="flip", family="movement", meaning="x with the order of elements reversed along `axes`",
        attributes=("axes",), type_rule=_flip_type_rule,
        reference=lambda x, *, axes: np.flip(x, axes),
        vjp=lambda g, out, x, *, axes: (flip(g, axes),),
        native="view", xla="rev",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"axes": (1,)}),
            Sample((rng.normal(size=5),), {"axes": (0,)}),
            Sample((rng.normal(size=(2, 3, 4)),), {"axes": (0, 2)}),
        ],
        invalid=(Invalid((_MATRIX,), "not distinct dimensions", {"axes": (2,)}),),
        cost=lambda out, x: 0,
    )
)  # fmt: skip
PAD = register(
    Primitive(
        name="pad", family="movement", meaning="zeros put before, behind and between the elements of each axis",
        attributes=("low", "high", "interior"), type_rule=_pad_type_rule, reference=_pad_reference, vjp=_pad_vjp,
        native="pad", xla="pad",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"low": (1, 0), "high": (0, 2), "interior": (0, 0)}),
            Sample((rng.normal(size=(3, 4)),), {"low": (0, 1), "high": (2, 0), "interior": (1, 2)}),
            Sample((rng.normal(size=(0, 2)),), {"low": (1, 0), "high": (1, 0), "interior": (3, 0)}),
        ],
        invalid=(Invalid((_MATRIX,), "padding needs", {"low": (-1, 0), "high": (0, 0), "interior": (0, 0)}),),
    )
)  # fmt: skip
CONCATENATE = register(
    Primitive(
        name="concatenate", family="movement", meaning="tensors put one behind another along `axis`",
        attributes=("axis",), type_rule=_concatenate_type_rule,
        reference=lambda *arrays, axis: np.concatenate(arrays, axis), vjp=_concatenate_vjp,
        native="concatenate", xla="concatenate",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(3, 1)), rng.normal(size=(3, 5))), {"axis": 1}),
            Sample((rng.normal(size=(2, 4)), rng.normal(size=(3, 4))), {"axis": 0}),
            Sample((rng.normal(size=(0, 4)), rng.normal(size=(3, 4))), {"axis": 0}),
        ],
        invalid=(
            Invalid((_MATRIX, tensor_type(float32, (2, 4))), "must match except", {"axis": 1}),
            Invalid((_MATRIX, tensor_type(int64, (3, 4))), "one dtype", {"axis": 1}),
            Invalid((_MATRIX, _MATRIX), "axis -1 is not a dimension", {"axis": -1}),
            Invalid((), "non-empty list", {"axis": 0}),
        ),
    )
)  # fmt: skip
INTERLEAVE = register(
    Primitive(
        name="interleave", family="movement",
        meaning="part i lies at starts[i] + k · steps of the result, parts do not overlap, and the rest is zeros",
        attributes=("shape", "starts", "steps"), type_rule=_interleave_type_rule, reference=_interleave_reference,
        vjp=_interleave_vjp, native="interleave", xla="pad",
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 3)), rng.normal(size=(2, 2))),
                   {"shape": (2, 5), "starts": ((0, 0), (0, 1)), "steps": (1, 2)}),
            Sample((rng.normal(size=(2, 2)), rng.normal(size=(2, 2))),
                   {"shape": (5, 4), "starts": ((0, 0), (1, 1)), "steps": (2, 2)}),
            Sample((rng.normal(size=(0, 2)),), {"shape": (1, 4), "starts": ((1, 0),), "steps": (1, 2)}),
        ],
        invalid=(
            Invalid((_MATRIX,), "does not lie in", {"shape": (3, 7), "starts": ((0, 1),), "steps": (1, 2)}),
            Invalid((_MATRIX,), "a start and a step", {"shape": (3, 7), "starts": ((0,),), "steps": (1, 2)}),
            Invalid((_MATRIX,), "a start for each", {"shape": (3, 7), "starts": (), "steps": (1, 2)}),
        ),
    )
)  # fmt: skip


def reshape(x: Vertex, shape: Shape) -> Vertex:
    """The same elements under another shape; x itself if it has that shape."""
    return x if x.shape == shape else apply(RESHAPE, x, shape=shape)


def transpose(x: Vertex, permutation: Shape) -> Vertex:
    """Axes reordered; x itself for the identity."""
    return x if permutation == tuple(range(len(permutation))) else apply(TRANSPOSE, x, permutation=permutation)


def swap_last_axes(x: Vertex) -> Vertex:
    """The matrix transpose of every matrix in a batch."""
    rank = len(x.shape)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if x.primitive is TRANSPOSE and x.attributes["permutation"] == swapped:
        return x.inputs[0]
    return transpose(x, swapped)


def broadcast(x: Vertex, shape: Shape) -> Vertex:
    """x repeated to ``shape``; x itself if it has that shape."""
    return x if x.shape == shape else apply(BROADCAST, x, shape=shape)


def slice_(x: Vertex, starts: Shape, stops: Shape, steps: Shape) -> Vertex:
    """x[start:stop:step] along every axis."""
    return apply(SLICE, x, starts=starts, stops=stops, steps=steps)


def flip(x: Vertex, axes: Shape) -> Vertex:
    """x with the order of elements reversed along ``axes``; x itself for none."""
    return apply(FLIP, x, axes=axes) if axes else x


def pad(x: Vertex, low: Shape, high: Shape, interior: Shape) -> Vertex:
    """x with zeros before, behind and between; x itself where all sizes are 0."""
    return apply(PAD, x, low=low, high=high, interior=interior) if any((*low, *high, *interior)) else x


def concatenate(*inputs: Vertex, axis: int) -> Vertex:
    """Tensors one behind another along ``axis``."""
    return apply(CONCATENATE, *inputs, axis=axis)
