"""Building nests as plans, running them natively, and interpreting them with NumPy: shared by the tests of nests."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from chainrule.backends.native.cpu import Target, host_target
from chainrule.backends.native.jit import compile_module
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import KERNEL_ARGUMENTS, Module
from chainrule.backends.native.nest import emit_nest
from chainrule.ops.random import RANDOM_UNIFORM
from chainrule.passes.plan import Access, Buffer, Instruction, Nest, Plan
from chainrule.types import DType, as_dtype, float32

GUARD = 64  # elements around every array that must stay as they are

OPERATIONS = {
    "add": np.add, "multiply": np.multiply, "sqrt": np.sqrt, "exp": np.exp, "less": np.less, "where": np.where,
    "tanh": np.tanh, "sin": np.sin,
}  # fmt: skip


class Builder:
    """Collects arrays and instructions; every array lies in guarded memory, at an address that no vector likes."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.memories: list[np.ndarray] = []
        self.body: list[Instruction] = []

    def array(self, values: np.ndarray) -> int:
        """A new buffer holding the values row-major; its number."""
        values = np.asarray(values)
        memory = np.full(values.size + 2 * GUARD + 3, 93, values.dtype)
        start = GUARD + (1 if (memory.ctypes.data // values.itemsize) % 2 == 0 else 0)
        self.memories.append(memory)
        self.arrays.append(memory[start : start + values.size])
        self.arrays[-1][...] = values.ravel()
        return len(self.arrays) - 1

    def add(self, operation: str, dtype: DType | str = float32, *operands: int, **fields: object) -> int:
        self.body.append(Instruction(operation, as_dtype(dtype), operands, **fields))
        return len(self.body) - 1

    def load(self, buffer: int, strides: Sequence[int], offset: int = 0, dynamic: Sequence = ()) -> int:
        access = Access(buffer, tuple(strides), offset, tuple(dynamic))
        return self.add("load", as_dtype(self.arrays[buffer].dtype), access=access)

    def nest(self, domain: Sequence[int], stores: Sequence = (), reductions: Sequence = ()) -> Nest:
        return Nest("nest", tuple(domain), tuple(self.body), tuple(stores), tuple(reductions))

    def plan(self, *nests: Nest) -> Plan:
        buffers = tuple(Buffer(as_dtype(a.dtype), a.size, "input", slot) for slot, a in enumerate(self.arrays))
        return Plan(buffers, nests, tuple(range(len(buffers))), (), 0)


def compile_nest(plan: Plan, target: Target | None = None) -> tuple[object, KernelInfo]:
    """The callable library and the record of the plan's only nest; the function is exported as ``entry``."""
    module = Module(target or host_target())
    info = emit_nest(module, plan.kernels[0], plan, "nest")
    with module.function("entry", KERNEL_ARGUMENTS) as f:
        f.call("nest", f.arguments)
    with module.function("finish", KERNEL_ARGUMENTS) as f:
        if info.finish:
            f.call(info.finish, f.arguments)
    return compile_module(str(module), module.target), info


def run_nest(builder: Builder, nest: Nest, target: Target | None = None, parts: int = 1) -> KernelInfo:
    """Run on the builder's arrays in place, the tasks in so many parts, and check the guards."""
    plan = builder.plan(nest)
    library, info = compile_nest(plan, target)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 3)
    entry, finish = kind(library.address("entry")), kind(library.address("finish"))
    scratch = np.full(max(info.scratch_bytes * parts, info.shared_bytes) // 8 + 16, np.nan)
    aligned = -(-scratch.ctypes.data // 64) * 64
    pointers = (ctypes.c_void_p * (len(builder.arrays) + 2))(*[a.ctypes.data for a in builder.arrays], 0, aligned)
    bounds = [info.tasks * part // parts for part in range(parts + 1)] if info.is_parallel else [0, info.tasks]
    for worker, (begin, end) in enumerate(pairwise(bounds)):
        if begin < end:
            entry(ctypes.addressof(pointers), begin, end, worker)
    finish(ctypes.addressof(pointers), 0, 1, 0)
    for memory, array in zip(builder.memories, builder.arrays, strict=True):
        start = (array.ctypes.data - memory.ctypes.data) // memory.itemsize
        outside = np.concatenate([memory[:start], memory[start + array.size :]])
        assert (outside == np.asarray(93, memory.dtype)).all(), "memory outside an array was written"
    return info


def interpret(builder: Builder, nest: Nest) -> list[np.ndarray]:
    """What the arrays hold after the nest, by NumPy; float32 sums are made in float64."""
    memory = [array.copy() for array in builder.arrays]
    index = np.indices(nest.domain)
    values: list[np.ndarray] = []

    def addresses(access: Access) -> np.ndarray:
        total = np.full(nest.domain, access.offset)
        for dimension, stride in enumerate(access.strides):
            total = total + stride * index[dimension]
        for term in access.dynamic:
            total = total + term.stride * np.clip(values[term.instruction], 0, term.limit)
        return total

    with np.errstate(all="ignore"):
        for item in nest.body:
            values.append(_evaluate(item, values, memory, addresses, nest.domain))
    for store in nest.stores:
        if store.accumulate:
            np.add.at(memory[store.access.buffer], addresses(store.access), values[store.instruction])
        else:
            memory[store.access.buffer][addresses(store.access)] = values[store.instruction]
    for reduction in nest.reductions:
        value = values[reduction.instruction]
        if reduction.operation == "sum":
            result = value.sum(reduction.axes, dtype=np.float64 if value.dtype.kind == "f" else None)
        elif reduction.operation in ("max", "min"):
            result = getattr(np, reduction.operation)(value, reduction.axes)
        else:
            result = getattr(np, reduction.operation)(value, reduction.axes[0])
        kept = tuple(0 if d in reduction.axes else slice(None) for d in range(len(nest.domain)))
        if nest.size or reduction.operation == "sum":
            shape = tuple(1 if d in reduction.axes else n for d, n in enumerate(nest.domain))
            target = reduction.access.offset + sum(
                (s * i for s, i in zip(reduction.access.strides, np.indices(shape), strict=True)), np.zeros(shape, int)
            )
            memory[reduction.access.buffer][target[kept]] = result
    return memory


def _evaluate(item, values, memory, addresses, domain) -> np.ndarray:
    dtype = item.dtype.numpy
    if item.operation == "load":
        return memory[item.access.buffer][addresses(item.access)]
    if item.operation == "index":
        return addresses(item.access)
    if item.operation == "constant":
        return np.full(domain, item.value, dtype)
    operands = [values[operand] for operand in item.operands]
    if item.operation == "cast":
        return operands[0].astype(dtype)
    if item.operation == "random_uniform":
        seed, counter, element = (operand.ravel() for operand in operands)
        size = int(element.max()) + 1
        flat = RANDOM_UNIFORM.reference(seed[0], counter[0], shape=(size,), stream=item.value)
        return flat[element].reshape(domain)
    return np.asarray(OPERATIONS[item.operation](*operands), dtype)
