"""Running a segment whose graph is met for the first time: vertex by vertex, without binding a program to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..execution.chain import Chain
from ..execution.one_off import Schedule, evaluate, schedule
from ..execution.state_updates import apart
from ..graph.graph import topological_order
from ..graph.vertex import Vertex
from ..memory import aligned_memory
from ..ops.source import INPUT
from ..tensor.events import Step, gradient_home
from ..tensor.recording import stored
from ..tensor.segment import Segment, forget_users, leaf_number
from ..tensor.storage import Clock, Storage, allocate, view_array
from .build import Recorded, Strides, build, draw_initial_values, record_by_example
from .expansion import Expansion
from .programs import one_off_schedule

Array = np.ndarray[Any, Any]


def run_expression(segment: Segment, live: tuple[Vertex, ...]) -> bool:
    """Run a segment that only computes values from numbered leaves; False, and nothing done, if it is to be compiled.

    What `run_one_off` does besides takes as long as many an operation of a notebook.
    """
    order, leaves = topological_order(live), segment.leaves
    arrays = {}
    for vertex in order:
        if vertex.primitive is INPUT:
            number = leaf_number(vertex)
            if number is None or vertex.requires_grad:
                return False
            arrays[vertex] = _memory(leaves[number])
    found = one_off_schedule(order, live, None)
    if found is None:
        return False
    values = evaluate(found, arrays)
    segment.places = _places(live, _storages(values, live, [None] * len(live)))
    segment.ran_at = segment.ended_at = Clock.now
    segment.is_done = True
    _forget(order)
    segment.close(keeps_history=False)
    return True


def _places(live: tuple[Vertex, ...], storages: list[Storage]) -> dict[Vertex, tuple[Storage, int, Strides]]:
    return {vertex: (storage, storage.address, None) for vertex, storage in zip(live, storages, strict=False)}


def _forget(order: Iterable[Vertex]) -> None:
    """Vertices know their users, who know them: a circle, which only Python's garbage collector would find.

    So do those that were made and are not needed, such as gradients that nobody asks for.
    """
    waiting = [vertex for vertex in order if leaf_number(vertex) is None]  # numbered leaves are everybody's
    while waiting:
        vertex = waiting.pop()
        if vertex.users:
            waiting += [user for user in vertex.users.values() if user.__class__ is Vertex]
            forget_users(vertex)


def run_one_off(segment: Segment, recorded: Recorded, schedule: Schedule) -> None:
    """Evaluate everything, then write what is overwritten, and tell the segment where its values are."""
    draw_initial_values(recorded)
    graph, leaves = recorded.graph, segment.leaves
    tensors = [leaves[source] if source.__class__ is int else source for source in recorded.inputs]
    bound = dict(zip(graph.inputs, tensors, strict=True))
    values = evaluate(schedule, {vertex: _memory(tensor) for vertex, tensor in bound.items()})
    outputs, new = values[: len(graph.outputs)], values[len(graph.outputs) :]
    storages = _storages(outputs, graph.outputs, recorded.output_strides)
    new = [apart(value) for value in new]
    segment.places = _places(recorded.live, storages)
    segment.ran_at = Clock.now
    segment.is_done = True
    for (target, _), value in zip(graph.updates, new, strict=True):
        np.copyto(_memory(bound[target]), value)
        bound[target]._storage.note_write()
    segment.ended_at = Clock.now
    _forget(graph.order())
    segment.close(recorded.keeps_history)
    for owner, storage in zip(recorded.gradients, storages[len(recorded.live) :], strict=True):
        owner._grad = _gradient(owner, storage)
    for owner in recorded.cleared:
        owner._grad = None


def run_step(step: Step) -> bool:
    """Let an optimiser change its parameters, in one pass over memory for each; False, and nothing done, if it cannot.

    Its rules are recorded once by example.
    """
    segment = Segment()
    examples = record_by_example(segment, step)
    chains = [Chain(example.slots, example.values) for example in examples]
    numbers = tuple(dict.fromkeys(number for chain in chains for number in chain.numbers))
    segment.handles.clear()  # they know the segment
    recorded = build(segment, numbers, Expansion(segment))
    found = schedule(recorded.graph.order(), recorded.graph.roots)
    if found is None:
        return False
    run_one_off(segment, recorded, found)
    for example, chain in zip(examples, chains, strict=True):
        addresses = [segment.places[number][1] for number in chain.numbers]
        for members in example.members:
            chain.run([tensor._address for tensor in members], addresses, members[0]._type.size)
            for tensor, slot in zip(members, example.slots, strict=True):
                if slot in example.values:
                    tensor._storage.note_write()
        _forget(chain.order)
    return True


def _gradient(owner: Any, storage: Storage) -> Any:
    """The tensor that holds a new gradient, the one that programs write it to: if there is none yet, in ``storage``."""
    gradient = stored(storage, storage.address, owner._type, owner._strides)
    if "gradient_home" not in vars(owner):
        vars(owner)["gradient_home"] = gradient
        return gradient
    home = gradient_home(owner)
    np.copyto(_memory(home), _memory(gradient))
    return home


def _memory(tensor: Any) -> Array:
    return view_array(tensor._storage, tensor._address, tensor._type, tensor._strides)


def _storages(values: list[Array], vertices: tuple[Vertex, ...], layouts: Sequence[Strides]) -> list[Storage]:
    """Values, each alone in memory and laid out as wanted: in the memory in which it lies, or in a copy."""
    storages: list[Storage] = []
    taken: set[int] = set()
    for value, vertex, strides in zip(values, vertices, layouts, strict=True):
        block = id(value.base)
        found = aligned_memory(value) if block not in taken and _lies_as(value, strides) else None
        if found is None:
            storage = allocate(value.nbytes)
            np.copyto(view_array(storage, storage.address, vertex.type, strides), value)
        else:
            storage = Storage(*found, value.nbytes)
        taken.add(block)
        storages.append(storage)
    return storages


def _lies_as(value: Array, strides: Strides) -> bool:
    if strides is None:
        return value.flags.c_contiguous
    return value.strides == tuple([step * value.itemsize for step in strides])
