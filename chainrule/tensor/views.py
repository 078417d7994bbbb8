"""Views: tensors that look at elements of another tensor, their base. What is written into one is seen by all.

A stored view looks into the memory of its base. The view of a pending tensor has a vertex of its own, derived from the
base's; a write replaces the base's vertex by one with the new elements, and the views are derived anew. So nothing is
copied, gradients flow through views in both directions, and what was recorded before a write keeps its value. PyTorch's
error "modified by an inplace operation" is left for memory that is written to before the gradient that reads it.

A view refers to its base, never to a view between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CaptureError
from ..graph.vertex import Vertex
from ..ops.arithmetic import add, subtract
from ..ops.comparison import equal, where
from ..ops.elementwise import stop_gradient
from ..ops.source import constant
from ..types import Shape, bool_, contiguous_strides, tensor_type
from .recording import (
    catch_up,
    is_detached,
    leave_memory,
    make_slot,
    overwrite,
    pending,
    resolve,
    seen_by,
    set_stored,
    steps_of,
    stored,
    type_of,
    vertex_of,
)
from .segment import Segment, addresses, flush, leaf_vertex, state
from .storage import allocate, view_array
from .strided import is_row_major, overlaps, written
from .structure import note_change


def strides_of(x: Any) -> Shape:
    """The strides of a tensor in elements, as users see them.

    Tensors that programs overwrite may lie otherwise in memory; to users, and for views, they are row-major.
    """
    strides: Shape | None = None
    if x._slot is None and (x._storage is not None or x._base is not None):
        strides = x._strides
    return strides or contiguous_strides(type_of(x).shape)


def offset_of(x: Any) -> int:
    """The position of x's first element among those of its base."""
    base = base_of(x)
    if x is base:
        return 0
    distance: int = x._address - (0 if x._storage is None else base._address)
    return distance // type_of(x).dtype.size


def base_of(x: Any) -> Any:
    """The tensor whose elements x looks at: its base, or x itself."""
    if x._base is not None:
        catch_up(x)
    return x if x._base is None else x._base


def view(x: Any, shape: Shape, strides: Shape, distance: int, key: Any, build: Callable[[Vertex], Vertex]) -> Any:
    """The elements of x ``distance`` elements from its first one, with these shape and strides.

    ``build`` makes the same from the vertex of x, remembered there under ``key``.
    """
    base = base_of(x)
    if x._storage is None and x._segment is state.segment:
        return _pending_view(x, base, shape, strides, distance, key, build)
    resolve(x)
    base = base_of(x)
    dtype = x._type.dtype
    layout = None if is_row_major(shape, strides) else strides
    seen = stored(x._storage, x._address + distance * dtype.size, tensor_type(dtype, shape), layout)
    seen._base = base
    _inherit(seen, x)
    if x._slot is not None:
        _remember(seen, x, key, build)
    return seen


def _inherit(seen: Any, x: Any) -> None:
    """Whether gradients flow through a stored view."""
    if x._requires_grad:
        seen._requires_grad = state.is_grad_enabled
        if not state.is_grad_enabled:
            seen.__dict__["is_detached"] = True
    elif x._base is not None and is_detached(x):
        seen.__dict__["is_detached"] = True


def _remember(seen: Any, x: Any, key: Any, build: Callable[[Vertex], Vertex]) -> None:
    """Give the view of a tensor that programs overwrite its vertex at once, by one look-up."""
    vertex = vertex_of(x)
    segment = state.segment
    found = vertex.users.get(key)
    if found is None:
        found = vertex.users[key] = build(vertex)
    seen._vertex = stop_gradient(found) if found.requires_grad and not seen._requires_grad else found
    seen._segment = segment
    segment.add_view(seen)


def _pending_view(
    x: Any, base: Any, shape: Shape, strides: Shape, distance: int, key: Any, build: Callable[[Vertex], Vertex]
) -> Any:
    vertex, segment = x._vertex, x._segment
    found = vertex.users.get(key)
    if found is None:
        found = vertex.users[key] = build(vertex)
    seen = pending(found, segment)
    segment.has_views = True
    size = found.dtype.size
    seen._base = base
    seen._address = distance * size + (0 if x is base else x._address)
    seen._type = found.type
    seen._strides = None if is_row_major(shape, strides) else strides
    if (vertex.requires_grad and not state.is_grad_enabled) or (x is not base and is_detached(x)):
        seen.__dict__["is_detached"] = True
    return seen


def detached(x: Any) -> Any:
    """The same elements as a view through which no gradient flows, not even after one with a gradient was written."""
    seen = view(x, type_of(x).shape, physical_strides(x), 0, "detached", stop_gradient)
    seen.__dict__["is_detached"] = True
    seen._requires_grad = False
    if seen._vertex is not None and seen._vertex.requires_grad:
        seen._vertex = stop_gradient(seen._vertex)
    return seen


def physical_strides(x: Any) -> Shape:
    """The strides with which a tensor lies in memory, or, not computed yet, among the elements of its base."""
    strides: Shape | None = None
    if x._storage is not None or x._base is not None:
        strides = x._strides
    return strides or contiguous_strides(type_of(x).shape)


def is_functional(base: Any, value: Any) -> bool:
    """Whether a write is recorded as a new value of the base: where the elements have no memory yet, or gradients."""
    if base._storage is None or state.segment.is_capturing:
        return True
    if value.requires_grad and state.is_grad_enabled:
        return True
    vertex = base._vertex
    return base._slot is None and vertex is not None and vertex.requires_grad


def write_through(tensor: Any, value: Vertex, segment: Segment) -> None:
    """Record that ``tensor`` holds ``value``, of its own shape and type, from here on; all that share elements see it.

    Errors: `CaptureError` where a captured program could not write into the memory.
    """
    base = base_of(tensor)
    if base._storage is None and base._segment is not segment:
        resolve(base)
        base = base_of(tensor)
    old = vertex_of(base)
    if tensor is base:
        new = value
    else:
        new = written(old, steps_of(tensor, base), value)
    if old.requires_grad and base._slot is None:
        if not state.is_grad_enabled or is_detached(tensor):
            new = _with_gradient_of(old, new)
        elif not new.requires_grad:  # the base requires a gradient still; it is zero
            new = where(constant(False, bool_, old.shape), old, new)
    recorded = (*segment.handles, *segment.leaves)
    views = [other for other in recorded if other._base is base and other._segment is segment]
    _replace(base, new, segment)
    for view in views:
        _derive_again(view, base, segment)
    if tensor is not base:
        is_plain = value.requires_grad == base._vertex.requires_grad and not is_detached(tensor)
        tensor._vertex = value if is_plain else seen_by(tensor, base, base._vertex)
        tensor._segment = segment


def _with_gradient_of(old: Vertex, new: Vertex) -> Vertex:
    """The elements of ``new``, through which gradients flow to ``old`` as if nothing had been written."""
    nothing = subtract(old, stop_gradient(old))
    return add(stop_gradient(new), where(equal(nothing, nothing), nothing, 0))


def _derive_again(other: Any, base: Any, segment: Segment) -> None:
    """Let a view that has a vertex see the base's new one."""
    if other._storage is None or other._storage is base._storage:
        other._vertex = seen_by(other, base, base._vertex)
    else:
        other._segment = other._vertex = None
        catch_up(other)


def _replace(base: Any, new: Vertex, segment: Segment) -> None:
    """Make ``new`` the value of a base: a pending one, one that programs overwrite, or a stored one."""
    if base._storage is None:
        base._vertex = new
    elif base._slot is not None:
        overwrite(base, new, segment)
    elif segment.is_capturing and base._storage.made_in is not segment:
        _overwrite_leaf(base, new, segment)
    else:
        leave_memory(base)
        _keep_leaves(base, segment)
        base._storage = None
        base._segment = segment
        base._vertex = new
        segment.handles.append(base)


def _keep_leaves(base: Any, segment: Segment) -> None:
    """Where a tensor that leaves its memory, or a view of it, has been read in this segment, go on reading there."""
    for number, leaf in enumerate(segment.leaves):
        if leaf is base or (leaf._base is base and leaf._storage is base._storage):
            segment.leaves[number] = stored(leaf._storage, leaf._address, leaf._type, leaf._strides)


def lay_out_row_major(base: Any) -> None:
    """Move a tensor that programs overwrite, and that lies otherwise, into row-major memory; its views follow."""
    flush()
    values = view_array(base._storage, base._address, base._type, base._strides)
    leave_memory(base)
    storage, gradient, requires_grad = allocate(base._type.nbytes), base._grad, base._requires_grad
    set_stored(base, storage, storage.address, base._type, None, requires_grad)
    if not requires_grad:
        make_slot(base)
    view_array(storage, storage.address, base._type, None)[...] = values
    base._grad = gradient
    base.__dict__.pop("gradient_home", None)
    note_change()
    addresses.changed()


def _overwrite_leaf(base: Any, new: Vertex, segment: Segment) -> None:
    """Let a captured program leave its value in memory that it was given, or found."""
    number = next((i for i, leaf in enumerate(segment.leaves) if leaf is base), None)
    if number is None:
        raise CaptureError(
            "compile() cannot capture an in-place write to a tensor whose gradient is recorded outside of the function."
            " fix: return the new value, or write to tensor.detach().clone()"
        )
    if overlaps(base._type.shape, base._strides) or not _is_dense(base):
        raise CaptureError(
            "compile() cannot capture an in-place write to an argument that is part of a larger tensor and has gaps in "
            "memory. fix: pass the whole tensor and take the part inside"
        )
    segment.updates[leaf_vertex(number, base._type, base._strides)] = base._vertex = new


def _is_dense(x: Any) -> bool:
    strides, shape = physical_strides(x), x._type.shape
    if 0 in shape:
        return True
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) == x._type.size
