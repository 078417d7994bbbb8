"""From a plan to one module: a function per kernel, and the driver that runs them all."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.backends.native.cpu import Target
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import INDEX, POINTER, Function, Module, Value
from chainrule.backends.native.nest import emit_nest
from chainrule.backends.native.product import emit_product
from chainrule.passes.plan import Plan, Product


@dataclass(frozen=True)
class Program:
    """A plan as LLVM IR.

    ``entry`` is the exported function ``void(ptr buffers, i64 repeats, ptr pool)``, which runs all kernels ``repeats``
    times.
    ``buffers``: an array of addresses, [inputs..., outputs..., arena, scratch]; arena and scratch aligned to 64 bytes.
    Scratch memory holds ``scratch_bytes`` for each thread, and at least ``shared_bytes``.
    ``pool``: a thread pool's control block, whose first word is the address of ``fork_join``, or 0.
    """

    text: str
    entry: str
    scratch_bytes: int
    shared_bytes: int
    is_parallel: bool


def lower(plan: Plan, target: Target) -> Program:
    """Turn a plan into one module of LLVM IR for a processor; see `Program` for how to call it.

    Example: ``program = lower(make_plan(graph), host_target())``, then ``compile_module(program.text, target)``.
    """
    module = Module(target)
    kernels = []
    for number, kernel in enumerate(plan.kernels):
        name = f"kernel_{number}"
        if isinstance(kernel, Product):
            kernels.append(emit_product(module, kernel, plan, name))
        else:
            kernels.append(emit_nest(module, kernel, plan, name))
    with module.function("run", [("buffers", POINTER), ("repeats", INDEX), ("pool", POINTER)]) as f:
        buffers, repeats, pool = f.arguments
        with f.loop(0, repeats, name="repeat"):
            for info in kernels:
                _run_kernel(f, info, buffers, pool)
    return Program(
        str(module),
        "run",
        max((info.scratch_bytes for info in kernels), default=0),
        max((info.shared_bytes for info in kernels), default=0),
        any(info.is_parallel for info in kernels),
    )


def _run_kernel(f: Function, info: KernelInfo, buffers: Value, pool: Value) -> None:
    zero, tasks = f.index(0), f.index(info.tasks)
    if not info.is_parallel:
        f.call(info.function, [buffers, zero, tasks, zero])
        return
    alone = pool.equal(f.constant(0, POINTER))
    with f.when(alone, name="alone"):
        f.call(info.function, [buffers, zero, tasks, zero])
    with f.when(~alone, name="together"):
        f.call(f.load(pool, POINTER), [pool, f.global_pointer(info.function), buffers, tasks])
    if info.finish:
        f.call(info.finish, [buffers, zero, f.index(1), zero])
