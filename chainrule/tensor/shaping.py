"""Rearranging tensors: shapes, axes, joining, indexing. Each function is also a method of `Tensor` where it can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, IndexOutOfRangeError, ShapeError
from ..graph.vertex import Vertex
from ..memory import address_of
from ..ops import indexing, movement
from ..ops.arithmetic import add, multiply
from ..ops.comparison import less, where
from ..ops.elementwise import cast
from ..ops.matmul import matmul as matmul_vertex
from ..ops.reduction import sum_
from ..types import Shape, contiguous_strides, int64, normalize_axis, promote, tensor_type
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all, from_array, meet
from .recording import Handle, pending, resolve, stored
from .remembered import remembered
from .segment import state


def _sizes(sizes: tuple[Any, ...]) -> Shape:
    """Sizes given one by one or as one sequence."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    return tuple(int(size) for size in sizes)


def _move(x: Any, key: tuple[Any, ...], build: Any) -> Any:
    """Record a movement, remembered under ``key``."""
    segment, (vertex,) = enter_all(x)
    found = vertex.users.get(key)
    if found is None:
        found = vertex.users[key] = build(vertex)
    return pending(found, segment)


def infer_shape(shape: Shape, size: int) -> Shape:
    """Replace the one -1 in ``shape`` by what makes it hold ``size`` elements."""
    if shape.count(-1) > 1:
        raise ArgumentError("only one dimension can be inferred")
    if -1 not in shape:
        return shape
    known = math.prod(extent for extent in shape if extent != -1)
    if known == 0 or size % known:
        raise ShapeError(f"shape {list(shape)} is invalid for input of size {size}")
    return tuple(size // known if extent == -1 else extent for extent in shape)


def reshape(input: Any, *shape: Any) -> Any:
    """The same elements in row-major order under another shape; one size may be -1."""
    x = as_tensor(input)
    wanted = infer_shape(_sizes(shape), x.numel())
    return _move(x, ("reshape", wanted), lambda vertex: movement.reshape(vertex, wanted))


def view_as(input: Any, other: Any) -> Any:
    """``input`` under the shape of ``other``."""
    return reshape(input, other.shape)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from ``start_dim`` to ``end_dim`` made one."""
    shape = input.shape
    first, last = normalize_axis(start_dim, len(shape)), normalize_axis(end_dim, len(shape))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(input, *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Dimension ``dim`` split into ``sizes``."""
    axis = normalize_axis(dim, input.dim())
    return reshape(input, *input.shape[:axis], *infer_shape(tuple(sizes), input.shape[axis]), *input.shape[axis + 1 :])


def permute(input: Any, *dims: Any) -> Any:
    """Dimension i of the result is dimension dims[i] of the input."""
    permutation = tuple(normalize_axis(axis, input.dim()) for axis in _sizes(dims))
    if len(permutation) != input.dim():
        raise ShapeError(f"permute needs each of the {input.dim()} dimensions once, got {permutation}")
    return _move(input, ("permute", permutation), lambda vertex: movement.transpose(vertex, permutation))


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged."""
    order = list(range(input.dim()))
    first, second = normalize_axis(dim0, len(order)), normalize_axis(dim1, len(order))
    if order:
        order[first], order[second] = order[second], order[first]
    return permute(input, *order)


def t(input: Any) -> Any:
    """The transpose of a matrix; a vector stays as it is."""
    if input.dim() > 2:
        raise ShapeError(f"t() expects a tensor with at most 2 dimensions, got shape {tuple(input.shape)}")
    return permute(input, *reversed(range(input.dim())))


@pytorch_keywords
def squeeze(input: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """Dimensions of size 1 removed: all of them, or those in ``dim``."""
    shape = input.shape
    chosen = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    removed = {normalize_axis(axis, len(shape)) for axis in chosen}
    return reshape(input, *(size for axis, size in enumerate(shape) if not (axis in removed and size == 1)))


@pytorch_keywords
def unsqueeze(input: Any, dim: int) -> Any:
    """A dimension of size 1 put in at ``dim``."""
    axis = normalize_axis(dim, input.dim() + 1)
    return reshape(input, *input.shape[:axis], 1, *input.shape[axis:])


def expand(input: Any, *sizes: Any) -> Any:
    """Dimensions of size 1 repeated to ``sizes``; -1 keeps a size."""
    wanted = _sizes(sizes)
    extra = len(wanted) - input.dim()
    if -1 in wanted[: max(extra, 0)]:
        raise ShapeError(f"expand to {wanted}: -1 stands for a dimension that shape {tuple(input.shape)} does not have")
    shape = tuple(input.shape[axis - extra] if size == -1 else size for axis, size in enumerate(wanted))
    return _move(input, ("expand", shape), lambda vertex: movement.broadcast(vertex, shape))


def flip(input: Any, *dims: Any) -> Any:
    """The order of elements reversed along ``dims``."""
    axes = tuple(normalize_axis(axis, input.dim()) for axis in _sizes(dims))
    return _move(input, ("flip", axes), lambda vertex: movement.apply(movement.FLIP, vertex, axes=axes))


@pytorch_keywords
def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors put one behind another along ``dim``."""
    if not tensors:
        raise ArgumentError("cat expected a non-empty list of tensors")
    handles = [as_tensor(tensor) for tensor in tensors]
    segment, vertices = enter_all(*handles)
    dtype = promote(*(vertex.dtype for vertex in vertices))
    axis = normalize_axis(dim, len(vertices[0].shape))
    return pending(movement.concatenate(*(cast(vertex, dtype) for vertex in vertices), axis=axis), segment)


@pytorch_keywords
def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of equal shape put side by side along a new dimension."""
    return cat([unsqueeze(as_tensor(tensor), dim) for tensor in tensors], dim)


@pytorch_keywords
@remembered
def matmul(input: Any, other: Any) -> Any:
    """The matrix product, over batches that broadcast; vectors are rows on the left and columns on the right."""
    segment, (a, b) = enter_all(input, other)
    if not a.shape or not b.shape:
        raise ShapeError("matmul needs at least one dimension in each operand, got a scalar. fix: use *")
    a, b = meet(a, b)
    left = movement.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
    right = movement.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
    product = matmul_vertex(left, right) if a.dtype.kind != "int" else _integer_product(left, right)
    shape = list(product.shape)
    if len(b.shape) == 1:
        shape.pop()
    if len(a.shape) == 1:
        del shape[-1 if len(b.shape) == 1 else -2]
    return pending(movement.reshape(product, tuple(shape)), segment)


def _integer_product(left: Vertex, right: Vertex) -> Vertex:
    """The matrix product of integers, exact: a sum of products, since the primitive is for floats."""
    products = multiply(movement.reshape(left, (*left.shape, 1)), _with_axis(right, -2))
    return sum_(products, (len(products.shape) - 2,))


def _with_axis(x: Vertex, place: int) -> Vertex:
    return movement.reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``: slices of stored tensors are views of their memory; other indices are recorded or computed."""
    storage = x._storage
    if storage is not None and not x._requires_grad and x._slot is None and state.segment.expansion is None:
        if index.__class__ is slice and index.step is None and storage.written_in is None and x._type.shape:
            return _row_view(x, index)
        if _is_basic(index):
            return _view(x, index)
    items = index if isinstance(index, tuple) else (index,)
    if len(items) == 1 and isinstance(items[0], Handle | np.ndarray | list):
        return _take(x, as_tensor(items[0]))
    if not _is_basic(index):
        return _advanced(x, items)
    return _move(x, ("getitem", _hashable(items)), lambda vertex: _slice_vertex(vertex, items))


def _is_basic(index: Any) -> bool:
    if isinstance(index, tuple):
        return all(_is_basic(item) for item in index)
    if index is None or index is Ellipsis:
        return True
    return isinstance(index, int | slice | np.integer) and not isinstance(index, bool)


def _hashable(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((item.start, item.stop, item.step, "slice") if isinstance(item, slice) else item for item in items)


def _view(x: Any, index: Any) -> Any:
    """A stored tensor over a part of another's memory. Writes to it that are still pending are run first."""
    resolve(x)
    try:
        items = index if isinstance(index, tuple) else (index,)
        # With an ellipsis NumPy gives a view even of a single element.
        array = x._array()[items if any(item is Ellipsis for item in items) else (*items, ...)]
    except IndexError as error:
        raise IndexOutOfRangeError(f"{error} (tensor of shape {tuple(x.shape)})") from None
    return stored_view(x, array)


def _row_view(x: Any, rows: slice) -> Any:
    """``x[a:b]`` without NumPy: the usual way to cut a batch, so it is worth a path of its own."""
    type, strides = x._type, x._strides
    count = type.shape[0]
    start, stop, _ = rows.indices(count)
    step = strides[0] if strides else type.size // (count or 1)
    part = tensor_type(type.dtype, (stop - start if stop > start else 0, *type.shape[1:]))
    return stored(x._storage, x._address + start * step * type.dtype.size, part, strides)


def stored_view(x: Any, array: np.ndarray[Any, Any]) -> Any:
    """Return the tensor that looks where ``array``, a NumPy view of x's memory, looks."""
    array = np.asarray(array)
    strides = tuple(step // x.dtype.size for step in array.strides)
    layout = None if strides == contiguous_strides(array.shape) or array.size < 2 else strides
    return stored(x._storage, address_of(array), tensor_type(x.dtype, array.shape), layout)


def _slice_vertex(x: Vertex, items: tuple[Any, ...]) -> Vertex:
    """Slices, integers, None and Ellipsis as slice, flip and reshape."""
    given = sum(item is not None and item is not Ellipsis for item in items)
    if given > len(x.shape):
        raise IndexOutOfRangeError(f"too many indices for tensor of dimension {len(x.shape)}")
    missing = (slice(None),) * (len(x.shape) - given)
    position = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    items = (*items[:position], *missing, *items[position + 1 :])
    starts, stops, steps, flipped, shape = [], [], [], [], []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        start, stop, step = _range_of(item, size, axis)
        if step < 0:
            flipped.append(axis)
            start, stop, step = size - 1 - start, size - 1 - stop, -step
        stop = max(start, stop)
        starts.append(start)
        stops.append(stop)
        steps.append(step)
        if isinstance(item, slice):
            shape.append(-((start - stop) // step))
        axis += 1
    if flipped:
        x = movement.apply(movement.FLIP, x, axes=tuple(flipped))
    return movement.reshape(movement.slice_(x, tuple(starts), tuple(stops), tuple(steps)), tuple(shape))


def _range_of(item: Any, size: int, axis: int) -> tuple[int, int, int]:
    if isinstance(item, slice):
        return item.indices(size)
    if not -size <= item < size:
        raise IndexOutOfRangeError(f"index {item} is out of bounds for dimension {axis} with size {size}")
    return int(item) % size, int(item) % size + 1, 1


def _take(x: Any, index: Any) -> Any:
    """Rows of x by a tensor of positions or by a boolean mask."""
    if index.dtype.kind == "bool":
        return _advanced(x, (index,))
    size = x.shape[0]
    if index._storage is not None and not state.segment.is_capturing:
        positions = index._array()
        if positions.size and (positions.min() < -size or positions.max() >= size):
            raise IndexOutOfRangeError(f"index out of range: positions must lie in [{-size}, {size - 1}]")
        if not positions.size or positions.min() >= 0:
            segment, (rows, at) = enter_all(x, index)
            return pending(indexing.take(rows, cast(at, int64), 0), segment)
    segment, (rows, at) = enter_all(x, index)
    at = cast(at, int64)
    from_front = where(less(at, 0), add(at, size), at)
    return pending(indexing.take(rows, from_front, 0), segment)


def _advanced(x: Any, items: tuple[Any, ...]) -> Any:
    """Any other index: computed at once, by NumPy. No gradient flows through it."""
    if x.requires_grad:
        raise ArgumentError(
            "this kind of index has no gradient. fix: index a detached tensor, or use slices, integers, "
            "one tensor of positions, or where()"
        )
    try:
        array, rest = take_integers(x._array(), items)
        return from_array(np.asarray(array[rest]))
    except IndexError as error:
        raise IndexOutOfRangeError(f"{error} (tensor of shape {tuple(x.shape)})") from None


def take_integers(array: np.ndarray[Any, Any], items: tuple[Any, ...]) -> tuple[np.ndarray[Any, Any], tuple[Any, ...]]:
    """Apply the integers of an index to ``array``; return the part and the rest of the index, without tensors.

    PyTorch takes integers first; NumPy would broadcast them with tensors of positions and order the axes otherwise.
    """
    rest = tuple(np.asarray(item) if isinstance(item, Handle | list) else item for item in items)
    integers = [item for item in rest if isinstance(item, int | np.integer) and not isinstance(item, bool)]
    if not integers or not any(isinstance(item, np.ndarray) for item in rest):
        return array, rest
    first: list[Any] = []
    for item in rest:
        if isinstance(item, np.ndarray):
            first += [slice(None)] * (item.ndim if item.dtype == bool else 1)
        elif item is not None:
            first.append(item if any(item is integer for integer in integers) or item is Ellipsis else slice(None))
    return array[tuple(first)], tuple(item for item in rest if not any(item is integer for integer in integers))
