"""Loops as kernels: the plan of a step, and the memory that all steps work in."""

from __future__ import annotations

from collections.abc import Callable

from ..graph.graph import Graph
from ..ops.loop import Run
from ..types import bool_, int64
from .plan import WIDEST_PANEL, Access, Buffer, Loop, Plan, Product, aligned
from .rows import part_of_rows

PlanMaker = Callable[[Graph], Plan]


def plan_loop(run: Run, step: Graph, make_plan: PlanMaker) -> Loop:
    """The kernel of a run whose steps compute ``step``, without a name and without places in memory."""
    homes = _find_homes(run, step)
    step = Graph(step.inputs, tuple(output for number, output in enumerate(step.outputs) if number not in homes))
    part = part_of_rows(run, step)
    tasks = 1 if part is step else step.outputs[0].shape[0] // part.outputs[0].shape[0]
    plan, nowhere = make_plan(part), Access(-1, ())
    packed = _packed_bytes(plan, run.carries + run.xs)
    return Loop(
        "", plan, run.carries, run.xs, run.length, run.reverse, (), (), nowhere, packed, tasks,
        homes=tuple(homes.items()),
    )  # fmt: skip


def _find_homes(run: Run, step: Graph) -> dict[int, int]:
    """Outputs of a step that are carries as they were before it, each with its carry, which can lie in its stack."""
    carries = {vertex: number for number, vertex in enumerate(step.inputs[: run.carries])}
    found = [number for number, output in enumerate(step.outputs) if number >= run.carries and output in carries]
    return {number: carries[step.outputs[number]] for number in found}


def plan_any_length(run: Run, step: Graph, make_plan: PlanMaker) -> Plan:
    """The plan of a program that only runs a loop, as many steps as it is told: nothing in it depends on their number.

    Its inputs are those of the step, those of all steps stacked, and behind them the number of steps; its outputs are
    those of the step, the next carries being the last ones and others stacked.
    """
    loop = plan_loop(run, step, make_plan)
    types = [vertex.type for vertex in (*step.inputs, *step.outputs)]
    count = len(step.inputs)
    roles = ["input"] * (count + 1) + ["output"] * len(step.outputs)
    sizes = [(type.dtype, type.size) for type in types]
    sizes.insert(count, (int64, 1))
    buffers = [Buffer(*size, role, slot) for slot, (size, role) in enumerate(zip(sizes, roles, strict=True))]
    buffers.append(Buffer(bool_, loop.work_bytes, "temporary", len(buffers)))
    *places, work = (Access(number, ()) for number in range(len(buffers)))
    reads, counter, writes = places[:count], places[count], places[count + 1 :]
    kernel = Loop(
        "loop", loop.step, run.carries, run.xs, 1, run.reverse, tuple(reads), tuple(writes), work, loop.packed_bytes,
        loop.tasks, counter, loop.homes,
    )  # fmt: skip
    inputs, outputs = range(count + 1), range(count + 1, len(buffers) - 1)
    return Plan(tuple(buffers), (kernel,), tuple(inputs), tuple(outputs), aligned(loop.work_bytes))


def _packed_bytes(step: Plan, first: int) -> int:
    """Room to pack the operands of products that are among the inputs of a step from number ``first`` on."""
    total, fixed = 0, step.inputs[first:]
    for kernel in step.kernels:
        if isinstance(kernel, Product) and not kernel.batch:
            for access, extent in ((kernel.left, kernel.rows), (kernel.right, kernel.columns)):
                if access.buffer in fixed:
                    columns = -(-extent // WIDEST_PANEL) * WIDEST_PANEL
                    total += aligned(columns * kernel.depth * kernel.dtype.size)
    return total
