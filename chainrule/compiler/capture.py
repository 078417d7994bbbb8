"""``compile``: capture a whole step once per shapes, then run it as one native call."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, CaptureError
from ..graph.vertex import Vertex, make_vertex
from ..ops.elementwise import stop_gradient
from ..ops.movement import RESHAPE
from ..tensor.nesting import map_nested
from ..tensor.operands import as_tensor
from ..tensor.recording import Handle, enter, pending, resolve, stored, vertex_of
from ..tensor.segment import Segment, flush, forget_users, state
from ..tensor.structure import structure
from .build import Recorded, build
from .expansion import Expansion
from .launch import Launch
from .stages import explain_program, format_stage

MAX_CAPTURES = 64
"""Argument combinations kept per function; the oldest goes first."""


@dataclass
class Captured:
    """One captured call: its bound program, and the shape of what it returns."""

    launch: Launch
    recorded: Recorded
    constants: list[Any]
    result: Any


class Compiled:
    """A function that `compile` made: call it like the original."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._captures: dict[Any, Captured] = {}
        self._reasons: list[str] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if state.segment.expansion is not None:
            return self._function(*arguments, **options)
        tensors: list[Any] = []
        version = (structure.version, state.is_grad_enabled)
        key = (version, *[_signature(value, tensors) for value in arguments])
        if options:
            key += tuple((name, _signature(value, tensors)) for name, value in options.items())
        if state.segment.has_work:
            flush()
        for tensor in tensors:
            if tensor.requires_grad and state.is_grad_enabled:
                return self._function(*arguments, **options)  # programs end here, gradients flow on: record it
            if tensor._storage is None or tensor._base is not None:
                resolve(tensor)
            elif tensor._storage.undrawn is not None:
                tensor._storage.draw()
        captured = self._captures.get(key)
        if captured is None or (captured.launch.assumed and captured.launch.is_outdated()):
            captured = self._capture(key, arguments, options, tensors)
        segment = Segment()
        segment.leaves = tensors + captured.constants
        if captured.launch.written:
            _check_apart(segment.leaves, captured.launch.written)
        captured.launch.run(segment)
        if captured.result.__class__ is Vertex:
            result = pending(captured.result, segment)
        else:
            result = _map(captured.result, lambda vertex: pending(vertex, segment))
        segment.handles.clear()  # a finished segment needs none, and the cycle would outlive the handles
        return result

    def _capture(self, key: Any, arguments: Any, options: Any, tensors: list[Any]) -> Captured:
        """Record the function over stand-ins for its tensors and bind the program."""
        segment = Segment()
        segment.expansion = Expansion(segment)
        with recording_into(segment):
            stand_ins = iter([_stand_in(tensor, segment) for tensor in tensors])
            arguments, options = _map((arguments, options), lambda tensor: next(stand_ins))
            result = _map(self._function(*arguments, **options), _distinct_vertices())
        if segment.updates or segment.expansion.held:  # running it again would not give the same: it has no history
            result = _map(result, stop_gradient, is_leaf=_is_vertex)
        live: list[Any] = []
        _map(result, live.append, is_leaf=_is_vertex)
        recorded = build(segment, tuple(dict.fromkeys(live)), segment.expansion)
        captured = Captured(_bind(segment, recorded), recorded, segment.leaves[len(tensors) :], result)
        self._note_reason(key)
        if len(self._captures) >= MAX_CAPTURES:
            self._captures.pop(next(iter(self._captures)))
        self._captures[key] = captured
        return captured

    def _note_reason(self, key: Any) -> None:
        """Say what differs from the nearest earlier call."""
        if not self._captures:
            self._reasons.append(f"first call, with {', '.join(map(_describe, key[1:])) or 'no arguments'}")
            return
        nearest = min(self._captures, key=lambda known: sum(a != b for a, b in zip(known, key, strict=False)))
        changes = [
            f"argument {position} was {_describe(old)} and is {_describe(new)}"
            for position, (old, new) in enumerate(zip(nearest[1:], key[1:], strict=False), 1)
            if old != new
        ]
        if nearest[0] != key[0]:
            changes.append("a module, its mode, the gradient mode or the backend changed")
        if nearest == key:
            changes.append("parameters hold gradients now, or none any more")
        self._reasons.append("; ".join(changes) or "it was called with another number of arguments")

    def explain(self) -> str:
        """Why it was compiled each time, and for the latest program passes, kernels, memory, FLOPs and bytes."""
        lines = [f"{self.__name__}: {len(self._reasons)} capture(s)"]  # type: ignore[attr-defined]
        lines += [f"  {number}. {reason}" for number, reason in enumerate(self._reasons, 1)]
        return "\n".join([*lines, explain_program(self._latest().launch.program)])

    def ir(self, stage: str = "graph") -> str:
        """The latest program as text at ``stage``: "graph", "passes", "plan", "llvm" or "asm"."""
        return format_stage(self._latest().launch.program, self._latest().recorded.graph, stage)

    def _latest(self) -> Captured:
        if not self._captures:
            raise ArgumentError("nothing has been compiled yet. fix: call the function once, then look inside")
        return next(reversed(self._captures.values()))


@contextlib.contextmanager
def recording_into(segment: Segment) -> Iterator[None]:
    """Record into ``segment``, which captures; a program that drew random numbers counts up their generator."""
    flush()
    before, state.segment = state.segment, segment
    try:
        yield
        for generator in segment.generators:
            generator.count_up(segment)
    finally:
        state.segment = before


class Loop:
    """A step without arguments or results, captured once and run many times in one native call.

    Everything it reads and writes is state: parameters, optimiser slots, counters, data. Gradients are not kept.
    """

    def __init__(self, step: Callable[[], Any]) -> None:
        segment = Segment()
        expansion = segment.expansion = Expansion(segment)
        with recording_into(segment):
            step()
        expansion.forget()
        self.recorded = build(segment, (), expansion)
        self._launch = _bind(segment, self.recorded)
        self._leaves = segment.leaves
        self._segment = Segment()

    @property
    def program(self) -> Any:
        """The executable, for `format_stage`."""
        return self._launch.program

    def run(self, repeats: int) -> None:
        """Run the step ``repeats`` times."""
        flush()
        self._segment.leaves = self._leaves
        self._launch.run(self._segment, repeats)


def _bind(segment: Segment, recorded: Recorded) -> Launch:
    """End a capture. It is recorded once, so what its vertices remember of it would only keep it in memory."""
    launch = Launch(segment, recorded)
    segment.is_done = True
    for vertex in recorded.graph.order():
        forget_users(vertex)
    return launch


def compile(function: Callable[..., Any]) -> Compiled:
    """Return ``function`` compiled: a whole step, or a loop of steps, captured once per shapes and dtypes.

    Tensors and arrays among the arguments are inputs of the program; anything else is fixed by its value, and another
    value captures again. Tensors that the function uses without being given them are read and written in place.
    What it returns carries no gradient history. Reading a value inside (``item``, ``print``, ``if``) is an error.
    Errors: `CaptureError` for a value read while capturing.

    >>> import chainrule as cr
    >>> double = cr.compile(lambda x: x * 2)
    >>> double(cr.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    return Compiled(function)


def _signature(value: Any, tensors: list[Any]) -> Any:
    """A hashable key of an argument; tensors met on the way are appended to ``tensors``."""
    if isinstance(value, Handle):
        if value._slot is not None:
            return value._slot
        tensors.append(value)
        if value._storage is None:
            return value._vertex.type
        return value._type if value._strides is None else (value._type, value._strides)
    if isinstance(value, np.ndarray):
        return _signature(as_tensor(value), tensors)
    if isinstance(value, list | tuple):
        return (type(value), *(_signature(item, tensors) for item in value))
    if isinstance(value, dict):
        return (dict, *((name, _signature(item, tensors)) for name, item in value.items()))
    try:
        hash(value)
    except TypeError:
        raise ArgumentError(
            f"an argument of type {type(value).__name__} cannot be part of a compiled call. "
            "fix: pass tensors, numbers, strings, or lists, tuples and dictionaries of them"
        ) from None
    return type(value), repr(value) if isinstance(value, float) else value  # 0.0 equals -0.0, NaN not even itself


def _map(value: Any, function: Callable[[Any], Any], is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Apply ``function`` to every tensor (or what ``is_leaf`` accepts) in nested lists, tuples and dictionaries."""
    return map_nested(value, function, is_leaf or _is_leaf)


def _is_vertex(value: Any) -> bool:
    return value.__class__ is Vertex


def _is_leaf(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, Handle) and value._slot is None) or _is_vertex(value)


def _stand_in(tensor: Any, segment: Segment) -> Any:
    """A handle for an argument, entered as the next numbered leaf."""
    handle = stored(tensor._storage, tensor._address, tensor._type, tensor._strides)
    enter(handle, segment)
    return handle


def _result_vertex(value: Any) -> Any:
    """The vertex of a tensor that the function returned."""
    if isinstance(value, np.ndarray):
        raise CaptureError("a compiled function cannot return a NumPy array. fix: return the tensor")
    return vertex_of(value)


def _distinct_vertices() -> Callable[[Any], Any]:
    """As `_result_vertex`, with a vertex of its own for each tensor: what is written into one is not the other's."""
    owners: dict[Vertex, Any] = {}

    def vertex_for(value: Any) -> Any:
        vertex = _result_vertex(value)
        if owners.setdefault(vertex, value) is value:
            return vertex
        return make_vertex(RESHAPE, (vertex,), {"shape": vertex.shape})

    return vertex_for


def _check_apart(leaves: list[Any], written: list[int]) -> None:
    """Refuse arguments that share memory with one that the program writes to."""
    for number in written:
        storage = leaves[number]._storage
        if sum(leaf._storage is storage for leaf in leaves) > 1:
            raise CaptureError(
                "arguments of a compiled function share memory, and it writes to one of them in place. "
                "fix: pass clones, or take the parts inside the function"
            )


def _describe(part: Any) -> str:
    """One argument's part of a key, for people."""
    if isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], type):
        return part[1] if part[0] is float else repr(part[1])
    return f"the parameter {part.type}" if isinstance(part, Vertex) else str(part)
