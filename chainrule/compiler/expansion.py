"""Turning the events of a segment into vertices: gradients by the reverse pass, optimiser steps by recording them."""

from __future__ import annotations

from typing import Any

from ..autodiff.reverse import gradients
from ..graph.vertex import Vertex
from ..ops.arithmetic import add
from ..tensor.events import Backward, Step, ZeroGrad, gradient_leaves
from ..tensor.gradmode import no_grad
from ..tensor.recording import make_slot, pending, slot_owner
from ..tensor.segment import Segment


class Expansion:
    """The gradients that parameters hold while the events of one segment are gone through.

    ``held`` maps a parameter's slot to the vertex of its gradient, or None for no gradient; ``assumed`` says which of
    that was so before the first event: for a parameter the slot of its gradient, or None.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.held: dict[Vertex, Vertex | None] = {}
        self.assumed: list[tuple[Any, Vertex | None]] = []
        self._shown: dict[Vertex, Any] = {}

    def process(self, event: Any) -> None:
        """Go through one event."""
        self.take_over()
        if isinstance(event, ZeroGrad):
            self.held.update(dict.fromkeys(event.parameters.slots, None))
        elif isinstance(event, Backward):
            self._backward(event)
        elif isinstance(event, Step):
            self._step(event)

    def gradient(self, slot: Vertex) -> Vertex | None:
        """The gradient that the parameter of ``slot`` holds at this point."""
        if slot not in self.held:
            owner = slot_owner(slot)
            stored = None if owner is None else owner._grad
            if stored is not None:
                if stored._slot is None:
                    make_slot(stored)
                self.segment.slots[stored._slot] = stored
            vertex = None if stored is None else stored._slot
            if owner is not None:
                self.assumed.append((owner, vertex))
            self.held[slot] = self.segment.updates.get(vertex, vertex)
        return self.held[slot]

    def _backward(self, event: Backward) -> None:
        pairs = gradient_leaves(event.root)
        found = gradients(event.root, [leaf for leaf, _ in pairs], event.cotangent)
        for (_, slot), gradient in zip(pairs, found, strict=True):
            if gradient is not None:
                before = self.gradient(slot)
                self.held[slot] = gradient if before is None else add(before, gradient)

    def _step(self, event: Step) -> None:
        with no_grad():
            event.optimizer.record_updates(self.gradient_handle)

    def shown_gradient(self, parameter: Any) -> Any:
        """`gradient_handle` for the function that is captured, which may change the gradient in place."""
        handle = self._shown.get(parameter._slot)
        if handle is None:
            handle = self.gradient_handle(parameter)
            if handle is not None:
                self._shown[parameter._slot] = handle
        return handle

    def show(self, parameter: Any, gradient: Any) -> None:
        """Let the captured function replace the gradient of a parameter by a tensor, or by None."""
        self._shown.pop(parameter._slot, None)
        if gradient is None:
            self.held[parameter._slot] = None
        else:
            self._shown[parameter._slot] = gradient

    def take_over(self) -> None:
        """Take over what the captured function has done to the gradients that it has been shown."""
        for slot, handle in self._shown.items():
            self.held[slot] = handle._vertex
        self._shown.clear()

    def forget(self) -> None:
        """Forget all gradients, so that none is kept."""
        self._shown.clear()
        self.held.clear()

    def gradient_handle(self, parameter: Any) -> Any:
        """The gradient of a parameter as a tensor, or None."""
        vertex = None if parameter._slot is None else self.gradient(parameter._slot)
        return None if vertex is None else pending(vertex, self.segment)
