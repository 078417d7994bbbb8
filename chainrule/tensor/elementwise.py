"""Elementwise functions that are composed of others, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..types import bool_, float32, float64
from . import operations
from .keywords import pytorch_keywords
from .operands import as_tensor, from_array
from .operations import abs, add, div, exp, expm1, log, log1p, lt, mul, sqrt, square, sub, where

METHODS = (
    "acos", "acosh", "addcdiv", "addcmul", "allclose", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctanh", "asin", "asinh", "atan", "atanh", "clamp_max", "clamp_min", "copysign", "cosh", "deg2rad", "equal",
    "exp2", "fix", "float_power", "fmax", "fmin", "fmod", "frac", "greater", "greater_equal", "heaviside", "hypot",
    "isclose", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "ldexp", "lerp", "less", "less_equal", "log10",
    "log2", "logaddexp", "logaddexp2", "logit", "nan_to_num", "not_equal", "positive", "rad2deg", "reciprocal",
    "sgn", "signbit", "sinc", "sinh", "tan", "trunc", "xlogy",
)  # fmt: skip

greater, greater_equal, less, less_equal = operations.gt, operations.ge, operations.lt, operations.le
not_equal, sgn = operations.ne, operations.sign


def _as_float(input: Any) -> Any:
    x = as_tensor(input)
    return x if x.dtype.is_floating_point else operations.convert(x, float32)


def _full_like(x: Any, value: bool) -> Any:
    return from_array(np.full(tuple(x.shape), value))


@pytorch_keywords
def reciprocal(input: Any) -> Any:
    """1 / x, elementwise."""
    return operations.reverse_divide(as_tensor(input), 1.0)


def positive(input: Any) -> Any:
    """x itself."""
    return as_tensor(input)


# Exponentials and logarithms


@pytorch_keywords
def exp2(input: Any) -> Any:
    """2^x, elementwise."""
    return operations.reverse_power(_as_float(input), 2.0)


@pytorch_keywords
def float_power(input: Any, exponent: Any) -> Any:
    """x^y in float64, elementwise."""
    return operations.pow(operations.convert(as_tensor(input), float64), exponent)


@pytorch_keywords
def log2(input: Any) -> Any:
    """The logarithm to base 2, elementwise."""
    return div(log(input), math.log(2))


@pytorch_keywords
def log10(input: Any) -> Any:
    """The logarithm to base 10, elementwise."""
    return div(log(input), math.log(10))


@pytorch_keywords
def logaddexp(input: Any, other: Any) -> Any:
    """log(e^x + e^y), stable; shapes broadcast.

    >>> import chainrule as cr
    >>> cr.logaddexp(cr.tensor([100.0]), cr.tensor([100.0]))
    tensor([100.6931])
    """
    x, y = as_tensor(input), as_tensor(other)
    distance = where(operations.eq(x, y), 0.0, sub(x, y))  # also for two equal infinities
    return add(operations.maximum(x, y), log1p(exp(operations.neg(abs(distance)))))


@pytorch_keywords
def logaddexp2(input: Any, other: Any) -> Any:
    """log2(2^x + 2^y), stable; shapes broadcast."""
    scaled = (mul(_as_float(value), math.log(2)) for value in (input, other))
    return div(logaddexp(*scaled), math.log(2))


@pytorch_keywords
def ldexp(input: Any, other: Any) -> Any:
    """x · 2^y, elementwise; shapes broadcast."""
    return mul(_as_float(input), exp2(other))


@pytorch_keywords
def xlogy(input: Any, other: Any) -> Any:
    """x · log y, and 0 where x is 0 (NaN where y is)."""
    x, y = as_tensor(input), as_tensor(other)
    is_zero = operations.logical_and(operations.eq(x, 0), operations.logical_not(isnan(y)))
    return where(is_zero, 0.0, mul(x, log(where(is_zero, 1.0, operations.convert(y, _as_float(y).dtype)))))


@pytorch_keywords
def logit(input: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)), elementwise; with ``eps`` of x limited to [eps, 1 - eps]."""
    x = _as_float(input)
    x = x if eps is None else operations.clamp(x, eps, 1 - eps)
    return log(div(x, operations.reverse_subtract(x, 1.0)))


# Trigonometric and hyperbolic functions


@pytorch_keywords
def tan(input: Any) -> Any:
    """The tangent of x in radians, elementwise."""
    return div(operations.sin(input), operations.cos(input))


@pytorch_keywords
def atan(input: Any) -> Any:
    """The angle in (-π/2, π/2) whose tangent is x, elementwise."""
    return operations.atan2(input, 1.0)


@pytorch_keywords
def asin(input: Any) -> Any:
    """The angle in [-π/2, π/2] whose sine is x, elementwise: atan2(x, sqrt((1 - x) (1 + x)))."""
    x = _as_float(input)
    return operations.atan2(x, sqrt(mul(operations.reverse_subtract(x, 1.0), add(x, 1.0))))


@pytorch_keywords
def acos(input: Any) -> Any:
    """The angle in [0, π] whose cosine is x, elementwise: atan2(sqrt((1 - x) (1 + x)), x)."""
    x = _as_float(input)
    return operations.atan2(sqrt(mul(operations.reverse_subtract(x, 1.0), add(x, 1.0))), x)


@pytorch_keywords
def sinh(input: Any) -> Any:
    """(e^x - e^-x) / 2, elementwise; by e^x - 1 near 0, and by e^(x/2) so that nothing overflows early."""
    x = _as_float(input)
    size = abs(x)
    is_small = lt(size, 1.0)
    small = expm1(where(is_small, x, 0.0))
    root = exp(mul(size, 0.5))
    large = sub(mul(mul(root, 0.5), root), div(0.5, mul(root, root)))
    near = mul(add(small, div(small, add(small, 1.0))), 0.5)
    return where(is_small, near, where(lt(x, 0), operations.neg(large), large))


@pytorch_keywords
def cosh(input: Any) -> Any:
    """(e^x + e^-x) / 2, elementwise."""
    root = exp(mul(abs(_as_float(input)), 0.5))
    return add(mul(mul(root, 0.5), root), div(0.5, mul(root, root)))


_HUGE = 1e8
"""Beyond this size sqrt(x² + 1) is |x| in float64."""


@pytorch_keywords
def asinh(input: Any) -> Any:
    """The inverse of sinh, elementwise: sign(x) · log(|x| + sqrt(x² + 1))."""
    x = _as_float(input)
    size = where(lt(x, 0), operations.neg(x), x)
    is_huge = lt(_HUGE, size)
    bounded = where(is_huge, 1.0, size)
    squared = square(bounded)
    near = log1p(add(bounded, div(squared, add(sqrt(add(squared, 1.0)), 1.0))))
    far = add(log(where(is_huge, size, 1.0)), math.log(2))
    result = where(is_huge, far, near)
    return where(lt(x, 0), operations.neg(result), where(operations.eq(x, 0), x, result))


@pytorch_keywords
def acosh(input: Any) -> Any:
    """The inverse of cosh for x ≥ 1, elementwise: log(x + sqrt(x² - 1))."""
    x = _as_float(input)
    is_huge = lt(_HUGE, x)
    above = sub(where(is_huge, 1.0, x), 1.0)
    near = log1p(add(above, sqrt(mul(above, add(above, 2.0)))))
    return where(is_huge, add(log(where(is_huge, x, 1.0)), math.log(2)), near)


@pytorch_keywords
def atanh(input: Any) -> Any:
    """The inverse of tanh, elementwise: log((1 + x) / (1 - x)) / 2."""
    x = _as_float(input)
    return mul(sub(log1p(x), log1p(operations.neg(x))), 0.5)


@pytorch_keywords
def sinc(input: Any) -> Any:
    """sin(πx) / (πx), and 1 at 0."""
    x = _as_float(input)
    is_zero = operations.eq(x, 0)
    angle = mul(where(is_zero, 1.0, x), math.pi)
    return where(is_zero, 1.0, div(operations.sin(angle), angle))


def deg2rad(input: Any) -> Any:
    """Degrees as radians."""
    return mul(_as_float(input), math.pi / 180)


def rad2deg(input: Any) -> Any:
    """Radians as degrees."""
    return mul(_as_float(input), 180 / math.pi)


@pytorch_keywords
def hypot(input: Any, other: Any) -> Any:
    """sqrt(x² + y²) without overflow; shapes broadcast."""
    x, y = as_tensor(input), as_tensor(other)
    largest = operations.maximum(abs(x), abs(y)).detach()
    is_end = operations.logical_or(operations.eq(largest, 0), operations.eq(largest, math.inf))
    scale = where(is_end, 1.0, largest)
    return mul(sqrt(add(square(div(x, scale)), square(div(y, scale)))), scale)


arcsin, arccos, arctan = asin, acos, atan
arcsinh, arccosh, arctanh = asinh, acosh, atanh

# Rounding, signs and limits


@pytorch_keywords
def trunc(input: Any) -> Any:
    """The nearest integer towards 0, elementwise."""
    x = as_tensor(input)
    return where(lt(x, 0), operations.ceil(x), operations.floor(x)) if x.dtype.is_floating_point else x.clone()


fix = trunc


@pytorch_keywords
def frac(input: Any) -> Any:
    """What is behind the point: x - trunc(x), elementwise."""
    return sub(input, trunc(input))


@pytorch_keywords
def fmod(input: Any, other: Any) -> Any:
    """The remainder of the division rounded towards 0, with the sign of the dividend; as C's fmod.

    >>> import chainrule as cr
    >>> cr.fmod(cr.tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])
    """
    x = as_tensor(input)
    size = where(lt(x, 0), operations.neg(x), x)
    rest = operations.remainder(size, math.copysign(other, 1) if isinstance(other, float) else abs(other))
    return where(signbit(x), operations.neg(rest), rest)


@pytorch_keywords
def copysign(input: Any, other: Any) -> Any:
    """|x| with the sign of y, elementwise; shapes broadcast."""
    size = abs(_as_float(input))
    return where(signbit(other), operations.neg(size), size)


@pytorch_keywords
def signbit(input: Any) -> Any:
    """Whether x is negative, -0 included."""
    x = as_tensor(input)
    if not x.dtype.is_floating_point:
        return lt(x, 0)
    return lt(where(operations.eq(x, 0), operations.reverse_divide(x.detach(), 1.0), x), 0)


@pytorch_keywords
def clamp_min(input: Any, min: Any) -> Any:
    """input, and at least ``min``."""
    return operations.clamp(input, min)


@pytorch_keywords
def clamp_max(input: Any, max: Any) -> Any:
    """input, and at most ``max``."""
    return operations.clamp(input, None, max)


@pytorch_keywords
def fmax(input: Any, other: Any) -> Any:
    """The larger of x and y; if one is NaN, the other."""
    return _prefer_numbers(operations.maximum, input, other)


@pytorch_keywords
def fmin(input: Any, other: Any) -> Any:
    """The smaller of x and y; if one is NaN, the other."""
    return _prefer_numbers(operations.minimum, input, other)


def _prefer_numbers(choose: Any, input: Any, other: Any) -> Any:
    x, y = as_tensor(input), as_tensor(other)
    return where(isnan(x), y, where(isnan(y), x, choose(x, y)))


@pytorch_keywords
def heaviside(input: Any, values: Any) -> Any:
    """0 below 0, 1 above, ``values`` at 0, elementwise."""
    x, at_zero = as_tensor(input), as_tensor(values)
    step = operations.convert(lt(0.0, x) if x.dtype.is_floating_point else lt(0, x), x.dtype)
    return where(operations.eq(x, 0), at_zero, where(isnan(x), x, step))


# Mixtures


@pytorch_keywords
def lerp(input: Any, end: Any, weight: Any) -> Any:
    """input + weight · (end - input), exact at both ends.

    >>> import chainrule as cr
    >>> cr.lerp(cr.tensor([0.0, 10.0]), cr.tensor([1.0, 20.0]), 0.5)
    tensor([ 0.5000, 15.0000])
    """
    distance = sub(end, input)
    if isinstance(weight, int | float):
        if weight < 0.5:
            return add(input, mul(distance, weight))
        return sub(end, mul(distance, 1 - weight))
    near = add(input, mul(distance, weight))
    return where(lt(abs(weight), 0.5), near, sub(end, mul(distance, sub(1.0, weight))))


@pytorch_keywords
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """input + value · tensor1 · tensor2; shapes broadcast."""
    return add(input, mul(tensor1, tensor2), alpha=value)


@pytorch_keywords
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """input + value · tensor1 / tensor2; shapes broadcast."""
    return add(input, div(tensor1, tensor2), alpha=value)


# Questions


def isnan(input: Any) -> Any:
    """Whether x is NaN."""
    x = as_tensor(input)
    return operations.ne(x, x)


def isinf(input: Any) -> Any:
    """Whether x is infinite."""
    x = as_tensor(input)
    return operations.eq(abs(x), math.inf) if x.dtype.is_floating_point else _full_like(x, False)


def isfinite(input: Any) -> Any:
    """Whether x is a number that is not infinite."""
    x = as_tensor(input)
    return lt(abs(x), math.inf) if x.dtype.is_floating_point else _full_like(x, True)


def isposinf(input: Any) -> Any:
    """Whether x is infinity."""
    x = as_tensor(input)
    return operations.eq(x, math.inf) if x.dtype.is_floating_point else _full_like(x, False)


def isneginf(input: Any) -> Any:
    """Whether x is minus infinity."""
    x = as_tensor(input)
    return operations.eq(x, -math.inf) if x.dtype.is_floating_point else _full_like(x, False)


@pytorch_keywords
def nan_to_num(input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Any:
    """NaN replaced by ``nan`` (0), infinities by ``posinf`` and ``neginf`` (the largest and smallest finite numbers).

    >>> import chainrule as cr
    >>> cr.nan_to_num(cr.tensor([float("nan"), 1.0]))
    tensor([0., 1.])
    """
    x = as_tensor(input)
    if x.dtype is bool_ or not x.dtype.is_floating_point:
        return x.clone()
    limit = float(np.finfo(x.dtype.numpy).max)
    high, low = limit if posinf is None else posinf, -limit if neginf is None else neginf
    finite = where(isposinf(x), high, where(isneginf(x), low, x))
    return where(isnan(x), 0.0 if nan is None else nan, finite)


@pytorch_keywords
def isclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """|x - y| ≤ atol + rtol · |y|, elementwise; equal infinities are close, NaN only with ``equal_nan``.

    >>> import chainrule as cr
    >>> cr.isclose(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    x, y = as_tensor(input), as_tensor(other)
    if x.dtype is not y.dtype:
        raise ArgumentError(f"isclose: tensors must have one dtype, got {x.dtype} and {y.dtype}. fix: x.to(y.dtype)")
    if rtol < 0 or atol < 0:
        raise ArgumentError(f"rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}")
    equal = operations.eq(x, y)
    if x.dtype is bool_:
        return equal
    distance = abs(sub(x, y))
    is_near = operations.le(distance, add(mul(abs(y), rtol), atol))
    close = operations.logical_or(equal, operations.logical_and(isfinite(distance), is_near))
    return operations.logical_or(close, operations.logical_and(isnan(x), isnan(y))) if equal_nan else close


def allclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close in the sense of `isclose`; the values are read at once."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array().all())


def equal(input: Any, other: Any) -> bool:
    """Whether both have the same shape and equal elements; the values are read at once."""
    x, y = as_tensor(input), as_tensor(other)
    return tuple(x.shape) == tuple(y.shape) and bool((x._array() == y._array()).all())
