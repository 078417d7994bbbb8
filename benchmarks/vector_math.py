"""Accuracy and speed of the native vector maths, side by side with NumPy: ``python -m benchmarks.vector_math``.

For every function and float type: the largest error in units in the last place over about 400000 values (all magnitudes
and the usual range; against NumPy in the next wider type, erf against the C library's erf in float64), and nanoseconds
per element on 4096 values that stay in the first cache, the smallest of many rounds in which both sides take turns.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.jit import compile_module
from chainrule.backends.native.language import INDEX, POINTER, Module, Type
from chainrule.backends.native.vector_math import ELEMENTWISE
from chainrule.settings import settings

Function = Callable[..., np.ndarray]

COUNT = 4096
erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x: np.ndarray) -> np.ndarray:
    tail = np.exp(-abs(x))
    return np.where(x < 0, tail, x.dtype.type(1)) / (1 + tail)


NUMPY: dict[str, Function] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": erf,
    "sigmoid": sigmoid,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "power": np.power,
}


class Compiled:
    """A function compiled for one float type; sizes of arrays must be divisible by 64."""

    def __init__(self, name: str, dtype: str) -> None:
        module = Module(host_target(settings.cpu_features))
        operands = 2 if name == "power" else 1
        vector = Type(dtype, module.target.lanes(dtype))
        arguments = [("out", POINTER), *((f"x{i}", POINTER) for i in range(operands)), ("size", INDEX)]
        with module.function("benchmark", arguments) as f:
            out, *sources, size = f.arguments
            with f.loop(0, size, vector.lanes) as loop:
                inputs = [f.load(source.at(loop.index, dtype), vector) for source in sources]
                f.store(ELEMENTWISE[name](*inputs), out.at(loop.index, dtype))
        start = time.perf_counter()
        self.library = compile_module(str(module), module.target)
        self.compile_milliseconds = (time.perf_counter() - start) * 1e3
        types = [ctypes.c_void_p] * (operands + 1)
        self.function = ctypes.CFUNCTYPE(None, *types, ctypes.c_int64)(self.library.address("benchmark"))

    def bind(self, out: np.ndarray, inputs: list[np.ndarray]) -> Callable[[], None]:
        """The call on these arrays, without the cost of asking for their addresses each time."""
        return partial(self.function, out.ctypes.data, *(x.ctypes.data for x in inputs), out.size)


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes."""
    memory = np.empty(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + values.nbytes].view(values.dtype)
    copy[:] = values
    return copy


def accuracy(name: str, dtype: str, function: Compiled) -> float:
    """The largest error in units in the last place."""
    random, size = np.random.default_rng(0), 64 * 1500
    limits = np.iinfo("int32" if dtype == "float32" else "int64")
    bits = random.integers(limits.min, limits.max, size, limits.dtype).view(dtype)
    parts = [bits, random.normal(size=size) * 3, random.uniform(-110, 110, size), 1 + random.normal(size=size) * 0.05]
    inputs = [np.concatenate([part.astype(dtype) for part in parts])]
    if name == "power":
        inputs = [
            np.exp(random.uniform(-80, 80, 4 * size)).astype(dtype),
            random.uniform(-9, 9, 4 * size).astype(dtype),
        ]
    got = np.empty_like(inputs[0])
    function.bind(got, inputs)()
    wide = np.float64 if dtype == "float32" or name == "erf" else np.longdouble
    exact = NUMPY[name](*(x.astype(wide) for x in inputs))
    rounded = exact.astype(dtype)
    error = np.abs(got.astype(wide) - exact) / np.spacing(np.abs(rounded)).astype(wide)
    return float(error[np.isfinite(rounded)].max())


def nanoseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) / COUNT * 1e9


def speed(name: str, dtype: str, function: Compiled) -> tuple[float, float]:
    """Nanoseconds per element of ours and of NumPy."""
    random, operands = np.random.default_rng(1), 2 if name == "power" else 1
    inputs = [aligned(random.uniform(0.1, 4, COUNT).astype(dtype)) for _ in range(operands)]
    out = aligned(np.zeros(COUNT, dtype))
    ours = function.bind(out, inputs)
    theirs = partial(NUMPY[name], *inputs, **({"out": out} if isinstance(NUMPY[name], np.ufunc) else {}))
    times = [(nanoseconds(ours), nanoseconds(theirs)) for _ in range(20 if name == "erf" else 300)]
    return min(first for first, _ in times), min(second for _, second in times)


def main() -> None:
    """Print the table."""
    print(f"{'function':10}{'type':10}{'max ulp':>8}{'ns':>8}{'NumPy ns':>10}{'ratio':>8}{'compile ms':>12}")
    with np.errstate(all="ignore"):
        for name in NUMPY:
            for dtype in ("float32", "float64"):
                function = Compiled(name, dtype)
                worst, (ours, theirs) = accuracy(name, dtype, function), speed(name, dtype, function)
                row = f"{name:10}{dtype:10}{worst:8.3f}{ours:8.3f}{theirs:10.3f}{theirs / ours:8.1f}"
                print(f"{row}{function.compile_milliseconds:12.1f}")


if __name__ == "__main__":
    main()
