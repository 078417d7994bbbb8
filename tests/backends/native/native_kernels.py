"""Helpers of the native backend's tests: compile a small function, run it on NumPy arrays."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.jit import compile_module
from chainrule.backends.native.language import INDEX, POINTER, Function, Module, Target, Type, Value

HOST = host_target()


def run(body: Callable[..., None], *arrays: np.ndarray, target: Target = HOST, indices: Sequence[int] = ()) -> None:
    """Compile ``body(f, *pointers, *indices)`` as one function and call it on the arrays' memory."""
    module = Module(target)
    arguments = [(f"array{i}", POINTER) for i in range(len(arrays))] + [(f"n{i}", INDEX) for i in range(len(indices))]
    with module.function("tested", arguments) as f:
        body(f, *f.arguments)
    library = compile_module(str(module), target)
    types = [ctypes.c_void_p] * len(arrays) + [ctypes.c_int64] * len(indices)
    call = ctypes.CFUNCTYPE(None, *types)(library.address("tested"))
    call(*(array.ctypes.data for array in arrays), *indices)


def elementwise(
    emit: Callable[..., Value], *arrays: np.ndarray, lanes: int | None = None, target: Target = HOST
) -> np.ndarray:
    """``emit`` applied to every element of the arrays, ``lanes`` elements at a time."""
    lanes = lanes or target.lanes(str(arrays[0].dtype))
    size = arrays[0].size
    padded = [np.concatenate([array.ravel(), np.ones(-size % lanes, array.dtype)]) for array in arrays]
    out = np.zeros(padded[0].size, np.float64)  # room for any element type
    element = ""

    def body(f: Function, target_pointer: Value, *sources: Value) -> None:
        nonlocal element
        with f.loop(0, padded[0].size, lanes) as loop:
            inputs = [
                f.load(source.at(loop.index, str(array.dtype)), Type(str(array.dtype), lanes))
                for source, array in zip(sources, arrays, strict=True)
            ]
            result = emit(*inputs)
            element = result.type.element
            f.store(result, target_pointer.at(loop.index, element))

    run(body, out, *padded, target=target)
    return out.view(element)[:size].reshape(arrays[0].shape)
