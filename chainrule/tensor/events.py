"""What happens to gradients and parameters, in order: zero_grad, backward, step. Events are recorded, not executed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import GradientError, ShapeError
from ..graph.vertex import Vertex
from .operands import as_tensor, enter_all
from .recording import slot_owner, sources, type_of
from .segment import flush, leaf_number, state

MAX_BACKWARDS = 8
"""Backward calls in one program; more are run as several, so that any number of them needs only a few programs."""

CONSUMED = "graph consumed by backward"


class ParameterSet:
    """Parameters whose gradients are cleared together; made once per optimiser or module, compared by identity."""

    def __init__(self, parameters: Iterable[Any]) -> None:
        self.parameters = tuple(parameters)
        self.slots = frozenset(parameter._slot for parameter in self.parameters)
        self.covered: dict[Vertex, bool] = {}


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


def gradient_slots(root: Vertex) -> tuple[Vertex, ...]:
    """The slots that require gradients and on which ``root`` depends, in a fixed order.

    Errors: `GradientError` where the way to them is lost.
    """
    found: Any = root.users.get("gradient slots")
    if found is None:
        found = tuple(source for source in sources(root) if source.requires_grad)
        if any(leaf_number(source) is not None for source in found):
            raise GradientError(
                "Trying to backward through a graph that is gone: an earlier backward() has used it up, or one of the "
                "variables needed for gradient computation has been modified by an inplace operation or an optimizer's "
                "step. fix: call backward() before the step, with retain_graph=True if there are several, or detach() "
                "what needs no gradient"
            )
        root.users["gradient slots"] = found
    slots: tuple[Vertex, ...] = found
    return slots


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
    if sum(event.__class__ is Backward for event in state.segment.events) >= MAX_BACKWARDS:
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
        if event.__class__ is ZeroGrad:
            covered = event.parameters.covered.get(root)
            if covered is None:
                covered = event.parameters.slots.issuperset(gradient_slots(root))
                event.parameters.covered[root] = covered
            if covered:
                return None
    return tuple(owner is not None and owner._grad is not None for owner in map(slot_owner, gradient_slots(root)))


def record_step(optimizer: Any) -> None:
    """Record a step of ``optimizer`` and, unless a function is being captured, run everything that is pending."""
    record(Step(optimizer))
    if state.segment.expansion is None:
        flush()
