"""Lay out memory: which buffers share bytes of the arena, and which new values are written over the old ones.

Works on kernels alone. A kernel depends on an earlier one if both touch a buffer and one of them writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .emit import Draft
from .plan import Access, Buffer, Instruction, Kernel, Loop, Nest, Plan, Store, aligned, with_accesses


def lay_out(draft: Draft) -> Plan:
    """Return the plan: updates in place where that is safe, kernels ordered, temporaries packed into one arena."""
    flows = [_Flow.of(kernel) for kernel in draft.kernels]
    before = _dependencies(flows)
    aliases, copies = _place_updates(draft, flows, before)
    kernels = [rename_buffers(kernel, aliases) if aliases else kernel for kernel in draft.kernels]
    order = _Schedule(before, flows, draft.buffers).run()
    ordered = [kernel for kernel in (drop_self_copies(kernels[number]) for number in order) if kernel is not None]
    ordered += copies
    buffers, arena_bytes = _pack(draft.buffers, ordered)
    return Plan(buffers, tuple(ordered), draft.inputs, draft.outputs, arena_bytes)


@dataclass(frozen=True)
class _Flow:
    """The buffers that a kernel reads and writes."""

    reads: frozenset[int]
    writes: frozenset[int]

    @staticmethod
    def of(kernel: Kernel) -> _Flow:
        return _Flow(
            frozenset(access.buffer for access in read_accesses(kernel)),
            frozenset(access.buffer for access in written_accesses(kernel)),
        )


def read_accesses(kernel: Kernel) -> list[Access]:
    """Accesses of a kernel's loads and, for a product or loop, of its operands."""
    if isinstance(kernel, Loop):
        return [*kernel.reads, *([] if kernel.counter is None else [kernel.counter])]
    loads = [step.access for step in kernel.body if step.operation == "load" and step.access is not None]
    return loads if isinstance(kernel, Nest) else [*loads, kernel.left, kernel.right]


def written_accesses(kernel: Kernel) -> list[Access]:
    """Accesses of a kernel's stores and reductions, and of what else it writes."""
    if isinstance(kernel, Loop):
        return [*kernel.writes, *kernel.sum_accesses, kernel.work]
    stores = [store.access for store in kernel.stores]
    return stores + [reduction.access for reduction in kernel.reductions] if isinstance(kernel, Nest) else stores


def _dependencies(flows: Sequence[_Flow]) -> list[set[int]]:
    """For each kernel the earlier kernels that must run before it."""
    before: list[set[int]] = []
    writers: dict[int, list[int]] = {}
    for number, flow in enumerate(flows):
        needed = {writer for buffer in flow.reads | flow.writes for writer in writers.get(buffer, ())}
        before.append(needed)
        for buffer in flow.writes:
            writers.setdefault(buffer, []).append(number)
    return before


def _place_updates(draft: Draft, flows: Sequence[_Flow], before: list[set[int]]) -> tuple[dict[int, int], list[Kernel]]:
    """Write each new value over the old one, or else append a copy.

    In place is right if every other kernel that reads the old value can run before those that write the new one (noted
    in ``before``), and the writing kernels read the old value only where they write the new one.
    """
    aliases: dict[int, int] = {}
    copies: list[Kernel] = []
    for new, old in draft.updates:
        writers = [number for number, flow in enumerate(flows) if new in flow.writes]
        readers = [number for number, flow in enumerate(flows) if old in flow.reads]
        reads_elsewhere = any(
            number in readers and not _reads_where_it_writes(draft.kernels[number], old, new) for number in writers
        )
        wanted = [(reader, writer) for reader in readers for writer in writers if reader != writer]
        if reads_elsewhere or any(_depends_on(before, reader, writer) for reader, writer in wanted):
            copies.append(_copy_kernel(draft.buffers, new, old))
            continue
        for reader, writer in wanted:
            before[writer].add(reader)
        aliases[new] = old
    return aliases, copies


def _reads_where_it_writes(kernel: Kernel, old: int, new: int) -> bool:
    """Whether the kernel reads ``old`` only at the place, in ``old``, where it writes ``new`` at that point."""
    if isinstance(kernel, Loop) or (not isinstance(kernel, Nest) and old in (kernel.left.buffer, kernel.right.buffer)):
        return False
    stores = {store.access for store in kernel.stores if store.access.buffer == new}
    if len(stores) != 1 or any(access.dynamic for access in stores):
        return False
    if len([access for access in written_accesses(kernel) if access.buffer == new]) != 1:
        return False
    place = replace(next(iter(stores)), buffer=old)
    return all(access == place for access in read_accesses(kernel) if access.buffer == old)


def _depends_on(before: Sequence[set[int]], later: int, earlier: int) -> bool:
    """Whether kernel ``later`` needs kernel ``earlier`` to run before it, directly or not."""
    seen: set[int] = set()
    stack = [later]
    while stack:
        number = stack.pop()
        if number == earlier:
            return True
        if number not in seen:
            seen.add(number)
            stack.extend(before[number])
    return False


def _copy_kernel(buffers: Sequence[Buffer], source: int, target: int) -> Nest:
    buffer = buffers[target]
    load = Instruction("load", buffer.dtype, access=Access(source, (1,)))
    return Nest(f"copy_to_input_{target}", (buffer.size,), (load,), (Store(Access(target, (1,)), 0),))


class _Schedule:
    """An order that keeps every dependency: the given one, but what needs no more memory comes as soon as it can.

    The gradient of a weight is then summed, and the weight updated, while what that reads is in the caches, and not
    when the gradients of all layers lie in memory.
    """

    def __init__(self, before: Sequence[set[int]], flows: Sequence[_Flow], buffers: Sequence[Buffer]) -> None:
        self.before, self.flows = before, flows
        self.after: list[list[int]] = [[] for _ in before]
        for number, needed in enumerate(before):
            for other in needed:
                self.after[other].append(number)
        self.temporaries = [
            {b: buffers[b].nbytes for b in flow.reads | flow.writes if buffers[b].role == "temporary"} for flow in flows
        ]
        self.users: dict[int, set[int]] = {}
        for number, mine in enumerate(self.temporaries):
            for buffer in mine:
                self.users.setdefault(buffer, set()).add(number)
        self.missing = [len(needed) for needed in before]
        self.alive: set[int] = set()
        self.done: set[int] = set()
        self.order: list[int] = []

    def run(self) -> list[int]:
        """The order."""
        stack = list(range(len(self.before)))[::-1]
        while stack:
            number = stack[-1]
            waiting = sorted(self.before[number] - self.done, reverse=True)
            if number in self.done or not waiting:
                stack.pop()
                if number not in self.done:
                    self._append_with_followers(number)
            else:
                stack.extend(waiting)
        return self.order

    def _append_with_followers(self, number: int) -> None:
        """Take a kernel, and then what has become possible by it and needs no more memory."""
        self._append(number)
        taken = [number]
        for last in taken:
            near = {other for buffer in self.temporaries[last] for other in self.users[buffer]}
            for other in sorted(near.union(self.after[last]) - self.done):
                if not self.missing[other] and not self._grows(other):
                    self._append(other)
                    taken.append(other)

    def _append(self, number: int) -> None:
        self.order.append(number)
        self.done.add(number)
        for other in self.after[number]:
            self.missing[other] -= 1
        for buffer in self.temporaries[number]:
            self.alive.add(buffer)
            self.users[buffer].discard(number)

    def _grows(self, number: int) -> bool:
        """Whether a kernel makes more bytes of temporaries than it is the last to use."""
        mine = self.temporaries[number].items()
        made = sum(size for buffer, size in mine if buffer not in self.alive)
        return made > sum(size for buffer, size in mine if self.users[buffer] == {number})


def rename_buffers(kernel: Kernel, aliases: dict[int, int]) -> Kernel:
    """Return ``kernel`` with buffers replaced."""

    def renamed(access: Access) -> Access:
        return replace(access, buffer=aliases[access.buffer]) if access.buffer in aliases else access

    return with_accesses(kernel, renamed)


def drop_self_copies(kernel: Kernel) -> Kernel | None:
    """Drop stores of a value to where it was just loaded from; None if nothing is left to do."""
    if isinstance(kernel, Loop):
        return kernel
    stores = tuple(
        store
        for store in kernel.stores
        if store.is_ordered
        or kernel.body[store.instruction].operation != "load"
        or kernel.body[store.instruction].access != store.access
    )
    if not stores and not (isinstance(kernel, Nest) and kernel.reductions):
        return None
    return kernel if len(stores) == len(kernel.stores) else replace(kernel, stores=stores)


def _pack(buffers: Sequence[Buffer], kernels: Sequence[Kernel]) -> tuple[tuple[Buffer, ...], int]:
    """Give each temporary a place in the arena; those alive at the same time do not overlap."""
    lifetimes: dict[int, tuple[int, int]] = {}
    for number, kernel in enumerate(kernels):
        flow = _Flow.of(kernel)
        for buffer in flow.reads | flow.writes:
            lifetimes[buffer] = (lifetimes.get(buffer, (number, number))[0], number)
    temporaries = [number for number in lifetimes if buffers[number].role == "temporary"]
    temporaries.sort(key=lambda number: (-buffers[number].nbytes, number))
    first, last = np.array([lifetimes[number] for number in temporaries], np.int64).reshape(-1, 2).T
    start = np.zeros(len(temporaries), np.int64)
    end = np.zeros(len(temporaries), np.int64)
    result = list(buffers)
    for i, number in enumerate(temporaries):
        together = np.flatnonzero((first[:i] <= last[i]) & (first[i] <= last[:i]))
        busy = zip(start[together].tolist(), end[together].tolist(), strict=True)
        start[i] = _first_gap(busy, buffers[number].nbytes)
        end[i] = start[i] + buffers[number].nbytes
        result[number] = replace(buffers[number], offset=int(start[i]))
    return tuple(result), aligned(int(end.max(initial=0)))


def _first_gap(busy: Iterable[tuple[int, int]], size: int) -> int:
    """The lowest aligned offset at which ``size`` bytes are free."""
    start = 0
    for low, high in sorted(busy):
        if start + size <= low:
            break
        start = max(start, aligned(high))
    return start
