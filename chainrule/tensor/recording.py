"""How a tensor becomes a vertex of the pending segment, and an operation a handle.

This is the path that every recorded operation takes; it is written for speed: a known operation costs one look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import memmove
from typing import Any

import numpy as np

from ..errors import GradientError
from ..graph.graph import topological_order
from ..graph.vertex import Vertex, apply, make_vertex
from ..ops.elementwise import STOP_GRADIENT, stop_gradient
from ..types import DType, Shape, TensorType, contiguous_strides
from .segment import Segment, collection, drop_dead_handles, flush, leaf_number, leaf_vertex, slot_vertex, state
from .storage import Storage, allocate, spare_memory, view_array
from .strided import Layout, Step, among_elements, is_row_major, read, steps_to

NO_VALUE = (
    "this tensor has no value: it is being recorded on another thread or inside a function that is being compiled, or "
    "its computation was stopped by an error. fix: return it from the function, call .item() or .numpy() on the thread "
    "that made it, or compute it again"
)


class Handle:
    """The fields of a tensor.

    A pending handle has ``_vertex`` and ``_segment``; its value lies in ``_segment.places`` once the segment has run.
    A stored handle has ``_storage``, ``_address``, ``_type`` and ``_strides`` (elements; None for row-major).
    ``_slot`` is the vertex of a tensor that programs may overwrite. ``_base`` is the tensor of which this one is a view
    (see `chainrule.tensor.views`); a pending view also has ``_type``, ``_strides`` and, as ``_address``, the distance
    to the base's first element in bytes.
    """

    __slots__ = (
        "__weakref__", "_address", "_base", "_grad", "_requires_grad", "_segment", "_slot", "_storage", "_strides",
        "_type", "_vertex",
    )  # fmt: skip

    _address: int
    _base: Any
    _grad: Any
    _requires_grad: bool
    _segment: Segment | None
    _slot: Vertex | None
    _storage: Storage | None
    _strides: Shape | None
    _type: TensorType
    _vertex: Any


_new = object.__new__
_tensor_class: type[Any] = Handle


def set_tensor_class(tensor_class: type[Any]) -> None:
    """Tell which class handles are made of (`Tensor`, which is defined on top of this module)."""
    global _tensor_class
    _tensor_class = tensor_class


def pending(vertex: Vertex, segment: Segment) -> Any:
    """Return a new handle for ``vertex``; under ``no_grad`` for the vertex cut off from its gradient."""
    if vertex.requires_grad and not state.is_grad_enabled:
        vertex = stop_gradient(vertex)
    handle = _new(_tensor_class)
    handle._vertex = vertex
    handle._segment = segment
    handle._storage = None
    handle._base = None
    handle._slot = None
    handle._grad = None
    segment.handles.append(handle)
    if collection:
        drop_dead_handles(segment)
    return handle


def value_of(vertex: Vertex, segment: Segment) -> Any:
    """Return a new handle for ``vertex`` as it is, which shares its memory with no other tensor."""
    handle = pending(vertex, segment)
    handle._vertex = vertex
    return handle


def stored(
    storage: Storage, address: int, type: TensorType, strides: Shape | None = None, requires_grad: bool = False
) -> Any:
    """Return a new handle that looks into memory."""
    handle = _new(_tensor_class)
    set_stored(handle, storage, address, type, strides, requires_grad)
    return handle


def set_stored(
    handle: Any, storage: Storage, address: int, type: TensorType, strides: Shape | None, requires_grad: bool
) -> None:
    """Fill the fields of a stored handle."""
    handle._vertex = None
    handle._segment = None
    handle._storage = storage
    handle._address = address
    handle._type = type
    handle._strides = strides
    handle._requires_grad = requires_grad
    handle._base = None
    handle._slot = None
    handle._grad = None
    if requires_grad:
        make_slot(handle, True)


def make_slot(handle: Any, requires_grad: bool = False) -> None:
    """Give a stored handle a vertex of its own, so that programs may overwrite it."""
    handle._slot = slot_vertex(handle, requires_grad)


def vertex_of(handle: Any) -> Vertex:
    """Return the vertex of a handle in the current segment, entering it if needed."""
    segment = state.segment
    vertex: Vertex = handle._vertex if handle._segment is segment else enter(handle, segment)
    return vertex


def enter(handle: Any, segment: Segment) -> Vertex:
    """Give a handle that is not of this segment a vertex in it."""
    base = handle._base
    if base is not None:
        if base._storage is not handle._storage or base._storage is None:
            catch_up(handle)
            return vertex_of(handle)
        if (
            base._slot is not None
            or segment.expansion is not None
            or (base._vertex is not None and base._vertex.requires_grad)
        ):
            return _enter_view(handle, base)
    slot = handle._slot
    if slot is not None:
        vertex = segment.updates.get(slot, slot)
        segment.slots[slot] = handle
        _note_read(handle, segment)
    elif handle._storage is not None and (handle._vertex is None or not handle._vertex.requires_grad):
        if handle._storage.is_exported and segment.expansion is None and handle._storage.is_shared:
            return _enter_exported(handle, segment)
        vertex = _enter_stored(handle, segment)
    else:
        return _enter_computed(handle, segment)
    handle._vertex = vertex
    handle._segment = segment
    return vertex


def _enter_view(handle: Any, base: Any) -> Vertex:
    """A view of a tensor that may be overwritten or carries gradients: what it sees of the base's vertex."""
    vertex = vertex_of(base)
    segment = state.segment
    vertex = seen_by(handle, base, vertex)
    handle._vertex = vertex
    handle._segment = segment
    segment.add_view(handle)
    return vertex


def seen_by(handle: Any, base: Any, vertex: Vertex) -> Vertex:
    """What a view sees of the vertex of its base."""
    vertex = read(vertex, steps_of(handle, base))
    return stop_gradient(vertex) if vertex.requires_grad and is_detached(handle) else vertex


def steps_of(handle: Any, base: Any) -> tuple[Step, ...]:
    """How a view is read from its base, as both are stored or both pending."""
    type, address, strides = handle._type, handle._address, None
    if handle._storage is not None:
        address, strides = address - base._address, base._strides
    shape = type.shape
    layout = Layout(address // type.dtype.size, shape, handle._strides or contiguous_strides(shape))
    return steps_to(type_of(base).shape, strides, layout)


def is_detached(handle: Any) -> bool:
    """Whether a view passes on no gradient to its base."""
    return bool(handle.__dict__.get("is_detached"))


def catch_up(view: Any) -> None:
    """Let a view look where the elements of its base are now: they move when a base in memory becomes pending.

    The view of a base that was given other memory by other means keeps the old memory, alone.
    """
    base = view._base
    if view._storage is None:
        if view._segment is state.segment:
            return
        distance = view._address
    elif view._storage is base._storage:
        return
    else:
        former = base.__dict__.get("former_layouts", {}).get(id(view._storage))
        if former is None:
            view._base = None
            return
        distance = _move_along(view, base, *former)
    if base._storage is None and base._segment is not state.segment:
        resolve(base)
    view._storage = base._storage
    view._address = distance + (0 if base._storage is None else base._address)
    view._segment = None
    if base._storage is not None:
        view._vertex = None
        view._requires_grad = base.requires_grad and not is_detached(view)
    else:
        view._segment = state.segment
        view._vertex = seen_by(view, base, base._vertex)
        state.segment.add_view(view)


def leave_memory(base: Any) -> None:
    """Remember where a base has been, for its views."""
    base.__dict__.setdefault("former_layouts", {})[id(base._storage)] = base._address, base._strides


def _move_along(view: Any, base: Any, address: int, strides: Shape | None) -> int:
    """The distance of a view from its base, which has left ``address`` and is row-major now."""
    distance: int = view._address - address
    if strides is not None:
        size, shape = view._type.dtype.size, view._type.shape
        old = Layout(distance // size, shape, view._strides or contiguous_strides(shape))
        new = among_elements(type_of(base).shape, strides, old)
        distance, view._strides = new.offset * size, None if is_row_major(shape, new.strides) else new.strides
    return distance


def _note_read(handle: Any, segment: Segment) -> None:
    """Keep track of who reads a storage in this segment; what another tensor wrote into it must be run first."""
    storage = handle._storage
    reader = id(handle)
    if storage.written_in is segment and storage.read_by != reader:
        flush()
    if storage.read_in is not segment:
        storage.read_in, storage.read_by, storage.is_read_by_many = segment, reader, False
    elif storage.read_by != reader:
        storage.is_read_by_many = True


def note_write(tensor: Any) -> None:
    """Note that the memory of a stored tensor was overwritten, not by a program."""
    tensor._storage.note_write()


def overwrite(tensor: Any, value: Vertex, segment: Segment) -> None:
    """Record that a tensor with a slot holds ``value`` from here on.

    Where gradients are wanted they stop at the new value, which is a leaf as the old one was.
    """
    slot = tensor._slot
    if slot.requires_grad:
        value = _version(value, slot)
    segment.updates[slot] = tensor._vertex = value
    tensor._storage.written_in = segment


def _version(value: Vertex, slot: Vertex) -> Vertex:
    """``value`` as a leaf in place of a slot: the same vertex whenever that value is written into that slot."""
    found: Vertex | None = value.users.get(("version", slot))
    if found is None:
        found = value.users["version", slot] = make_vertex(STOP_GRADIENT, (value,), {})
        found.requires_grad = True
        found.users["version of"] = slot
    return found


def _enter_exported(handle: Any, segment: Segment) -> Vertex:
    """Foreign memory may change before the program runs: read it now, and again only if it has changed since."""
    seen = segment.snapshots.get(id(handle))
    if seen is not None and _is_unchanged(handle, seen[1]):
        return seen[2]
    copy = snapshot(handle, spare_memory(handle._type.nbytes))
    vertex = _enter_stored(copy, segment)
    segment.snapshots[id(handle)] = (handle, copy, vertex)
    return vertex


def _is_unchanged(handle: Any, copy: Any) -> bool:
    """Whether the memory of a handle is, to the bit, what it was when the copy was made."""
    bits = f"u{handle._type.dtype.size}"
    now, then = (
        view_array(each._storage, each._address, each._type, each._strides).view(bits) for each in (handle, copy)
    )
    return np.array_equal(now, then)


def _enter_stored(handle: Any, segment: Segment, is_stale: bool = False) -> Vertex:
    storage = handle._storage
    if storage.undrawn is not None:
        storage.draw()
    if storage.is_exported and segment.expansion is None and storage.is_shared:
        handle = snapshot(handle)
    elif storage.written_in is segment and not segment.is_done:
        flush()
        segment = state.segment
    if storage.read_in is segment or storage.written_in is segment:
        _note_read(handle, segment)
    else:
        storage.read_in, storage.read_by, storage.is_read_by_many = segment, id(handle), False
    vertex = leaf_vertex(len(segment.leaves), handle._type, handle._strides, is_stale)
    segment.leaves.append(handle)
    return vertex


def snapshot(handle: Any, memory: Storage | None = None) -> Any:
    """Return a stored copy of a stored handle, row-major, in new memory or in the one given."""
    nbytes = handle._type.nbytes
    storage = memory or allocate(nbytes)
    if handle._strides is None:
        memmove(storage.address, handle._address, nbytes)
    else:
        view_array(storage, storage.address, handle._type, None)[...] = view_array(
            handle._storage, handle._address, handle._type, handle._strides
        )
    return stored(storage, storage.address, handle._type)


def _enter_computed(handle: Any, segment: Segment) -> Vertex:
    """A handle of an earlier segment: a leaf with its value, or, where a gradient may be wanted, its whole history."""
    origin, vertex = handle._segment, handle._vertex
    if not origin.is_done:
        raise GradientError(NO_VALUE)
    wants_history = vertex.requires_grad and state.is_grad_enabled
    if wants_history and origin.has_history:
        written = {
            value: slot for slot, value in origin.updates.items() if slot.requires_grad or not value.requires_grad
        }
        order = topological_order([vertex], written) if written else sources(vertex)
        if _is_intact(order, written, origin):
            return _continue_history(vertex, order, written, origin, segment)
    resolve(handle)
    copy = stored(handle._storage, handle._address, handle._type, handle._strides)
    return _enter_stored(copy, segment, is_stale=wants_history)


def sources(vertex: Vertex) -> tuple[Vertex, ...]:
    """The inputs on which ``vertex`` depends, in a fixed order."""
    found: Any = vertex.users.get("sources")
    if found is None:
        found = tuple(source for source in topological_order([vertex]) if source.primitive.name == "input")
        vertex.users["sources"] = found
    inputs: tuple[Vertex, ...] = found
    return inputs


def slot_owner(slot: Vertex) -> Any:
    """The tensor whose slot this is; None if it is gone."""
    reference: Any = slot.users.get("owner")
    return reference() if reference is not None else None


def _is_intact(order: Sequence[Vertex], written: dict[Vertex, Vertex], origin: Segment) -> bool:
    """Whether all that a value was computed from is still there and unchanged.

    ``written`` maps what the run of ``origin`` has left in slots to those slots.
    """
    for vertex in order:
        number = leaf_number(vertex)
        if number is not None:
            tensor, time = origin.leaves[number], origin.ran_at
            if vertex.requires_grad:  # a stale leaf
                return False
        elif vertex in written:
            tensor, time = slot_owner(written[vertex]), origin.ended_at
        elif vertex.primitive.name == "input":
            tensor, time = slot_owner(vertex), origin.ran_at
        else:
            continue
        if tensor is None or tensor._storage.was_written_after(time):
            return False
    return True


def _continue_history(
    vertex: Vertex, order: Sequence[Vertex], written: dict[Vertex, Vertex], origin: Segment, segment: Segment
) -> Vertex:
    """Record ``vertex`` again in ``segment``: the same vertices over the same leaves, renumbered where needed."""
    segment.keepalive.extend(origin.keepalive)
    for part in order:
        slot = written.get(part, part)
        owner = slot_owner(slot)
        if owner is not None:
            segment.slots[slot] = owner
            _note_read(owner, segment)
    if not written and not segment.leaves and not segment.draws:
        segment.leaves.extend(origin.leaves)
        segment.draws = origin.draws
        for leaf in origin.leaves:
            _note_read(leaf, segment)
        return vertex
    replaced: dict[Vertex, Vertex] = {}
    for current in topological_order([vertex], written):
        number = leaf_number(current)
        if number is not None:
            replaced[current] = enter(origin.leaves[number], segment)
        elif current.inputs and current not in written:
            inputs = (replaced[operand] for operand in current.inputs)
            replaced[current] = apply(current.primitive, *inputs, **current.attributes)
        else:
            replaced[current] = written.get(current, current)
    return replaced[vertex]


def resolve(handle: Any) -> None:
    """Give a computed handle its memory; run the pending segment first if the handle belongs to it."""
    if handle._base is not None and (handle._storage is None or handle._storage is not handle._base._storage):
        if handle._storage is None and handle._segment is state.segment:
            flush()  # an only view of its base is no view any more from here on
        if handle._base is not None:
            if handle._base._storage is None:
                resolve(handle._base)
            catch_up(handle)
        resolve(handle)
        return
    if handle._storage is not None:
        if handle._storage.written_in is state.segment:
            flush()
        return
    segment, vertex = handle._segment, handle._vertex
    if not segment.is_done:
        if segment is state.segment:
            flush()
        if not segment.is_done:
            raise GradientError(NO_VALUE)
    storage, address, strides = segment.places[vertex]
    handle._storage = storage
    handle._address = address
    handle._type = vertex.type
    handle._strides = strides
    handle._requires_grad = vertex.requires_grad
    if not vertex.requires_grad:  # from now on like any stored tensor
        handle._vertex = handle._segment = None


def type_of(handle: Any) -> TensorType:
    """The type of a handle, pending or stored."""
    type: TensorType = handle._type if handle._storage is not None else handle._vertex.type
    return type


def dtype_of(handle: Any) -> DType:
    """The element type of a handle."""
    return type_of(handle).dtype
