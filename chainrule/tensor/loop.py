"""Loops: a function recorded once, and run step after step with state that it carries along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import ArgumentError, CaptureError, DTypeError, ShapeError
from ..graph.graph import Graph, topological_order
from ..graph.vertex import Vertex, apply
from ..ops.loop import Run
from ..types import TensorType, tensor_type
from .nesting import map_nested
from .operands import as_tensor, enter_all
from .recomputation import check_recompute, results, run_in_segments
from .recording import Handle, pending, type_of, value_of
from .segment import Segment, body_input, state


def scan(
    function: Callable[[Any, Any], Any],
    carry: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    *,
    recompute: int = 0,
) -> tuple[Any, Any]:
    """Run ``carry, y = function(carry, x)`` for each x of ``xs``; return the last carry and all y, stacked.

    carry₀ = ``carry``; carryₜ₊₁, yₜ = function(carryₜ, xs[t]). As `jax.lax.scan
    <https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html>`_: ``carry``, ``xs`` and y are tensors, or nested
    tuples, lists and dictionaries of them (or None); ``xs`` are taken apart along their first dimension, and ys are put
    together along it. The carry keeps its shapes and dtypes. ``length`` is needed if there are no ``xs``. With
    ``reverse`` the steps go from the last x to the first; yₜ still lies at t.

    For its derivative a loop keeps what each step has computed. With ``recompute``, a number of steps, it keeps only
    the carry at every so many steps, and computes the steps in between again: of T steps about T / recompute +
    recompute are kept, fewest with √T (Chen et al. 2016), for about a third more time. The results are the same.
    A gradient by the carry that has vanished on its way through the steps is 0: below 2⁻¹⁰⁰ in single precision, 2⁻⁹⁹⁶
    in double.

    ``function`` is called once, whatever the length, and becomes one loop in the program. It may use any tensors from
    outside. Random numbers that it draws are the same in all steps.
    Errors: `ShapeError`, `DTypeError` for a carry that changes, or ``xs`` of different lengths; `ArgumentError` for a
    function that returns no pair; `CaptureError` for values read, or tensors from outside changed, in ``function``.

    >>> import chainrule as cr
    >>> def step(total, x):
    ...     return total + x, total * 2
    >>> scan(step, cr.tensor(0.0), cr.tensor([1.0, 2.0, 3.0]))
    (tensor(6.), tensor([0., 2., 6.]))
    """
    check_recompute(recompute)
    carry, carries = _as_tensors(carry)
    xs, stacks = _as_tensors(xs)
    steps = _find_length(stacks, length)
    segment, vertices = enter_all(*carries, *stacks)
    types = [type_of(tensor) for tensor in carries]
    types += [_element_type(type_of(stack)) for stack in stacks]
    inputs = [body_input(_nesting.depth, number, type) for number, type in enumerate(types)]
    y, roots = _record(function, carry, xs, segment, inputs)
    _check_carry(types, roots[: len(carries)])
    body, outside = _close(inputs, roots)
    run = Run((*vertices, *outside), body, len(carries), len(stacks), steps, reverse)
    found = run_in_segments(run, recompute, _nesting.depth) if recompute else results(run)
    ends, ys = (iter([pending(vertex, segment) for vertex in part]) for part in found)
    return map_nested(carry, lambda _: next(ends), _is_tensor), map_nested(y, lambda _: next(ys), _is_tensor)


def _record(
    function: Callable[[Any, Any], Any], carry: Any, xs: Any, segment: Segment, inputs: Sequence[Vertex]
) -> tuple[Any, list[Vertex]]:
    """What a step returns beside the carry, and the vertices of the next carry and of that."""
    with _recording_body(segment, inputs):
        given = iter([value_of(vertex, segment) for vertex in inputs])
        result = function(*(map_nested(value, lambda _: next(given), _is_tensor) for value in (carry, xs)))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ArgumentError(
                f"the function of scan must return (carry, y), got {type(result).__name__}. "
                "fix: return carry, None if there is no y"
            )
        (after, after_tensors), (y, outputs) = map(_as_tensors, result)
        _check_structure(carry, after)
        _, roots = enter_all(*after_tensors, *outputs)
    return y, roots


class _Nesting(threading.local):
    """How many loops are being recorded on a thread, one inside the other."""

    depth = 0


_nesting = _Nesting()
_NOWHERE = Segment()
"""The segment of tensors that only exist inside the body of a loop."""


@contextmanager
def _recording_body(segment: Segment, inputs: Sequence[Vertex]) -> Iterator[None]:
    """Record what no program runs as it stands: no value can be read, and nothing outside may change.

    Tensors that depend on a step have no value afterwards.
    """
    handles, vertices = segment.handles, [handle._vertex for handle in segment.handles]
    before = segment.is_symbolic, state.is_grad_enabled, list(segment.events), dict(segment.updates)
    segment.handles, segment.is_symbolic, state.is_grad_enabled = [], True, True
    _nesting.depth += 1
    try:
        yield
        is_changed = any(handle._vertex is not vertex for handle, vertex in zip(handles, vertices, strict=True))
        if is_changed or segment.events != before[2] or segment.updates != before[3]:
            raise CaptureError(
                "the function of scan changes a tensor from outside, or calls backward, zero_grad or step. "
                "fix: carry what changes, and return it"
            )
    finally:
        _nesting.depth -= 1
        segment.is_symbolic, state.is_grad_enabled, segment.events, segment.updates = before
        for handle, vertex in zip(handles, vertices, strict=True):
            handle._vertex = vertex
        inside = _dependent(topological_order(handle._vertex for handle in segment.handles), inputs)
        for handle in segment.handles:
            if handle._vertex in inside:
                handle._segment = _NOWHERE
        segment.handles = [*handles, *(handle for handle in segment.handles if handle._segment is segment)]


def _dependent(order: Sequence[Vertex], inputs: Sequence[Vertex]) -> set[Vertex]:
    """The vertices, of some in order, that depend on inputs, and these."""
    found = set(inputs)
    for vertex in order:
        if not found.isdisjoint(vertex.inputs):
            found.add(vertex)
    return found


def _close(inputs: Sequence[Vertex], roots: Sequence[Vertex]) -> tuple[Graph, list[Vertex]]:
    """The graph from the inputs of a body, and from what it uses of the outside, to roots; and what it uses."""
    order = topological_order(roots)
    inside = _dependent(order, inputs)
    new: dict[Vertex, Vertex] = {vertex: vertex for vertex in inputs}
    outside: dict[Vertex, Vertex] = {}

    def taken_in(vertex: Vertex) -> Vertex:
        if vertex in new or vertex.primitive.name in ("constant", "iota"):
            return new.get(vertex, vertex)
        if vertex not in outside:
            outside[vertex] = body_input(_nesting.depth, len(inputs) + len(outside), vertex.type)
        return outside[vertex]

    for vertex in order:
        if vertex in inside and vertex not in new:
            new[vertex] = apply(vertex.primitive, *map(taken_in, vertex.inputs), **vertex.attributes)
    outputs = tuple(taken_in(root) for root in roots)
    return Graph((*inputs, *outside.values()), outputs), [*outside]


def _as_tensors(value: Any) -> tuple[Any, list[Any]]:
    """Nested values with tensors in place of numbers and arrays, and a list of these tensors."""
    tensors: list[Any] = []

    def convert(leaf: Any) -> Any:
        tensors.append(as_tensor(leaf))
        return tensors[-1]

    return map_nested(value, convert, lambda part: not isinstance(part, list | tuple | dict | None)), tensors


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Handle)


def _find_length(stacks: Sequence[Any], length: int | None) -> int:
    shapes = [tuple(stack.shape) for stack in stacks]
    lengths = {shape[0] if shape else None for shape in shapes} | ({length} if length is not None else set())
    if None in lengths:
        raise ShapeError("scan takes xs apart along their first dimension, but one of them has no dimensions")
    if len(lengths) != 1:
        given = f" and length={length}" if length is not None else ""
        raise ShapeError(
            f"scan expected xs of one length, got shapes {', '.join(map(str, shapes)) or 'none'}{given}. "
            "fix: cut or pad them to one length; without xs, say length="
        )
    (steps,) = lengths
    if not isinstance(steps, int) or steps < 0:
        raise ArgumentError(f"scan expected a number of steps, got length={steps!r}")
    return steps


def _element_type(type: TensorType) -> TensorType:
    return tensor_type(type.dtype, type.shape[1:])


def _check_structure(before: Any, after: Any) -> None:
    """Errors: `ArgumentError` for a carry that is nested in another way than it was."""
    old, new = (map_nested(value, lambda _: "tensor", _is_tensor) for value in (before, after))
    if old != new:
        raise ArgumentError(
            f"the function of scan was given a carry of the form {old} and returned {new}. "
            "fix: return it in the form in which it came"
        )


def _check_carry(types: Sequence[TensorType], after: Sequence[Vertex]) -> None:
    for number, (old, vertex) in enumerate(zip(types, after, strict=False)):
        new = vertex.type
        if new is not old:
            raise (ShapeError if new.shape != old.shape else DTypeError)(
                f"carry {number} of scan is {old} before a step and {new} behind it (made at {vertex.site}). "
                "fix: start with a carry of that shape and dtype, or convert it in the function"
            )
