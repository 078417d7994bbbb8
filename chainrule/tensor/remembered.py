"""Functions composed of tensor operations that are recorded in one look-up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..graph.site import find_site, made_at
from ..graph.vertex import Vertex
from .operands import as_tensor, enter_all
from .recording import Handle, enter, pending, value_of
from .segment import state


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record ``function(*tensors, **attributes)`` by looking up what it gave for the same vertices before.

    The function must be pure: its result, a tensor or a tuple of them, may depend only on its tensors and on hashable
    keyword attributes, and it draws no random numbers. Arguments may be None. A loss of twenty operations then costs as
    much as one.
    """

    @functools.wraps(function)
    def call(*inputs: Any, **attributes: Any) -> Any:
        segment = state.segment
        parts: list[Any] = [function]
        for value in inputs:
            if value is None:
                parts.append(None if len(parts) > 1 else as_tensor(None))  # which refuses it
            elif isinstance(value, Handle):
                parts.append(value._vertex if value._segment is segment else enter(value, segment))
            else:
                return call(*(None if value is None else as_tensor(value) for value in inputs), **attributes)
        if state.segment is not segment:  # entering a tensor may have run what was pending
            return call(*inputs, **attributes)
        if attributes:
            parts.extend(attributes.values())
        users, key = parts[1].users, tuple(parts)
        found = users.get(key)
        if found is None:
            leaves = len(segment.leaves)
            given = tuple(
                None if vertex is None else value_of(vertex, segment) for vertex in parts[1 : len(inputs) + 1]
            )
            result = _with_gradient(function, given, attributes)
            results = result if isinstance(result, tuple) else (result,)
            if state.segment is not segment or any(each._segment is not segment for each in results):
                if not state.is_grad_enabled:
                    results = tuple(each.detach() for each in results)
                return results if isinstance(result, tuple) else results[0]
            vertices = tuple(each._vertex for each in results)
            found = vertices if isinstance(result, tuple) else vertices[0]
            if len(segment.leaves) == leaves:
                users[key] = found
        if found.__class__ is tuple:
            return tuple([pending(vertex, segment) for vertex in found])
        return pending(found, segment)

    return call


def remembered_vertices(function: Callable[..., Vertex]) -> Callable[..., Any]:
    """`remembered` for ``function(vertex, **attributes)``, composed of vertices: half as long to record at first."""

    @functools.wraps(function)
    def call(input: Any, **attributes: Any) -> Any:
        segment, (vertex,) = enter_all(input if isinstance(input, Handle) else as_tensor(input))
        key = (function, *attributes.values())
        found = vertex.users.get(key)
        if found is None:
            with made_at(find_site()):
                found = vertex.users[key] = function(vertex, **attributes)
        return pending(found, segment)

    return call


def _with_gradient(function: Callable[..., Any], inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    """The result, recorded with gradients whether or not they are wanted at this moment: it is for later calls too.

    All vertices get the site of the call.
    """
    was_enabled, state.is_grad_enabled = state.is_grad_enabled, True
    try:
        with made_at(find_site()):
            return function(*inputs, **attributes)
    finally:
        state.is_grad_enabled = was_enabled
