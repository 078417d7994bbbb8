"""How built-in modules are called: what a module recorded for an input is remembered, with all that lies below it.

Calling it again on the same vertex then records one handle, however deep the module is, and enters no parameter. The
same input vertex comes back in every iteration, as stored tensors enter a segment under their number. What was written
into buffers (running statistics) is remembered too, and written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..graph.site import find_site, made_at
from ..graph.vertex import Vertex
from ..tensor.generator import default_generator
from ..tensor.recording import Handle, enter, overwrite, pending, value_of
from ..tensor.segment import Segment, state
from ..tensor.structure import structure
from .following import note_transparent

MAX_ENTRIES = 256
"""Inputs remembered per module; then it starts afresh, so that a chain of ever new inputs does not grow it."""


def has_only_builtin_parts(module: Any) -> bool:
    """Whether what the module records can change only together with the version of the structure."""
    return all(map(_is_as_built, module.modules()))


def _is_as_built(part: Any) -> bool:
    return part.is_builtin and not part._has_hooks and "forward" not in part.__dict__


class Recording(NamedTuple):
    """What one call recorded: its output, how many random numbers were drawn, and the buffers written with their new
    values."""

    output: Vertex
    draws: int
    updates: tuple[tuple[Any, Vertex], ...]


class Memo:
    """For one module at one version of the structure: input vertex → `Recording`, with and without gradients.

    ``is_usable``: the module and all below it are built in and without hooks. ``draws``: it draws random numbers; what
    it records then depends on the segment's `random_state` too. ``tensors``: its parameters and buffers.
    """

    __slots__ = ("draws", "found", "is_usable", "tensors", "version")

    def __init__(self, module: Any) -> None:
        self.version = structure.version
        parts = list(module.modules())
        self.is_usable = all(map(_is_as_built, parts))
        self.draws = any(getattr(part, "draws_random_numbers", False) for part in parts)
        held = [tensor for part in parts for kind in (part._parameters, part._buffers) for tensor in kind.values()]
        self.tensors = tuple(tensor for tensor in held if tensor is not None)
        self.found: dict[Any, Recording] = {}

    def is_overwritten(self, updates: Mapping[Any, Vertex]) -> bool:
        """Whether something that the module reads will have another value than at the segment's beginning."""
        return any(tensor._slot in updates for tensor in self.tensors)

    def random_state(self, segment: Segment) -> tuple[Any, ...]:
        """Name the random numbers that come next in this segment."""
        return *default_generator.enter(segment), segment.draws

    @staticmethod
    def _value(input: Any, segment: Segment) -> Any:
        """A stored input as a value, so that its views are not entered as tensors of their own."""
        return value_of(input._vertex if input._segment is segment else enter(input, segment), segment)

    def record(self, module: Any, input: Any, key: Any, segment: Segment) -> Any:
        """Run ``forward``, and remember the result if it follows from ``key`` alone."""
        leaves, draws, vertex = len(segment.leaves), segment.draws, input._vertex
        before = set(segment.updates)
        given = input if input._storage is None else self._value(input, segment)
        start = given._vertex
        output = module.forward(given) if module._modules else _forward_at_once(module, given)
        if given is not input and given._vertex is not start:  # written to in place
            input.copy_(given)
        if not isinstance(output, Handle):  # several tensors: those of a pooling that returns its indices too
            return output
        if module.is_transparent:
            note_transparent(given, output)
        is_pure = state.segment is segment and len(segment.leaves) == leaves and given._vertex is start
        if output._segment is segment and is_pure and input._vertex is vertex:
            if len(self.found) >= MAX_ENTRIES:
                self.found.clear()
            written = [(slot, value) for slot, value in segment.updates.items() if slot not in before]
            updates = tuple((segment.slots[slot], value) for slot, value in written)
            self.found[key] = Recording(output._vertex, segment.draws - draws, updates)
        return output


def _forward_at_once(module: Any, input: Any) -> Any:
    """Run the ``forward`` of a module without others, all of which belongs to one line: that is looked for once."""
    with made_at(find_site()):
        return module.forward(input)


class BuiltinCall:
    """How built-in modules, which take one input, are called."""

    def __call__(self: Any, input: Any) -> Any:
        memo, segment = self._memo, state.segment
        if memo is None or memo.version != structure.version:
            memo = self.__dict__["_memo"] = Memo(self)
        is_usable = memo.is_usable and isinstance(input, Handle)
        if not is_usable or (segment.updates and memo.is_overwritten(segment.updates)):
            output = self._call_hooked((input,), {}) if self._has_hooks else self.forward(input)
            if self.is_transparent and isinstance(input, Handle) and isinstance(output, Handle):
                note_transparent(input, output)
            return output
        vertex = input._vertex if input._segment is segment else enter(input, segment)
        key = vertex if state.is_grad_enabled else (vertex, "no_grad")
        if memo.draws:
            key = (key, *memo.random_state(segment))
        if state.segment is not segment:  # entering a tensor may have run what was pending
            return self(input)
        found = memo.found.get(key)
        if found is None:
            return memo.record(self, input, key, segment)
        output, draws, updates = found
        for buffer, value in updates:
            enter(buffer, segment)
            overwrite(buffer, value, segment)
        segment.draws += draws
        segment.keepalive.append(self)
        return pending(output, segment)
