"""What the templates share: the record of an emitted kernel, and the memory that a kernel works on.

Every kernel is a function ``void(ptr buffers, i64 begin, i64 end, i64 worker)`` that does its tasks [begin, end).
Scratch memory holds, for one kernel at a time, first the bytes that all its tasks share, then the bytes of each worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chainrule.backends.native.language import Function, Value
from chainrule.passes.plan import Access, Kernel, Loop, Nest, Plan

LINE_BYTES = 64
"""A cache line; temporaries and scratch memory begin at one."""


def whole_lines(bytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-bytes // LINE_BYTES) * LINE_BYTES


@dataclass(frozen=True)
class KernelInfo:
    """One emitted kernel, as the driver needs it.

    ``function`` is its name in the module and ``tasks`` the number of its tasks, fixed by shapes. A kernel that is not
    parallel is always called with all its tasks by worker 0, so that it may ignore its arguments but the first.
    ``scratch_bytes`` is what each worker needs, ``shared_bytes`` what the tasks share. ``finish`` names a second
    function, called once with the same arguments when all tasks are done (it combines partial sums); ``start`` is a
    kernel that is run before (it packs operands). ``choice`` names a function ``i64(ptr buffers)`` that
    looks at the operands and returns which kernel does this one's work faster: 0 for this one itself, else 1 + the
    number of the one in ``alternatives``. ``is_loop``: the function is ``void(ptr buffers, ptr pool)``, for it runs
    kernels itself.
    """

    function: str
    tasks: int
    is_parallel: bool
    scratch_bytes: int = 0
    shared_bytes: int = 0
    finish: str | None = None
    start: KernelInfo | None = None
    choice: str | None = None
    alternatives: tuple[KernelInfo, ...] = ()
    is_loop: bool = False


def accesses(kernel: Kernel) -> Iterator[Access]:
    """All places in memory that a kernel loads from and stores to."""
    if isinstance(kernel, Loop):
        yield from (*kernel.reads, *kernel.writes, *kernel.sum_accesses, kernel.work)
        if kernel.counter is not None:
            yield kernel.counter
        return
    if isinstance(kernel, Nest):
        yield from (reduction.access for reduction in kernel.reductions)
    else:
        yield from (kernel.left, kernel.right)
    yield from (store.access for store in kernel.stores)
    yield from (item.access for item in kernel.body if item.operation == "load" and item.access is not None)


def base_pointers(f: Function, plan: Plan, kernel: Kernel) -> dict[int, Value]:
    """The address of element 0 of every buffer that a kernel uses, by number of the buffer.

    To be called at the start of the function, so that the addresses are known in all of it. Example:
    ``base_pointers(f, plan, product)[product.left.buffer].at(product.left.offset, "float32")``.
    """
    entries: dict[int, Value] = {}
    pointers = {}
    for number in sorted({access.buffer for access in accesses(kernel)}):
        buffer = plan.buffers[number]
        if buffer.slot not in entries:
            entries[buffer.slot] = f.load_pointer(f.arguments[0], buffer.slot)
        entry = entries[buffer.slot]
        pointers[number] = entry.byte(buffer.offset) if buffer.role == "temporary" else entry
    return pointers


def worker_scratch(f: Function, plan: Plan, scratch_bytes: int) -> Value:
    """The address, aligned to 64 bytes, of this worker's scratch memory in a kernel without shared bytes.

    ``scratch_bytes`` must be the kernel's ``KernelInfo.scratch_bytes``, a multiple of 64.
    """
    buffers, _, _, worker = f.arguments
    return f.load_pointer(buffers, plan.scratch_slot).byte(worker * scratch_bytes)
