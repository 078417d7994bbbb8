"""Stacks that loops need not write, as they are summed, follow from others or are read at one end."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

from ..graph.graph import Graph, rebuild
from ..graph.vertex import Vertex
from ..ops.loop import LOOP, Run, find_runs, stacked_numbers
from ..ops.source import make_input, zeros_like
from ..types import Shape
from .fuse import LONG
from .rewriting import build
from .rows import FEWEST_ROWS, rows_of_part
from .simplify_loop import result_of, stack
from .simplify_movement import summed_pads


def stack_sums(graph: Graph) -> Graph:
    """Sum in each step, over its rows, what is summed over all steps: there it is near, and its sums are few.

    Before: ``sum(stack(g), (0, 1))`` of ``g[32,512]``. After: ``sum(stack(s), (0, 1))`` of ``s[2,512]``, the sums of
    each of the parts of rows that can go through all steps by themselves.
    """
    order = graph.order()
    stacked = _stacked_members(order)
    sums: dict[Run, dict[tuple[Vertex, Shape], Vertex]] = {}
    for vertex in order:
        if _sums_rows_of_steps(vertex):
            run = Run.of(vertex.inputs[0])
            key = _member(vertex.inputs[0]), vertex.attributes["axes"]
            sums.setdefault(run, {})[key] = _sums_of_parts(vertex, *key, stacked[run])
    new: dict[Run, Run] = {}

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.primitive is LOOP and (old := Run.of(vertex)) in sums:
            body = Graph(old.body.inputs, (*old.body.outputs, *sums[old].values()))
            new[old] = old._replace(operands=inputs, body=body)
            return result_of(vertex, new[old])
        if not _sums_rows_of_steps(vertex):
            return None
        old = Run.of(vertex.inputs[0])
        parts = stack(vertex, new[old], sums[old][_member(vertex.inputs[0]), vertex.attributes["axes"]])
        return build(vertex, "sum", parts, axes=(0, 1))

    return rebuild(graph, rule)


def _sums_rows_of_steps(vertex: Vertex) -> bool:
    """Whether this sums a stack over steps and rows, so many of these that a step has fewer sums."""
    if vertex.primitive.name != "sum" or vertex.attributes["axes"][:2] != (0, 1):
        return False
    stacked = vertex.inputs[0]
    if stacked.primitive is not LOOP or stacked.attributes["result"] != "stack" or stacked.attributes["recompute"]:
        return False
    member = _member(stacked)
    return member.shape[0] >= FEWEST_ROWS and member.type.size < LONG


def _sums_of_parts(like: Vertex, member: Vertex, axes: Shape, written: Sequence[Vertex]) -> Vertex:
    """In a step, the sums over the rows of each part; ``axes`` are those of a sum over all steps.

    Factors are read from where they are written: what computes them does not go through memory by columns, as sums do.
    """
    if member.primitive.name == "multiply":
        member = build(like, "multiply", *(_read_where_written(factor, written) for factor in member.inputs))
    count = rows_of_part(member.shape[0])
    parts = build(like, "reshape", member, shape=(member.shape[0] // count, count, *member.shape[1:]))
    return build(like, "sum", parts, axes=axes[1:])


def _read_where_written(member: Vertex, written: Sequence[Vertex]) -> Vertex:
    whole, low = _whole(member, written) or (member, ())
    stops = tuple(map(add, low, member.shape))
    return build(member, "slice", whole, starts=low, stops=stops, steps=(1,) * len(low)) if low else member


def share_stacks(graph: Graph) -> Graph:
    """Take parts of stacks, and products that are only summed, from the stacks that they follow from.

    Before: the gradients a and b of two gates beside each other in a matrix, a alone, and a·c for the gradient of a
    peephole, stacked each. After: the matrix is stacked; a is a part of it, the sum multiplies that by the stack of c.
    """
    order, readers = graph.order(), _readers(graph)
    stacked = _stacked_members(order)

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.primitive is not LOOP or vertex.attributes["result"] != "stack":
            return None
        run = Run.of(vertex)
        member, written = run.body.members[vertex.attributes["number"]], stacked.get(run, [])
        run = run._replace(operands=inputs)
        part = _part(vertex, run, member, written)
        is_summed = all(each is not None and each.primitive.name == "sum" for each in readers[vertex])
        if part is not None or member.primitive.name != "multiply" or not is_summed:
            return part
        factors = [_at_hand(vertex, run, operand, written) for operand in member.inputs]
        return None if None in factors else build(vertex, "multiply", *(each for each in factors if each is not None))

    return rebuild(graph, rule)


def _stacked_members(order: Sequence[Vertex]) -> dict[Run, list[Vertex]]:
    """The vertices of each run's body that are stacked."""
    return {
        run: [run.body.members[number] for number in stacked_numbers(results)]
        for run, results in find_runs(order).items()
        if not run.recompute
    }


def _readers(graph: Graph) -> dict[Vertex, list[Vertex | None]]:
    """The vertices that read each vertex; None stands for the graph's results."""
    found: dict[Vertex, list[Vertex | None]] = {}
    for vertex in graph.order():
        for operand in vertex.inputs:
            found.setdefault(operand, []).append(vertex)
    for result in (*graph.outputs, *(value for _, value in graph.updates)):
        found.setdefault(result, []).append(None)
    return found


def _at_hand(like: Vertex, run: Run, member: Vertex, written: Sequence[Vertex]) -> Vertex | None:
    """The stack of a vertex of the body, if there is one anyway."""
    given = run.body.inputs[run.carries : run.carries + run.xs]
    if member in given:
        return run.operands[run.carries + given.index(member)]
    part = _part(like, run, member, written)
    return stack(like, run, member) if part is None and member in written else part


def _part(like: Vertex, run: Run, member: Vertex, written: Sequence[Vertex]) -> Vertex | None:
    """The stack of a vertex that the body puts beside others in one whose stack is written."""
    found = _whole(member, written)
    if found is None:
        return None
    whole, low = found
    stops = (run.length, *map(add, low, member.shape))
    return build(like, "slice", stack(like, run, whole), starts=(0, *low), stops=stops, steps=(1,) * len(stops))


def _whole(member: Vertex, written: Sequence[Vertex]) -> tuple[Vertex, Shape] | None:
    """The vertex of the body, among those that are written, in which one lies beside others, and where."""
    for whole in written:
        pads = summed_pads(whole) if whole.primitive.name == "add" else []
        for pad in pads:
            if pad.inputs[0] is member and not any(_overlap(pad, other) for other in pads if other is not pad):
                return whole, pad.attributes["low"]
    return None


def _overlap(one: Vertex, other: Vertex) -> bool:
    """Whether what two pads surround has an element at the same place."""
    ends = (map(add, pad.attributes["low"], pad.inputs[0].shape) for pad in (one, other))
    low, high = zip(one.attributes["low"], other.attributes["low"], strict=True), zip(*ends, strict=True)
    return all(max(starts) < min(stops) for starts, stops in zip(low, high, strict=True))


def carry_ends(graph: Graph) -> Graph:
    """Carry what only one end of a loop has to do with: what is read behind the last step, and zeros but in the first.

    Before: ``stack(h)[-1]``, and the loop back, which is given a stack of zeros with the gradient of h at its end.
    After: h is a carry that no step reads, and its gradient one that is 0 behind the first step.
    """
    order, readers = graph.order(), _readers(graph)
    ended: dict[Run, list[Vertex]] = {}
    for run, results in find_runs(order).items():
        last = 0 if run.reverse else run.length - 1
        stacks = [each for each in results if each.attributes["result"] == "stack" and not run.recompute]
        ended[run] = [_member(each) for each in stacks if all(_is_step(reader, last) for reader in readers[each])]
    wider: dict[Run, Run] = {}

    def rule(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.primitive is LOOP:
            old = Run.of(vertex)
            if old not in wider:
                wider[old] = _widened(old._replace(operands=inputs), ended[old])
            return result_of(vertex, wider[old])
        if vertex.primitive.name != "slice" or vertex.inputs[0].primitive is not LOOP:
            return None
        old, member = Run.of(vertex.inputs[0]), _member(vertex.inputs[0])
        if vertex.inputs[0].attributes["result"] != "stack" or member not in ended[old]:
            return None
        carry = _carry(vertex, wider[old], wider[old].body.outputs.index(member))
        starts, stops = (0, *vertex.attributes["starts"][1:]), (1, *vertex.attributes["stops"][1:])
        row = build(vertex, "reshape", carry, shape=(1, *carry.shape))
        return build(vertex, "slice", row, starts=starts, stops=stops, steps=vertex.attributes["steps"])

    return rebuild(graph, rule)


def _member(result: Vertex) -> Vertex:
    """The vertex of the body that a result stacks."""
    return Run.of(result).body.members[result.attributes["number"]]


def _is_step(reader: Vertex | None, step: int) -> bool:
    """Whether what reads a stack reads only one step of it."""
    if reader is None or reader.primitive.name != "slice":
        return False
    return (reader.attributes["starts"][0], reader.attributes["stops"][0]) == (step, step + 1)


def _carry(like: Vertex, run: Run, number: int) -> Vertex:
    attributes = {**run._asdict(), "result": "carry", "number": number}
    operands = attributes.pop("operands")
    return build(like, "loop", *operands, **attributes)


def _widened(run: Run, ended: Sequence[Vertex]) -> Run:
    """The run with more carries: for the values of ``ended`` vertices, and in place of stacks that only begin."""
    (inputs, outputs), first, operands = (run.body.inputs, run.body.outputs), run.carries, run.operands
    begun = [k for k in range(first, first + run.xs) if not run.recompute and _only_begins(operands[k], run)]
    new = [member for member in ended if member not in outputs[:first]]
    if not begun and not new:
        return run
    kept = [k for k in range(first, len(inputs)) if k not in begun]
    slots = (*inputs[:first], *(make_input(member.type) for member in new), *(inputs[k] for k in begun))
    after = (*outputs[:first], *new, *(zeros_like(inputs[k]) for k in begun), *outputs[first:])
    starts = (build(operands[k], "reshape", operands[k].inputs[0], shape=inputs[k].shape) for k in begun)
    values = (*operands[:first], *map(zeros_like, new), *starts, *(operands[k] for k in kept))
    body = Graph((*slots, *(inputs[k] for k in kept)), after)
    return run._replace(operands=values, body=body, carries=len(slots), xs=run.xs - len(begun))


def _only_begins(operand: Vertex, run: Run) -> bool:
    """Whether a stack is 0 but in the step with which a run begins."""
    if operand.primitive.name != "pad" or operand.inputs[0].shape[0] != 1:
        return False
    first = run.length - 1 if run.reverse else 0
    low, high = operand.attributes["low"], operand.attributes["high"]
    return low[0] == first and not any((*low[1:], *high[1:], *operand.attributes["interior"]))
