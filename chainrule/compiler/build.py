"""From a segment to a graph, and what each input and output of that graph is bound to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..execution.generic_kernels import draw_uniform
from ..graph.graph import Graph, topological_order
from ..graph.site import find_site, made_at
from ..graph.vertex import Vertex
from ..settings import settings
from ..tensor.events import Backward, Step, held_gradient
from ..tensor.gradmode import no_grad
from ..tensor.recording import slot_owner
from ..tensor.segment import Segment, leaf_number, state
from .expansion import Expansion

Strides = tuple[int, ...] | None


class Recorded(NamedTuple):
    """A graph over the vertices that were recorded, and the meaning of its inputs and outputs.

    - ``inputs``: for each graph input the number of a leaf, or the tensor that owns a slot;
    - ``live``: recorded vertices whose values are wanted: the first outputs of the graph;
    - ``gradients``: tensors whose new gradient is an output, in order behind ``live``;
    - ``cleared``: tensors whose gradient becomes None;
    - ``assumed``: tensors with the slot of the gradient that they held before, or None;
    - ``keeps_history``: whether some live value may still be differentiated.
    """

    graph: Graph
    inputs: tuple[Any, ...]
    live: tuple[Vertex, ...]
    gradients: tuple[Any, ...]
    cleared: tuple[Any, ...]
    output_strides: tuple[Strides, ...]
    assumed: tuple[tuple[Any, Vertex | None], ...]
    keeps_history: bool


def draw_initial_values(recorded: Recorded) -> None:
    """Draw values of parameters that nobody has needed before: only now is it known what they are used for."""
    tensors = [source for source in recorded.inputs if not isinstance(source, int) and source is not None]
    undrawn = [tensor for tensor in tensors if tensor._storage.undrawn is not None]
    if undrawn:
        undrawn[0]._storage.undrawn.follow(recorded.graph.order(), undrawn)
    fill = draw_uniform if settings.backend == "native" else None
    for tensor in undrawn:
        tensor._storage.draw(fill)


def build(segment: Segment, live: tuple[Vertex, ...], expansion: Expansion) -> Recorded:
    """Return everything that ``segment`` computes, with the gradients that ``expansion`` has found, as one graph."""
    expansion.take_over()
    return _collect(segment, live, expansion)


def expand(segment: Segment, events: list[Any], expansion: Expansion) -> None:
    """Go through events of ``segment``."""
    if events:
        with _expanding(segment), made_at(find_site()):  # what an optimiser records belongs to the line that runs it
            for event in events:
                expansion.process(event)


def record_by_example(segment: Segment, step: Step) -> Any:
    """Record a step of an optimiser whose parameters hold their gradients, its elementwise rules by example."""
    with _expanding(segment), made_at(find_site()), no_grad():
        return step.optimizer.record_by_example(held_gradient)


@contextmanager
def _expanding(segment: Segment) -> Iterator[None]:
    """Record into ``segment``, whose values cannot be read now: that would never end."""
    waiting, state.segment = state.segment, segment
    was_symbolic, segment.is_symbolic = segment.is_symbolic, True
    try:
        yield
    finally:
        state.segment, segment.is_symbolic = waiting, was_symbolic


def _collect(segment: Segment, live: tuple[Vertex, ...], expansion: Expansion) -> Recorded:
    """Gradients written over a held one are updates of it; others are outputs."""
    updates = dict(segment.updates)
    fresh: list[tuple[Any, Vertex]] = []
    cleared = []
    read = _held_gradients_read(expansion)
    for slot, gradient in expansion.held.items():
        owner = slot_owner(slot)
        if owner is None:
            continue
        if gradient is None:
            cleared.append(owner)
            continue
        held_slot = None if owner._grad is None else owner._grad._slot
        if held_slot in read and _depends_on(gradient, held_slot):
            updates.setdefault(held_slot, gradient)
        else:
            fresh.append((owner, gradient))
    outputs = (*live, *[gradient for _, gradient in fresh])
    graph = Graph.of(outputs, tuple([(slot, value) for slot, value in updates.items() if value is not slot]))
    inputs = tuple([_bound_to(vertex, segment) for vertex in graph.inputs])
    owners = tuple([owner for owner, _ in fresh])
    strides = (*[None] * len(live), *[owner._strides for owner in owners])
    history = _keeps_history(segment, live)
    return Recorded(graph, inputs, live, owners, tuple(cleared), strides, tuple(expansion.assumed), history)


def _held_gradients_read(expansion: Expansion) -> set[Vertex]:
    """The slots of gradients held until now on which some new gradient depends."""
    owners = [owner for slot in expansion.held if (owner := slot_owner(slot)) is not None]
    slots = {owner._grad._slot for owner in owners if owner._grad is not None}
    gradients = [gradient for gradient in expansion.held.values() if gradient is not None]
    return slots.intersection(topological_order(gradients)) if slots else slots


def _keeps_history(segment: Segment, live: tuple[Vertex, ...]) -> bool:
    """Whether a live value requires a gradient and is not part of a graph that a backward has used up."""
    stack = [event.root for event in segment.events if isinstance(event, Backward) and not event.retains_graph]
    if all(not vertex.requires_grad or vertex in stack for vertex in live):
        return False
    consumed: set[Vertex] = set()
    while stack:
        vertex = stack.pop()
        if vertex not in consumed:
            consumed.add(vertex)
            stack.extend(operand for operand in vertex.inputs if operand.requires_grad)
    return any(vertex.requires_grad and vertex not in consumed for vertex in live)


def _depends_on(vertex: Vertex, source: Vertex) -> bool:
    return source in topological_order([vertex])


def _bound_to(vertex: Vertex, segment: Segment) -> Any:
    number = leaf_number(vertex)
    if number is not None:
        return number
    return segment.slots[vertex] if vertex in segment.slots else slot_owner(vertex)
