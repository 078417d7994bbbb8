"""New values of state that follow element by element, as the rules of optimisers say: one pass over memory for each.

Vertex by vertex, what an optimiser does to a parameter would take longer than many a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph.vertex import Vertex
from ..memory import address_of, aligned_block, aligned_memory
from ..types import Shape
from .chain import CHAINED, Chain

Array = np.ndarray[Any, Any]
Update = tuple[Vertex, Vertex]


class StateUpdate:
    """Inputs of one shape and layout that get new values, by a chain: it reads them and ``others``, and ``numbers``."""

    def __init__(self, updates: Sequence[Update], others: Sequence[Vertex]) -> None:
        self.targets, self.others = [target for target, _ in updates], tuple(others)
        self._chain = Chain((*self.targets, *others), dict(updates))
        self.numbers = self._chain.numbers
        self._strides = self.targets[0].attributes["strides"]

    def run(self, addresses: Mapping[Vertex, int], values: Mapping[Vertex, Array]) -> None:
        """Overwrite the inputs at ``addresses``; ``values`` holds those of ``others`` and ``numbers``."""
        others = [_laid_out(values[vertex], self._strides) for vertex in self.others]
        numbers = [values[number] for number in self.numbers]
        vectors = [*(addresses[target] for target in self.targets), *map(address_of, others)]
        self._chain.run(vectors, [*map(address_of, numbers)], self.targets[0].type.size)


def find_updates(updates: Sequence[Update]) -> tuple[list[StateUpdate], list[Update]]:
    """The updates that follow element by element, those together that read the same vectors; and the others."""
    groups: list[tuple[list[Update], dict[Vertex, bool]]] = []  # with what they compute, and whether it is given
    rest: list[Update] = []
    for update in updates:
        found = _trace(update)
        if found is None:
            rest.append(update)
            continue
        pairs = [update]
        for other in [group for group in groups if not group[1].keys().isdisjoint(found)]:
            groups.remove(other)
            pairs, found = other[0] + pairs, other[1] | found
        groups.append((pairs, found))
    chained = []
    for pairs, found in groups:
        targets = [target for target, _ in pairs]
        if len({target.attributes["strides"] for target in targets}) > 1:
            rest += pairs
        else:
            others = [vertex for vertex, is_given in found.items() if is_given and vertex not in targets]
            chained.append(StateUpdate(pairs, others))
    return chained, rest


def _trace(update: Update) -> dict[Vertex, bool] | None:
    """What computes a new value element by element, and from which arrays of its shape; None if it does not."""
    target, value = update
    if not target.shape or not _is_dense(target) or value.primitive.name not in CHAINED:
        return None
    found: dict[Vertex, bool] = {target: True}
    waiting = [value]
    while waiting:
        vertex = waiting.pop()
        if vertex in found or not vertex.shape:
            continue
        if vertex.shape != target.shape:
            return None
        found[vertex] = vertex.primitive.name not in CHAINED
        if not found[vertex]:
            waiting += vertex.inputs
    return found


def _is_dense(target: Vertex) -> bool:
    """Whether one walk through memory without gaps meets all elements of an input."""
    strides = target.attributes["strides"]
    if strides is None:
        return True
    return 1 + sum((n - 1) * step for n, step in zip(target.shape, strides, strict=True)) == target.type.size


def _laid_out(value: Array, strides: Shape | None) -> Array:
    """The array with these strides, in elements; None for row-major."""
    if strides is None:
        return np.ascontiguousarray(value)
    steps = tuple(step * value.itemsize for step in strides)
    if value.strides == steps:
        return value
    block, _ = aligned_block(value.nbytes)
    result: Array = np.ndarray(value.shape, value.dtype, block.data, 0, steps)
    np.copyto(result, value)
    return result


def apart(value: Array) -> Array:
    """An array that `evaluate` gave, or a copy if it may be a view of what is about to be overwritten."""
    return value.copy() if value.base is not None and aligned_memory(value) is None else value
