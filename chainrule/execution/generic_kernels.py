"""Kernels that are generic in shape, as functions of NumPy arrays; each is compiled, or read from the disk, when needed.

`accumulate` and `multiply` fix the order in which sums are made. It is that of compiled programs: see
`chainrule.backends.native.schedule.canonical` and `chainrule.passes.plan.Product.is_narrow`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..backends.native.cpu import Target, host_target
from ..backends.native.generic import kernel_text
from ..backends.native.jit import Library
from ..backends.native.order import chunk_length, fold_period
from ..passes.plan import is_narrow
from ..settings import settings
from ..types import Shape
from .native_code import kernel_code

Array = np.ndarray[Any, Any]

WIDEST = 64
"""At least the lanes of any vector."""


@cache
def _kernel(target: Target, kind: str, *parameters: str) -> Callable[..., None]:
    """The function of a kernel; pointers and numbers are Python integers. Kept: there are few kernels."""
    library = Library(kernel_code(target, kind, parameters, lambda: kernel_text(target, kind, *parameters)), target)
    pointers = {"elementwise": len(parameters) - 1, "fold": 2, "dot": 3, "product": 3}[kind]
    numbers = {"elementwise": len(parameters) - 1, "fold": 3, "dot": 2, "product": 7}[kind]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers, *[ctypes.c_int64] * numbers)
    function: Any = prototype(library.address("run"))
    function.library = library
    return function  # type: ignore[no-any-return]


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def evaluate_elementwise(operation: str, operands: list[Array], dtype: Any) -> Array:
    """``operation`` of operands that broadcast, as an array of ``dtype``."""
    shape = np.broadcast_shapes(*(operand.shape for operand in operands)) if len(operands) > 1 else operands[0].shape
    out = np.empty(shape, dtype)
    prepared, steps = [], []
    for operand in operands:
        if operand.size == 1 and out.size > 1:
            prepared.append(np.full(WIDEST, operand, operand.dtype))
        elif operand.shape != shape:
            prepared.append(np.broadcast_to(operand, shape).copy())
        else:
            prepared.append(operand if operand.flags.c_contiguous else operand.copy())
        steps.append(int(prepared[-1].size == out.size))
    elements = [operand.dtype.name for operand in operands]
    kernel = _kernel(host_target(settings.cpu_features), "elementwise", operation, *elements, out.dtype.name)
    kernel(*map(_address, prepared), _address(out), out.size, *steps)
    return out


def _fold(operation: str, lines: Array, period: int) -> Array:
    """(count, length) → (count, period): sums of every ``period``-th element."""
    out = np.empty((lines.shape[0], period), lines.dtype)
    kernel = _kernel(host_target(settings.cpu_features), "fold", operation, lines.dtype.name)
    kernel(_address(lines), _address(out), lines.shape[0], lines.shape[1], period)
    return out


def accumulate(operation: str, x: Array, axes: Shape) -> Array:
    """The sum or product over ``axes``, in the order of compiled programs."""
    shape = tuple(extent for axis, extent in enumerate(x.shape) if axis not in axes)
    if x.size == 0:
        return np.full(shape, 0 if operation == "sum" else 1, x.dtype)
    x, axes = _without_ones(x, axes)
    if not axes:
        return x.reshape(shape)
    target = host_target(settings.cpu_features)
    lanes = target.lanes(x.dtype.name)
    position, length = chunk_length(x.shape, axes, lanes)
    if length:
        axis = axes[position]
        starts = range(0, x.shape[axis], length)
        parts = [_accumulate(operation, x[(slice(None),) * axis + (slice(s, s + length),)], axes, lanes) for s in starts]
        return accumulate(operation, np.stack(parts), (0,)).reshape(shape)
    return _accumulate(operation, x, axes, lanes).reshape(shape)


def _without_ones(x: Array, axes: Shape) -> tuple[Array, Shape]:
    """Without dimensions of extent 1."""
    places = [axis for axis, extent in enumerate(x.shape) if extent != 1]
    return x.reshape([x.shape[axis] for axis in places]), tuple(i for i, axis in enumerate(places) if axis in axes)


def _accumulate(operation: str, x: Array, axes: Shape, lanes: int) -> Array:
    """The reduction of one chunk: lines are folded, then the dimensions around them, then the places of each result.

    Dimensions before the first reduced one count lines; kept ones behind it are part of a place.
    """
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    outer = [axis for axis in kept if axis < axes[0]] if kept and kept[-1] == x.ndim - 1 else kept
    inner = [axis for axis in kept if axis not in outer]
    lines = np.ascontiguousarray(x.transpose([*outer, *axes, *inner]))
    extents = [x.shape[axis] for axis in axes]
    width = math.prod(x.shape[axis] for axis in inner)
    period = fold_period(extents[-1], axes[-1] == x.ndim - 1, lanes) * width
    length = extents.pop() * width
    while True:
        lines = _fold(operation, lines.reshape(-1, length), period)
        if not extents:
            break
        length = extents.pop() * period
    combine = np.add if operation == "sum" else np.multiply
    while period > width:
        period //= 2
        lines = combine(lines[:, :period], lines[:, period:])
    return lines.reshape([x.shape[axis] for axis in [*outer, *inner]]).transpose(np.argsort([*outer, *inner]))


def multiply(x: Array, y: Array) -> Array:
    """The matrix product over batches that broadcast, in the order of compiled programs."""
    narrow = is_narrow(x.shape, y.shape)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = np.empty((*batch, x.shape[-2], y.shape[-1]), x.dtype)
    if out.size == 0 or x.shape[-1] == 0:
        out.fill(0)
        return out
    if math.prod(y.shape[:-2]) == 1 and math.prod(batch) > 1:  # the rows of all batches are rows of one product
        rows = np.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(-1, x.shape[-1])
        _multiply(rows, y.reshape(y.shape[-2:]), out.reshape(-1, y.shape[-1]), narrow)
    elif not batch:
        _multiply(x, y, out, narrow)
    else:
        left, right = np.broadcast_to(x, (*batch, *x.shape[-2:])), np.broadcast_to(y, (*batch, *y.shape[-2:]))
        for place in np.ndindex(batch):
            _multiply(left[place], right[place], out[place], narrow)
    return out


def _multiply(x: Array, y: Array, out: Array, narrow: bool) -> None:
    """One product of matrices, written to contiguous memory."""
    target, element, size = host_target(settings.cpu_features), out.dtype.name, out.itemsize
    if narrow:
        vector, matrix = (x, y.T) if out.shape[0] == 1 else (y.T, x)
        vector, matrix = np.ascontiguousarray(vector), np.ascontiguousarray(matrix)
        kernel = _kernel(target, "dot", element)
        kernel(_address(vector), _address(matrix), _address(out), *matrix.shape)
        return
        for number in range(vector.shape[0]):
            kernel = _kernel(target, "dot", element)
            kernel(_address(vector[number]), _address(matrix), _address(out), matrix.shape[0], matrix.shape[1])
        return
    steps = [stride // size for stride in (*x.strides, *y.strides)]
    kernel = _kernel(target, "product", element)
    kernel(_address(x), _address(y), _address(out), *out.shape, x.shape[1], *steps)
