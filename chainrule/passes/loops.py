"""Loops that compute in each step only what needs the step: products with what is given go before the loop.

Behind `simplify`, whose rules for loops have moved results behind them, much of a body may be there for nobody: carries
that no result depends on leave it here, with all that only they need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graph.graph import Graph, rebuild, topological_order
from ..graph.vertex import Vertex
from ..ops.loop import LOOP, Run, find_runs, stacked_numbers
from ..ops.source import make_input
from .rewriting import build
from .simplify_loop import is_fixed, is_product, multiply_rows, outside, result_of


class _Lean(NamedTuple):
    """What becomes of a run: another run, where in it the vertices of the old body are, and which carries it has."""

    run: Run
    new: dict[Vertex, Vertex]
    carries: tuple[int, ...]


def lighten_loops(graph: Graph) -> Graph:
    """Multiply before loops, and drop from their bodies what no result needs.

    Before: a body ``h' = tanh(x·W + h·U)`` with the carries h and n, a result h. After: ``h' = tanh(y + h·U)``, with
    y = x·W for all steps before the loop, and no n.
    """
    runs = find_runs(graph.order())
    lean: dict[Run, _Lean] = {}

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.primitive is not LOOP:
            return None
        old = Run.of(vertex)
        if old not in lean:
            lean[old] = _lighten(old._replace(operands=inputs), runs[old])
        return result_of(vertex, *lean[old])

    return rebuild(graph, rule)


def _lighten(run: Run, results: Sequence[Vertex]) -> _Lean:
    body, first, last = run.body, run.carries, run.carries + run.xs
    stacked = [body.members[number] for number in stacked_numbers(results)]
    wanted = {each.attributes["number"] for each in results if each.attributes["result"] == "carry"}
    carries = _needed_carries(run, stacked, wanted)
    roots = [*(body.outputs[k] for k in carries), *stacked, *_multiplied(run, results)]
    given = {member: make_input(member.type, site=member.site) for member in _multiplied_before(run, roots)}
    order = topological_order(roots, given)
    turned = {slot: matrix for slot, matrix in _turned_inside(run).items() if slot in order}
    new = given | {slot: build(slot, "transpose", matrix, permutation=(1, 0)) for slot, matrix in turned.items()}
    for vertex in order:
        if vertex not in new:
            inputs = tuple(new[operand] for operand in vertex.inputs)
            is_same = inputs == vertex.inputs
            new[vertex] = vertex if is_same else build(vertex, vertex.primitive.name, *inputs, **vertex.attributes)
    slots = {k: vertex for k, vertex in enumerate(body.inputs) if (k in carries if k < first else vertex in new)}
    products = {
        slot: multiply_rows(member, run.operands[body.inputs.index(member.inputs[0])], outside(run, member.inputs[1]))
        for member, slot in given.items()
    }
    pairs = {slot: run.operands[k] for k, slot in slots.items() if k < last} | products
    xs = len(pairs) - len(carries)
    for k, slot in slots.items():
        if k >= last:
            pairs |= {turned[slot]: run.operands[k].inputs[0]} if slot in turned else {slot: run.operands[k]}
    lean = Run(tuple(pairs.values()), Graph(tuple(pairs), tuple(new[x] for x in roots)), len(carries), xs, *run[4:])
    return _Lean(lean, new, tuple(carries))


def _multiplied(run: Run, results: Sequence[Vertex]) -> list[Vertex]:
    """The vertices of the body whose products are summed."""
    pairs = (each.attributes["number"][:2] for each in results if each.attributes["result"] == "product")
    return [run.body.members[number] for pair in pairs for number in pair]


def _needed_carries(run: Run, stacked: Sequence[Vertex], wanted: set[int]) -> list[int]:
    """The numbers of the carries that some results depend on."""
    positions = {vertex: k for k, vertex in enumerate(run.body.inputs[: run.carries])}
    needed, roots = set[int](), [*stacked]
    wanted = wanted | {positions[vertex] for vertex in topological_order(roots) if vertex in positions}
    while wanted:
        needed |= wanted
        roots += [run.body.outputs[k] for k in wanted]
        wanted = {positions[vertex] for vertex in topological_order(roots) if vertex in positions} - needed
    return sorted(needed)


def _multiplied_before(run: Run, roots: Sequence[Vertex]) -> list[Vertex]:
    """Products of what each step is given with a matrix that is the same at all steps."""
    if run.recompute:
        return []
    given, fixed = set(run.body.inputs[run.carries : run.carries + run.xs]), is_fixed(run)
    return [
        vertex
        for vertex in topological_order(roots)
        if is_product(vertex) and vertex.inputs[0] in given and fixed[vertex.inputs[1]]
    ]


def _turned_inside(run: Run) -> dict[Vertex, Vertex]:
    """Inputs of the body that are transposed matrices, which only products read, each with one for the matrix itself.

    A product reads them as they lie, where a loop reads a copy of a transposed operand.
    """
    users: dict[Vertex, list[Vertex]] = {}
    for vertex in run.body.members:
        for operand in vertex.inputs:
            users.setdefault(operand, []).append(vertex)

    def is_multiplied(vertex: Vertex) -> bool:
        return all(
            is_product(user) or (user.primitive.name == "transpose" and is_multiplied(user))
            for user in users.get(vertex, ())
        )

    last = run.carries + run.xs
    return {
        slot: make_input(operand.inputs[0].type, site=slot.site)
        for slot, operand in zip(run.body.inputs[last:], run.operands[last:], strict=True)
        if operand.primitive.name == "transpose" and len(slot.shape) == 2 and is_multiplied(slot)
    }
