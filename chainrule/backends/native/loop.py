"""Loops: a function that runs the program of one step again and again, each time on other blocks of memory."""

from __future__ import annotations

from chainrule.backends.native.kernel import KernelInfo, base_pointers
from chainrule.backends.native.language import POINTER, Module, Value
from chainrule.passes.plan import Loop, Plan, aligned


def emit_loop(module: Module, loop: Loop, plan: Plan, name: str, step: str) -> KernelInfo:
    """Write a loop as the function ``name``; ``step`` names that of one step, called as a whole program is.

    A carry is written in turn to its place and to a copy in working memory, so that no step reads what it writes, and
    the last step writes to its place.
    """
    carries, inner = loop.carries, loop.step
    with module.function(name, [("buffers", POINTER), ("pool", POINTER)], exported=False) as f:
        pool = f.arguments[1]
        bases = base_pointers(f, plan, loop)
        reads, writes, work = [bases[x.buffer] for x in loop.reads], [bases[x.buffer] for x in loop.writes], loop.work
        bytes_of = [inner.buffers[number].nbytes for number in (*inner.inputs, *inner.outputs)]
        copies, offset = [], inner.arena_bytes
        for size in bytes_of[:carries]:
            copies.append(bases[work.buffer].byte(offset))
            offset += aligned(size)
        fixed = [*reads[carries + loop.xs :]]
        scratch = f.load_pointer(f.arguments[0], plan.scratch_slot)
        given = f.allocate("int64", inner.scratch_slot + 1, align=8)
        with f.loop(0, loop.length, name="step") as steps:
            left = f.index(loop.length - 1) - steps.index
            place = left if loop.is_reversed else steps.index
            is_last_kind = (left % 2).equal(0)
            before = [is_last_kind.select(copy, end) for copy, end in zip(copies, writes, strict=False)]
            states = [steps.index.equal(0).select(a, b) for a, b in zip(reads, before, strict=False)]
            after = [is_last_kind.select(end, copy) for copy, end in zip(copies, writes, strict=False)]

            def block(pointer: Value, size: int, place: Value = place) -> Value:
                return pointer.byte(place * size)

            first, last, count = carries, carries + loop.xs, len(reads)
            xs = [block(x, size) for x, size in zip(reads[first:last], bytes_of[first:last], strict=True)]
            stacks = [block(x, size) for x, size in zip(writes[first:], bytes_of[count + first :], strict=True)]
            addresses = [*states, *xs, *fixed, *after, *stacks, bases[work.buffer], scratch]
            for slot, address in enumerate(addresses):
                f.store(address, given.at(slot, "int64"))
            f.call(step, [given, f.index(1), pool])
    return KernelInfo(name, 1, is_parallel=False, is_loop=True)
