"""Derivatives of compositions that are exact where the product of the parts' derivatives is not.

Where a sigmoid has reached 0 or 1 its own derivative is 0 in floating point and that of the logarithm behind it
infinite, or cut off: their product says nothing, and a network that starts there never learns. The derivative of both
together loses nothing: d log σ(z) = 1 - σ(z), d log(1 - σ(z)) = -σ(z) (Goodfellow, Bengio, Courville 2016, 6.2.2.2).
"""

from __future__ import annotations

from collections.abc import Collection

from ..graph.vertex import Vertex
from ..ops.arithmetic import multiply, subtract
from ..ops.elementwise import negative


def log_of_sigmoid(g: Vertex, out: Vertex, wrt: Collection[Vertex]) -> tuple[Vertex, Vertex] | None:
    """If ``out`` is the logarithm of a sigmoid: what comes before the sigmoid, and its gradient through ``out``.

    Between both there may be "1 -" and changes of shape. None if ``out`` is something else, or if the gradient of a
    vertex in between is asked for.
    """
    if out.primitive.name not in ("log", "floored_log"):
        return None
    moves: list[Vertex] = []
    inner, is_complement = out.inputs[0], False
    while inner.primitive.name != "sigmoid" and inner not in wrt:
        if inner.primitive.family == "movement" and len(inner.inputs) == 1:
            moves.append(inner)
            (inner,) = inner.inputs
        elif _is_complement(inner) and not is_complement:
            inner, is_complement = inner.inputs[1], True
        else:
            return None
    if inner in wrt:
        return None
    for move in moves:  # which only choose and repeat elements, so that their rules are those of any gradient
        rule = move.primitive.vjp
        assert callable(rule)
        (g,) = rule(g, move, *move.inputs, **move.attributes)
    slope = negative(inner) if is_complement else subtract(1, inner)
    return inner.inputs[0], multiply(g, slope)


def _is_complement(vertex: Vertex) -> bool:
    """Whether a vertex is 1 - x, with x of the same shape."""
    if vertex.primitive.name != "subtract" or vertex.inputs[1].type is not vertex.type:
        return False
    one = vertex.inputs[0]
    while one.primitive.name in ("broadcast", "reshape"):
        (one,) = one.inputs
    return one.primitive.name == "constant" and one.attributes["value"] == 1
