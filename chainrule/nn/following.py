"""Which activation comes after a layer, read off the graph that a ``forward`` has recorded.

A vertex remembers in its ``users`` what was made from it: the functions of `chainrule.nn.functional` are entered there
with their vertices, so that an activation made of many primitives is found by its name.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ..graph.vertex import Vertex
from .traits import TRAITS

Followed = tuple[str, float | None]
"""The name of an activation, and its slope for negative inputs where that is not the usual one."""

MIXING = {"matmul", "convolution"}
"""Families of primitives that a layer with weights is made of; what follows the next of them is another layer's."""

PASSES_ON = {"add", "cast", "stop_gradient"}
"""Primitives, besides those that move elements, behind which a layer's activation may still come: biases, shortcuts."""


class Uses:
    """The vertices of a graph in topological order, and what each of them is used for."""

    def __init__(self, order: Iterable[Vertex]) -> None:
        self.position = {vertex: position for position, vertex in enumerate(order)}
        self.consumers: defaultdict[Vertex, list[Vertex]] = defaultdict(list)
        for vertex in self.position:
            for operand in vertex.inputs:
                self.consumers[operand].append(vertex)


def note_transparent(input: Any, output: Any) -> None:
    """Note that a module which leaves the question of the activation to the next one made ``output`` of ``input``."""
    if output is not input and isinstance(output._vertex, Vertex) and isinstance(input._vertex, Vertex):
        input._vertex.users["passed on as"] = output._vertex


def activation_behind(slot: Vertex, uses: Uses) -> Followed | None:
    """The activation that follows the layer with the weight ``slot``; None if another layer or the end comes first."""
    waiting = [(uses.position[vertex], id(vertex), vertex) for vertex in _products(slot, uses)]
    heapq.heapify(waiting)
    seen: set[Vertex] = set()
    while waiting:
        _, _, vertex = heapq.heappop(waiting)
        if vertex in seen:
            continue
        seen.add(vertex)
        found = _applied_to(vertex, uses)
        if found is not None:
            return found
        behind = [user for user in uses.consumers[vertex] if _passes_on(user, vertex)]
        passed = vertex.users.get("passed on as")
        if passed in uses.position:
            behind.append(passed)
        for user in behind:
            heapq.heappush(waiting, (uses.position[user], id(user), user))
    return None


def _products(slot: Vertex, uses: Uses) -> list[Vertex]:
    """The products and convolutions with a weight, which may have been transposed or converted before."""
    found, stack = [], [slot]
    while stack:
        for user in uses.consumers[stack.pop()]:
            if user.primitive.family in MIXING:
                found.append(user)
            elif user.primitive.family == "movement" or user.primitive.name in PASSES_ON - {"add"}:
                stack.append(user)
    return found


def _passes_on(user: Vertex, vertex: Vertex) -> bool:
    name = user.primitive.name
    if name == "multiply":  # by a number
        return any(operand is not vertex and not operand.shape for operand in user.inputs)
    if name == "where":  # dropout
        return vertex is not user.inputs[0] and any(_is_zero(operand) for operand in user.inputs[1:])
    return name in PASSES_ON or user.primitive.family in ("movement", "window")


def _is_zero(vertex: Vertex) -> bool:
    return vertex.primitive.name == "constant" and vertex.attributes["value"] == 0


def _applied_to(vertex: Vertex, uses: Uses) -> Followed | None:
    """The activation of which ``vertex`` is the input; of those that are made of each other, the outermost."""
    found = [
        (uses.position[result], name, slope)
        for key, result in vertex.users.items()
        if result.__class__ is Vertex and result in uses.position
        for name, slope in [_recorded_as(key)]
        if name in TRAITS
    ]
    if found:
        return max(found)[1:]
    if any(_is_rectifier(user, vertex) for user in uses.consumers[vertex]):
        return "relu", None
    return None


def _recorded_as(key: Any) -> Followed:
    """The name under which something was recorded: of a primitive, of ReLU, or of a remembered function."""
    if key == "relu":
        return key, None
    function = key[0] if isinstance(key, tuple) else key
    name = getattr(function, "__name__", None) or getattr(function, "name", "")
    name = str(name).removeprefix("_")
    return name, float(key[-1]) if name == "leaky_relu" else None


def _is_rectifier(user: Vertex, vertex: Vertex) -> bool:
    """Whether this is a rectifier that the user has written: the larger of x and 0, or a choice by the sign of x."""
    if user.primitive.name == "maximum":
        return any(_is_zero(operand) for operand in user.inputs)
    if user.primitive.name != "where" or user.inputs[0].primitive.name not in ("less", "less_equal"):
        return False
    compared = user.inputs[0].inputs
    return vertex in compared and any(_is_zero(operand) for operand in compared)
