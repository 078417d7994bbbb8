"""From a plan to one module: the functions of its kernels, and the driver that runs them all."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.backends.native.cpu import Target
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import INDEX, POINTER, Function, Module, Value
from chainrule.backends.native.local import Local, localize
from chainrule.backends.native.nest import emit_nest
from chainrule.backends.native.product import emit_product
from chainrule.backends.native.scan import emit_scan
from chainrule.passes.plan import Buffer, Plan, Product, Scan


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

    Kernels that do the same to different memory share a function.

    Example: ``program = lower(make_plan(graph), host_target())``, then ``compile_module(program.text, target)``.
    """
    module = Module(target)
    functions: dict[str, KernelInfo] = {}
    calls: list[tuple[Local, KernelInfo]] = []
    for kernel in plan.kernels:
        local = localize(kernel, plan)
        info = functions.get(local.key)
        if info is None:
            info = functions[local.key] = _emit_kernel(module, local, f"kernel_{len(functions)}")
        calls.append((local, info))
    with module.function("run", [("buffers", POINTER), ("repeats", INDEX), ("pool", POINTER)]) as f:
        buffers, repeats, pool = f.arguments
        tables = _make_tables(f, [local for local, _ in calls], plan, buffers)
        with f.loop(0, repeats, name="repeat"):
            for table, (_, info) in zip(tables, calls, strict=True):
                _run_kernel(f, info, table, pool)
    kernels = [kernel for info in functions.values() for kernel in (info, *info.alternatives)]
    return Program(
        str(module),
        "run",
        max((info.scratch_bytes for info in kernels), default=0),
        max((info.shared_bytes for info in kernels), default=0),
        any(info.is_parallel for info in kernels),
    )


def _emit_kernel(module: Module, local: Local, name: str) -> KernelInfo:
    if isinstance(local.kernel, Product):
        return emit_product(module, local.kernel, local.plan, name)
    if isinstance(local.kernel, Scan):
        return emit_scan(module, local.kernel, local.plan, name)
    return emit_nest(module, local.kernel, local.plan, name)


def _make_tables(f: Function, kernels: list[Local], plan: Plan, buffers: Value) -> list[Value]:
    """Code that writes the table of every kernel's addresses; equal tables are one."""
    written: dict[tuple[Buffer, ...], Value] = {}
    scratch = f.load_pointer(buffers, plan.scratch_slot)
    entries = {slot: f.load_pointer(buffers, slot) for slot in sorted({b.slot for k in kernels for b in k.origins})}
    for kernel in kernels:
        if kernel.origins in written:
            continue
        table = written[kernel.origins] = f.allocate("int64", kernel.plan.scratch_slot + 1, align=8)
        for position, buffer in enumerate(kernel.origins):
            address = entries[buffer.slot].byte(buffer.offset if buffer.role == "temporary" else 0)
            f.store(address, table.at(position, "int64"))
        f.store(scratch, table.at(kernel.plan.scratch_slot, "int64"))
    return [written[kernel.origins] for kernel in kernels]


def _run_kernel(f: Function, info: KernelInfo, table: Value, pool: Value) -> None:
    if info.choice is None:
        _run_tasks(f, info, table, pool)
        return
    chosen = f.call(info.choice, [table], INDEX)
    for number, kernel in enumerate((info, *info.alternatives)):
        with f.when(chosen.equal(number), name="chosen"):
            _run_tasks(f, kernel, table, pool)


def _run_tasks(f: Function, info: KernelInfo, table: Value, pool: Value) -> None:
    zero, tasks = f.index(0), f.index(info.tasks)
    if not info.is_parallel:
        f.call(info.function, [table, zero, tasks, zero])
        return
    alone = pool.equal(f.constant(0, POINTER))
    with f.when(alone, name="alone"):
        f.call(info.function, [table, zero, tasks, zero])
    with f.when(~alone, name="together"):
        f.call(f.load(pool, POINTER), [pool, f.global_pointer(info.function), table, tasks])
    if info.finish:
        f.call(info.finish, [table, zero, f.index(1), zero])
