"""Indexing: ``x[index]`` and ``x[index] = value``, with PyTorch's rules.

Integers, slices, None and Ellipsis give views. Tensors, lists, arrays and masks take copies of elements, and write to
single elements. Integers beside tensors are taken first; where tensors are apart from each other, the dimensions that
they broadcast to come first. A mask stands for the positions of its true elements: reading them means computing the
mask at once, unless a single value is written to all of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, CaptureError, DTypeError, IndexOutOfRangeError, ShapeError
from ..graph.site import find_site
from ..graph.vertex import Vertex
from ..ops import indexing, movement
from ..ops.arithmetic import add, multiply
from ..ops.comparison import less, where
from ..ops.elementwise import cast
from ..types import Shape, broadcast_shapes, contiguous_strides, int64, tensor_type
from .operands import as_tensor, enter_all, from_array
from .recording import Handle, pending, stored, type_of
from .segment import state
from .strided import Layout, is_row_major
from .views import base_of, physical_strides, view


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``: a view for integers, slices, None and Ellipsis, otherwise a copy."""
    storage, kind = x._storage, index.__class__
    if storage is not None and (kind is int or (kind is slice and index.step is None)) and x._slot is None:
        base = x._base
        if (
            (base is None or (base._storage is storage and base._slot is None))
            and not x._requires_grad
            and x._type.shape
        ):
            return _row_view(x, base, index)
    items = split_index(x, index)
    if all(is_basic(item) for item in items):
        return basic_view(x, items)
    part, indices = take_basic(x, items)
    return _read(part, indices)


def _row_view(x: Any, base: Any, rows: slice | int) -> Any:
    """``x[a:b]`` or ``x[i]`` in memory: the usual ways to cut batches, so they are worth a path of their own."""
    type, strides = x._type, x._strides
    count, *others = type.shape
    step = strides[0] if strides else type.size // (count or 1)
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(count)
        part = tensor_type(type.dtype, (stop - start if stop > start else 0, *others))
    else:
        start, _, _ = _range_of(rows, count, 0)
        part = tensor_type(type.dtype, tuple(others))
        strides = None if is_row_major(part.shape, strides and strides[1:]) else strides[1:]
    rows_seen = stored(x._storage, x._address + start * step * type.dtype.size, part, strides)
    rows_seen._base = x if base is None else base
    if base is not None and x.__dict__:
        rows_seen.__dict__.update(x.__dict__)
    return rows_seen


def split_index(x: Any, index: Any) -> tuple[Any, ...]:
    """The index with one item per dimension and Ellipsis written out; lists, ranges and arrays as tensors."""
    given = index if isinstance(index, tuple) else (index,)
    items = tuple(_item_of(item, x) for item in given)
    used = sum(_consumes(item) for item in items)
    rank = x.dim()
    if used > rank:
        raise IndexOutOfRangeError(
            f"too many indices for tensor of dimension {rank}: {used} given, shape {tuple(x.shape)}"
        )
    at = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    return (*items[:at], *(slice(None),) * (rank - used), *(item for item in items[at:] if item is not Ellipsis))


def _item_of(item: Any, x: Any) -> Any:
    """One item of an index: sequences as tensors, and a tensor of one integer as that where x lies in memory."""
    if isinstance(item, list | range | tuple):
        item = as_tensor(list(item) if len(item) else np.zeros(0, np.int64))
    elif isinstance(item, np.ndarray):
        item = as_tensor(item)
    if isinstance(item, Handle):
        type = type_of(item)
        if type.dtype.kind == "float":
            raise IndexOutOfRangeError(
                f"tensors used as indices must be long, int or bool tensors, got {type.dtype}. fix: index.long()"
            )
        is_plain = x._storage is not None and x._slot is None and not x.requires_grad
        if not type.shape and type.dtype.kind == "int" and is_plain and not state.segment.is_capturing:
            return item._array().item()  # type: ignore[attr-defined]
    elif not is_basic(item) and not isinstance(item, bool | np.bool_):
        raise IndexOutOfRangeError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type_name(item)})"
        )
    return as_tensor(bool(item)) if isinstance(item, bool | np.bool_) else item


def type_name(item: Any) -> str:
    """The name of a value's class, for messages."""
    return item.__class__.__name__


def is_basic(item: Any) -> bool:
    if isinstance(item, bool | np.bool_):
        return False
    return item is None or item is Ellipsis or isinstance(item, int | slice | np.integer)


def _consumes(item: Any) -> int:
    """How many dimensions of the indexed tensor an item stands for."""
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, Handle) and type_of(item).dtype.kind == "bool":
        return len(type_of(item).shape)
    return 1


class _Cut(NamedTuple):
    """Integers, slices and None: where each dimension is cut, and the shape and strides of what remains."""

    starts: Shape
    stops: Shape
    steps: Shape
    layout: Layout


def _cut(shape: Shape, strides: Shape, items: tuple[Any, ...]) -> _Cut:
    starts, stops, steps, sizes, kept = [], [], [], [], []
    axis = distance = 0
    for item in items:
        if item is None:
            sizes.append(1)
            kept.append(1)
            continue
        size = shape[axis]
        start, stop, step = _range_of(item, size, axis)
        starts.append(start)
        stops.append(stop)
        steps.append(step)
        if isinstance(item, slice):
            sizes.append(-((start - stop) // step))
            kept.append(strides[axis] * step)
        distance += start * strides[axis]
        axis += 1
    layout = Layout(0 if 0 in sizes else distance, tuple(sizes), tuple(kept))
    return _Cut(tuple(starts), tuple(stops), tuple(steps), layout)


def _range_of(item: Any, size: int, axis: int) -> tuple[int, int, int]:
    if isinstance(item, slice):
        if item.step is not None and int(item.step) <= 0:
            raise ArgumentError(f"step must be greater than zero, got {item.step}. fix: flip({axis})")
        start, stop, step = slice(*(None if part is None else int(part) for part in (
            item.start, item.stop, item.step))).indices(size)  # fmt: skip
        return start, max(start, stop), step
    if not -size <= item < size:
        raise IndexOutOfRangeError(f"index {item} is out of bounds for dimension {axis} with size {size}")
    return int(item) % size, int(item) % size + 1, 1


def basic_view(x: Any, items: tuple[Any, ...]) -> Any:
    """The view that integers, slices and None, one per dimension, give."""
    shape = type_of(x).shape
    starts, stops, steps, layout = _cut(shape, physical_strides(x), items)

    def build(vertex: Vertex) -> Vertex:
        whole = (starts, stops, steps) == ((0,) * len(shape), shape, (1,) * len(shape))
        return movement.reshape(vertex if whole else movement.slice_(vertex, starts, stops, steps), layout.shape)

    return view(x, layout.shape, layout.strides, layout.offset, ("cut", starts, stops, steps, layout.shape), build)


Indices = list[Any]
"""For each dimension of a tensor the positions along it, or None; masks still stand for several dimensions."""


def take_basic(x: Any, items: tuple[Any, ...]) -> tuple[Any, Indices]:
    """Apply all that is not a tensor; return that view, and the tensors by its dimensions."""
    basic: list[Any] = []
    indices: Indices = []
    for item in items:
        if isinstance(item, Handle):
            consumed = _consumes(item)
            basic += [slice(None)] * consumed if consumed else [None]
            indices += [item, *[_REST] * (consumed - 1)]
        else:
            basic.append(item)
            if item is None or isinstance(item, slice):
                indices.append(None)
    part = x if all(isinstance(item, slice) and item == slice(None) for item in basic) else basic_view(x, tuple(basic))
    return part, indices


_REST = "a further dimension of the mask before"


def _mask_in(indices: Indices) -> Any:
    """The mask, if it is the only tensor of an index; else None."""
    tensors = [item for item in indices if item is not None and item is not _REST]
    return tensors[0] if len(tensors) == 1 and type_of(tensors[0]).dtype.kind == "bool" else None


def _check_mask(x: Any, mask: Any, axis: int) -> None:
    shape, extents = tuple(mask.shape), tuple(x.shape[axis : axis + mask.dim()])
    for dimension, (a, b) in enumerate(zip(shape, extents, strict=True)):
        if a != b:
            raise IndexOutOfRangeError(
                f"The shape of the mask {list(shape)} at index {dimension} does not match the shape of the indexed "
                f"tensor {list(x.shape)} at index {axis + dimension}"
            )


def positions_of(x: Any, indices: Indices) -> Indices:
    """Masks replaced by the positions of their true elements, and all positions checked."""
    result: Indices = []
    for axis, item in enumerate(indices):
        if item is None or item is _REST:
            if item is None:
                result.append(None)
        elif type_of(item).dtype.kind == "bool":
            result += _positions_of_mask(x, item, axis)
        else:
            _check_range(item, x.shape[axis], axis)
            result.append(item)
    shapes = [tuple(item.shape) for item in result if item is not None]
    try:
        broadcast_shapes(*shapes)
    except ShapeError:
        raise IndexOutOfRangeError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"{', '.join(map(str, shapes))}"
        ) from None
    return result


def _positions_of_mask(x: Any, mask: Any, axis: int) -> Indices:
    if not mask.dim():
        return [from_array(np.zeros(int(bool(mask)), np.int64))]
    _check_mask(x, mask, axis)
    if state.segment.is_capturing:
        raise CaptureError(
            f"compile() cannot capture an index by a mask, whose number of elements is known only when it runs, at "
            f"{find_site()}. fix: where(mask, a, b), or a product with the mask"
        )
    return [from_array(part.astype(np.int64)) for part in np.nonzero(mask._array())]


def _check_range(index: Any, size: int, axis: int) -> None:
    """Refuse positions outside [-size, size) where they are known; others are clamped when the program runs."""
    if index._storage is None or state.segment.is_capturing or not index.numel():
        return
    positions = index._array()
    low, high = int(positions.min()), int(positions.max())
    if low < -size or high >= size:
        raise IndexOutOfRangeError(
            f"index {low if low < -size else high} is out of bounds for dimension {axis} with size {size}: "
            f"positions must lie in [{-size}, {size - 1}]"
        )


def _from_front(index: Vertex, size: int) -> Vertex:
    """Positions counted from the front."""
    index = cast(index, int64)
    return where(less(index, 0), add(index, size), index)


class _Flat(NamedTuple):
    """An index by tensors as one dimension.

    ``permutation`` brings the indexed dimensions together, at ``axis``; ``shape`` is that of the tensor with them made
    one; ``position`` are the places along it.
    """

    permutation: Shape
    axis: int
    shape: Shape
    position: Vertex


def _flat(shape: Shape, indices: Indices, vertices: list[Vertex]) -> _Flat:
    axes = [axis for axis, item in enumerate(indices) if item is not None]
    are_together = axes == list(range(axes[0], axes[-1] + 1))
    front = axes[0] if are_together else 0
    others = [axis for axis in range(len(shape)) if axis not in axes]
    permutation = (*others[:front], *axes, *others[front:])
    extents = tuple(shape[axis] for axis in axes)
    merged = (*(shape[axis] for axis in others[:front]), math.prod(extents), *(shape[axis] for axis in others[front:]))
    total: Vertex | None = None
    for vertex, extent, weight in zip(vertices, extents, contiguous_strides(extents), strict=True):
        term = _from_front(vertex, extent)
        term = term if weight == 1 else multiply(term, weight)
        total = term if total is None else add(total, term)
    assert total is not None
    return _Flat(permutation, front, merged, total)


def _read(x: Any, indices: Indices) -> Any:
    """The elements at positions given by tensors."""
    is_plain = x._storage is not None and x._slot is None and not x.requires_grad and not state.segment.is_capturing
    if is_plain and len(indices) == 1 and indices[0].dtype.kind == "bool" and indices[0].dim():
        _check_mask(x, indices[0], 0)
        return from_array(x._array()[indices[0]._array()])
    if is_plain and any(item is not None and item is not _REST and item.dtype.kind == "bool" for item in indices):
        arrays = tuple(slice(None) if item is None else item._array() for item in positions_of(x, indices))
        return from_array(np.asarray(x._array()[arrays]))  # as its shape depends on values, it is not worth a program
    indices = positions_of(x, indices)
    shape = tuple(x.shape)
    segment, (vertex, *at) = enter_all(x, *(item for item in indices if item is not None))
    flat = _flat(shape, indices, at)
    rows = movement.reshape(movement.transpose(vertex, flat.permutation), flat.shape)
    if not flat.shape[flat.axis]:
        rows = movement.pad(rows, (0,) * len(flat.shape), tuple(int(i == flat.axis) for i in range(len(flat.shape))),
                            (0,) * len(flat.shape))  # fmt: skip
    return pending(indexing.take(rows, flat.position, flat.axis), segment)


def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """``input`` with ``values`` at input[indices]; with ``accumulate`` added to what is there.

    ``values`` broadcast to the shape of input[indices]. Where positions are equal the last value stays, or all add up.
    Errors: `IndexOutOfRangeError`, `ShapeError`, `DTypeError`.

    >>> import chainrule as cr
    >>> cr.zeros(3).index_put((cr.tensor([0, 0]),), cr.tensor([1.0, 2.0]), accumulate=True)
    tensor([3., 0., 0.])
    """
    x, source = as_tensor(input), as_tensor(values)
    if source.dtype is not x.dtype:
        raise DTypeError(
            f"Index put requires the source and destination dtypes match, got {x.dtype} and {source.dtype}"
        )
    items = split_index(x, tuple(slice(None) if item is None else item for item in indices))
    part, tensors = take_basic(x, items)
    return put(part, tensors, source, accumulate)


def put(x: Any, indices: Indices, value: Any, accumulate: bool = False) -> Any:
    """x with ``value`` at positions given by tensors, as a new tensor."""
    mask = _mask_in(indices)
    if mask is not None and not accumulate and value.numel() == 1 and mask.dim():
        return _put_by_mask(x, mask, indices.index(mask), value)
    indices = positions_of(x, indices)
    shape = tuple(x.shape)
    segment, (vertex, new, *at) = enter_all(x, value, *(item for item in indices if item is not None))
    flat = _flat(shape, indices, at)
    rows = movement.reshape(movement.transpose(vertex, flat.permutation), flat.shape)
    wanted = (*flat.shape[: flat.axis], *flat.position.shape, *flat.shape[flat.axis + 1 :])
    new = _fit(cast(new, vertex.dtype), wanted)
    if not new.type.size:
        return pending(vertex, segment)
    if accumulate:
        rows = add(rows, indexing.scatter_add(new, flat.position, flat.axis, flat.shape[flat.axis]))
    else:
        rows = indexing.scatter(rows, new, flat.position, flat.axis)
    permuted = movement.reshape(rows, tuple(shape[axis] for axis in flat.permutation))
    inverse = tuple(flat.permutation.index(axis) for axis in range(len(shape)))
    return pending(movement.transpose(permuted, inverse), segment)


def _put_by_mask(x: Any, mask: Any, axis: int, value: Any) -> Any:
    """One value at all true elements: a choice, for which nothing need be known about the mask."""
    _check_mask(x, mask, axis)
    segment, (vertex, new, chosen) = enter_all(x, value, mask)
    rank = len(vertex.shape)
    chosen = movement.reshape(chosen, (*(1,) * axis, *chosen.shape, *(1,) * (rank - axis - len(chosen.shape))))
    new = movement.reshape(cast(new, vertex.dtype), (1,) * rank)
    wide = [movement.broadcast(operand, vertex.shape) for operand in (chosen, new)]
    return pending(where(wide[0], wide[1], vertex), segment)


def _fit(value: Vertex, shape: Shape) -> Vertex:
    """The value broadcast to where it is written; leading dimensions of size 1 that are too many are dropped."""
    while len(value.shape) > len(shape) and value.shape[0] == 1:
        value = movement.reshape(value, value.shape[1:])
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}"
        )
    return movement.broadcast(value, shape)


def is_same_view(a: Any, b: Any) -> bool:
    """Whether two tensors look at the same elements in the same order: what ``x[i] += 1`` assigns back is there."""
    if a is b:
        return True
    if a._base is None or b._base is None or base_of(a) is not base_of(b) or a._storage is not b._storage:
        return False
    return type_of(a) is type_of(b) and a._address == b._address and a._strides == b._strides
