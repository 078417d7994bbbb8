"""What happens to gradients and parameters, in order: zero_grad, backward, step. Events are recorded, not executed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import ref

from ..errors import GradientError, ShapeError
from ..graph.graph import ancestors
from ..graph.vertex import Vertex
from .operands import as_tensor, enter_all
from .recording import make_slot, slot_owner, stored, type_of
from .segment import flush, leaf_number, state
from .storage import allocate

MAX_BACKWARDS = 8
"""Backward calls in one program; more are run as several, so that any number of them needs only a few programs."""

CONSUMED = "graph consumed by backward"


class ParameterSet:
    """Parameters whose gradients are cleared together; made once per optimiser or module, compared by identity.

    Events stay in the keys of bound programs, so they do not keep parameters alive.
    """

    def __init__(self, parameters: Iterable[Any]) -> None:
        self._references = tuple(ref(parameter) for parameter in parameters)

    @property
    def parameters(self) -> list[Any]:
        """Those that still exist."""
        return [parameter for reference in self._references if (parameter := reference()) is not None]

    @property
    def slots(self) -> list[Vertex]:
        """The slots of those that require a gradient or did so once."""
        return [parameter._slot for parameter in self.parameters if parameter._slot is not None]

    def covers(self, root: Vertex) -> bool:
        """Whether every leaf that gets a gradient from ``root`` is in the set."""
        found: bool | None = root.users.get(self)
        if found is None:
            found = root.users[self] = set(self.slots).issuperset(slot for _, slot in gradient_leaves(root))
        return found


class ZeroGrad(NamedTuple):
    """The gradients of a set of parameters become None."""

    parameters: ParameterSet


class Backward(NamedTuple):
    """Gradients of ``root`` are added to those of the leaves it depends on.

    ``held`` says for each leaf whether it already held a gradient; None where a zero_grad before made that sure.
    ``retains_graph``: whether gradients may flow through the same vertices again in a later program.
    """

    root: Vertex
    cotangent: Vertex | None
    held: tuple[bool, ...] | None
    retains_graph: bool


class Step(NamedTuple):
    """An optimiser updates its parameters."""

    optimizer: Any


def gradient_leaves(root: Vertex) -> tuple[tuple[Vertex, Vertex], ...]:
    """The leaves that require gradients and on which ``root`` depends, each with its slot, in a fixed order.

    Errors: `GradientError` where the way to them is lost.
    """
    found: Any = root.users.get("gradient leaves")
    if found is None:
        order = ancestors(root)
        on_the_way = {root}
        for vertex in reversed(order):
            if vertex in on_the_way and vertex.requires_grad and "version of" not in vertex.users:
                on_the_way.update(vertex.inputs)
        found = tuple(
            (vertex, version_of(vertex))
            for vertex in order
            if vertex in on_the_way
            and vertex.requires_grad
            and (vertex.primitive.name == "input" or "version of" in vertex.users)
        )
        if any(leaf_number(leaf) is not None for leaf, _ in found):
            raise GradientError(
                "Trying to backward through a graph that is gone: an earlier backward() has used it up, or one of the "
                "variables needed for gradient computation has been modified by an inplace operation or an optimizer's "
                "step. fix: call backward() before the step or write, with retain_graph=True if there are several, or "
                "detach() what needs no gradient"
            )
        root.users["gradient leaves"] = found
    leaves: tuple[tuple[Vertex, Vertex], ...] = found
    return leaves


def version_of(leaf: Vertex) -> Vertex:
    """The slot that a leaf stands for: itself, or, for a value written in the same segment, the slot written to."""
    slot: Vertex = leaf.users.get("version of", leaf)
    return slot


def record(event: ZeroGrad | Backward | Step) -> None:
    """Append an event. While a function is captured it takes effect at once, so that what follows sees its result."""
    segment = state.segment
    if segment.expansion is None:
        segment.events.append(event)
    else:
        segment.expansion.process(event)


def record_zero_grad(parameters: ParameterSet) -> None:
    """Record that the gradients of ``parameters`` become None."""
    record(ZeroGrad(parameters))


def record_backward(tensor: Any, gradient: Any, retain_graph: bool) -> None:
    """Check and record a `Backward`.

    Errors: `GradientError` if nothing requires a gradient, or for a second time; `ShapeError` for a wrong cotangent.
    """
    if not tensor.requires_grad:
        raise GradientError(
            "element 0 of tensors does not require grad and does not have a grad_fn. fix: compute it, outside "
            "no_grad(), from tensors with requires_grad=True"
        )
    if tensor._grad is CONSUMED:
        raise GradientError(
            "Trying to backward through the graph a second time. fix: call the first backward with retain_graph=True, "
            "or compute the loss again"
        )
    if gradient is None and type_of(tensor).size != 1:
        raise GradientError(f"grad can be implicitly created only for scalar outputs, got shape {tuple(tensor.shape)}")
    events = state.segment.events
    if len(events) >= MAX_BACKWARDS and sum(event.__class__ is Backward for event in events) >= MAX_BACKWARDS:
        flush()
    cotangent = None
    if gradient is None:
        segment, (root,) = enter_all(tensor)
    else:
        gradient = as_tensor(gradient)
        if tuple(gradient.shape) != tuple(tensor.shape):
            raise ShapeError(f"gradient has shape {tuple(gradient.shape)}, the tensor {tuple(tensor.shape)}")
        segment, (root, cotangent) = enter_all(tensor, gradient)
    record(Backward(root, cotangent, _held_flags(root, segment.events), retain_graph))
    if not retain_graph and tensor._slot is None:
        tensor._grad = CONSUMED


def _held_flags(root: Vertex, events: list[Any]) -> tuple[bool, ...] | None:
    for event in events:
        if event.__class__ is ZeroGrad and event.parameters.covers(root):
            return None
    held = []
    for _, slot in gradient_leaves(root):
        owner = slot_owner(slot)
        gradient = None if owner is None else owner._grad
        held.append(gradient is not None)
        if gradient is not None and vars(owner).get("gradient_home") is not gradient:
            # The user may hold this tensor: whoever reads it must first run what is added to it.
            gradient._storage.written_in, gradient._storage.read_by = state.segment, None
    return tuple(held)


def gradient_home(owner: Any) -> Any:
    """The tensor that receives the gradient of ``owner``: the one of last time, unless the user has taken it."""
    home = vars(owner).get("gradient_home")
    if home is None:
        storage = allocate(owner._type.nbytes)
        home = stored(storage, storage.address, owner._type, owner._strides)
        vars(owner)["gradient_home"] = home
    if home._slot is None:
        make_slot(home)
    return home


def held_gradient(tensor: Any) -> Any:
    """The gradient that ``tensor`` holds, or None. Unlike that of ``grad`` its memory serves the next one too."""
    if state.segment.expansion is not None:
        return tensor.grad
    if state.segment.events:
        flush()
    return None if tensor._grad is CONSUMED else tensor._grad


def record_step(step: Step) -> None:
    """Record a step of an optimiser and, unless a function is being captured, run everything that is pending."""
    record(step)
    if state.segment.expansion is None:
        flush()
