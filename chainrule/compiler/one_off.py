"""Running a segment whose graph is met for the first time: vertex by vertex, without binding a program to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..execution.chain import Chain
from ..execution.one_off import Schedule, evaluate, schedule
from ..memory import address_of, aligned_array, is_aligned
from ..tensor.events import Step, gradient_home
from ..tensor.recording import stored
from ..tensor.segment import Segment, forget_users
from ..tensor.storage import Clock, Storage, view_array
from .build import Recorded, build, draw_initial_values, record_by_example
from .expansion import Expansion

Array = np.ndarray[Any, Any]


def run_one_off(segment: Segment, recorded: Recorded, schedule: Schedule) -> None:
    """Evaluate everything, then write what is overwritten, and tell the segment where its values are."""
    draw_initial_values(recorded)
    graph, leaves = recorded.graph, segment.leaves
    tensors = [leaves[source] if source.__class__ is int else source for source in recorded.inputs]
    bound = dict(zip(graph.inputs, tensors, strict=True))
    values = evaluate(schedule, {vertex: _memory(tensor) for vertex, tensor in bound.items()})
    outputs, new = values[: len(graph.outputs)], values[len(graph.outputs) :]
    storages = _storages(outputs)
    new = [value if is_aligned(value) else value.copy() for value in new]  # it may see what is about to change
    segment.places = {
        vertex: (storage, storage.address, None) for vertex, storage in zip(recorded.live, storages, strict=False)
    }
    segment.ran_at = Clock.now
    segment.is_done = True
    for (target, _), value in zip(graph.updates, new, strict=True):
        np.copyto(_memory(bound[target]), value)
        bound[target]._storage.note_write()
    segment.ended_at = Clock.now
    for vertex in graph.order():
        if vertex.inputs:
            forget_users(vertex)  # a circle, which only Python's garbage collector would find
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
    recorded = build(segment, numbers, Expansion(segment))
    found = schedule(recorded.graph)
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
        for vertex in chain.order:
            forget_users(vertex)
    return True


def _gradient(owner: Any, storage: Storage) -> Any:
    """The tensor that holds a new gradient, the one that programs write it to: if there is none yet, in ``storage``."""
    gradient = stored(storage, storage.address, owner._type)
    if "gradient_home" not in vars(owner) and owner._strides is None:
        vars(owner)["gradient_home"] = gradient
        return gradient
    home = gradient_home(owner)
    np.copyto(_memory(home), _memory(gradient))
    return home


def _memory(tensor: Any) -> Array:
    return view_array(tensor._storage, tensor._address, tensor._type, tensor._strides)


def _storages(values: list[Array]) -> list[Storage]:
    """The values in row-major order, each in memory of its own: that in which it lies, or a copy's."""
    storages, taken = [], set[int]()
    for value in values:
        block = value.base
        if not is_aligned(value) or id(block) in taken:
            copy = aligned_array(value.shape, value.dtype)
            np.copyto(copy, value)
            value, block = copy, copy.base
        taken.add(id(block))
        storages.append(Storage(value.reshape(-1).view(np.uint8), address_of(value), value.nbytes))
    return storages
