"""The affine and the bilinear map."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...graph.site import find_site
from ...ops.arithmetic import add
from ...ops.matmul import matmul
from ...ops.movement import reshape, swap_last_axes
from ...tensor import operations
from ...tensor.operands import as_tensor, enter_all, meet
from ...tensor.recording import Handle, pending, type_of
from ...tensor.remembered import remembered
from ...types import DType


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input · weightᵀ + bias, over the last dimension.

    Shapes: input (..., in), weight (out, in), bias (out), result (..., out). An input that needs no gradient is
    converted to the weight's type. Errors: `ShapeError`, `DTypeError`.

    >>> import chainrule as cr
    >>> cr.nn.functional.linear(cr.ones(1, 2), cr.ones(3, 2))
    tensor([[2., 2., 2.]])
    """
    return remembered_linear(input, weight, bias)


@remembered
def remembered_linear(input: Any, weight: Any, bias: Any) -> Any:
    """`linear` with all arguments by position."""
    shape, (outputs, inputs) = type_of(input).shape, type_of(weight).shape
    if not shape or shape[-1] != inputs:
        raise _wrong_size(tuple(shape), inputs, outputs)
    given = (converted(input, weight.dtype), weight) if bias is None else (converted(input, weight.dtype), weight, bias)
    segment, (x, w, *added) = enter_all(*given)
    rows = reshape(x, (1, inputs)) if len(shape) == 1 else x
    result = reshape(matmul(rows, swap_last_axes(w)), (*shape[:-1], outputs))
    for vertex in added:
        result = add(*meet(result, vertex))
    return pending(result, segment)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """input1ᵀ · weight_k · input2 + bias_k for every output k, over the last dimensions.

    Shapes: input1 (..., in1), input2 (..., in2), weight (out, in1, in2), bias (out), result (..., out).
    Errors: `ShapeError`, `DTypeError`.

    >>> import chainrule as cr
    >>> cr.nn.functional.bilinear(cr.tensor([[2.0]]), cr.tensor([[3.0]]), cr.ones(1, 1, 1))
    tensor([[6.]])
    """
    first, second = (value if isinstance(value, Handle) else as_tensor(value) for value in (input1, input2))
    shapes, table = [type_of(first).shape, type_of(second).shape], type_of(weight).shape
    for number, shape, size in zip((1, 2), shapes, table[1:], strict=True):
        if not shape or shape[-1] != size:
            raise ShapeError(
                f"bilinear(): input{number} size does not match weight size: got shape {shape}, expected (..., {size})"
                f"\n  where: {find_site()}"
            )
    if shapes[0][:-1] != shapes[1][:-1]:
        raise ShapeError(
            f"bilinear(): input batch dimensions do not match: got {shapes[0]} and {shapes[1]}\n  where: {find_site()}"
        )
    return _bilinear(converted(first, weight.dtype), converted(second, weight.dtype), weight, bias)


@remembered
def _bilinear(first: Any, second: Any, weight: Any, bias: Any) -> Any:
    pairs = operations.mul(first.unsqueeze(-1), second.unsqueeze(-2)).flatten(-2)
    return remembered_linear(pairs, weight.flatten(1), bias)


def _wrong_size(shape: tuple[int, ...], inputs: int, outputs: int) -> ShapeError:
    layer = f"Linear({inputs}, {outputs})"
    if not shape:
        return ShapeError(f"{layer} got a number, expected a tensor of shape (..., {inputs})\n  where: {find_site()}")
    fixes = [f"Linear({shape[-1]}, {outputs})"]
    if len(shape) == 2 and shape[0] == inputs:
        fixes.insert(0, "x.T, if the rows are the features")
    elif len(shape) > 2 and int(np.prod(shape[1:])) == inputs:
        fixes.insert(0, "nn.Flatten() before it")
    rows = int(np.prod(shape[:-1]))
    return ShapeError(
        f"{layer} got input of shape {shape}: its last dimension must be {inputs}, got {shape[-1]}\n"
        f"  where: {find_site()}\n"
        f"  fix: {', or '.join(fixes)}\n"
        f"  (mat1 and mat2 shapes cannot be multiplied ({rows}x{shape[-1]} and {inputs}x{outputs}))"
    )


def converted(value: Any, dtype: DType) -> Any:
    """``value`` as ``dtype``. Data is converted silently; what carries a gradient must have the right type already."""
    found = value.dtype
    if found is dtype:
        return value
    if value.requires_grad:
        raise DTypeError(
            f"expected m1 and m2 to have the same dtype, but got: {found} != {dtype}\n"
            f"  where: {find_site()}\n  fix: x.to(cr.{dtype}), or model.to(cr.{found})"
        )
    return operations.convert(value, dtype)
