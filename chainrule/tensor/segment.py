"""A segment: what has been recorded on one thread since values were last computed.

Handles (tensors) refer to a segment and a vertex; vertices never refer to handles, so a handle's reference count tells
whether the user can still ask for its value. Stored tensors enter a segment as leaves. Parameters and other tensors
that programs overwrite have a vertex of their own, their slot; all other leaves are numbered in the order in which they
enter, so that the next iteration, with another batch, records the very same vertices.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from sys import getrefcount
from typing import Any
from weakref import ref

from ..errors import CaptureError
from ..graph.site import find_site
from ..graph.vertex import Vertex, growth
from ..ops.source import forget_users_of_constants, make_input
from ..types import Shape, TensorType

MAX_HANDLES = 20_000
"""Handles of a segment above which those that nobody holds any more are dropped."""

MAX_NEW_VERTICES = 10_000
"""Vertices never seen before after which a segment is run even if nobody asked for a value: a chain has no end."""

ALIVE = 3
"""References to a handle that nobody but its segment holds: the list, the loop variable, getrefcount's argument."""


_NO_TENSORS: list[Any] = []
_NO_SLOTS: dict[Any, Any] = {}


class Segment:
    """Handles, leaves, events and in-place updates that wait to be run.

    - ``handles``: pending tensors, and views that have been read (``has_views``), which are no results themselves.
    - ``leaves``: stored tensors by number; ``slots``: overwritable tensors by their vertex.
    - ``events``: hashable records of zero_grad, backward and step, in order (see `chainrule.tensor.events`).
    - ``snapshots``: for tensors over foreign memory the copy that was read, and its vertex.
    - ``updates``: the vertex that an overwritable tensor will hold.
    - ``keepalive``: modules whose tensors are used here without having been entered in ``slots``.
    - ``places``: after the run, where each computed vertex lies: ``(storage, address, strides)``.
    - ``ran_at``, ``ended_at``: times before and after what the run has written; see `chainrule.tensor.storage.Clock`.
    - ``expansion``: while a function is captured, what turns its events into vertices at once; else None.
    """

    __slots__ = (
        "draws", "ended_at", "events", "expansion", "generators", "handles", "has_views", "is_done", "is_symbolic",
        "keepalive", "leaves", "places", "ran_at", "slots", "snapshots", "updates",
    )  # fmt: skip

    def __init__(self) -> None:
        self.handles: list[Any] = []
        self.has_views = False
        self.leaves: list[Any] = []
        self.slots: dict[Vertex, Any] = {}
        self.snapshots: dict[int, Any] = {}
        self.keepalive: list[Any] = []
        self.events: list[Any] = []
        self.updates: dict[Any, Vertex] = {}
        self.draws = 0
        self.generators: dict[Any, tuple[Any, Any]] = {}  # each with its seed and counter here
        self.is_done = False
        self.is_symbolic = False
        self.expansion: Any = None
        self.places: Any = None
        self.ran_at = 0
        self.ended_at = 0

    def add_view(self, view: Any) -> None:
        """Keep a view of another tensor, so that what is written into that finds it."""
        self.handles.append(view)
        self.has_views = True

    @property
    def has_history(self) -> bool:
        """Whether values computed here can be computed again, so that gradients can flow through them."""
        return self.ran_at >= 0

    def close(self, keeps_history: bool) -> None:
        """Let go of everything that a run has used, unless gradients may be asked for later."""
        if keeps_history:
            for leaf in self.leaves:
                leaf._storage.read_in = None  # a cycle otherwise: the segment keeps the leaf
        else:
            self.ran_at = -1
            self.leaves = self.keepalive = _NO_TENSORS
            self.slots = self.updates = _NO_SLOTS

    @property
    def is_capturing(self) -> bool:
        return self.expansion is not None

    @property
    def has_work(self) -> bool:
        return bool(self.handles or self.events or self.updates)


class _ThreadState(threading.local):
    """Recording state of one thread."""

    def __init__(self) -> None:
        self.segment = Segment()
        self.is_grad_enabled = True


state = _ThreadState()

_LEAVES: dict[Any, Vertex] = {}


def leaf_vertex(number: int, type: TensorType, strides: Shape | None, is_stale: bool = False) -> Vertex:
    """Return the vertex that stands for leaf ``number`` of this type and layout, in every segment.

    A stale leaf is a value whose gradient is wanted and whose history is gone: it can be read, not differentiated.
    """
    key = (number, type, strides, is_stale)
    found = _LEAVES.get(key)
    if found is None:
        found = _LEAVES[key] = make_input(type, requires_grad=is_stale, strides=strides)
        found.users["leaf number"] = number
    return found


def body_input(depth: int, number: int, type: TensorType) -> Vertex:
    """Return the vertex that stands for input ``number`` of the body of a loop inside ``depth`` others.

    It is the same for all bodies, so that one that is recorded again consists of the very same vertices. Gradients flow
    through it wherever it is recorded: the body of a loop does not depend on that.
    """
    key = ("body", depth, number, type)
    found = _LEAVES.get(key)
    if found is None:
        found = _LEAVES[key] = make_input(type, requires_grad=type.dtype.is_floating_point)
    return found


_SLOTS: set[ref[Vertex]] = set()
_PERMANENT = ("leaf number", "owner", "version of")


def slot_vertex(owner: Any, requires_grad: bool) -> Vertex:
    """Return a vertex of its own for a stored tensor that programs may overwrite."""
    slot = make_input(owner._type, requires_grad=requires_grad, strides=owner._strides)
    slot.users["owner"] = ref(owner)
    _SLOTS.add(ref(slot, _SLOTS.discard))  # no function of ours: see `collection`
    return slot


def forget_recorded() -> None:
    """Forget all vertices that nobody holds: they hang on leaves, slots and constants, which live on.

    Pending segments keep theirs; what is recorded again is made again.
    """
    leaves = list(_LEAVES.values())
    _LEAVES.clear()
    for leaf in leaves:
        forget_users(leaf)
    forget_users_of_constants()
    for reference in list(_SLOTS):
        slot = reference()
        if slot is not None:
            forget_users(slot)
    growth.total = 0


def forget_users(vertex: Vertex) -> None:
    """Forget what has been derived from one vertex."""
    users = vertex.users
    if users:
        kept = [name for name in _PERMANENT if name in users]
        vertex.users = {name: users[name] for name in kept} if kept else {}


def leaf_number(vertex: Vertex) -> int | None:
    """The number of a numbered leaf's vertex; None for slots."""
    number: Any = vertex.users.get("leaf number")
    return number


class Addresses:
    """A counter that rises whenever memory that programs were bound to may have been replaced."""

    def __init__(self) -> None:
        self.epoch = 0

    def changed(self) -> None:
        """Make every bound program look up its addresses again."""
        self.epoch += 1


addresses = Addresses()

Runner = Callable[[Segment], None]
_runner: Runner | None = None


def install_runner(runner: Runner) -> None:
    """Set what runs a segment; `chainrule.compiler` calls this once, so that tensors need not know the compiler."""
    global _runner
    _runner = runner


def run_overgrown(segment: Segment) -> bool:
    """Run a segment that has grown by too many new vertices; False if it has not, or cannot be run now."""
    if growth.new <= MAX_NEW_VERTICES or segment is not state.segment or segment.is_capturing or segment.is_symbolic:
        return False
    growth.new = 0
    flush()
    return True


collection: dict[str, dict[str, int]] = {}
"""What Python's garbage collector has said since dead handles were last looked for, by phase.

The collector calls the dictionary, so recording needs no count of its own; and no function of ours, as Ctrl-C during a
collection is raised in the first line of Python behind it, and lost where that belongs to a callback of the collector.
"""

gc.callbacks.append(collection.__setitem__)


def drop_dead_handles(segment: Segment) -> None:
    """Drop the handles that nobody holds, if there are many and the last collection was not of the youngest."""
    is_large = collection.pop("stop", {}).get("generation", 0) > 0
    collection.clear()
    if is_large and len(segment.handles) > MAX_HANDLES:
        segment.handles[:] = [handle for handle in segment.handles if getrefcount(handle) > ALIVE]


def flush() -> None:
    """Run what is pending on this thread, if anything is.

    The new segment is in place before the old one runs: an interrupt in between cannot run a step twice.
    Errors: `CaptureError` while a function is being captured.
    """
    segment = state.segment
    if segment.is_capturing:
        raise CaptureError(
            f"a value was asked for while compile() was capturing the function, at {find_site()}. "
            "The captured program would freeze that value. fix: read values (print, item(), float(), if) outside the "
            "compiled function, or return the tensor and read it there"
        )
    if segment.is_symbolic:
        raise CaptureError(
            f"a value was asked for while an optimiser's update or the body of a loop was recorded, at {find_site()}. "
            "It has none yet. fix: read values (print, item(), float(), if) outside"
        )
    if not segment.has_work:
        return
    state.segment = Segment()
    if _runner is None:
        raise RuntimeError("no compiler is installed; import chainrule, not one of its parts")
    _runner(segment)
