"""Kernels freed of where their memory lies, so that kernels which do the same are one function.

A deep network repeats its layers, and compiling is most of what a new program costs. So the function of a kernel sees
only the buffers it uses, by numbers of its own, and is handed their addresses in a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chainrule.backends.native.kernel import accesses
from chainrule.passes.plan import Access, Buffer, Kernel, Plan, with_accesses


@dataclass(frozen=True)
class Local:
    """A kernel over buffers of its own.

    ``kernel`` uses buffers 0, 1, ... of ``plan``, whose addresses a table holds in this order, followed by those of
    arena (never used) and scratch memory. ``origins`` are the program's buffers in that order.
    """

    kernel: Kernel
    plan: Plan
    origins: tuple[Buffer, ...]

    @property
    def key(self) -> str:
        """A text that is equal for kernels that do the same; a text, because 0.0 equals -0.0 and 1 equals true."""
        return repr((self.kernel, self.plan.buffers))


def localize(kernel: Kernel, plan: Plan) -> Local:
    """Number the buffers of a kernel from 0, in the order in which it mentions them."""
    numbers: dict[int, int] = {}
    for access in accesses(kernel):
        numbers.setdefault(access.buffer, len(numbers))
    origins = tuple(plan.buffers[number] for number in numbers)
    buffers = tuple(replace(buffer, slot=slot, offset=0, name="") for slot, buffer in enumerate(origins))
    local = Plan(buffers, (), tuple(range(len(buffers))), (), 0)
    return Local(_renumbered(kernel, numbers), local, origins)


def _renumbered(kernel: Kernel, numbers: dict[int, int]) -> Kernel:
    """The kernel without a name, over other numbers of buffers."""

    def moved(access: Access) -> Access:
        return replace(access, buffer=numbers.get(access.buffer, access.buffer))

    return replace(with_accesses(kernel, moved), name="")
