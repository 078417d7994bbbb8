"""Taking tensors apart, repeating and joining them, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, IndexOutOfRangeError, ShapeError
from ..types import Shape, broadcast_shapes, normalize_axis
from . import gathering, shaping
from .keywords import pytorch_keywords
from .operands import as_tensor, from_array
from .shaping import diagonal as diagonal
from .shaping import unfold as unfold

METHODS = (
    "broadcast_to", "chunk", "diagonal", "fliplr", "flipud", "hsplit", "moveaxis", "movedim", "narrow", "ravel",
    "repeat", "repeat_interleave", "roll", "rot90", "select", "split", "split_with_sizes", "swapaxes", "swapdims",
    "tensor_split", "tile", "unbind", "unfold", "vsplit",
)  # fmt: skip


def _slice(x: Any, axis: int, start: int, stop: int, step: int = 1) -> Any:
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def _dimension(x: Any, dim: int, name: str) -> int:
    if not x.dim():
        raise ShapeError(f"{name} expects at least a 1-dimensional tensor")
    return normalize_axis(dim, x.dim())


@pytorch_keywords
def split(tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Parts of one size along ``dim`` (the last may be smaller), or of the sizes given.

    Errors: `ArgumentError` for sizes that do not add up to that of the dimension.

    >>> import chainrule as cr
    >>> [part.tolist() for part in cr.split(cr.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    x = as_tensor(tensor)
    axis = _dimension(x, dim, "split")
    extent = x.shape[axis]
    if not isinstance(split_size_or_sections, int):
        return split_with_sizes(x, split_size_or_sections, axis)
    size = split_size_or_sections
    if size < 0 or (size == 0 and extent):
        raise ArgumentError(f"split expects split_size be non-negative, and above 0 for {extent} elements, got {size}")
    count = max(1, -(-extent // size)) if size else 1
    return tuple(_slice(x, axis, i * size, min((i + 1) * size, extent)) for i in range(count))


@pytorch_keywords
def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Parts of the given sizes along ``dim``."""
    x, sizes = as_tensor(input), [int(size) for size in split_sizes]
    axis = _dimension(x, dim, "split_with_sizes")
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise ArgumentError(
            f"split_with_sizes expects split_sizes to sum exactly to {x.shape[axis]} (input tensor's size at "
            f"dimension {dim}), but got split_sizes={sizes}"
        )
    ends = np.cumsum(sizes).tolist()
    return tuple(_slice(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True))


@pytorch_keywords
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most ``chunks`` parts of equal size along ``dim``; the last may be smaller.

    >>> import chainrule as cr
    >>> [part.tolist() for part in cr.chunk(cr.arange(5), 3)]
    [[0, 1], [2, 3], [4]]
    """
    x = as_tensor(input)
    axis = _dimension(x, dim, "chunk")
    if chunks < 1:
        raise ArgumentError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not x.shape[axis]:
        return (x,) * chunks
    return split(x, -(-x.shape[axis] // chunks), axis)


@pytorch_keywords
def tensor_split(input: Any, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Parts along ``dim`` that begin at the indices, or so many parts whose sizes differ by at most 1."""
    x = as_tensor(input)
    axis = _dimension(x, dim, "tensor_split")
    extent = x.shape[axis]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1:
            raise ArgumentError(f"number of sections must be larger than 0, got {indices_or_sections}")
        size, longer = divmod(extent, indices_or_sections)
        sizes = [size + (i < longer) for i in range(indices_or_sections)]
        return split_with_sizes(x, sizes, axis)
    ends = [*(int(index) for index in indices_or_sections), extent]
    starts = [0, *ends[:-1]]
    return tuple(_slice(x, axis, start, stop) for start, stop in zip(starts, ends, strict=True))


def vsplit(input: Any, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """`tensor_split` along the first of at least two dimensions; a number of parts must divide it."""
    return _even_split(input, indices_or_sections, 0, 2, "vsplit")


def hsplit(input: Any, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """`tensor_split` along the second dimension, or that of a vector; a number of parts must divide it."""
    return _even_split(input, indices_or_sections, 0 if as_tensor(input).dim() == 1 else 1, 1, "hsplit")


def _even_split(input: Any, sections: Any, axis: int, rank: int, name: str) -> tuple[Any, ...]:
    x = as_tensor(input)
    if x.dim() < rank:
        raise ShapeError(f"{name} requires a tensor with at least {rank} dimensions, got {x.dim()}")
    if isinstance(sections, int) and (sections < 1 or x.shape[axis] % sections):
        raise ArgumentError(f"{name}: {x.shape[axis]} elements along dimension {axis} do not make {sections} parts")
    return tensor_split(x, sections, axis)


@pytorch_keywords
def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along ``dim``, without it.

    >>> import chainrule as cr
    >>> [row.tolist() for row in cr.unbind(cr.tensor([[1, 2], [3, 4]]))]
    [[1, 2], [3, 4]]
    """
    x = as_tensor(input)
    axis = _dimension(x, dim, "unbind")
    return tuple(select(x, axis, i) for i in range(x.shape[axis]))


@pytorch_keywords
def select(input: Any, dim: int, index: int) -> Any:
    """The slice at ``index`` along ``dim``, without that dimension."""
    x = as_tensor(input)
    axis = _dimension(x, dim, "select")
    return x[(slice(None),) * axis + (int(index),)]


@pytorch_keywords
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """``length`` slices along ``dim`` from ``start`` on.

    >>> import chainrule as cr
    >>> cr.narrow(cr.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    x = as_tensor(input)
    axis = _dimension(x, dim, "narrow")
    extent = x.shape[axis]
    first = int(start) + extent if int(start) < 0 else int(start)
    if length < 0 or not 0 <= first <= extent - length:
        raise IndexOutOfRangeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({extent}), or one is too small"
        )
    return _slice(x, axis, first, first + length)


def hstack(tensors: Sequence[Any]) -> Any:
    """Joined along the second dimension; vectors along their only one.

    >>> import chainrule as cr
    >>> cr.hstack([cr.tensor([1]), cr.tensor([2, 3])])
    tensor([1, 2, 3])
    """
    parts = [part.reshape(1) if not part.dim() else part for part in map(as_tensor, tensors)]
    return shaping.cat(parts, 0 if parts and parts[0].dim() == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Joined along the first dimension; vectors are rows.

    >>> import chainrule as cr
    >>> cr.vstack([cr.tensor([1, 2]), cr.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    return shaping.cat([part.reshape(1, -1) if part.dim() < 2 else part for part in map(as_tensor, tensors)], 0)


row_stack = vstack


def dstack(tensors: Sequence[Any]) -> Any:
    """Joined along the third dimension; matrices are single slices of it, vectors single rows of these."""
    parts = [part.reshape(1, -1) if part.dim() < 2 else part for part in map(as_tensor, tensors)]
    return shaping.cat([part.unsqueeze(2) if part.dim() < 3 else part for part in parts], 2)


def column_stack(tensors: Sequence[Any]) -> Any:
    """Joined along the second dimension; vectors are columns."""
    return hstack([part.reshape(-1, 1) if part.dim() < 2 else part for part in map(as_tensor, tensors)])


def repeat(input: Any, *repeats: Any) -> Any:
    """The whole tensor copied ``repeats`` times along each dimension; more numbers than dimensions add some in front.

    >>> import chainrule as cr
    >>> cr.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    x = as_tensor(input)
    counts = shaping._sizes(repeats)
    if len(counts) < x.dim():
        raise ShapeError(
            f"Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: "
            f"got {len(counts)} for shape {tuple(x.shape)}"
        )
    if min(counts, default=0) < 0:
        raise ArgumentError(f"repeat: numbers of repeats must not be negative, got {counts}")
    shape = (1,) * (len(counts) - x.dim()) + tuple(x.shape)
    apart = tuple(size for extent in shape for size in (1, extent))
    repeated = tuple(size for count, extent in zip(counts, shape, strict=True) for size in (count, extent))
    joined = tuple(count * extent for count, extent in zip(counts, shape, strict=True))
    return shaping.unshared(shaping.expand(x.reshape(apart), *repeated).reshape(joined))


def tile(input: Any, *dims: Any) -> Any:
    """As `repeat`; fewer numbers than dimensions leave the first ones as they are."""
    x = as_tensor(input)
    counts = shaping._sizes(dims)
    return repeat(x, *((1,) * (x.dim() - len(counts)) + counts))


@pytorch_keywords
def repeat_interleave(input: Any, repeats: Any = None, dim: int | None = None, *, output_size: Any = None) -> Any:
    """Each slice along ``dim`` (of the flattened tensor by default) repeated ``repeats`` times, one behind another.

    ``repeats`` is a number or a vector with one per slice, whose values are read at once. With a single argument:
    each position as often as the number there says.

    >>> import chainrule as cr
    >>> cr.tensor([1, 2]).repeat_interleave(2)
    tensor([1, 1, 2, 2])
    """
    x = as_tensor(input)
    if repeats is None:
        return from_array(np.repeat(np.arange(x.shape[0]), x._array()))
    if dim is None:
        x, dim = x.reshape(-1), 0
    axis = _dimension(x, dim, "repeat_interleave")
    if isinstance(repeats, int):
        shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
        joined = (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :])
        return shaping.unshared(shaping.expand(x.unsqueeze(axis + 1), *shape).reshape(joined))
    counts = np.atleast_1d(as_tensor(repeats)._array())
    if counts.size not in (1, x.shape[axis]) or (counts < 0).any():
        raise ArgumentError(
            f"repeats must have the same size as input along dim, {x.shape[axis]}, and none negative, got {counts}"
        )
    positions = np.repeat(np.arange(x.shape[axis]), counts)
    return gathering.index_select(x, axis, from_array(positions))


def broadcast_to(input: Any, *size: Any) -> Any:
    """The tensor repeated to a shape, by the rule of broadcasting."""
    return shaping.expand(as_tensor(input), *size)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All tensors in their common shape."""
    parts = [as_tensor(tensor) for tensor in tensors]
    shape = broadcast_shapes(*(part.shape for part in parts))
    return tuple(shaping.expand(part, *shape) for part in parts)


def atleast_1d(*tensors: Any) -> Any:
    """Tensors without dimensions get one."""
    return _each(tensors, lambda x: x.reshape(1) if not x.dim() else x)


def atleast_2d(*tensors: Any) -> Any:
    """Vectors become rows."""
    return _each(tensors, lambda x: x.reshape(1, -1) if x.dim() < 2 else x)


def _each(tensors: tuple[Any, ...], change: Any) -> Any:
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    changed = tuple(change(as_tensor(tensor)) for tensor in given)
    return changed[0] if given is tensors and len(changed) == 1 else changed


def ravel(input: Any) -> Any:
    """One dimension with all elements."""
    return as_tensor(input).reshape(-1)


@pytorch_keywords
def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """The elements shifted along ``dims``; those that leave at the end come in at the front.

    >>> import chainrule as cr
    >>> cr.roll(cr.arange(5), 2)
    tensor([3, 4, 0, 1, 2])
    """
    x = as_tensor(input)
    if dims is None:
        if not isinstance(shifts, int):
            raise ArgumentError("roll: several shifts need as many dims")
        return roll(x.reshape(-1), shifts, 0).reshape(tuple(x.shape))
    pairs = [(shifts, dims)] if isinstance(shifts, int) and isinstance(dims, int) else None
    if pairs is None:
        several, axes = np.atleast_1d(shifts).tolist(), np.atleast_1d(dims).tolist()
        if len(several) != len(axes):
            raise ArgumentError(f"shifts and dims must have the same length, got {several} and {axes}")
        pairs = list(zip(several, axes, strict=True))
    for shift, dim in pairs:
        axis = _dimension(x, dim, "roll")
        extent = x.shape[axis]
        cut = extent - shift % extent if extent else 0
        if cut != extent:
            x = shaping.cat([_slice(x, axis, cut, extent), _slice(x, axis, 0, cut)], axis)
    return shaping.unshared(x)


def fliplr(input: Any) -> Any:
    """The second dimension reversed."""
    return _flipped(input, 1, "fliplr")


def flipud(input: Any) -> Any:
    """The first dimension reversed."""
    return _flipped(input, 0, "flipud")


def _flipped(input: Any, axis: int, name: str) -> Any:
    x = as_tensor(input)
    if x.dim() <= axis:
        raise ShapeError(f"Input must be >= {axis + 1}-d, {name} got {x.dim()} dimensions")
    return shaping.flip(x, axis)


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Turned ``k`` times by 90 degrees in the plane of two dimensions, from the first towards the second."""
    x = as_tensor(input)
    first, second = (normalize_axis(dim, x.dim()) for dim in dims)
    if k % 4 == 2:
        return shaping.flip(x, first, second)
    if k % 4 == 0:
        return x.clone()
    return shaping.transpose(shaping.flip(x, second if k % 4 == 1 else first), first, second)


def movedim(input: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Dimensions ``source`` moved to ``destination``; the others keep their order.

    >>> import chainrule as cr
    >>> cr.movedim(cr.zeros(2, 3, 4), 0, -1).shape
    Size([3, 4, 2])
    """
    x = as_tensor(input)
    rank = x.dim()
    origins = [normalize_axis(dim, rank) for dim in np.atleast_1d(source).tolist()]
    targets = [normalize_axis(dim, rank) for dim in np.atleast_1d(destination).tolist()]
    if len(origins) != len(targets) or len(set(origins)) < len(origins) or len(set(targets)) < len(targets):
        raise ArgumentError(
            f"movedim: expected as many different source as destination dims, got {source}, {destination}"
        )
    rest = iter(axis for axis in range(rank) if axis not in origins)
    place = dict(zip(targets, origins, strict=True))
    return shaping.permute(x, *(place[axis] if axis in place else next(rest) for axis in range(rank)))


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """Two dimensions exchanged: NumPy's name of `transpose`."""
    return shaping.transpose(as_tensor(input), axis0, axis1)


moveaxis, swapdims = movedim, swapaxes


def cartesian_prod(*tensors: Any) -> Any:
    """All combinations of one element of each vector, as rows; the last one changes fastest."""
    parts = [as_tensor(tensor) for tensor in tensors]
    shape: Shape = tuple(part.numel() for part in parts)
    if len(parts) == 1:
        return parts[0]
    columns = [
        shaping.expand(part.reshape((1,) * i + (-1,) + (1,) * (len(parts) - i - 1)), *shape).reshape(-1)
        for i, part in enumerate(parts)
    ]
    return shaping.stack(columns, 1)
