"""What rewriting rules are written with: the table of rules, and ``build``, which simplifies what it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CompilationError
from ..graph.primitive import PRIMITIVES
from ..graph.vertex import Vertex, make_vertex
from ..ops.source import constant

Rule = Callable[[Vertex], Vertex | None]
RULES: dict[str, list[Rule]] = {}


def rule(*primitives: str) -> Callable[[Rule], Rule]:
    """Enter a rule for vertices of these primitives. A rule returns the replacement, or None if it does not apply."""

    def enter(function: Rule) -> Rule:
        for name in primitives:
            RULES.setdefault(name, []).append(function)
        return function

    return enter


def simplified(vertex: Vertex) -> Vertex:
    """Return what ``vertex`` becomes by the first rule that applies; itself if none does.

    Errors: `CompilationError` naming a rule that changes the type.
    """
    if vertex.type.size == 0 and vertex.primitive.name not in ("input", "constant"):
        return constant(0, vertex.dtype, vertex.shape)
    for candidate in RULES.get(vertex.primitive.name, ()):
        replacement = candidate(vertex)
        if replacement is not None:
            if replacement.type is not vertex.type:
                raise CompilationError(f"rule {candidate.__name__!r} made {replacement!r} of {vertex!r}")
            return replacement
    return vertex


def build(like: Vertex, primitive: str, *inputs: Vertex, **attributes: Any) -> Vertex:
    """Return the simplified vertex ``primitive(*inputs)``; it is said to come from the user's line of ``like``."""
    return simplified(make_vertex(PRIMITIVES[primitive], inputs, attributes, like.site))


def value_of(vertex: Vertex) -> Any:
    """The number in every element of a constant; None for other vertices."""
    return vertex.attributes["value"] if vertex.primitive.name == "constant" else None


def filled(like: Vertex, value: Any) -> Vertex:
    """Return a constant of the type of ``like``."""
    return constant(value, like.dtype, like.shape)


def shaped(like: Vertex, x: Vertex) -> Vertex:
    """Return ``x``, repeated to the shape of ``like`` where it is smaller."""
    return x if x.shape == like.shape else build(like, "broadcast", x, shape=like.shape)


def is_same_value(x: Any, y: float) -> bool:
    """Whether ``x`` is this number, the sign of zero included."""
    return x is not None and x == y and str(float(x)) == str(float(y))
