"""Running a segment: find the program that was bound for the same vertices before, or build and bind one."""

from __future__ import annotations

import ctypes
from array import array
from sys import getrefcount
from typing import Any
from weakref import ref

from ..graph.vertex import Vertex, growth
from ..memory import ALIGNMENT
from ..tensor.events import Step, gradient_home
from ..tensor.recording import slot_owner, snapshot, stored
from ..tensor.segment import ALIVE, Segment, addresses, forget_recorded, install_runner, leaf_number
from ..tensor.storage import Clock, Storage, allocate
from ..types import Shape
from .build import Recorded, build, draw_initial_values, expand
from .expansion import Expansion
from .one_off import run_expression, run_one_off, run_step
from .programs import find_program, lengths_vary, one_off_schedule

MAX_LAUNCHES = 512
"""Bound programs kept; then all are dropped."""

MAX_VERTICES = 30_000
"""Vertices remembered before all are forgotten that nobody holds, so that those of dead models do not stay."""


class Results:
    """Where the values of a finished segment lie."""

    __slots__ = ("places", "storage")

    def __init__(self, places: dict[Vertex, tuple[int, Shape | None]], storage: Storage) -> None:
        self.places = places
        self.storage = storage

    def __getitem__(self, vertex: Vertex) -> tuple[Storage, int, Shape | None]:
        offset, strides = self.places[vertex]
        return self.storage, self.storage.address + offset, strides


class Launch:
    """A program bound to the tensors that it reads and writes.

    Parameters, gradients and other slots keep their addresses from run to run; leaves and results are filled in.
    ``step`` is what an optimiser does behind it, by a program of its own.
    """

    def __init__(self, segment: Segment, recorded: Recorded, varies: bool = False) -> None:
        draw_initial_values(recorded)
        self.program = find_program(recorded.graph, recorded.output_strides, varies)
        count = self.program.pointer_count
        self.pointers = array("Q", bytes(8 * count))
        self.pointer_argument = ctypes.c_void_p(self.pointers.buffer_info()[0])
        self.leaves = [(i, source) for i, source in enumerate(recorded.inputs) if isinstance(source, int)]
        held = {slot: owner for owner, slot in recorded.assumed if slot is not None}
        self.held: list[tuple[int, Any]] = [
            (i, ref(held[vertex])) for i, vertex in enumerate(recorded.graph.inputs) if vertex in held
        ]
        self.assumed = [(ref(owner), None if slot is None else slot.attributes) for owner, slot in recorded.assumed]
        self.slots: list[tuple[int, Any]] = [
            (i, ref(source))
            for i, (vertex, source) in enumerate(zip(recorded.graph.inputs, recorded.inputs, strict=True))
            if not isinstance(source, int) and vertex not in held
        ]
        self.first_output = len(recorded.inputs)
        self.gradient_owners: list[Any] = [ref(owner) for owner in recorded.gradients]
        self.cleared = [ref(owner) for owner in recorded.cleared]
        self.keeps_history = recorded.keeps_history
        self.shares_results = False
        self.step: Step | None = None
        updated = [vertex for vertex, _ in recorded.graph.updates]
        self.clock = _clock_of([vertex for vertex in updated if leaf_number(vertex) is None])
        self.written = [number for vertex in updated if (number := leaf_number(vertex)) is not None]
        self.first_gradient = self.first_output + len(recorded.live)
        self.places, self.output_bytes = _layout(recorded)
        self.outputs = [offset for offset, _ in self.places.values()]
        self.kernels_run = bool(recorded.graph.roots)
        self.epoch = -1
        self.last: Results | None = None
        self.program.bind(self.pointers)

    def run(self, segment: Segment, repeats: int = 1) -> None:
        """Fill in addresses, run the program ``repeats`` times, and tell the segment where its values are."""
        global _gradients_of
        with self.program.lock:  # also for the pointers: threads that record the same share them
            if self.epoch != addresses.epoch:
                self._bind()
            pointers, leaves = self.pointers, segment.leaves
            for position, number in self.leaves:
                pointers[position] = leaves[number]._address
            for position, reference in self.held:
                pointers[position] = reference()._grad._address
            results = self._results()
            if self.outputs:
                address, position = results.storage.address, self.first_output
                for offset in self.outputs:
                    pointers[position] = address + offset
                    position += 1
            if self.kernels_run:
                self.program.run(pointers, self.pointer_argument, repeats)
            segment.places = self.last = results
        segment.ran_at = Clock.now
        segment.is_done = True
        if self.clock is not None:
            self.clock.tick()
        for number in self.written:
            leaves[number]._storage.note_write()
        segment.ended_at = Clock.now
        segment.close(self.keeps_history)
        if _gradients_of is not self:
            self._hand_out_gradients()
            _gradients_of = self

    def is_outdated(self) -> bool:
        """Whether a tensor holds another gradient than this program was built for, or holds one or none now."""
        for reference, layout in self.assumed:
            owner = reference()
            gradient = None if owner is None else owner._grad
            if gradient is None or layout is None:
                if gradient is not layout:
                    return True
            elif gradient._type is not layout["type"] or gradient._strides != layout["strides"]:
                return True
        return False

    def _results(self) -> Results:
        """Memory for the results: that of the last run, if no segment, tensor or NumPy array can see it any more."""
        results = self.last
        if results is not None and not self.outputs:
            return results
        if results is not None and getrefcount(results) == 3:
            storage = results.storage
            if getrefcount(storage) == 3 and getrefcount(storage.array.base) == 2:  # NumPy views refer to the base
                return results
        return Results(self.places, allocate(self.output_bytes))

    def _bind(self) -> None:
        """Look up the addresses of slots and gradients again."""
        global _gradients_of
        for position, reference in self.slots:
            self.pointers[position] = reference()._address
        for position, reference in enumerate(self.gradient_owners, self.first_gradient):
            self.pointers[position] = gradient_home(reference())._address
        self.epoch = addresses.epoch
        _gradients_of = None

    def _hand_out_gradients(self) -> None:
        for reference in self.gradient_owners:
            owner = reference()
            if owner is not None:  # the run may have let go of the last reference to it
                owner._grad = gradient_home(owner)
        for reference in self.cleared:
            owner = reference()
            if owner is not None:
                owner._grad = None


class ProgramClock(Clock):
    """The clock of programs that overwrite the slots ``members``."""

    __slots__ = ("members",)

    def __init__(self, members: frozenset[Vertex]) -> None:
        super().__init__()
        self.members = members

    @property
    def is_alive(self) -> bool:
        """Whether all slots still exist: a program of one that is gone never runs again."""
        return all(slot_owner(slot) is not None for slot in self.members)


_gradients_of: Launch | None = None
_LAUNCHES: dict[Any, Launch] = {}


def _clock_of(slots: list[Vertex]) -> Clock | None:
    """The clock of programs that overwrite exactly these slots; None if there are none."""
    if not slots:
        return None
    owners = [slot_owner(slot) for slot in slots]
    members = frozenset(slots)
    for clock in owners[0]._storage.clocks:
        if isinstance(clock, ProgramClock) and clock.members == members:
            return clock
    clock = ProgramClock(members)
    for owner in owners:
        storage = owner._storage
        ended = [old for old in storage.clocks if isinstance(old, ProgramClock) and not old.is_alive]
        clock.time = max([clock.time, *(old.time for old in ended)])  # what they wrote stays written
        storage.clocks = (*(old for old in storage.clocks if old not in ended), clock)
    return clock


def _layout(recorded: Recorded) -> tuple[dict[Vertex, tuple[int, Shape | None]], int]:
    """Give every wanted value its place in one block."""
    places: dict[Vertex, tuple[int, Shape | None]] = {}
    offset = 0
    for vertex in recorded.live:
        places[vertex] = (offset, None)
        offset += -(-max(vertex.type.nbytes, 1) // ALIGNMENT) * ALIGNMENT
    return places, offset


def run_segment(segment: Segment) -> None:
    """Run everything that is pending in ``segment``."""
    handles = segment.handles
    live = []
    if segment.has_views:
        live = _live_with_views(handles)
    else:
        for handle in handles:
            if getrefcount(handle) > ALIVE:
                live.append(handle._vertex)
    key = (*segment.events, None, *live, None, *segment.updates.items())
    launch = _LAUNCHES.get(key)
    if launch is None or (launch.assumed and launch.is_outdated()):
        launch = _run_new(segment, key, live)
    else:
        launch.run(segment)
    if launch is not None and launch.step is not None:
        _run_alone(launch.step)
    if launch.shares_results if launch is not None else len(set(live)) < len(live):
        _separate(handles, segment)
    handles.clear()
    segment.snapshots.clear()
    segment.events = []


def _live_with_views(handles: list[Any]) -> list[Vertex]:
    """The vertices whose values are wanted. Views come behind their bases, so a dead one lets go of its base in time.

    A view whose base nobody else holds becomes a tensor of its own. Only the tensors with these vertices stay in the
    list.
    """
    live, kept = [], []
    while handles:
        base = None
        handle = handles.pop()
        if getrefcount(handle) == 2:  # the variable and getrefcount's argument
            continue
        base = handle._base
        if base is None:
            live.append(handle._vertex)
            kept.append(handle)
        elif handle._storage is None and base._storage is None and getrefcount(base) == 4:  # list, view, here, argument
            handle._base = None
            live.append(handle._vertex)
            kept.append(handle)
    handles.extend(kept)
    return live


def _separate(handles: list[Any], segment: Segment) -> None:
    """Equal expressions have one vertex and one result: give each tensor behind the first a copy to write to."""
    seen = set()
    for handle in handles:
        if getrefcount(handle) > ALIVE:
            vertex = handle._vertex
            if vertex in seen:
                storage, address, strides = segment.places[vertex]
                copy = snapshot(stored(storage, address, vertex.type, strides))
                handle._storage, handle._address, handle._type = copy._storage, copy._address, copy._type
                handle._strides, handle._requires_grad = None, vertex.requires_grad
                if not vertex.requires_grad:
                    handle._vertex = handle._segment = None
            seen.add(vertex)


def _run_new(segment: Segment, key: Any, live: list[Vertex]) -> Launch | None:
    """Run what has not been met before; sometimes forget everything that was.

    The first time that is done vertex by vertex (None), and nothing is kept; when it recurs a program is bound to it.
    """
    global _gradients_of
    if len(_LAUNCHES) >= MAX_LAUNCHES or growth.total > MAX_VERTICES:
        _LAUNCHES.clear()
        forget_recorded()
    growth.new = 0
    wanted, events = tuple(dict.fromkeys(live)), segment.events
    if not (events or segment.updates or segment.slots) and run_expression(segment, wanted):
        return None
    expansion = Expansion(segment)
    step = events[-1] if events and events[-1].__class__ is Step else None  # it runs what is pending: the last event
    expand(segment, events if step is None else events[:-1], expansion)
    recorded = build(segment, wanted, expansion)
    graph = recorded.graph
    is_plain = step is None and not graph.updates and not recorded.gradients  # `run_expression` has asked for the same
    targets = tuple([target.structure for target, _ in graph.updates])
    more = None if is_plain else (targets, recorded.output_strides, step and step.optimizer.structure)
    schedule = one_off_schedule(graph.order(), graph.roots, more)
    if schedule is not None:
        run_one_off(segment, recorded, schedule)
        _gradients_of = None
        if step is not None and not run_step(step):
            alone = Segment()
            expand(alone, [step], expansion := Expansion(alone))
            Launch(alone, build(alone, (), expansion)).run(alone)
        return None
    varies = lengths_vary(graph.order())
    if step is not None and not varies:
        expand(segment, [step], expansion)
        recorded = build(segment, wanted, expansion)
    launch = _LAUNCHES[key] = Launch(segment, recorded, varies)
    launch.step = step if varies else None  # it is the same for all lengths
    launch.shares_results = len(wanted) < len(live)
    launch.run(segment)
    return launch


def _run_alone(step: Step) -> None:
    """Run an optimiser's step whose gradients the parameters hold."""
    segment = Segment()
    segment.events = [step]
    run_segment(segment)


def forget_launches() -> None:
    """Drop all bound programs, so that the next run of anything looks for its program again."""
    _LAUNCHES.clear()


install_runner(run_segment)
