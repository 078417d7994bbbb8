"""Loops whose derivative keeps the carries at the start of segments, and computes what is between them again.

A loop of T steps becomes a loop over segments, whose step is a loop over the steps of a segment. Steps that are left
over are a shorter loop behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ArgumentError
from ..graph.graph import Graph
from ..graph.vertex import Vertex
from ..ops.loop import Run
from ..ops.movement import concatenate, reshape, slice_
from ..types import TensorType, tensor_type
from .segment import body_input

Results = tuple[list[Vertex], list[Vertex]]
"""The carries behind the last step, and what is stacked."""


def check_recompute(steps: int) -> None:
    """Errors: `ArgumentError` for what is no number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ArgumentError(
            f"recompute must be a whole number of steps, or 0 to keep what all steps compute, got {steps!r}"
        )


def results(run: Run) -> Results:
    """The results that the body's outputs stand for."""
    carries, outputs = range(run.carries), run.body.outputs[run.carries :]
    return [run.carry(number) for number in carries], [run.stack(output) for output in outputs]


def run_in_segments(run: Run, steps: int, depth: int) -> Results:
    """The results of a run inside ``depth`` loops, of which only the carries at every so many steps are kept."""
    segments = run.length // steps
    if segments < 2:
        return results(run)
    parts = [(0, segments * steps), (segments * steps, run.length)]
    state, stacks = list(run.operands[: run.carries]), list[list[Vertex]]()
    for start, stop in parts[:: -1 if run.reverse else 1]:
        if start < stop:
            part = _part(run, state, start, stop)
            state, ys = results(part) if start else _in_whole_segments(part, steps, depth)
            stacks.append(ys)
    if len(stacks) == 1:
        return state, stacks[0]
    first, second = stacks[:: -1 if run.reverse else 1]
    return state, [concatenate(*pair, axis=0) for pair in zip(first, second, strict=True)]


def _part(run: Run, state: Sequence[Vertex], start: int, stop: int) -> Run:
    """The run of some of the steps, from another state."""
    last = run.carries + run.xs
    xs = [_steps(x, start, stop) for x in run.operands[run.carries : last]]
    return run._replace(operands=(*state, *xs, *run.operands[last:]), length=stop - start)


def _steps(x: Vertex, start: int, stop: int) -> Vertex:
    if (start, stop) == (0, x.shape[0]):
        return x
    rest = len(x.shape) - 1
    starts, stops = (start, *[0] * rest), (stop, *x.shape[1:])
    return slice_(x, starts, stops, (1,) * (rest + 1))


def _in_whole_segments(run: Run, steps: int, depth: int) -> Results:
    """The results of a run whose length is a multiple of ``steps``."""
    last, segments = run.carries + run.xs, run.length // steps

    def of_segment(number: int, operand: Vertex) -> TensorType:
        is_stack = run.carries <= number < last
        return tensor_type(operand.dtype, (steps, *operand.shape[1:])) if is_stack else operand.type

    # The inputs of a body inside a loop more than the body of one step, which they are not to be mistaken for.
    inputs = [body_input(depth + 2, k, of_segment(k, operand)) for k, operand in enumerate(run.operands)]
    ends, stacks = results(run._replace(operands=tuple(inputs), length=steps))
    xs = [reshape(x, (segments, steps, *x.shape[1:])) for x in run.operands[run.carries : last]]
    operands = (*run.operands[: run.carries], *xs, *run.operands[last:])
    body = Graph(tuple(inputs), (*ends, *stacks))
    outer = run._replace(operands=operands, body=body, length=segments, recompute=True)
    ends, stacks = results(outer)
    return ends, [reshape(y, (run.length, *y.shape[2:])) for y in stacks]

