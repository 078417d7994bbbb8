"""Kernels that are generic in shape, as functions of NumPy arrays; compiled, or read from the disk, when first needed.

`accumulate` and `multiply` make sums in the order of compiled programs: see `chainrule.backends.native.order` and
`chainrule.passes.plan.is_narrow`.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import threading
from array import array
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..backends.native.cpu import host_target
from ..backends.native.generic import DRAWN, TILE_VECTORS, WITH_TASKS, kernel_text
from ..backends.native.jit import Library
from ..backends.native.order import chunk_length, fold_period, part_length
from ..memory import address_of, aligned_array
from ..passes.plan import is_narrow
from ..settings import settings
from ..types import DTYPES, Shape
from .native_code import kernel_code
from .threads import Shared, is_running, share

Array = np.ndarray[Any, Any]

WIDEST = 64
"""At least the lanes of any vector."""


_libraries: dict[str, Library] = {}
_kernels: dict[tuple[str, ...], Callable[..., None]] = {}
_Kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_loading = threading.Lock()


def _kernel(*key: str) -> Callable[..., None]:
    """The function of a kernel, by features of the processor, kind and parameters: see `kernel_text`.

    Kernels are loaded once and stay: there are few.
    """
    kernel = _kernels.get(key)
    if kernel is None:
        with _loading:
            kernel = _kernels.get(key) or _load(*key)
            _kernels[key] = kernel
    return kernel


def _load(features: str, kind: str, *parameters: str) -> Callable[..., None]:
    target, name = host_target(features), "_".join((kind, *parameters))
    if kind == "chain":
        name = f"chain_{hashlib.sha256(name.encode()).hexdigest()}"
    library = _libraries.get(features)
    if library is None:
        library = _libraries[features] = Library(None, target)
    library.add(kernel_code(target, name, lambda: kernel_text(target, name, kind, *parameters)))
    return (Shared if kind in WITH_TASKS else _Kernel)(library.address(name))


def _call(kernel: Callable[..., None], *arguments: int) -> None:
    given = array("q", arguments)
    kernel(given.buffer_info()[0])


_ELEMENTS = {dtype.numpy: dtype.name for dtype in DTYPES.values()}


TURNED = 1 << 12
"""Elements from which on a transposed matrix is copied by a kernel: NumPy takes its elements one by one."""


def contiguous(x: Array) -> Array:
    """What `numpy.ascontiguousarray` gives, in a tenth of its time for a large matrix that is transposed."""
    if x.flags.c_contiguous:
        return x
    if x.ndim != 2 or x.size < TURNED or x.itemsize < 4 or not x.flags.f_contiguous:
        return np.ascontiguousarray(x)
    out, address = aligned_array(x.shape, x.dtype)
    _call(_kernel(settings.cpu_features, "turn", _ELEMENTS[x.dtype]), address_of(x), address, *x.shape)
    return out


def evaluate_elementwise(operation: str, operands: list[Array], shape: Shape, dtype: Any) -> Array:
    """``operation`` of operands that broadcast to ``shape``, which is not empty, as an array of ``dtype``."""
    out, address = aligned_array(shape, dtype)
    prepared, addresses, steps = [], [], []
    for operand in operands:
        step = 1
        if operand.shape != shape:
            step = int(operand.size != 1)
            operand = np.broadcast_to(operand, shape).copy() if step else np.full(WIDEST, operand)
        elif not operand.flags.c_contiguous:
            operand = contiguous(operand)
        prepared.append(operand)  # alive as long as its memory is read
        addresses.append(address_of(operand))
        steps.append(step)
    elements = [_ELEMENTS[operand.dtype] for operand in (*operands, out)]
    kernel = _kernel(settings.cpu_features, "elementwise", operation, *elements)
    _call(kernel, *addresses, address, out.size, *steps)
    return out


def run_chain(parameters: Sequence[str], vectors: Sequence[int], numbers: Sequence[int], length: int) -> None:
    """Compute new values of vectors of ``length`` elements, in place, from them and from numbers, all by address."""
    _call(_kernel(settings.cpu_features, "chain", *parameters), *vectors, *numbers, length)


def _fold(operation: str, lines: Array, period: int, part: int, halvings: int) -> Array:
    """(count, length) → (count, period): sums of every ``period``-th element, in parts, and halved so often."""
    out, address = aligned_array((lines.shape[0], period), lines.dtype)
    kernel = _kernel(settings.cpu_features, "fold", operation, _ELEMENTS[lines.dtype])
    _call(kernel, address_of(lines), address, lines.shape[0], lines.shape[1], period, part, halvings)
    return out[:, : period >> halvings] if halvings else out


def accumulate(operation: str, x: Array, axes: Shape) -> Array:
    """The sum or product over ``axes``, in the order of compiled programs."""
    shape = tuple([extent for axis, extent in enumerate(x.shape) if axis not in axes])
    if x.size == 0:
        return np.full(shape, 0 if operation == "sum" else 1, x.dtype)
    x, axes = _without_ones(x, axes)
    if not axes:
        return x.reshape(shape)
    lanes = host_target(settings.cpu_features).lanes(_ELEMENTS[x.dtype])
    extents = tuple([x.shape[axis] for axis in axes])
    position, length = chunk_length(extents, x.size // math.prod(extents), axes[-1] == x.ndim - 1, lanes)
    if not length:
        return _accumulate(operation, x, axes, extents, lanes).reshape(shape)
    axis, nominal = axes[position], (*extents[:position], length, *extents[position + 1 :])
    count, rest = divmod(x.shape[axis], length)
    before, behind = x.shape[:axis], x.shape[axis + 1 :]
    whole = x[(slice(None),) * axis + (slice(count * length),)].reshape(*before, count, length, *behind)
    moved = tuple(each + (each >= axis) for each in axes)
    parts = np.moveaxis(_accumulate(operation, whole, moved, nominal, lanes), axis - position, 0)
    if rest:
        last = _accumulate(operation, x[(slice(None),) * axis + (slice(-rest, None),)], axes, nominal, lanes)
        parts = np.concatenate([parts, last[None]])
    return accumulate(operation, parts, (0,)).reshape(shape)


def _without_ones(x: Array, axes: Shape) -> tuple[Array, Shape]:
    """Without dimensions of extent 1."""
    if 1 not in x.shape:
        return x, axes
    places = [axis for axis, extent in enumerate(x.shape) if extent != 1]
    return x.reshape([x.shape[axis] for axis in places]), tuple(i for i, axis in enumerate(places) if axis in axes)


def _accumulate(operation: str, x: Array, axes: Shape, nominal: Shape, lanes: int) -> Array:
    """The reduction of chunks: lines are folded, then the dimensions around them, then the places of each result.

    ``nominal`` are the extents of ``axes``, in a chunk that is not the shorter last one.
    Dimensions before the first reduced one count lines; kept ones behind it are part of a place.
    """
    first, behind = axes[0], axes[-1] + 1
    if behind - first != len(axes):
        return _accumulate_apart(operation, x, axes, nominal, lanes)
    lines, period = contiguous(x), math.prod(x.shape[behind:])
    places = fold_period(nominal[-1], behind == x.ndim, lanes)
    for number in reversed(range(len(axes))):
        step = places if number == len(axes) - 1 else 1
        length, period = x.shape[first + number] * period, step * period
        part = part_length(math.ceil(nominal[number] / step))
        lines = _fold(operation, lines.reshape(-1, length), period, part, 0 if number else places.bit_length() - 1)
    return lines.reshape(x.shape[:first] + x.shape[behind:])


def _accumulate_apart(operation: str, x: Array, axes: Shape, nominal: Shape, lanes: int) -> Array:
    """`_accumulate` over dimensions that do not lie together: kept ones in between move behind them.

    Where the last dimension is reduced they move before them.
    """
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    outer = [axis for axis in kept if axis < axes[0]] if kept[-1] == x.ndim - 1 else kept
    order = [*outer, *[axis for axis in kept if axis not in outer]]
    moved = x.transpose([*outer, *axes, *order[len(outer) :]])
    together = tuple(range(len(outer), len(outer) + len(axes)))
    result = _accumulate(operation, moved, together, nominal, lanes)
    return result if order == kept else result.transpose(np.argsort(order))


def accumulate_along(operation: str, x: Array, axis: int) -> Array:
    """The sums or products of the elements up to each one along ``axis``."""
    x = contiguous(x)
    out, address = aligned_array(x.shape, x.dtype)
    kernel = _kernel(settings.cpu_features, "scan", operation, _ELEMENTS[x.dtype])
    _call(kernel, address_of(x), address, math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
    return out


def multiply(x: Array, y: Array) -> Array:
    """The matrix product over batches that broadcast, in the order of compiled programs."""
    narrow = is_narrow(x.shape, y.shape)
    if x.ndim == y.ndim == 2 and x.size and y.size:
        out, _ = aligned_array((x.shape[0], y.shape[1]), x.dtype)
        _multiply(x, y, out, narrow)
        return out
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out, _ = aligned_array((*batch, x.shape[-2], y.shape[-1]), x.dtype)
    if out.size == 0 or x.shape[-1] == 0:
        out.fill(0)
        return out
    if math.prod(y.shape[:-2]) == 1 and math.prod(batch) > 1:  # the rows of all batches are rows of one product
        rows = np.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(-1, x.shape[-1])
        _multiply(rows, y.reshape(y.shape[-2:]), out.reshape(-1, y.shape[-1]), narrow)
    else:
        left, right = np.broadcast_to(x, (*batch, *x.shape[-2:])), np.broadcast_to(y, (*batch, *y.shape[-2:]))
        for place in np.ndindex(batch):
            _multiply(left[place], right[place], out[place], narrow)
    return out


TASK_ROWS = 96
"""At most so many rows are multiplied with one panel of columns, which takes a few hundredths of that to pack."""


def _multiply(x: Array, y: Array, out: Array, narrow: bool) -> None:
    """One product of matrices, written to contiguous memory."""
    element, size = _ELEMENTS[out.dtype], out.itemsize
    if narrow:
        vector, matrix = (x, y.T) if out.shape[0] == 1 else (y.T, x)
        vector, matrix = contiguous(vector), contiguous(matrix)
        kernel = _kernel(settings.cpu_features, "dot", element)
        _call(kernel, address_of(vector), address_of(matrix), address_of(out), *matrix.shape)
        return
    rows, columns = out.shape
    y = y if size in y.strides else contiguous(y)
    steps = [stride // size for stride in (*x.strides, *y.strides)]
    parts = -(-rows // TASK_ROWS)
    given = [address_of(x), address_of(y), address_of(out), rows, columns, x.shape[1], *steps, -(-rows // parts)]
    lanes = host_target(settings.cpu_features).lanes(element)
    tasks = parts * -(-columns // (TILE_VECTORS * lanes))
    _run_tasks(_kernel(settings.cpu_features, "product", element), given, tasks, 2 * out.size * x.shape[1])


def draw_uniform(key: int, bound: float, out: Array) -> None:
    """Fill an array with the numbers in [-bound, bound) that the generator `numpy.random.Philox` gives for ``key``.

    They have single precision, 24 bits, two for each word of the generator.
    """
    if out.dtype != np.float32 or not out.flags.c_contiguous:
        drawn, _ = aligned_array(out.shape, np.dtype(np.float32))
        draw_uniform(key, bound, drawn)
        out[...] = drawn
        return
    numbers = np.float32(2 * bound) * np.float32(2**-24), np.float32(bound)
    given = [address_of(out), out.size, key, *(int(number.view(np.uint32)) for number in numbers)]
    _run_tasks(_kernel(settings.cpu_features, "uniform"), given, -(-out.size // DRAWN), DRAWING * out.size)


def _run_tasks(kernel: Callable[..., None], given: list[int], tasks: int, work: int) -> None:
    """Run a kernel that has tasks; ``work`` is what they do in floating point operations."""
    arguments = array("q", given)
    buffers, _ = arguments.buffer_info()
    if _is_worth_threads(work):
        share(ctypes.cast(cast(Any, kernel), ctypes.c_void_p).value or 0, buffers, tasks)
    else:
        kernel(buffers, 0, tasks, 0)


DRAWING = 50
"""Floating point operations in whose time one number is drawn."""

SHARED_WORK = 1 << 20
"""Floating point operations that take a few times as long as giving a part of them to another thread."""

THREADS_ARE_DUE = 1 << 29
"""Such operations after which two threads would have saved what starting them takes."""

_done = 0


def _is_worth_threads(work: int) -> bool:
    """Whether to share work among threads: not the few large products of a script, if nothing else needs them."""
    global _done
    if work < SHARED_WORK or settings.threads == 1:
        return False
    _done += work
    return is_running() or _done > THREADS_ARE_DUE
