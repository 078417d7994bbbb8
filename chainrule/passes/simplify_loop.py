"""Rules for loops: what a step gives and no other step needs is computed once for all steps, behind the loop.

Products of all steps are then one product over the rows of all steps, many times as fast where a step has few rows. The
rules are general: the gradients of weights in a recurrent network are sums over steps that no step reads, and those of
its inputs are products that no carry depends on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..graph.graph import topological_order
from ..graph.vertex import Vertex, make_vertex
from ..ops.loop import LOOP, Run
from ..types import Shape
from .rewriting import build, rule


def is_fixed(run: Run) -> dict[Vertex, bool]:
    """For each vertex of a body whether it is the same at all steps."""
    first = run.carries + run.xs
    found = {vertex: position >= first for position, vertex in enumerate(run.body.inputs)}
    for vertex in run.body.members:
        if vertex not in found:
            found[vertex] = all(found[operand] for operand in vertex.inputs)
    return found


def outside(run: Run, fixed: Vertex) -> Vertex:
    """The value, in the graph around a loop, of a vertex that is the same at all steps."""
    new = dict(zip(run.body.inputs, run.operands, strict=True))
    for vertex in topological_order([fixed]):
        if vertex not in new:
            inputs = (new[operand] for operand in vertex.inputs)
            new[vertex] = (
                build(vertex, vertex.primitive.name, *inputs, **vertex.attributes) if vertex.inputs else vertex
            )
    return new[fixed]


def stack(like: Vertex, run: Run, member: Vertex) -> Vertex:
    """The values of a vertex of the body at all steps."""
    attributes = {**run._asdict(), "result": "stack", "number": run.body.members.index(member)}
    operands = attributes.pop("operands")
    return build(like, "loop", *operands, **attributes)


def result_of(
    vertex: Vertex, run: Run, new: Mapping[Vertex, Vertex] | None = None, carries: Sequence[int] | None = None
) -> Vertex:
    """The result of another run that a vertex is of its own.

    ``new`` maps what it names of its body to what that is in the other, if these are other vertices; ``carries`` are
    the numbers of those that the other run still has.
    """
    old, kind, number = Run.of(vertex), vertex.attributes["result"], vertex.attributes["number"]

    def moved(number: int) -> int:
        member = old.body.members[number]
        return run.body.members.index(new[member] if new else member)

    if kind == "stack":
        number = moved(number)
    elif kind == "product":
        number = (moved(number[0]), moved(number[1]), number[2])
    elif carries is not None:
        number = carries.index(number)
    attributes = {**run._asdict(), "result": kind, "number": number}
    operands = attributes.pop("operands")
    return make_vertex(LOOP, operands, attributes, vertex.site)


def _rows(like: Vertex, stacked: Vertex) -> Vertex:
    """Matrices of all steps as one, with the rows of all."""
    return _reshaped(like, stacked, (math.prod(stacked.shape[:-1]), stacked.shape[-1]))


def _reshaped(like: Vertex, x: Vertex, shape: Shape) -> Vertex:
    return x if x.shape == shape else build(like, "reshape", x, shape=shape)


def multiply_rows(like: Vertex, stacked: Vertex, matrix: Vertex) -> Vertex:
    """The products of matrices of all steps with one, as one product."""
    product = build(like, "matmul", _rows(like, stacked), matrix)
    return _reshaped(like, product, (*stacked.shape[:-1], matrix.shape[-1]))


@rule("loop")
def keep_first_carry(vertex: Vertex) -> Vertex | None:
    """Behind no step a carry is what it was before the first."""
    is_first = vertex.attributes["length"] == 0 and vertex.attributes["result"] == "carry"
    return vertex.inputs[vertex.attributes["number"]] if is_first else None


@rule("loop")
def read_stack_where_it_is(vertex: Vertex) -> Vertex | None:
    """A stack of what each step is given is the stack that it is given from."""
    run = Run.of(vertex)
    position = vertex.attributes["number"]  # inputs are the first members
    is_given = vertex.attributes["result"] == "stack" and run.carries <= position < run.carries + run.xs
    return vertex.inputs[position] if is_given else None


@rule("loop")
def multiply_behind_loop(vertex: Vertex) -> Vertex | None:
    """Products with a matrix that is the same at all steps, that no carry depends on: one product of all rows."""
    run = Run.of(vertex)
    if vertex.attributes["result"] != "stack" or run.recompute:
        return None
    member = run.body.members[vertex.attributes["number"]]
    if not is_product(member):
        return None
    left, right = member.inputs
    if not is_fixed(run)[right] or member in topological_order(run.body.outputs[: run.carries]):
        return None
    return multiply_rows(vertex, stack(vertex, run, left), outside(run, right))


def is_product(vertex: Vertex) -> bool:
    """Whether this is a product of two matrices."""
    return vertex.primitive.name == "matmul" and all(len(operand.shape) == 2 for operand in vertex.inputs)


@rule("loop")
def sum_behind_loop(vertex: Vertex) -> Vertex | None:
    """A carry to which each step adds something, and that nothing else reads: the sum over all steps at once."""
    run, number = Run.of(vertex), vertex.attributes["number"]
    if vertex.attributes["result"] != "carry" or run.length == 0 or run.recompute:
        return None
    carry, after = run.body.inputs[number], run.body.outputs[number]
    if after.primitive.name != "add" or carry not in after.inputs or after.inputs[0] is after.inputs[1]:
        return None
    if any(carry in member.inputs and member is not after for member in run.body.members):
        return None
    (summand,) = (operand for operand in after.inputs if operand is not carry)
    total = _sum_over_steps(vertex, run, summand) if summand.shape == carry.shape else None
    return None if total is None else build(vertex, "add", vertex.inputs[number], total)


def _sum_over_steps(like: Vertex, run: Run, summand: Vertex) -> Vertex | None:
    """Σₜ of a vertex of the body, where that is one product or sum over all steps; else None."""
    name, operands = summand.primitive.name, summand.inputs
    if name == "add" and operands[0].shape == operands[1].shape:
        return _added(like, [_sum_over_steps(like, run, operand) for operand in operands])
    if name in ("reshape", "transpose"):
        inner = _sum_over_steps(like, run, operands[0])
        return None if inner is None else build(like, name, inner, **summand.attributes)
    if name == "sum":
        axes = (0, *(axis + 1 for axis in summand.attributes["axes"]))
        return build(like, "sum", stack(like, run, operands[0]), axes=axes)
    if is_product(summand) and operands[0].primitive.name == "transpose":
        left, right = (_rows(like, stack(like, run, x)) for x in (operands[0].inputs[0], operands[1]))
        return build(like, "matmul", build(like, "transpose", left, permutation=(1, 0)), right)
    return None


def _added(like: Vertex, terms: Sequence[Vertex | None]) -> Vertex | None:
    first, second = terms
    return None if first is None or second is None else build(like, "add", first, second)
