"""Gradients of weights that loops sum up: products over all steps and rows, made while what they multiply is near.

Behind a loop, both operands of such a product come from afar, and threads that share out its columns each read all of
the left one. In the loop each part of the rows has sums of its own, to which a few steps at a time are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graph.graph import Graph, rebuild, topological_order
from ..graph.vertex import Vertex, make_vertex
from ..ops.loop import LOOP, Run
from ..ops.source import make_input
from ..types import tensor_type
from .plan import WIDEST_PANEL
from .rewriting import build
from .rows import LEAST_WORK, rows_of_part
from .simplify_loop import result_of

LEAST_DEPTH = 256
"""Rows of all steps, in a part, that repay its sums."""

MOST_SUMS, MOST_PARTS = 1 << 16, 8
"""The sums of a part stay in a second-level cache, and those of all parts are few beside what is stacked."""


class _Match(NamedTuple):
    """A product of the rows of ``left`` at all steps with those of a stack of a run, and parts of their rows."""

    run: Run
    left: Vertex
    parts: int


def multiply_in_steps(graph: Graph) -> Graph:
    """Sum products over the rows of all steps in the loop that their right operand comes from.

    Before: ``matmul(transpose(rows(x)), rows(stack(g)))`` with ``x[50,32,64]`` and ``g[32,512]`` at each step. After:
    ``sum(loop(..., x, ..., result='product'), (0,))``: of ``[2,64,512]``, the sums of each of the parts of rows that
    can go through all steps by themselves.
    """
    matches = _find(graph.order())
    if not matches:
        return graph
    more: dict[Run, list[Vertex]] = {}
    for match in matches.values():
        lefts, is_at_hand = more.setdefault(match.run, []), _is_at_hand(match.left, match.run)
        lefts += [match.left] if not is_at_hand and match.left not in lefts else []
    first = tuple(dict.fromkeys(left for lefts in more.values() for left in lefts))
    bodies, new = {run: _with_xs(run, lefts) for run, lefts in more.items()}, dict[Vertex, Vertex]()

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if vertex in matches:
            return _product(vertex, inputs, matches[vertex].parts)
        if vertex in first:
            new[vertex] = make_vertex(vertex.primitive, inputs, vertex.attributes, vertex.site) if inputs else vertex
            return new[vertex]
        if vertex.primitive is not LOOP or (old := Run.of(vertex)) not in more:
            return None
        place = old.carries + old.xs
        operands = (*inputs[:place], *(new[left] for left in more[old]), *inputs[place:])
        run = old._replace(operands=operands, body=bodies[old], xs=old.xs + len(more[old]))
        return result_of(vertex, run)

    rebuilt = rebuild(Graph(graph.inputs, (*first, *graph.outputs), graph.updates), rule)
    return Graph(rebuilt.inputs, rebuilt.outputs[len(first) :], rebuilt.updates)


def _find(order: Sequence[Vertex]) -> dict[Vertex, _Match]:
    """The products that loops can sum up; none whose left operand needs such a loop, unless that stacks it."""
    found = {vertex: match for vertex in order if (match := _match(vertex)) is not None}
    runs = {match.run for match in found.values()}

    def is_ready(match: _Match) -> bool:
        if _is_at_hand(match.left, match.run):
            return True
        needed = topological_order([match.left])
        return not any(vertex.primitive is LOOP and Run.of(vertex) in runs for vertex in needed)

    return {vertex: match for vertex, match in found.items() if is_ready(match)}


def _match(vertex: Vertex) -> _Match | None:
    """What a product multiplies if it sums over all steps and rows of what a loop stacks; None if it does not."""
    if vertex.primitive.name != "matmul" or len(vertex.shape) != 2 or vertex.inputs[0].primitive.name != "transpose":
        return None
    (turned,), right = vertex.inputs[0].inputs, vertex.inputs[1]
    if turned.primitive.name != "reshape" or right.primitive.name != "reshape":
        return None
    (left,), (stacked,) = turned.inputs, right.inputs
    shapes = (left.shape, stacked.shape)
    has_steps = all(len(shape) == 3 for shape in shapes) and shapes[0][:2] == shapes[1][:2]
    if not has_steps or right.shape[0] != turned.shape[0] or turned.shape[1] != left.shape[2]:
        return None
    if stacked.primitive is not LOOP or stacked.attributes["result"] != "stack" or stacked.attributes["recompute"]:
        return None
    (steps, rows, columns), sums = stacked.shape, vertex.type.size
    count = rows_of_part(rows)
    is_worth_it = steps * count >= LEAST_DEPTH and count * sums >= LEAST_WORK and sums <= MOST_SUMS
    has_parts = count < rows <= MOST_PARTS * count
    has_tiles = columns % WIDEST_PANEL == 0 and left.shape[2] > 1  # a single row would be summed in another order
    return _Match(Run.of(stacked), left, rows // count) if is_worth_it and has_parts and has_tiles else None


def _is_at_hand(left: Vertex, run: Run) -> bool:
    """Whether each step has its rows of a left operand, be it that it makes them."""
    is_stack = left.primitive is LOOP and left.attributes["result"] == "stack" and Run.of(left) == run
    return is_stack or left in run.operands[run.carries : run.carries + run.xs]


def _with_xs(run: Run, added: Sequence[Vertex]) -> Graph:
    """The body of a run with more inputs per step, for these stacks."""
    place, inputs = run.carries + run.xs, run.body.inputs
    slots = (make_input(tensor_type(each.dtype, each.shape[1:]), site=each.site) for each in added)
    return Graph((*inputs[:place], *slots, *inputs[place:]), run.body.outputs)


def _product(vertex: Vertex, inputs: Sequence[Vertex], parts: int) -> Vertex:
    """The product over the rows of all steps, summed up by the loop that stacks the right operand."""
    (left,), (stacked,) = inputs[0].inputs[0].inputs, inputs[1].inputs
    run = Run.of(stacked)
    given = run.operands[run.carries : run.carries + run.xs]
    factor = run.carries + given.index(left) if left in given else left.attributes["number"]
    attributes = {**stacked.attributes, "result": "product", "number": (factor, stacked.attributes["number"], parts)}
    sums = make_vertex(LOOP, stacked.inputs, attributes, vertex.site)
    return build(vertex, "sum", sums, axes=(0,))
