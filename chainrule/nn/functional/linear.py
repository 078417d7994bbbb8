"""The affine map and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, ShapeError
from ...graph.site import find_site
from ...tensor import operations, shaping
from ...tensor.generator import default_generator
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
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
    product = shaping.matmul(converted(input, weight.dtype), shaping.t(weight))
    return product if bias is None else operations.add(product, bias)


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


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Each element 0 with probability p, else x / (1 - p), so that the mean stays; in evaluation the input itself.

    The mask is a function of the seed (`manual_seed`), the step and the place in the program.
    Errors: `ArgumentError` for p outside [0, 1]. Source: Srivastava et al. 2014, in the inverted form.

    >>> import chainrule as cr
    >>> cr.nn.functional.dropout(cr.ones(3), p=0.5, training=False)
    tensor([1., 1., 1.])
    """
    check_probability(p)
    if not training or p == 0:
        return input
    x = input if isinstance(input, Handle) else as_tensor(input)
    return _drop(x, default_generator.draw_uniform(type_of(x).shape), p=float(p))


def check_probability(p: float) -> None:
    """Errors: `ArgumentError` for p outside [0, 1]."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")


@remembered
def _drop(input: Any, uniform: Any, *, p: float) -> Any:
    kept = operations.mul(input, 1 / (1 - p) if p < 1 else 0.0)
    return operations.where(operations.lt(uniform, p), 0.0, kept)
