"""Reading elements at positions that are tensors themselves, under PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, IndexOutOfRangeError, ShapeError
from ..graph.vertex import Vertex
from ..ops import indexing, movement
from ..ops.arithmetic import add, multiply
from ..ops.comparison import less, where
from ..ops.elementwise import cast
from ..ops.source import iota
from ..types import Shape, broadcast_shapes, contiguous_strides, int64, normalize_axis
from . import operations, shaping
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all, from_array
from .recording import pending
from .remembered import remembered
from .segment import state

METHODS = (
    "gather", "index_select", "masked_fill", "masked_select", "nonzero", "take", "take_along_dim",
)  # fmt: skip


def flat_positions(index: Vertex, shape: Shape, axis: int) -> Vertex:
    """Where in a row-major tensor of ``shape`` each place's element lies, with the place's index on ``axis`` replaced.

    position[i, j, ...] = Σ stride[d] · (index[i, j, ...] if d is axis, else the place's own coordinate).
    """
    strides = contiguous_strides(shape)
    total = multiply(index, strides[axis]) if strides[axis] != 1 else index
    for dimension, extent in enumerate(index.shape):
        if dimension != axis and extent > 1:
            total = add(total, multiply(iota(int64, index.shape, dimension), strides[dimension]))
    return total


def check_positions(index: Any, size: int, axis: int, name: str, lowest: int = 0) -> None:
    """Refuse positions outside [lowest, size) if their values are known already.

    Errors: `DTypeError` for an index that is not of integers, `IndexOutOfRangeError`.
    """
    if index.dtype.kind != "int":
        raise DTypeError(f"{name}: expected an index of integers, got {index.dtype}. fix: index.long()")
    if index._storage is None or state.segment.is_capturing or not index.numel():
        return
    positions = index._array()
    smallest, largest = int(positions.min()), int(positions.max())
    if smallest < lowest or largest >= size:
        wrong = smallest if smallest < lowest else largest
        raise IndexOutOfRangeError(f"{name}: index {wrong} is out of bounds for dimension {axis} with size {size}")


def check_index_shape(name: str, shape: Shape, index: Shape, axis: int) -> None:
    """Refuse an index that does not lie within ``shape`` apart from ``axis``. Errors: `ShapeError`."""
    if len(index) != len(shape):
        raise ShapeError(
            f"{name}: index must have the same number of dimensions as the tensor, got {index} for {shape}. "
            "fix: unsqueeze or expand it"
        )
    if any(i > n for d, (i, n) in enumerate(zip(index, shape, strict=True)) if d != axis):
        raise ShapeError(f"{name}: size of index {index} must not exceed that of {shape} apart from dimension {axis}")


@pytorch_keywords
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """out[i, j, k] = input[index[i, j, k], j, k] for dim 0, and so on; ``index`` has as many dimensions as ``input``.

    Shapes: the result has the shape of ``index``. Gradients of elements that are read twice add up.
    Errors: `IndexOutOfRangeError`, `ShapeError`, `DTypeError`.

    >>> import chainrule as cr
    >>> cr.gather(cr.tensor([[1, 2], [3, 4]]), 1, cr.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    x, positions = as_tensor(input), as_tensor(index)
    if not x.dim():
        check_positions(positions, 1, dim, "gather")
        return gather(x.reshape(1), dim, positions.reshape(1) if not positions.dim() else positions).reshape(
            positions.shape
        )
    axis = normalize_axis(dim, x.dim())
    check_index_shape("gather", x.shape, positions.shape, axis)
    check_positions(positions, x.shape[axis], axis, "gather")
    return gather_known(x, axis, positions)


def gather_known(x: Any, dim: int, positions: Any) -> Any:
    """`gather` without checks, also from a vector at positions of any shape."""
    return _gathered(x, positions, axis=dim % x.dim()) if x.dim() else shaping.expand(x, *positions.shape)


@remembered
def _gathered(x: Any, positions: Any, *, axis: int) -> Any:
    segment, (source, chosen) = enter_all(x, positions)
    at = cast(chosen, int64)
    flat = movement.reshape(source, (source.type.size,))
    return pending(indexing.take(flat, flat_positions(at, source.shape, axis) if x.dim() > 1 else at, 0), segment)


@pytorch_keywords
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """As `gather`, where both broadcast apart from ``dim``; without ``dim`` positions in the flattened tensor.

    >>> import chainrule as cr
    >>> x = cr.tensor([[3, 1, 2]])
    >>> cr.take_along_dim(x, cr.argsort(x, 1), 1)
    tensor([[1, 2, 3]])
    """
    x, positions = as_tensor(input), as_tensor(indices)
    if dim is None:
        return gather(x.reshape(-1), 0, positions.reshape(-1))
    axis = normalize_axis(dim, x.dim())
    if x.dim() != positions.dim():
        raise ShapeError(f"take_along_dim: expected as many dimensions, got {tuple(x.shape)}, {tuple(positions.shape)}")

    def without(shape: Shape) -> Shape:
        return (*shape[:axis], 1, *shape[axis + 1 :])

    common = broadcast_shapes(without(x.shape), without(positions.shape))
    shapes = [(*common[:axis], tensor.shape[axis], *common[axis + 1 :]) for tensor in (x, positions)]
    return gather(shaping.expand(x, *shapes[0]), axis, shaping.expand(positions, *shapes[1]))


@pytorch_keywords
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices of ``input`` along ``dim`` at the positions ``index``, a vector.

    >>> import chainrule as cr
    >>> cr.index_select(cr.tensor([[1, 2], [3, 4]]), 1, cr.tensor([1, 1, 0]))
    tensor([[2, 2, 1],
            [4, 4, 3]])
    """
    x, positions = as_tensor(input), as_tensor(index)
    axis = normalize_axis(dim, x.dim())
    if positions.dim() > 1:
        raise ShapeError(f"index_select: index must be a vector, got shape {tuple(positions.shape)}")
    check_positions(positions, x.shape[axis] if x.dim() else 1, axis, "index_select")
    if not x.dim():
        return x.clone()
    segment, (source, chosen) = enter_all(x, positions.reshape(-1))
    return pending(indexing.take(source, cast(chosen, int64), axis), segment)


@pytorch_keywords
def take(input: Any, index: Any) -> Any:
    """The elements at positions in the flattened tensor; negative ones count from its end.

    >>> import chainrule as cr
    >>> cr.take(cr.tensor([[1, 2], [3, 4]]), cr.tensor([0, -1]))
    tensor([1, 4])
    """
    x, positions = as_tensor(input), as_tensor(index)
    size = x.numel()
    check_positions(positions, size, 0, "take", lowest=-size)
    segment, (source, chosen) = enter_all(x, positions)
    at = cast(chosen, int64)
    flat = movement.reshape(source, (size,))
    return pending(indexing.take(flat, where(less(at, 0), add(at, size), at), 0), segment)


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """``value`` (a number or a tensor without dimensions) where the mask holds, ``input`` elsewhere; shapes broadcast.

    >>> import chainrule as cr
    >>> cr.tensor([1.0, 2.0]).masked_fill(cr.tensor([True, False]), -float("inf"))
    tensor([-inf,   2.])
    """
    x, chosen = as_tensor(input), as_tensor(mask)
    if chosen.dtype.kind != "bool":
        raise DTypeError(f"masked_fill only supports boolean masks, got {chosen.dtype}. fix: compare, e.g. mask != 0")
    if hasattr(value, "dim") and value.dim():
        raise ShapeError(f"masked_fill needs a value without dimensions, got shape {tuple(value.shape)}. fix: where()")
    filled = operations.where(chosen, value, x)
    return operations.convert(filled, x.dtype)


@pytorch_keywords
def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the mask holds, as a vector; shapes broadcast. The mask's values are read at once.

    >>> import chainrule as cr
    >>> cr.masked_select(cr.tensor([1, 2, 3]), cr.tensor([True, False, True]))
    tensor([1, 3])
    """
    x, chosen = as_tensor(input), as_tensor(mask)
    if chosen.dtype.kind != "bool":
        raise DTypeError(f"masked_select: expected a boolean mask, got {chosen.dtype}. fix: compare, e.g. mask != 0")
    shape = broadcast_shapes(x.shape, chosen.shape)
    positions = np.flatnonzero(np.broadcast_to(chosen._array(), shape))
    return take(shaping.expand(x, *shape), from_array(positions.astype(np.int64)))


@pytorch_keywords
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The coordinates of all elements that are not zero, one per row; or one vector per dimension. Reads the values.

    >>> import chainrule as cr
    >>> cr.nonzero(cr.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    values = as_tensor(input)._array()
    if as_tuple:
        return tuple(from_array(axis.astype(np.int64)) for axis in np.nonzero(np.atleast_1d(values)))
    return from_array(np.argwhere(values).astype(np.int64))


argwhere = nonzero
