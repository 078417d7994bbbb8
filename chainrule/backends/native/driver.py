"""From a plan to one module: the functions of its kernels, and the driver that runs them all."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.backends.native.contraction import emit_contraction
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import INDEX, POINTER, Function, Module, Value
from chainrule.backends.native.local import Local, localize
from chainrule.backends.native.loop import emit_loop, pack_ahead
from chainrule.backends.native.nest import emit_nest
from chainrule.backends.native.product import emit_product
from chainrule.backends.native.scan import emit_scan
from chainrule.passes.plan import Buffer, Contraction, Loop, Plan, Product, Scan


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
    _emit_run(module, plan, "run", functions)
    kernels = [kernel for info in functions.values() for kernel in (info, *info.alternatives)]
    return Program(
        str(module),
        "run",
        max((info.scratch_bytes for info in kernels), default=0),
        max((info.shared_bytes for info in kernels), default=0),
        any(info.is_parallel for info in kernels),
    )


def _emit_run(module: Module, plan: Plan, name: str, functions: dict[str, KernelInfo]) -> list[KernelInfo]:
    """Write the function ``name`` that runs a plan, and those of its kernels that are not among ``functions`` yet.

    Return all kernels.
    """
    calls: list[tuple[Local, KernelInfo]] = []
    for kernel in plan.kernels:
        local = localize(kernel, plan)
        info = functions.get(local.key)
        if info is None:
            info = functions[local.key] = _emit_kernel(module, local, functions, name)
        calls.append((local, info))
    arguments = [("buffers", POINTER), ("repeats", INDEX), ("pool", POINTER)]
    with module.function(name, arguments, exported=name == "run") as f:
        buffers, repeats, pool = f.arguments
        tables = _make_tables(f, [local for local, _ in calls], plan, buffers, name)
        with f.loop(0, repeats, name="repeat"):
            for table, (_, info) in zip(tables, calls, strict=True):
                _run_kernel(f, info, table, pool)
    return [info for _, info in calls]


def _emit_kernel(module: Module, local: Local, functions: dict[str, KernelInfo], caller: str) -> KernelInfo:
    if isinstance(local.kernel, Loop):
        step, start = f"{caller}_step_{len(functions)}", f"{caller}_pack_{len(functions)}"
        loop, packing = pack_ahead(module, local.kernel, local.plan, start)
        kernels = _emit_run(module, loop.step, step, functions)
        name = f"loop_{len(functions)}"
        return emit_loop(module, loop, local.plan, name, step, kernels, packing)
    name = f"kernel_{len(functions)}"
    if isinstance(local.kernel, Product):
        return emit_product(module, local.kernel, local.plan, name)
    if isinstance(local.kernel, Contraction):
        return emit_contraction(module, local.kernel, local.plan, name)
    if isinstance(local.kernel, Scan):
        return emit_scan(module, local.kernel, local.plan, name)
    return emit_nest(module, local.kernel, local.plan, name)


def _make_tables(f: Function, kernels: list[Local], plan: Plan, buffers: Value, name: str) -> list[Value]:
    """Code that writes the table of every kernel's addresses; equal tables are one.

    A loop over constants: written out, this would be most of the driver, and take as long to compile as some kernels.
    """
    starts: dict[tuple[Buffer, ...], int] = {}
    places: list[tuple[int, int]] = []  # of every entry in a row: the slot of the address it starts from, and bytes
    for kernel in kernels:
        if kernel.origins not in starts:
            starts[kernel.origins] = len(places)
            places += [(b.slot, b.offset if b.role == "temporary" else 0) for b in kernel.origins]
            places += [(plan.arena_slot, 0), (plan.scratch_slot, 0)]
    names = tuple(f"table{name.removeprefix('run')}_{kind}" for kind in ("slots", "offsets"))
    tables = f.allocate("int64", max(len(places), 1), align=8)
    if places:
        for table, numbers in zip(names, zip(*places, strict=True), strict=True):
            f.module.table(table, "int64", numbers)
    with f.loop(0, len(places), name="entry") as loop:
        constants = (f.global_pointer(table).at(loop.index, "int64") for table in names)
        slot, offset = (f.load(constant, INDEX) for constant in constants)
        f.store(f.load_pointer(buffers, slot).byte(offset), tables.at(loop.index, "int64"))
    return [tables.at(starts[kernel.origins], "int64") for kernel in kernels]


def _run_kernel(f: Function, info: KernelInfo, table: Value, pool: Value) -> None:
    if info.start:
        _run_kernel(f, info.start, table, pool)
    if info.is_loop:
        f.call(info.function, [table, pool])
        return
    zero, function, tasks = f.index(0), f.global_pointer(info.function), f.index(info.tasks)
    if info.choice:
        chosen = f.call(info.choice, [table], INDEX)
        for number, other in enumerate(info.alternatives, 1):
            is_other = chosen.equal(number)
            function = is_other.select(f.global_pointer(other.function), function)
            tasks = is_other.select(other.tasks, tasks)
    if not any(kernel.is_parallel for kernel in (info, *info.alternatives)):
        f.call(function, [table, zero, tasks, zero])
        return
    alone = pool.equal(f.constant(0, POINTER))
    with f.when(alone, name="alone"):
        f.call(function, [table, zero, tasks, zero])
    with f.when(~alone, name="together"):
        f.call(f.load(pool, POINTER), [pool, function, table, tasks])
    if info.finish:
        f.call(info.finish, [table, zero, f.index(1), zero])
