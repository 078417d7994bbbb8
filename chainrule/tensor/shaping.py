"""Rearranging tensors: shapes, axes, joining. Each function is also a method of `Tensor` where it can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..graph.vertex import Vertex
from ..ops import movement
from ..ops.arithmetic import multiply
from ..ops.elementwise import cast
from ..ops.matmul import matmul as matmul_vertex
from ..ops.reduction import sum_
from ..types import DType, Shape, broadcast_shapes, contiguous_strides, normalize_axis, promote
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all, meet
from .recording import pending, type_of
from .remembered import remembered
from .segment import state
from .strided import Layout, is_row_major, read, reshaped_strides, steps_to
from .views import base_of, lay_out_row_major, offset_of, physical_strides, strides_of, view


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
    """The same elements in row-major order under another shape; one size may be -1. A view where strides allow that."""
    x = as_tensor(input)
    type = type_of(x)
    wanted = infer_shape(_sizes(shape), type.size)
    found = _reshaped_view(x, wanted)
    if found is None:
        return _move(x, ("reshape", wanted), lambda vertex: movement.reshape(vertex, wanted))
    return found


def view_as_shape(input: Any, *shape: Any) -> Any:
    """The same memory under another shape; one size may be -1. With an element type: `view` as that type is refused.

    Errors: `ShapeError` where the elements would have to be copied.
    """
    if len(shape) == 1 and isinstance(shape[0], DType):
        if shape[0] is input.dtype:
            return reshape(input, input.shape)
        raise ArgumentError(f"view as another type ({shape[0]}) is not supported. fix: .to({shape[0].name})")
    wanted = infer_shape(_sizes(shape), input.numel())
    found = _reshaped_view(input, wanted)
    if found is not None:
        return found
    if input._slot is not None:
        return reshape(input, wanted)  # to users a parameter is row-major
    raise ShapeError(
        f"view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
        f"contiguous subspaces): shape {tuple(input.shape)} with strides {strides_of(input)} as {wanted}. "
        "fix: use .reshape(...) instead"
    )


def _reshaped_view(x: Any, wanted: Shape) -> Any:
    """A view of x under another shape; None where the elements must be copied."""
    shape = type_of(x).shape
    if math.prod(wanted) != type_of(x).size:
        raise ShapeError(f"shape {list(wanted)} is invalid for input of size {type_of(x).size} (shape {tuple(shape)})")
    strides = reshaped_strides(shape, physical_strides(x), wanted)
    if strides is None and not (x.requires_grad or state.segment.is_capturing):
        base = base_of(x)
        if base._slot is not None and x.numel() == base.numel() and tuple(shape) == base._type.shape:
            lay_out_row_major(base)
            strides = reshaped_strides(shape, physical_strides(_caught_up(x)), wanted)
    if strides is None:
        return None
    return view(x, wanted, strides, 0, ("reshape", wanted), lambda vertex: movement.reshape(vertex, wanted))


def _caught_up(x: Any) -> Any:
    base_of(x)
    return x


def view_as(input: Any, other: Any) -> Any:
    """``input`` under the shape of ``other``."""
    return view_as_shape(input, other.shape)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from ``start_dim`` to ``end_dim`` made one."""
    shape = input.shape
    first, last = normalize_axis(start_dim, len(shape)), normalize_axis(end_dim, len(shape))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if first == last and shape:
        return input
    return reshape(input, *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Dimension ``dim`` split into ``sizes``."""
    axis = normalize_axis(dim, input.dim())
    wanted = infer_shape(tuple(sizes), input.shape[axis])
    return reshape(input, *input.shape[:axis], *wanted, *input.shape[axis + 1 :])


def permute(input: Any, *dims: Any) -> Any:
    """Dimension i of the result is dimension dims[i] of the input; a view."""
    shape = type_of(input).shape
    permutation = tuple(normalize_axis(axis, len(shape)) for axis in _sizes(dims))
    if sorted(permutation) != list(range(len(shape))):
        raise ShapeError(f"permute needs each of the {len(shape)} dimensions of {tuple(shape)} once, got {permutation}")
    strides = physical_strides(input)
    return view(
        input, tuple(shape[axis] for axis in permutation), tuple(strides[axis] for axis in permutation), 0,
        ("permute", permutation), lambda vertex: movement.transpose(vertex, permutation),
    )  # fmt: skip


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged; a view."""
    order = list(range(input.dim()))
    first, second = normalize_axis(dim0, len(order)), normalize_axis(dim1, len(order))
    if order:
        order[first], order[second] = order[second], order[first]
    return permute(input, *order)


def t(input: Any) -> Any:
    """The transpose of a matrix; a vector stays as it is. A view."""
    if input.dim() > 2:
        raise ShapeError(f"t() expects a tensor with at most 2 dimensions, got shape {tuple(input.shape)}")
    return permute(input, *reversed(range(input.dim())))


@pytorch_keywords
def squeeze(input: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """Dimensions of size 1 removed: all of them, or those in ``dim``. A view."""
    shape = type_of(input).shape
    chosen = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    removed = {normalize_axis(axis, len(shape)) for axis in chosen}
    kept = [axis for axis, size in enumerate(shape) if not (axis in removed and size == 1)]
    strides = physical_strides(input)
    return _reshape_by(input, tuple(shape[axis] for axis in kept), tuple(strides[axis] for axis in kept))


@pytorch_keywords
def unsqueeze(input: Any, dim: int) -> Any:
    """A dimension of size 1 put in at ``dim``; a view."""
    shape, strides = type_of(input).shape, physical_strides(input)
    axis = normalize_axis(dim, len(shape) + 1)
    step = shape[axis] * strides[axis] if axis < len(shape) else 1
    return _reshape_by(input, (*shape[:axis], 1, *shape[axis:]), (*strides[:axis], step, *strides[axis:]))


def _reshape_by(input: Any, shape: Shape, strides: Shape) -> Any:
    """Dimensions of size 1 come or go."""
    return view(input, shape, strides, 0, ("reshape", shape), lambda vertex: movement.reshape(vertex, shape))


def expand(input: Any, *sizes: Any) -> Any:
    """Dimensions of size 1 repeated to ``sizes``; -1 keeps a size. A view, to which nothing can be written."""
    wanted, old = _sizes(sizes), type_of(input).shape
    extra = len(wanted) - len(old)
    if -1 in wanted[: max(extra, 0)]:
        raise ShapeError(f"expand to {wanted}: -1 stands for a dimension that shape {tuple(old)} does not have")
    shape = tuple(old[axis - extra] if size == -1 else size for axis, size in enumerate(wanted))
    if extra < 0 or broadcast_shapes(old, shape) != shape:
        raise ShapeError(f"shape {tuple(old)} cannot be expanded to {shape}")
    steps = (*(0 for _ in range(extra)), *physical_strides(input))
    kept = (*(0 for _ in range(extra)), *old)
    strides = tuple(step if size == new else 0 for step, size, new in zip(steps, kept, shape, strict=True))
    return view(input, shape, strides, 0, ("expand", shape), lambda vertex: movement.broadcast(vertex, shape))


def as_strided(input: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """A view with any strides into the memory of ``input``, from its first element on or from ``storage_offset``."""
    base = base_of(input)
    shape: Shape = tuple(int(extent) for extent in size)
    strides: Shape = tuple(int(step) for step in stride)
    start = offset_of(input) if storage_offset is None else storage_offset
    reach = start + sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
    if start < 0 or min((*strides, 0)) < 0 or (0 not in shape and reach >= base.numel()):
        raise ShapeError(f"as_strided: {shape} with strides {strides} from {start} on exceed {base.numel()} elements")
    if not is_row_major(type_of(base).shape, physical_strides(base)):
        raise ShapeError("as_strided needs a base that is row-major in memory. fix: .contiguous()")
    return _by_strides(base, lambda _: Layout(start, shape, strides))


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements [..., i, i + offset] of two dimensions as a new last one; a view.

    >>> import chainrule as cr
    >>> cr.diagonal(cr.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    input = as_tensor(input)
    shape = type_of(input).shape
    first, second = normalize_axis(dim1, len(shape)), normalize_axis(dim2, len(shape))
    if first == second:
        raise ArgumentError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    count = max(min(shape[first] + min(offset, 0), shape[second] - max(offset, 0)), 0)
    rest = [axis for axis in range(len(shape)) if axis not in (first, second)]

    def layout(strides: Shape) -> Layout:
        distance = max(-offset, 0) * strides[first] + max(offset, 0) * strides[second] if count else 0
        steps = (*(strides[axis] for axis in rest), strides[first] + strides[second])
        return Layout(distance, (*(shape[axis] for axis in rest), count), steps)

    return _by_strides(input, layout)


def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """All windows of ``size`` elements along ``dimension``, ``step`` apart, as a new last dimension; a view.

    >>> import chainrule as cr
    >>> cr.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    input = as_tensor(input)
    shape = type_of(input).shape
    axis = normalize_axis(dimension, len(shape))
    extent = shape[axis] if shape else 1
    if not 0 <= size <= extent:
        raise ArgumentError(f"maximum size for tensor at dimension {dimension} is {extent} but size is {size}")
    if step < 1:
        raise ArgumentError(f"step is {step} but must be > 0")
    count = (extent - size) // step + 1

    def layout(strides: Shape) -> Layout:
        if not shape:
            return Layout(0, (size,), (1,))
        steps = (*strides[:axis], strides[axis] * step, *strides[axis + 1 :], strides[axis])
        return Layout(0, (*shape[:axis], count, *shape[axis + 1 :], size), steps)

    return _by_strides(input, layout)


def _by_strides(input: Any, layout: Callable[[Shape], Layout]) -> Any:
    """A view for which there is no movement of its own; ``layout`` makes its layout from the strides of the input."""
    own = type_of(input).shape
    found, among_own = layout(physical_strides(input)), layout(contiguous_strides(own))
    return view(
        input, found.shape, found.strides, found.offset, ("strided", among_own),
        lambda vertex: read(vertex, steps_to(own, None, among_own)),
    )  # fmt: skip


def flip(input: Any, *dims: Any) -> Any:
    """A copy with the order of elements reversed along ``dims``."""
    axes = tuple(normalize_axis(axis, input.dim()) for axis in _sizes(dims))
    return _move(input, ("flip", axes), lambda vertex: movement.apply(movement.FLIP, vertex, axes=axes))


def unshared(x: Any) -> Any:
    """The elements of a view as a tensor of its own: what is written into either is not seen in the other."""
    segment, (vertex,) = enter_all(x)
    return pending(vertex, segment)


@pytorch_keywords
def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors put one behind another along ``dim``; ``tensor([])``, to which a loop adds, goes with any shape."""
    if not tensors:
        raise ArgumentError("cat expected a non-empty list of tensors")
    handles = [as_tensor(tensor) for tensor in tensors]
    segment, vertices = enter_all(*handles)
    dtype = promote(*(vertex.dtype for vertex in vertices))
    parts = [cast(vertex, dtype) for vertex in vertices if vertex.shape != (0,)] or [cast(vertices[0], dtype)]
    axis = normalize_axis(dim, len(parts[0].shape))
    return pending(movement.concatenate(*parts, axis=axis), segment)


@pytorch_keywords
def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of equal shape put side by side along a new dimension. Errors: `ShapeError` for others."""
    given = [as_tensor(tensor) for tensor in tensors]
    for place, tensor in enumerate(given):
        first, shape = type_of(given[0]).shape, type_of(tensor).shape
        if shape != first:
            raise ShapeError(
                f"stack expects each tensor to be equal size, but got {first} at entry 0 and {shape} at entry {place}"
            )
    return cat([unsqueeze(tensor, dim) for tensor in given], dim)


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
