"""Read the mask of a rectifier off its result, so that the backward pass needs neither the mask nor the argument."""

from __future__ import annotations

from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex, make_vertex
from .rewriting import value_of


def read_masks_off_results(graph: Graph) -> Graph:
    """Let users of the condition of a rectifier, other than the rectifier, test its result instead of its argument.

    Before: ``c = less_equal(x, 0)``, ``h = where(c, 0, x)``, ``where(c, 0, g)``.
    After: ``where(less_equal(h, 0), 0, g)``. The result, unlike the argument, is kept in memory for the next layer. The
    masks are equal for NaN (false on both sides) and for -0 too.
    """
    rectifiers = {vertex.inputs[0]: vertex for vertex in graph.order() if _is_rectifier(vertex)}
    if not rectifiers:
        return graph
    masks: dict[Vertex, Vertex] = {}

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if not any(operand in rectifiers and rectifiers[operand] is not vertex for operand in vertex.inputs):
            return None
        for old, new in zip(vertex.inputs, inputs, strict=True):
            if old in rectifiers and new not in masks:
                masks[new] = _mask_of_result(rectifiers[old], old, new)
        replaced = tuple(masks.get(operand, operand) for operand in inputs)
        return make_vertex(vertex.primitive, replaced, vertex.attributes, vertex.site)

    return rebuild(graph, rule)


def _is_rectifier(vertex: Vertex) -> bool:
    """where(x ≤ 0, 0, x) or where(0 < x, x, 0)"""
    if vertex.primitive.name != "where" or vertex.inputs[0].shape != vertex.shape:
        return False
    condition, x, y = vertex.inputs
    if condition.primitive.name == "less_equal" and value_of(x) == 0:
        return condition.inputs[0] is y and value_of(condition.inputs[1]) == 0
    if condition.primitive.name == "less" and value_of(y) == 0:
        return condition.inputs[1] is x and value_of(condition.inputs[0]) == 0
    return False


def _mask_of_result(rectifier: Vertex, condition: Vertex, new_condition: Vertex) -> Vertex:
    """The new condition, asked of the rectifier's result (equal results are merged by a later pass)."""
    x_or_zero = tuple(
        new_condition.inputs[condition.inputs.index(operand)] if operand in condition.inputs else operand
        for operand in rectifier.inputs[1:]
    )
    result = make_vertex(rectifier.primitive, (new_condition, *x_or_zero), {}, rectifier.site)
    argument = condition.inputs[0 if condition.primitive.name == "less_equal" else 1]
    operands = tuple(
        result if old is argument else new for old, new in zip(condition.inputs, new_condition.inputs, strict=True)
    )
    return make_vertex(condition.primitive, operands, {}, condition.site)
