"""Running a segment: find the program that was bound for the same vertices before, or build and bind one."""

from __future__ import annotations

import ctypes
from array import array
from sys import getrefcount
from typing import Any

from ..graph.vertex import Vertex
from ..tensor.recording import make_slot, stored
from ..tensor.segment import Segment, addresses, install_runner
from ..memory import ALIGNMENT
from ..tensor.storage import Storage, allocate
from ..types import Shape
from .build import Recorded, build
from .programs import find_program

MAX_LAUNCHES = 4096
"""Bound programs kept; then all are dropped, so that the tensors of dead models do not stay."""

ALIVE = 3
"""References to a handle that nobody but its segment holds: the list, the loop variable, getrefcount's argument."""


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
    """

    def __init__(self, segment: Segment, recorded: Recorded) -> None:
        self.program = find_program(recorded.graph, recorded.output_strides)
        count = self.program.pointer_count
        self.pointers = array("Q", bytes(8 * count))
        self.pointer_argument = ctypes.c_void_p(self.pointers.buffer_info()[0])
        self.leaves = [(i, source) for i, source in enumerate(recorded.inputs) if isinstance(source, int)]
        self.slots = [(i, source) for i, source in enumerate(recorded.inputs) if not isinstance(source, int)]
        self.first_output = len(recorded.inputs)
        self.gradient_owners = recorded.gradients
        self.cleared = recorded.cleared
        self.first_gradient = self.first_output + len(recorded.live)
        self.places, self.output_bytes = _layout(recorded)
        self.outputs = [offset for offset, _ in self.places.values()]
        self.kernels_run = bool(recorded.graph.roots)
        self.epoch = -1
        self.last: Segment | None = None
        self.program.bind(self.pointers)

    def run(self, segment: Segment, repeats: int = 1) -> None:
        """Fill in addresses, run the program ``repeats`` times, and tell the segment where its values are."""
        global _gradients_of
        if self.epoch != addresses.epoch:
            self._bind()
        pointers, leaves = self.pointers, segment.leaves
        for position, number in self.leaves:
            pointers[position] = leaves[number]._address
        results = self._results()
        if self.outputs:
            address, position = results.storage.address, self.first_output
            for offset in self.outputs:
                pointers[position] = address + offset
                position += 1
        if self.kernels_run:
            self.program.run(self.pointers, self.pointer_argument, repeats)
        segment.places = results
        segment.is_done = True
        self.last = segment
        if _gradients_of is not self:
            self._hand_out_gradients()
            _gradients_of = self

    def _results(self) -> Results:
        """Memory for the results: that of the last run, if nobody can see it any more."""
        last = self.last
        if last is not None and getrefcount(last) == 3:
            results: Results = last.places
            if getrefcount(results.storage) == 2:
                return results
        return Results(self.places, allocate(self.output_bytes))

    def _bind(self) -> None:
        """Look up the addresses of slots and gradients again."""
        global _gradients_of
        for position, tensor in self.slots:
            self.pointers[position] = tensor._address
        position = self.first_gradient
        for owner in self.gradient_owners:
            self.pointers[position] = _gradient_home(owner)._address
            position += 1
        self.epoch = addresses.epoch
        _gradients_of = None

    def _hand_out_gradients(self) -> None:
        for owner in self.gradient_owners:
            owner._grad = owner._slot.users["gradient"]
        for owner in self.cleared:
            owner._grad = None


_gradients_of: Launch | None = None
_LAUNCHES: dict[Any, Launch] = {}


def _gradient_home(owner: Any) -> Any:
    """The tensor that receives the gradient of ``owner``: the one of last time, unless the user has taken it."""
    home = owner._slot.users.get("gradient")
    if home is None:
        storage = allocate(owner._type.nbytes)
        home = stored(storage, storage.address, owner._type, owner._strides)
        make_slot(home)
        owner._slot.users["gradient"] = home
    return home


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
    for handle in handles:
        if getrefcount(handle) > ALIVE:
            live.append(handle._vertex)
    key = (*segment.events, None, *live, None, *segment.updates.items())
    launch = _LAUNCHES.get(key)
    if launch is None:
        wanted = tuple(dict.fromkeys(live))
        launch = Launch(segment, build(segment, wanted))
        if len(_LAUNCHES) >= MAX_LAUNCHES:
            _LAUNCHES.clear()
        _LAUNCHES[key] = launch
    launch.run(segment)
    handles.clear()
    segment.events = []


def forget_launches() -> None:
    """Drop all bound programs, so that the next run of anything looks for its program again."""
    _LAUNCHES.clear()


install_runner(run_segment)
