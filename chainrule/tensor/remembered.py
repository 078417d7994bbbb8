"""Functions composed of tensor operations that are recorded in one look-up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .operands import as_tensor, enter_all
from .recording import Handle, pending
from .segment import state


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record ``function(*tensors, **attributes)`` by looking up what it gave for the same vertices before.

    The function must be pure: its result may depend only on its tensors and on hashable keyword attributes, and it
    draws no random numbers. Arguments may be None. A loss of twenty operations then costs as much as one.
    """

    @functools.wraps(function)
    def call(*inputs: Any, **attributes: Any) -> Any:
        segment = state.segment
        vertices = []
        for value in inputs:
            if value is None:
                vertices.append(None)
            elif isinstance(value, Handle) and value._segment is segment:
                vertices.append(value._vertex)
            else:
                inputs, segment, vertices = _enter(inputs)
                break
        users = vertices[0].users
        key = (function, *vertices[1:], *attributes.values())
        found = users.get(key)
        if found is None:
            result = function(*inputs, **attributes)
            if state.segment is segment and result._segment is segment:
                users[key] = _with_gradient(result, function, inputs, attributes)
            return result
        return pending(found, segment)

    return call


def _enter(inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any, list[Any]]:
    tensors = tuple(value if value is None or isinstance(value, Handle) else as_tensor(value) for value in inputs)
    segment, entered = enter_all(*(tensor for tensor in tensors if tensor is not None))
    remaining = iter(entered)
    return tensors, segment, [None if tensor is None else next(remaining) for tensor in tensors]


def _with_gradient(result: Any, function: Callable[..., Any], inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    """The vertex to remember: recorded with gradients, whether or not they are wanted at this moment."""
    if state.is_grad_enabled:
        return result._vertex
    state.is_grad_enabled = True
    try:
        return function(*inputs, **attributes)._vertex
    finally:
        state.is_grad_enabled = False
