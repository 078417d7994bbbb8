"""Plans and groups as text for people: kernels with their bodies, buffers, arithmetic and traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph.primitive import PRIMITIVES
from ..types import tensor_type
from .emit import Draft
from .fuse import Group
from .memory import read_accesses, written_accesses
from .plan import Access, Buffer, Computation, Contraction, Instruction, Kernel, Loop, Nest, Plan, Product, Scan


def format_plan(plan: Plan) -> str:
    """Return a listing of buffers and kernels; %n is instruction n of a body, @n buffer n.

    The plan of one step of a loop is indented below it.
    """
    lines = [f"plan: {len(plan.kernels)} kernels, arena of {plan.arena_bytes} bytes"]
    used = {access.buffer for kernel in plan.kernels for access in read_accesses(kernel) + written_accesses(kernel)}
    used |= {*plan.inputs, *plan.outputs}
    lines += [_format_buffer(number, plan.buffers[number]) for number in sorted(used)]
    for kernel in plan.kernels:
        lines += _format_kernel(kernel, plan.buffers)
    return "\n".join(lines) + "\n"


def format_draft(draft: Draft) -> str:
    """Return the kernels of a draft, before memory is laid out."""
    lines = [line for kernel in draft.kernels for line in _format_kernel(kernel, draft.buffers)]
    lines += [f"update @{old} = @{new}" for new, old in draft.updates]
    return "\n".join(lines) + "\n"


def format_groups(groups: Sequence[Group]) -> str:
    """Return one line per group: its domain and the vertices that it computes."""
    lines = []
    for group in groups:
        members = ", ".join(f"{node.vertex!r}" for node in group.members)
        first = group.members[0].kind
        kind = "product" if group.product else first if first in ("scan", "loop") else "nest"
        lines.append(f"{kind} {list(group.domain)}: {members}")
    return "\n".join(lines) + "\n"


def kernel_flops(kernel: Kernel) -> int:
    """Arithmetic operations of a kernel, by the costs in the records of its primitives."""
    if isinstance(kernel, Loop):
        flops = kernel.tasks * sum(map(kernel_flops, kernel.step.kernels))
        flops += sum(2 * each.parts * each.depth * each.columns * f.rows for each in kernel.sums for f in each.factors)
        return kernel.length * flops
    points = math.prod(kernel.domain)
    if isinstance(kernel, Nest):
        total = points * len(kernel.reductions)
    else:
        total = 2 * points * kernel.terms
    return total + points * sum(_instruction_cost(step) for step in kernel.body)


def _instruction_cost(step: Instruction) -> int:
    record = PRIMITIVES.get(step.operation)
    if record is None or record.family == "source":
        return 0
    scalar = tensor_type(step.dtype, ())
    operands = step.operands[:2] if step.operation == "random_uniform" else step.operands  # its third is the element
    return record.cost(scalar, *(scalar for _ in operands))


def kernel_bytes(kernel: Kernel, buffers: Sequence[Buffer]) -> int:
    """Bytes that a kernel must move if each element that it touches is moved once; a loop moves those of its steps."""
    if isinstance(kernel, Loop):
        steps = kernel.length * kernel.tasks
        return steps * sum(kernel_bytes(inner, kernel.step.buffers) for inner in kernel.step.kernels)
    touched = [*set(written_accesses(kernel)), *set(read_accesses(kernel))]
    return sum(_touched_elements(access, kernel) * buffers[access.buffer].dtype.size for access in touched)


def _touched_elements(access: Access, kernel: Computation) -> int:
    extents = kernel.domain
    if not isinstance(kernel, Nest) and access in (kernel.left, kernel.right):
        extents = kernel.left_domain if access == kernel.left else kernel.right_domain
    count = 1
    for extent, stride in zip(extents, access.strides, strict=True):
        count *= extent if stride else 1
    return count


def _format_buffer(number: int, buffer: Buffer) -> str:
    place = f"at byte {buffer.offset} of the arena" if buffer.role == "temporary" else f"pointer {buffer.slot}"
    return f"  @{number}: {buffer.dtype.name}[{buffer.size}] {buffer.role}, {place}"


def _format_access(access: Access) -> str:
    terms = [str(access.offset)] if access.offset else []
    terms += [f"{stride}·i{d}" if stride != 1 else f"i{d}" for d, stride in enumerate(access.strides) if stride]
    terms += [f"{term.stride}·clamp(%{term.instruction}, {term.limit})" for term in access.dynamic]
    return f"@{access.buffer}[{' + '.join(terms) or 0}]" if access.buffer >= 0 else " + ".join(terms) or "0"


def _format_kernel(kernel: Kernel, buffers: Sequence[Buffer]) -> list[str]:
    figures = f"{kernel_flops(kernel)} flops, {kernel_bytes(kernel, buffers)} bytes"
    if isinstance(kernel, Loop):
        return _format_loop(kernel, figures)
    if isinstance(kernel, Nest):
        lines = [f"{'scan' if isinstance(kernel, Scan) else 'nest'} {kernel.name} {list(kernel.domain)} ({figures}):"]
    else:
        lines = [_format_product(kernel, figures)]
    for number, step in enumerate(kernel.body):
        arguments = [f"%{operand}" for operand in step.operands]
        arguments += [_format_access(step.access)] if step.access is not None else []
        arguments += [repr(step.value)] if step.value is not None else []
        lines.append(f"    %{number}: {step.dtype.name} = {step.operation}({', '.join(arguments)})")
    for store in kernel.stores:
        lines.append(f"    {_format_access(store.access)} {'+=' if store.accumulate else '='} %{store.instruction}")
    for reduction in kernel.reductions if isinstance(kernel, Nest) else ():
        target = _format_access(reduction.access)
        lines.append(f"    {target} = {reduction.operation}(%{reduction.instruction}, axes={reduction.axes})")
    return lines


def _format_loop(loop: Loop, figures: str) -> list[str]:
    direction = "backwards" if loop.is_reversed else "forwards"
    kinds = {"carry": loop.carries, "block": loop.xs, "whole": len(loop.reads) - loop.carries - loop.xs}
    names = [name for name, count in kinds.items() for _ in range(count)]
    parts = f", {loop.tasks} parts" if loop.tasks > 1 else ""
    lines = [f"loop {loop.name} of {loop.length} steps {direction}{parts} ({figures}):"]
    for number, (name, access) in enumerate(zip(names, loop.reads, strict=True)):
        lines.append(f"    input {number} is {name} {_format_access(access)}")
    homes = {number: f", where carry {carry} lies before each step" for number, carry in loop.homes}
    for number, access in enumerate(loop.writes):
        kind = "carry" if number < loop.carries else "block"
        lines.append(f"    output {number} is {kind} {_format_access(access)}{homes.get(number, '')}")
    for each in loop.sums:
        for factor in each.factors:
            left, right, sums = map(_format_access, (factor.left, each.right, factor.sums))
            lines.append(f"    {each.parts} sums {factor.rows}x{each.columns} {sums}: {left} · {right}")
    return lines + [f"    {line}" for line in format_plan(loop.step).splitlines()]


def _format_product(kernel: Product | Contraction, figures: str) -> str:
    if isinstance(kernel, Product):
        batch = [f"b{d}" for d in range(len(kernel.batch))]
        left, right = _format_operand(kernel.left, [*batch, *"ik"]), _format_operand(kernel.right, [*batch, *"kj"])
        shape = f"{list(kernel.batch)} {kernel.rows}x{kernel.columns}x{kernel.depth}"
        return f"product {kernel.name} {shape} ({figures}): {left} · {right}"
    rows, depth = [f"i{d}" for d in range(len(kernel.rows))], [f"k{d}" for d in range(len(kernel.depth))]
    left, right = _format_operand(kernel.left, [*rows, *depth, "j"]), _format_operand(kernel.right, [*depth, "j"])
    shape = f"{list(kernel.rows)}x{kernel.columns}x{list(kernel.depth)}"
    return f"contraction {kernel.name} {shape} ({figures}): {left} · {right}"


def _format_operand(access: Access, letters: Sequence[str]) -> str:
    terms = [str(access.offset)] if access.offset else []
    walked = [(name, stride) for name, stride in zip(letters, access.strides, strict=True) if stride]
    terms += [name if stride == 1 else f"{stride}·{name}" for name, stride in walked]
    return f"@{access.buffer}[{' + '.join(terms) or 0}]"
