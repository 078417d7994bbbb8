"""Matrix products of the native backend against NumPy, PyTorch and JAX: ``python -m benchmarks.matrix_product``.

For every shape: GFLOP/s of each contestant with all threads, in the best of many rounds in which they take turns; ours
over the best of the others; and ours as a share of what the processor can do, which a loop of nothing but multiply-adds
in registers shows in the same rounds. A name ending in ' marks an operand that is stored transposed.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.driver import lower
from chainrule.backends.native.jit import Library, compile_module
from chainrule.backends.native.language import KERNEL_ARGUMENTS, POINTER, Module, Type
from chainrule.execution.threads import get_num_threads, launch
from chainrule.passes.plan import Access, Buffer, Instruction, Plan, Product, Store
from chainrule.settings import settings
from chainrule.types import as_dtype

ROUND_SECONDS = 0.05
ROUNDS = 8
PEAK_ROUNDS = 20000
PEAK_CHAINS = 12


@dataclass(frozen=True)
class Case:
    """One product; operands are row-major, or column-major where said so."""

    title: str
    rows: int
    columns: int
    depth: int
    left_transposed: bool = False
    right_transposed: bool = False
    dtype: str = "float32"

    @property
    def work(self) -> int:
        return 2 * self.rows * self.columns * self.depth


def layer(inputs: int, outputs: int, batch: int = 64) -> list[Case]:
    """The three products of a linear layer."""
    name = f"{inputs}-{outputs}"
    return [
        Case(f"{name} forward", batch, outputs, inputs),
        Case(f"{name} input gradient'", batch, inputs, outputs, right_transposed=True),
        Case(f"{name} weight gradient'", inputs, outputs, batch, left_transposed=True),
    ]


CASES = [
    Case("2048 x 2048", 2048, 2048, 2048),
    Case("2048 x 2048", 2048, 2048, 2048, dtype="float64"),
    *layer(784, 256),
    *layer(256, 128),
    *layer(784, 1024),
    *layer(1024, 1024),
    Case("one row", 1, 256, 784),
    *layer(8, 12, batch=10),
]


@dataclass
class Native:
    """A compiled program with its memory: chainrule's product, or the loop that shows the peak."""

    library: Library
    name: str
    arrays: list[np.ndarray]
    pointers: ctypes.Array[ctypes.c_void_p] = field(init=False)

    def __post_init__(self) -> None:
        self.pointers = (ctypes.c_void_p * len(self.arrays))(*[array.ctypes.data for array in self.arrays])
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        self.function = prototype(self.library.address(self.name))

    def run(self, repeats: int) -> None:
        launch(lambda pool: self.function(ctypes.addressof(self.pointers), repeats, pool))


def chainrule_product(case: Case, left: np.ndarray, right: np.ndarray) -> Native:
    """A program of one product."""
    dtype, result = as_dtype(case.dtype), np.zeros((case.rows, case.columns), case.dtype)
    arrays = [left, right, result]
    buffers = tuple(Buffer(dtype, array.size, "input", slot) for slot, array in enumerate(arrays))

    def access(slot: int) -> Access:
        return Access(slot, tuple(stride // dtype.size for stride in arrays[slot].strides))

    body, stores = (Instruction("accumulator", dtype),), (Store(access(2), 0),)
    product = Product("p", dtype, (), case.rows, case.columns, case.depth, access(0), access(1), body, stores)
    target = host_target(settings.cpu_features)
    program = lower(Plan(buffers, (product,), (0, 1, 2), (), 0), target)
    scratch = aligned_bytes(max(program.shared_bytes, get_num_threads() * program.scratch_bytes))
    return Native(compile_module(program.text, target), program.entry, [*arrays, scratch, scratch])


def aligned_bytes(size: int) -> np.ndarray:
    memory = np.zeros(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :]


def peak_loop(dtype: str) -> Native:
    """A program in which every thread does multiply-adds in registers only."""
    module = Module(host_target(settings.cpu_features))
    vector = Type(dtype, module.target.lanes(dtype))
    with module.function("peak", KERNEL_ARGUMENTS) as f:
        results = f.load_pointer(f.arguments[0], 0).byte(f.arguments[3] * 4096)
        factor = f.load(results, Type(dtype)).broadcast(vector.lanes)
        carried = [f.constant(number, vector) for number in range(PEAK_CHAINS)]
        with f.loop(0, PEAK_ROUNDS, carried=carried) as loop:
            loop.next([factor.fma(factor, value) for value in loop.values])
        for number, value in enumerate(loop.results):
            f.store(value, results.at(number * vector.lanes, dtype))
    arguments = [("buffers", POINTER), ("repeats", Type("int64")), ("pool", POINTER)]
    with module.function("run", arguments) as f:
        buffers, repeats, pool = f.arguments
        tasks, alone = f.index(get_num_threads()), pool.equal(f.constant(0, POINTER))
        with f.loop(0, repeats):
            with f.when(alone):
                f.call("peak", [buffers, f.index(0), tasks, f.index(0)])
            with f.when(~alone):
                f.call(f.load(pool, POINTER), [pool, f.global_pointer("peak"), buffers, tasks])
    return Native(compile_module(str(module), module.target), "run", [aligned_bytes(4096 * get_num_threads())])


def peak_work(dtype: str) -> int:
    lanes = host_target(settings.cpu_features).lanes(dtype)
    return 2 * PEAK_ROUNDS * PEAK_CHAINS * lanes * get_num_threads()


def contestants(case: Case) -> dict[str, Callable[[int], None]]:
    """Name → function that does the product a number of times."""
    generator = np.random.default_rng(0)

    def operand(rows: int, columns: int, transposed: bool) -> np.ndarray:
        values = generator.standard_normal((rows, columns)).astype(case.dtype)
        return np.asfortranarray(values) if transposed else values

    left = operand(case.rows, case.depth, case.left_transposed)
    right = operand(case.depth, case.columns, case.right_transposed)
    result = np.zeros((case.rows, case.columns), case.dtype)

    def repeat(once: Callable[[], object]) -> Callable[[int], None]:
        def run(repeats: int) -> None:
            for _ in range(repeats):
                once()

        return run

    found: dict[str, Callable[[int], None]] = {
        "chainrule": chainrule_product(case, left, right).run,
        "numpy": repeat(lambda: np.matmul(left, right, out=result)),
    }
    try:
        import torch

        torch.set_num_threads(get_num_threads())
        a, b, c = (torch.from_numpy(array) for array in (left, right, result))
        found["torch"] = repeat(lambda: torch.matmul(a, b, out=c))
    except ImportError:
        print("torch is not installed")
    try:
        found["jax"] = repeat(jax_product(case, left, right))
    except ImportError:
        print("jax is not installed")
    return found


def jax_product(case: Case, left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    """JAX keeps arrays row-major: a transposed operand is given as such, and transposed inside the jitted function."""
    import jax

    jax.config.update("jax_enable_x64", True)
    a = jax.numpy.asarray(left.T if case.left_transposed else left)
    b = jax.numpy.asarray(right.T if case.right_transposed else right)

    @jax.jit
    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        return (a.T if case.left_transposed else a) @ (b.T if case.right_transposed else b)

    return lambda: multiply(a, b).block_until_ready()


def seconds(run: Callable[[int], None], estimate: float) -> float:
    """Seconds of one of as many repeats as fill a round."""
    repeats = max(1, int(ROUND_SECONDS / estimate))
    start = time.perf_counter()
    run(repeats)
    return (time.perf_counter() - start) / repeats


def measure(case: Case) -> dict[str, float]:
    """Best GFLOP/s of each contestant and of the processor."""
    runs = contestants(case) | {"peak": peak_loop(case.dtype).run}
    work = {name: peak_work(case.dtype) if name == "peak" else case.work for name in runs}
    best = {name: seconds(run, ROUND_SECONDS) for name, run in runs.items()}  # the first run warms up
    for _ in range(ROUNDS):
        for name, run in runs.items():
            time.sleep(0.01)  # the threads of the one before go to sleep
            best[name] = min(best[name], seconds(run, best[name]))
    return {name: work[name] / best[name] / 1e9 for name in runs}


def main() -> None:
    """Print the table."""
    print(f"{get_num_threads()} threads; GFLOP/s")
    header = f"{'product':28}{'shape':>18}  " + "".join(
        f"{name:>11}" for name in ("chainrule", "numpy", "torch", "jax")
    )
    print(f"{header}{'ours/best':>11}{'of peak':>9}")
    for case in CASES:
        speed = measure(case)
        others = [speed.get(name, 0.0) for name in ("numpy", "torch", "jax")]
        shape = f"{case.rows}x{case.depth}x{case.columns}" + (" f64" if case.dtype == "float64" else "")
        figures = "".join(f"{value:11.1f}" for value in (speed["chainrule"], *others))
        shares = f"{speed['chainrule'] / max(others):11.2f}{speed['chainrule'] / speed['peak']:9.0%}"
        print(f"{case.title:28}{shape:>18}  {figures}{shares}", flush=True)


if __name__ == "__main__":
    main()
