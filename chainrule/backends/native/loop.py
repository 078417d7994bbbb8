"""Loops: a function that runs the program of one step again and again, each time on other blocks of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from chainrule.backends.native.kernel import KernelInfo, base_pointers, whole_lines, worker_scratch
from chainrule.backends.native.language import INDEX, KERNEL_ARGUMENTS, POINTER, Function, Module, Value
from chainrule.backends.native.loop_sums import LoopSums
from chainrule.backends.native.product import oriented
from chainrule.backends.native.product_packed import Packed, is_packed_ahead, pack_panels
from chainrule.passes.plan import Access, Buffer, Loop, Plan, Product, aligned

PACKING_TASKS = 8
"""A task packs its share of the panels of each operand."""

PARALLEL_PACKING = 1 << 17
"""Bytes from which on packing is worth being shared by threads."""


def pack_ahead(module: Module, loop: Loop, plan: Plan, name: str) -> tuple[Loop, KernelInfo | None]:
    """Write the kernel ``name``, which packs right operands of products that are the same at all steps.

    Return the loop whose products read them, and the kernel; if there are none the loop itself and None. The packed
    operands follow the others.
    """
    step, panels = loop.step, dict[int, Product]()
    for number, kernel in enumerate(step.kernels):
        product = oriented(kernel) if isinstance(kernel, Product) else None
        if product and product.right.buffer in loop.fixed and is_packed_ahead(product, module.target):
            panels[number] = product
    if not panels:
        return loop, None
    kernels, buffers, reads = [*step.kernels], list[Buffer](), [*loop.reads]
    offset = loop.tasks * loop.task_bytes
    with module.function(name, KERNEL_ARGUMENTS, exported=False) as f:
        bases = base_pointers(f, plan, loop)
        for number, product in panels.items():
            packed = Packed(product, f)
            source = bases[loop.reads[step.inputs.index(product.right.buffer)].buffer]
            with f.loop(f.arguments[1], f.arguments[2], name="task") as task:
                place = bases[loop.work.buffer].byte(offset)
                pack_panels(f, product, packed, source, place, task.index, PACKING_TASKS)
            right = Access(len(step.buffers) + len(buffers), (packed.width, 1))
            kernels[number] = replace(product, right=right, panel=packed.width)
            buffers.append(Buffer(product.dtype, packed.panels * packed.width * product.depth, "input", 0))
            reads.append(Access(loop.work.buffer, (), offset))
            offset += aligned(buffers[-1].nbytes)
    loop = replace(loop, step=_with_inputs(replace(step, kernels=tuple(kernels)), buffers), reads=tuple(reads))
    return loop, KernelInfo(name, PACKING_TASKS, sum(each.nbytes for each in buffers) >= PARALLEL_PACKING)


def _with_inputs(step: Plan, added: Sequence[Buffer]) -> Plan:
    """The plan with more inputs, behind the others."""
    count = len(step.inputs)
    old = [each if each.role == "input" else replace(each, slot=each.slot + len(added)) for each in step.buffers]
    new = [replace(each, slot=count + number) for number, each in enumerate(added)]
    return replace(step, buffers=(*old, *new), inputs=(*step.inputs, *range(len(old), len(old) + len(new))))


def emit_loop(
    module: Module,
    loop: Loop,
    plan: Plan,
    name: str,
    step: str,
    kernels: Sequence[KernelInfo],
    start: KernelInfo | None,
) -> KernelInfo:
    """Write a loop as the function ``name``; ``step`` names that of one step, called as a whole program is.

    A task runs the ``kernels`` of its steps alone; if there is just one, these are shared by threads. ``start`` packs.
    """
    every = [each for kernel in kernels for each in (kernel, *kernel.alternatives)]
    scratch = max((each.scratch_bytes for each in every), default=0)
    shared = max((each.shared_bytes for each in every), default=0)
    if loop.tasks == 1:
        with module.function(name, [("buffers", POINTER), ("pool", POINTER)], exported=False) as f:
            memory = f.load_pointer(f.arguments[0], plan.scratch_slot)
            _Steps(f, loop, plan).run(f.index(0), step, memory, f.arguments[1])
        return KernelInfo(name, 1, False, scratch, shared, start=start, is_loop=True)
    scratch = whole_lines(max(scratch, shared))
    with module.function(name, KERNEL_ARGUMENTS, exported=False) as f:
        memory, steps = worker_scratch(f, plan, scratch), _Steps(f, loop, plan)
        with f.loop(f.arguments[1], f.arguments[2], name="task") as task:
            steps.run(task.index, step, memory, f.constant(0, POINTER))
    return KernelInfo(name, loop.tasks, True, scratch, start=start)


class _Steps:
    """The steps of a task of a loop, inside a function.

    A carry is written in turn to its place and to a copy in working memory, so that no step reads what it writes, and
    the last step writes to its place. One that is stacked as it is before each step is written to its next block.
    """

    def __init__(self, f: Function, loop: Loop, plan: Plan) -> None:
        self.f, self.loop = f, loop
        bases = base_pointers(f, plan, loop)
        self.reads = [bases[access.buffer].byte(access.offset) for access in loop.reads]
        self.writes = [bases[access.buffer] for access in loop.writes]
        homes = dict(loop.homes)
        self.homes = {carry: self.writes[number] for number, carry in loop.homes}
        self.blocks = [number for number in range(loop.carries, len(self.writes)) if number not in homes]
        self.sums = [LoopSums(f, loop, each, bases, f"{f.name}_sum_{number}") for number, each in enumerate(loop.sums)]
        self.work = bases[loop.work.buffer]
        counter = loop.counter
        self.length = f.index(loop.length) if counter is None else f.load(bases[counter.buffer], INDEX)
        self.given = f.allocate("int64", loop.step.scratch_slot + 1, align=8)

    def run(self, task: Value, step: str, scratch: Value, pool: Value) -> None:
        f, loop, inner = self.f, self.loop, self.loop.step
        first, last, count = loop.carries, loop.carries + loop.xs, len(inner.inputs)
        bytes_of = [inner.buffers[number].nbytes for number in (*inner.inputs, *inner.outputs)]
        arena = self.work.byte(task * loop.task_bytes)
        states = self._states(task, bytes_of[:first], arena)
        for sums in self.sums:
            sums.start(task)
        with f.loop(0, self.length, name="step") as steps:
            place = self._place(task, steps.index)
            before, after = states(steps.index)
            xs = _parts(self.reads[first:last], bytes_of[first:last], place)
            stacks = self._stacks(bytes_of[count + first :], place, task, steps.index)
            addresses = [*before, *xs, *self.reads[last:], *after, *stacks, arena, scratch]
            for slot, address in enumerate(addresses):
                f.store(address, self.given.at(slot, "int64"))
            f.call(step, [self.given, f.index(1), pool])
            for sums in self.sums:
                sums.add(task, steps.index, self.length, arena.byte(loop.task_bytes - loop.sum_bytes))

    def _place(self, task: Value, index: Value) -> Value:
        """The number of the task's part of a block, in the order of memory."""
        block = self.length - 1 - index if self.loop.is_reversed else index
        return block * self.loop.tasks + task

    def _stacks(self, sizes: Sequence[int], place: Value, task: Value, index: Value) -> list[Value]:
        """Where the task's parts of what is stacked lie; those in rings begin again after some steps."""
        loop, in_ring = self.loop, place
        if loop.rings:
            in_ring = index % loop.sums[0].steps * loop.tasks + task
        places = (in_ring if number in loop.rings else place for number in self.blocks)
        return [self.writes[n].byte(at * size) for n, at, size in zip(self.blocks, places, sizes, strict=True)]

    def _states(self, task: Value, sizes: Sequence[int], arena: Value) -> Callable[[Value], tuple[list[Value], ...]]:
        """A function that says, for a step, where the task's carries lie before it and behind it.

        Carries with a home are put into its first block.
        """
        f, loop = self.f, self.loop
        starts = _parts(self.reads[: loop.carries], sizes, task)
        ends = _parts(self.writes[: loop.carries], sizes, task)

        def home(carry: int, index: Value) -> Value:
            return self.homes[carry].byte(self._place(task, index) * sizes[carry])

        copies, offset = dict[int, Value](), loop.step.arena_bytes
        for carry, size in enumerate(sizes):
            if carry in self.homes:
                f.copy(starts[carry], home(carry, f.index(0)), size)
            else:
                copies[carry] = arena.byte(offset)
                offset += aligned(size)

        def at(index: Value) -> tuple[list[Value], list[Value]]:
            left = self.length - 1 - index
            is_first, is_last, is_last_kind = index.equal(0), left.equal(0), (left % 2).equal(0)
            before, after = list[Value](), list[Value]()
            for carry, (start, end) in enumerate(zip(starts, ends, strict=True)):
                if carry in self.homes:
                    before.append(home(carry, index))
                    after.append(is_last.select(end, home(carry, index + 1)))
                else:
                    before.append(is_first.select(start, is_last_kind.select(copies[carry], end)))
                    after.append(is_last_kind.select(end, copies[carry]))
            return before, after

        return at


def _parts(pointers: Sequence[Value], sizes: Sequence[int], place: Value) -> list[Value]:
    """Where a part of blocks lies, the blocks being so many parts each."""
    return [pointer.byte(place * size) for pointer, size in zip(pointers, sizes, strict=True)]
