"""Activation functions made of pieces: rectifiers, straight-line versions of smooth functions, steps.

Their layers are in `chainrule.nn.piecewise`. At a kink the derivative is PyTorch's: that of the piece which includes
the point in the formulas below. NaN stays NaN.
"""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...tensor import operations, shaping
from ...tensor.generator import default_generator
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
from ...tensor.remembered import remembered
from .activation import written


def relu(input: Any, inplace: bool = False) -> Any:
    """max(0, x); the derivative at 0 is 0.

    >>> import chainrule as cr
    >>> cr.nn.functional.relu(cr.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return written(input, operations.relu(input if isinstance(input, Handle) else as_tensor(input)), inplace)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(0, x), 6). Source: Krizhevsky 2010."""
    return written(input, _relu6(input), inplace)


@remembered
def _relu6(input: Any) -> Any:
    return _clipped(input, 0.0, 6.0)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x for x > 0, else negative_slope · x. Source: Maas et al. 2013."""
    return written(input, _leaky_relu(input, negative_slope=negative_slope), inplace)


@remembered
def _leaky_relu(input: Any, *, negative_slope: float) -> Any:
    return operations.where(operations.gt(input, 0), input, operations.mul(input, negative_slope))


def prelu(input: Any, weight: Any) -> Any:
    """x for x > 0, else weight · x, where the slope is learned: one for all, or one per channel (dimension 1).

    Shapes: weight (1) or (channels). Errors: `ShapeError`. Source: He et al. 2015.

    >>> import chainrule as cr
    >>> cr.nn.functional.prelu(cr.tensor([[-4.0, -4.0]]), cr.tensor([0.5, 0.25]))
    tensor([[-2., -1.]])
    """
    return _prelu(input, weight)


@remembered
def _prelu(input: Any, weight: Any) -> Any:
    shape, slopes = type_of(input).shape, type_of(weight).shape
    if len(slopes) > 1:
        raise ShapeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {len(slopes)}")
    channels = shape[1] if len(shape) > 1 else 1
    if slopes not in ((), (1,), (channels,)):
        raise ShapeError(
            f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {slopes[0]} and channel "
            f"size = {channels}.\n  where: {find_site()}\n  fix: PReLU({channels}), or PReLU() with one slope for all"
        )
    if slopes:
        weight = shaping.reshape(weight, (*slopes, *([1] * (len(shape) - 2))) if len(shape) > 1 else ())
    # The slope's gradient must not see the positive inputs: 0 · ∞ would be NaN.
    negative = operations.where(operations.gt(input, 0), 0, input)
    return operations.where(operations.gt(input, 0), input, operations.mul(negative, weight))


def rrelu(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False) -> Any:
    """x for x > 0, else a · x: in training with a drawn from U(lower, upper) per element, else (lower + upper) / 2.

    Errors: `ArgumentError` for lower > upper. Source: Xu et al. 2015.
    """
    if lower > upper:
        raise ArgumentError(
            f"Lower bound should be less than or equal to the upper bound, got lower={lower} and upper={upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    x = input if isinstance(input, Handle) else as_tensor(input)
    uniform = default_generator.draw_uniform(type_of(x).shape)
    return written(x, _rrelu(x, uniform, lower=lower, upper=upper), inplace)


@remembered
def _rrelu(input: Any, uniform: Any, *, lower: float, upper: float) -> Any:
    uniform = operations.convert(uniform, type_of(input).dtype)
    slope = operations.add(operations.mul(uniform, upper - lower), lower)
    return operations.where(operations.le(input, 0), operations.mul(input, slope), input)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """min_val for x ≤ min_val, max_val for x ≥ max_val, else x. Errors: `ArgumentError` for min_val > max_val."""
    if min_val > max_val:
        raise ArgumentError(f"min_val cannot be greater than max_val, got {min_val} and {max_val}")
    return written(input, _hardtanh(input, min_val=min_val, max_val=max_val), inplace)


@remembered
def _hardtanh(input: Any, *, min_val: float, max_val: float) -> Any:
    return _clipped(input, min_val, max_val)


def _clipped(input: Any, low: float, high: float) -> Any:
    """x limited to [low, high], with derivative 0 at both ends."""
    at_most_high = operations.where(operations.ge(input, high), high, input)
    return operations.where(operations.le(input, low), low, at_most_high)


def piecewise_linear(input: Any) -> Any:
    """0 for x ≤ -½, 1 for x ≥ ½, else x + ½.

    >>> import chainrule as cr
    >>> cr.nn.functional.piecewise_linear(cr.tensor([-1.0, 0.25, 1.0]))
    tensor([0.0000, 0.7500, 1.0000])
    """
    return _piecewise_linear(input)


@remembered
def _piecewise_linear(input: Any) -> Any:
    return _clipped(operations.add(input, 0.5), 0.0, 1.0)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """0 for x ≤ -3, 1 for x ≥ 3, else x / 6 + ½. Source: Courbariaux et al. 2015."""
    return written(input, _hardsigmoid(input), inplace)


@remembered
def _hardsigmoid(input: Any) -> Any:
    return operations.div(_clipped(operations.add(input, 3), 0.0, 6.0), 6)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x · hardsigmoid(x). Source: Howard et al. 2019."""
    return written(input, _hardswish(input), inplace)


@remembered
def _hardswish(input: Any) -> Any:
    return operations.mul(input, _hardsigmoid(input))


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """``value`` for x ≤ threshold, else x."""
    return written(input, _threshold(input, threshold=threshold, value=value), inplace)


@remembered
def _threshold(input: Any, *, threshold: float, value: float) -> Any:
    return operations.where(operations.le(input, threshold), value, input)


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 for |x| ≤ λ, else x."""
    return _hardshrink(input, lambd=lambd)


@remembered
def _hardshrink(input: Any, *, lambd: float) -> Any:
    return operations.where(operations.le(operations.abs(input), lambd), 0, input)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 for |x| ≤ λ, else x - λ · sign(x). Errors: `ArgumentError` for λ < 0.

    >>> import chainrule as cr
    >>> cr.nn.functional.softshrink(cr.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """
    if not lambd >= 0:
        raise ArgumentError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}")
    return _softshrink(input, lambd=lambd)


@remembered
def _softshrink(input: Any, *, lambd: float) -> Any:
    shrunk = operations.sub(input, operations.mul(operations.sign(input), lambd))
    return operations.where(operations.le(operations.abs(input), lambd), 0, shrunk)


def heaviside(input: Any, value: float = 0.5) -> Any:
    """The unit step: 0 for x < 0, ``value`` at 0, 1 for x > 0. Its derivative is 0 everywhere.

    >>> import chainrule as cr
    >>> cr.nn.functional.heaviside(cr.tensor([-2.0, 0.0, 2.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return _heaviside(input, value=value)


@remembered
def _heaviside(input: Any, *, value: float) -> Any:
    step = operations.mul(operations.add(operations.sign(input), 1), 0.5)
    return operations.where(operations.eq(input, 0), value, step)


def sign(input: Any) -> Any:
    """-1, 0 or 1. Its derivative is 0 everywhere."""
    return operations.sign(input)
