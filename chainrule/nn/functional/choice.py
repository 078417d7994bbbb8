"""Choice by condition with Python numbers, which stay constants of the program."""

from __future__ import annotations

from typing import Any

from ...ops.comparison import where as where_vertex
from ...tensor.operands import enter_all
from ...tensor.recording import Handle, pending


def choose(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, y elsewhere; one of them may be a number."""
    segment, (chosen, *tensors) = enter_all(condition, *(value for value in (x, y) if isinstance(value, Handle)))
    vertices = iter(tensors)
    operands = [next(vertices) if isinstance(value, Handle) else value for value in (x, y)]
    return pending(where_vertex(chosen, *operands), segment)
