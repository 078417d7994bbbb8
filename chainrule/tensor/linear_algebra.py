"""Products of vectors, matrices and tensors, and matrices of special form, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ops.arithmetic import subtract
from ..ops.source import iota
from ..types import Shape, int64, normalize_axis
from . import operations, partition, reductions, shaping
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all, from_array
from .recording import pending
from .remembered import remembered

METHODS = (
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "cross", "diag", "diag_embed", "diagflat", "dot", "ger", "inner",
    "kron", "matrix_power", "mv", "outer", "trace", "tril", "triu", "vdot",
)  # fmt: skip


def _of_rank(name: str, *given: tuple[Any, int]) -> list[Any]:
    """The operands as tensors. Errors: `ShapeError` for another number of dimensions."""
    tensors = [as_tensor(value) for value, _ in given]
    for tensor, (_, rank) in zip(tensors, given, strict=True):
        if tensor.dim() != rank:
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
            ranks = ", ".join(f"{rank}-D" for _, rank in given)
            raise ShapeError(f"{name} expected {ranks} tensors, got shapes {shapes}")
    return tensors


@pytorch_keywords
def dot(input: Any, tensor: Any) -> Any:
    """Σ x · y of two vectors of one length.

    >>> import chainrule as cr
    >>> cr.dot(cr.tensor([2, 3]), cr.tensor([2, 1]))
    tensor(7)
    """
    x, y = _of_rank("dot", (input, 1), (tensor, 1))
    if x.shape != y.shape:
        raise ShapeError(f"inconsistent tensor size, expected vectors of one length, got {x.numel()} and {y.numel()}")
    return reductions.sum(operations.mul(x, y), dtype=operations.mul(x, y).dtype)


vdot = dot


@pytorch_keywords
def mv(input: Any, vec: Any) -> Any:
    """The product of a matrix and a vector."""
    return shaping.matmul(*_of_rank("mv", (input, 2), (vec, 1)))


@pytorch_keywords
def outer(input: Any, vec2: Any) -> Any:
    """out[i, j] = x[i] · y[j] of two vectors.

    >>> import chainrule as cr
    >>> cr.outer(cr.tensor([1, 2]), cr.tensor([1, 10]))
    tensor([[ 1, 10],
            [ 2, 20]])
    """
    x, y = _of_rank("outer", (input, 1), (vec2, 1))
    return operations.mul(x.unsqueeze(1), y.unsqueeze(0))


ger = outer


@pytorch_keywords
def inner(input: Any, other: Any) -> Any:
    """Σ over the last dimension of both; a number multiplies."""
    x, y = as_tensor(input), as_tensor(other)
    if not x.dim() or not y.dim():
        return operations.mul(x, y)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"inner() the last dimension must match on both input tensors, got {x.shape} and {y.shape}")
    return tensordot(x, y, ([-1], [-1]))


def _added(input: Any, product: Any, beta: float, alpha: float) -> Any:
    scaled = product if alpha == 1 else operations.mul(product, alpha)
    if beta == 0:  # not even NaN of the input counts
        return scaled
    return operations.add(input if beta == 1 else operations.mul(input, beta), scaled)


@pytorch_keywords
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (mat1 @ mat2); the input broadcasts to the product.

    >>> import chainrule as cr
    >>> cr.addmm(cr.tensor([1.0]), cr.ones(1, 2), cr.ones(2, 1))
    tensor([[3.]])
    """
    return _added(input, shaping.matmul(*_of_rank("addmm", (mat1, 2), (mat2, 2))), beta, alpha)


@pytorch_keywords
def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (mat @ vec)."""
    return _added(input, mv(mat, vec), beta, alpha)


@pytorch_keywords
def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · the outer product of two vectors."""
    return _added(input, outer(vec1, vec2), beta, alpha)


@pytorch_keywords
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (batch1 @ batch2) for batches of matrices."""
    return _added(input, shaping.matmul(*_of_rank("baddbmm", (batch1, 3), (batch2, 3))), beta, alpha)


@pytorch_keywords
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · Σ over the batch of (batch1 @ batch2)."""
    products = shaping.matmul(*_of_rank("addbmm", (batch1, 3), (batch2, 3)))
    return _added(input, reductions.sum(products, 0), beta, alpha)


def chain_matmul(*matrices: Any) -> Any:
    """The product of several matrices, from left to right."""
    product = as_tensor(matrices[0])
    for matrix in matrices[1:]:
        product = shaping.matmul(product, matrix)
    return product


@pytorch_keywords
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Σ over the dimensions ``dims[0]`` of a and ``dims[1]`` of b; a number: the last ones of a, the first ones of b.

    Shapes: the remaining dimensions of a, then those of b.

    >>> import chainrule as cr
    >>> cr.tensordot(cr.ones(2, 3), cr.ones(3, 4), 1).shape
    Size([2, 4])
    """
    x, y = as_tensor(a), as_tensor(b)
    if isinstance(dims, int):
        dims = (range(x.dim() - dims, x.dim()), range(dims))
    left, right = ([int(d) for d in np.atleast_1d(np.asarray(each, np.int64))] for each in dims)
    left = [normalize_axis(axis, x.dim()) for axis in left]
    right = [normalize_axis(axis, y.dim()) for axis in right]
    if [x.shape[axis] for axis in left] != [y.shape[axis] for axis in right]:
        raise ShapeError(
            f"contracted dimensions need to match, but got dims {left} of shape {tuple(x.shape)} "
            f"and dims {right} of shape {tuple(y.shape)}"
        )
    kept = [axis for axis in range(x.dim()) if axis not in left], [a for a in range(y.dim()) if a not in right]
    depth = math.prod(x.shape[axis] for axis in left)
    shape = (*(x.shape[axis] for axis in kept[0]), *(y.shape[axis] for axis in kept[1]))
    rows, columns = (math.prod(t.shape[axis] for axis in axes) for t, axes in zip((x, y), kept, strict=True))
    matrix = shaping.permute(x, *kept[0], *left).reshape(rows, depth)
    other = shaping.permute(y, *right, *kept[1]).reshape(depth, columns)
    return shaping.matmul(matrix, other).reshape(shape)


@pytorch_keywords
def kron(input: Any, other: Any) -> Any:
    """The Kronecker product: each element of the first times all of the second.

    >>> import chainrule as cr
    >>> cr.kron(cr.tensor([1, 10]), cr.tensor([1, 2]))
    tensor([ 1,  2, 10, 20])
    """
    x, y = as_tensor(input), as_tensor(other)
    rank = max(x.dim(), y.dim())
    first, second = ((1,) * (rank - t.dim()) + tuple(t.shape) for t in (x, y))
    outside = tuple(size for extent in first for size in (extent, 1))
    inside = tuple(size for extent in second for size in (1, extent))
    product = operations.mul(x.reshape(outside), y.reshape(inside))
    return product.reshape(tuple(a * b for a, b in zip(first, second, strict=True)))


@pytorch_keywords
def matrix_power(input: Any, n: int) -> Any:
    """The product of ``n`` copies of each square matrix, by repeated squares. Errors: `ArgumentError` for n below 0."""
    x = as_tensor(input)
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: expected square matrices, got shape {tuple(x.shape)}")
    if n < 0:
        raise ArgumentError(f"matrix_power: expected n of at least 0, got {n}; inverses are not supported")
    product = None
    while n:
        if n % 2:
            product = x if product is None else shaping.matmul(product, x)
        x, n = (shaping.matmul(x, x) if n > 1 else x), n // 2
    if product is not None:
        return product
    is_diagonal = operations.eq(_distance_from_diagonal(tuple(x.shape[-2:])), 0)
    return operations.convert(shaping.expand(is_diagonal, *x.shape), x.dtype)


@pytorch_keywords
def cross(input: Any, other: Any, dim: int | None = None) -> Any:
    """The vector product along a dimension of size 3: the last one, or ``dim``. Shapes broadcast."""
    if as_tensor(input).dim() != as_tensor(other).dim():
        raise ShapeError("cross: inputs must have the same number of dimensions. fix: unsqueeze one of them")
    x, y = partition.broadcast_tensors(input, other)
    axis = normalize_axis(-1 if dim is None else dim, x.dim())
    if x.shape[axis] != 3:
        raise ShapeError(f"cross: dimension {axis} must have size 3, got shape {tuple(x.shape)}")

    def turned(t: Any, shift: int) -> Any:
        return partition.roll(t, shift, axis)

    return operations.sub(operations.mul(turned(x, -1), turned(y, 1)), operations.mul(turned(x, 1), turned(y, -1)))


def cdist(x1: Any, x2: Any, p: float = 2.0) -> Any:
    """The p-norm of the difference of each row of ``x1`` and each row of ``x2``; batches broadcast.

    >>> import chainrule as cr
    >>> cr.cdist(cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    x, y = as_tensor(x1), as_tensor(x2)
    if x.dim() < 2 or y.dim() < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"cdist: expected rows of one length, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    difference = operations.sub(x.unsqueeze(-2), y.unsqueeze(-3))
    if p != 2:
        return reductions.norm(difference, p, -1)
    squared = reductions.sum(operations.square(difference), -1)
    is_zero = operations.eq(squared, 0)  # where the gradient is 0
    return operations.where(is_zero, 0.0, operations.sqrt(operations.where(is_zero, 1.0, squared)))


# Matrices


@pytorch_keywords
def trace(input: Any) -> Any:
    """The sum of the main diagonal."""
    (x,) = _of_rank("trace", (input, 2))
    return reductions.sum(shaping.diagonal(x))


@remembered
def _triangle(x: Any, *, diagonal: int, is_lower: bool) -> Any:
    if x.dim() < 2:
        name = "tril" if is_lower else "triu"
        raise ShapeError(f"{name}: input tensor must have at least 2 dimensions, got shape {tuple(x.shape)}")
    distance = _distance_from_diagonal(tuple(x.shape[-2:]))
    return operations.where((operations.le if is_lower else operations.ge)(distance, diagonal), x, False)


def _distance_from_diagonal(shape: Shape) -> Any:
    """Column minus row, for every place of a matrix."""
    segment, _ = enter_all()
    return pending(subtract(iota(int64, shape, 1), iota(int64, shape, 0)), segment)


@pytorch_keywords
def tril(input: Any, diagonal: int = 0) -> Any:
    """The lower triangle of each matrix, zeros above the diagonal of that number.

    >>> import chainrule as cr
    >>> cr.tril(cr.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return _triangle(as_tensor(input), diagonal=diagonal, is_lower=True)


@pytorch_keywords
def triu(input: Any, diagonal: int = 0) -> Any:
    """The upper triangle of each matrix, zeros below the diagonal of that number."""
    return _triangle(as_tensor(input), diagonal=diagonal, is_lower=False)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Any:
    """The coordinates of the lower triangle of a matrix: row numbers, then column numbers."""
    return from_array(np.array(np.tril_indices(row, offset, col)), dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Any:
    """The coordinates of the upper triangle of a matrix: row numbers, then column numbers."""
    return from_array(np.array(np.triu_indices(row, offset, col)), dtype)


@pytorch_keywords
def diag(input: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix; of a vector the matrix that has it as its diagonal.

    >>> import chainrule as cr
    >>> cr.diag(cr.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    x = as_tensor(input)
    if x.dim() not in (1, 2):
        raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {x.dim()}D")
    return diag_embed(x, diagonal) if x.dim() == 1 else shaping.unshared(shaping.diagonal(x, diagonal))


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices whose diagonals are the last dimension of ``input``."""
    x = as_tensor(input)
    size = x.shape[-1] + abs(offset)
    padded = x
    if offset:
        zeros = operations.convert(from_array(np.zeros((*x.shape[:-1], abs(offset)))), x.dtype)
        padded = shaping.cat([zeros, x] if offset > 0 else [x, zeros], -1)
    matrices = operations.where(
        operations.eq(_distance_from_diagonal((size, size)), offset), padded.unsqueeze(-2), False
    )
    return partition.movedim(matrices, (-2, -1), (dim1, dim2))


def diagflat(input: Any, offset: int = 0) -> Any:
    """The matrix whose diagonal has all elements of the input."""
    return diag_embed(as_tensor(input).reshape(-1), offset)


def block_diag(*tensors: Any) -> Any:
    """Matrices along the diagonal of a larger one, zeros elsewhere."""
    parts = [part.reshape(1, -1) if part.dim() < 2 else part for part in map(as_tensor, tensors)]
    width, rows, start = sum(part.shape[1] for part in parts), [], 0
    for part in parts:
        left, right = start, width - start - part.shape[1]
        zeros = [operations.convert(from_array(np.zeros((part.shape[0], n))), part.dtype) for n in (left, right)]
        rows.append(shaping.cat([zeros[0], part, zeros[1]], 1))
        start += part.shape[1]
    return shaping.cat(rows, 0)
