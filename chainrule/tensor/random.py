"""Random tensors that programs draw: a function of a generator's seed and counter, so new ones in every run.

Everything follows from uniform numbers by arithmetic that is rounded the same way everywhere (no exp, log or cos), so
that a seed gives the same bits on every backend.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ..errors import ArgumentError
from ..types import DType, Shape, float32, float64, int64
from .generator import Generator
from .operations import add, convert, div, floor, ge, lt, mul, neg, reverse_subtract, sqrt, sub, where
from .remembered import remembered
from .sorting import argsort

STEP = 2.0**-24
"""The distance of uniform float32 numbers; those of float64 have it squared."""

CENTRE = (3.3871327179, 50.434271938, 159.29113202, 59.109374720), (1.0, 17.895169469, 78.757757664, 67.187563600)
TAIL = (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), (1.0, 0.73700164250, 0.12021132975)
"""Numerators and denominators of algorithm AS 241, PPND7, from the constant upwards."""

MAX_INTEGERS = 1 << 32


def uniform(generator: Generator, shape: Shape, dtype: DType = float32) -> Any:
    """Numbers uniform in [0, 1): multiples of 2⁻²⁴, or as float64 of 2⁻⁴⁸."""
    high = generator.draw_uniform(shape)
    if dtype is not float64:
        return convert(high, dtype)
    low = generator.draw_uniform(shape)
    return add(convert(high, float64), mul(convert(low, float64), STEP))


def standard_normal(generator: Generator, shape: Shape, dtype: DType = float32) -> Any:
    """Numbers from N(0, 1): the quantiles of uniform numbers in the middle of their steps, to 2 · 10⁻⁶.

    The largest are 5.4, or 7.9 as float64.
    """
    precision = float64 if dtype is float64 else float32
    return convert(_normal_quantile(uniform(generator, shape, precision)), dtype)


def integers(generator: Generator, low: int, high: int, shape: Shape) -> Any:
    """Whole numbers from ``low`` to ``high`` - 1, int64, equally likely to 2⁻⁴⁸.

    Errors: `ArgumentError` if there are none, or more than 2³².
    """
    count = high - low
    if not 0 < count <= MAX_INTEGERS:
        raise ArgumentError(
            f"whole numbers from {low} to {high} - 1 cannot be drawn inside a compiled function: there must be 1 to "
            f"2³² of them, there are {max(count, 0)}. fix: another range, or draw them outside"
        )
    drawn = floor(mul(uniform(generator, shape, float64), float(count)))
    return add(convert(drawn, int64), low)


def permutation(generator: Generator, n: int) -> Any:
    """0 ... n-1 in random order, int64: the order of n uniform numbers."""
    return argsort(uniform(generator, (n,), float64))


@remembered
def _normal_quantile(u: Any) -> Any:
    """Φ⁻¹(u + half a step).

    Source: Wichura 1988, "Algorithm AS 241: The Percentage Points of the Normal Distribution", PPND7.
    """
    half_step = STEP / 2 if u.dtype is float32 else STEP * STEP / 2
    is_upper = ge(u, 0.5)
    share = where(is_upper, sub(reverse_subtract(u, 1.0), half_step), add(u, half_step))  # of the nearer tail
    distance = reverse_subtract(share, 0.5)
    central = mul(distance, _ratio(CENTRE, reverse_subtract(mul(distance, distance), 0.180625)))
    outer = _ratio(TAIL, sub(sqrt(neg(_logarithm(share))), 1.6))
    size = where(lt(share, 0.075), outer, central)
    return where(is_upper, size, neg(size))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    """A quotient of polynomials, by Horner's rule."""
    above, below = (
        functools.reduce(lambda value, c: add(mul(value, x), c), reversed(row[:-1]), row[-1]) for row in coefficients
    )
    return div(above, below)


def _logarithm(x: Any) -> Any:
    """ln x for 2⁻⁶⁴ < x < 1: x is doubled into [½, 1), and there the series of artanh has nine correct digits."""
    logarithm: Any = -0.5 * math.log(2)
    for bits in (32, 16, 8, 4, 2, 1):
        is_small = lt(x, 2.0**-bits)
        x = where(is_small, mul(x, 2.0**bits), x)
        logarithm = add(where(is_small, -bits * math.log(2), 0.0), logarithm)
    s = div(sub(x, math.sqrt(0.5)), add(x, math.sqrt(0.5)))
    square = mul(s, s)
    series = functools.reduce(lambda value, n: add(mul(value, square), 2 / n), (7, 5, 3, 1), 2 / 9)
    return add(mul(s, series), logarithm)
