"""Building single products as plans, and running them: shared by the tests of the product templates."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from chainrule.backends.native.cpu import Target, host_target
from chainrule.backends.native.jit import Library, compile_module
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import Module
from chainrule.backends.native.product import emit_product
from chainrule.passes.plan import Access, Buffer, Instruction, Plan, Product, Store
from chainrule.types import as_dtype

GUARD = 64  # elements around every array that must stay as they are


@dataclass
class Memory:
    """An array of any element strides in memory of its own; what is not its own must stay NaN."""

    values: np.ndarray
    strides: tuple[int, ...]
    memory: np.ndarray = field(init=False)
    first: int = field(init=False, default=GUARD)

    def __post_init__(self) -> None:
        reach = [stride * (size - 1) for stride, size in zip(self.strides, self.values.shape, strict=True)]
        below, above = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
        self.first = GUARD - below
        self.memory = np.full(self.first + above + 1 + GUARD, np.nan, self.values.dtype)
        self.view()[...] = self.values

    def view(self) -> np.ndarray:
        size = self.values.itemsize
        return np.lib.stride_tricks.as_strided(
            self.memory[self.first :], self.values.shape, [s * size for s in self.strides]
        )


def layout(shape: Sequence[int], order: Sequence[int] | None = None, pad: int = 0) -> tuple[int, ...]:
    """Strides with the dimensions nested in ``order``, outermost first; ``pad`` elements between inner blocks."""
    strides, size = [0] * len(shape), 1
    for position, axis in enumerate(reversed(order or range(len(shape)))):
        strides[axis] = size
        size = size * shape[axis] + (pad if position == 0 else 0)
    return tuple(strides)


@dataclass
class Kernel:
    """A compiled product."""

    library: Library
    info: KernelInfo

    @property
    def sparse(self) -> Kernel:
        """The kernel that leaves out zeros of the left operand."""
        (info,) = self.info.alternatives
        return Kernel(self.library, info)

    def choose(self, arrays: Sequence[Memory]) -> int:
        """What the kernel's choice says for these operands."""
        assert self.info.choice is not None
        pointers = (ctypes.c_void_p * len(arrays))(*[array.memory.ctypes.data for array in arrays])
        choice = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.library.address(self.info.choice))
        return choice(ctypes.addressof(pointers))

    def run(self, arrays: Sequence[Memory], parts: int = 1) -> None:
        """Run all tasks, as ``parts`` workers would, one after the other."""
        kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 3)
        function = kernel(self.library.address(self.info.function))
        bytes = max(self.info.scratch_bytes * parts, self.info.shared_bytes)
        scratch = np.full(bytes // 4 + 16, np.nan, np.float32)
        aligned = -(-scratch.ctypes.data // 64) * 64
        pointers = (ctypes.c_void_p * (len(arrays) + 2))(*[array.memory.ctypes.data for array in arrays], 0, aligned)
        if start := self.info.start:
            for task in reversed(range(start.tasks)):
                kernel(self.library.address(start.function))(ctypes.addressof(pointers), task, task + 1, 0)
        bounds = [self.info.tasks * part // parts for part in range(parts + 1)]
        if not self.info.is_parallel:
            bounds = [0, self.info.tasks]
        for worker, (begin, end) in enumerate(pairwise(bounds)):
            function(ctypes.addressof(pointers), begin, end, worker)
        if self.info.finish:
            kernel(self.library.address(self.info.finish))(ctypes.addressof(pointers), 0, 1, 0)


def compile_product(
    left: Memory,
    right: Memory,
    extra: Sequence[Memory],
    outputs: Sequence[Memory],
    body: Sequence[Instruction] = (),
    stores: Sequence[Store] = (),
    target: Target | None = None,
) -> Kernel:
    """Compile outputs[0] = left @ right, with a body (instructions after the sum) and stores if given.

    Buffers are left 0, right 1, then extra and outputs; accesses of the body must use ``access`` for them.
    """
    arrays = [left, right, *extra, *outputs]
    dtype = as_dtype(left.values.dtype)
    buffers = tuple(
        Buffer(as_dtype(array.values.dtype), array.memory.size, "input", slot) for slot, array in enumerate(arrays)
    )
    *batch, rows, depth = left.values.shape
    product = Product(
        name="product",
        dtype=dtype,
        batch=tuple(batch),
        rows=rows,
        columns=right.values.shape[-1],
        depth=depth,
        left=access(0, left),
        right=access(1, right),
        body=(Instruction("accumulator", dtype), *body),
        stores=tuple(stores) or (Store(access(2 + len(extra), outputs[0]), 0),),
    )
    plan = Plan(buffers, (product,), tuple(range(len(arrays))), (), 0)
    module = Module(target or host_target())
    info = emit_product(module, product, plan, "product")
    return Kernel(compile_module(str(module), module.target), info)


def access(buffer: int, array: Memory) -> Access:
    return Access(buffer, array.strides, array.first)
