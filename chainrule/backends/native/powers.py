"""Powers of float vectors: the exponential of a logarithm that is twice as precise; transcendental.py's rules hold."""

from __future__ import annotations

import math

from chainrule.backends.native.transcendental import (
    FLOAT64,
    FORMATS,
    INFINITY,
    clamp,
    exactly,
    exp,
    exp_sum,
    floor,
    horner,
    log,
    normalize,
    two_sum_rest,
)
from chainrule.backends.native.value import Value

LOG_POWER = (  # SLEEF sleefdp.c, logk: (ln((1 + s) / (1 - s)) - 2 s - 2/3 s^3) / s^5 in s^2
    0.116255524079935043668677, 0.103239680901072952701192, 0.117754809412463995466069, 0.13332981086846273921509,
    0.153846227114512262845736, 0.181818180850050775676507, 0.222222222230083560345903, 0.285714285714249172087875,
    0.400000000000000077715612,
)  # fmt: skip
TWO_THIRDS = (0.666666666666666629659233, 3.80554962542412056336616e-17)
LN2_PAIR = (0.693147180559945286226764, 2.319046813846299558417771e-17)

Pair = tuple[Value, Value]
"""An unevaluated sum of a float64 and a much smaller one: about 106 bits."""


def fast_two_sum(high: Value, low: Value) -> Pair:
    """high + low and its rounding error, for |high| >= |low|."""
    total = high + low
    return total, (high - total) + low


def two_product(a: Value, b: Value) -> Pair:
    """a b and its rounding error."""
    product = a * b
    if a.function.module.target.has_fma:
        return product, a.fma(b, -product)
    (a_high, a_low), (b_high, b_low) = halves(a), halves(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def halves(a: Value) -> Pair:
    """Two parts of 26 bits (Veltkamp)."""
    shifted = a * (2.0**27 + 1.0)
    high = shifted - (shifted - a)
    return high, a - high


def multiply_pairs(a: Pair, b: Pair) -> Pair:
    """a b."""
    product, rest = two_product(a[0], b[0])
    return fast_two_sum(product, rest + (a[0] * b[1] + a[1] * b[0]))


def add_pairs(a: Pair, b: Pair) -> Pair:
    """a + b."""
    total = a[0] + b[0]
    return fast_two_sum(total, two_sum_rest(a[0], b[0], total) + (a[1] + b[1]))


def log_pair(x: Value) -> Pair:
    """ln x of positive finite float64 with about 66 bits."""
    m, n = normalize(x)
    numerator, denominator = m - 1.0, m + 1.0  # the first is exact
    lost = m - (denominator - 1.0)
    quotient = numerator / denominator
    product, rest = two_product(quotient, denominator)
    s = (quotient, ((numerator - product) - rest - quotient * lost) / denominator)
    square = multiply_pairs(s, s)
    cube = multiply_pairs(square, s)
    zero = x.like(0.0)
    tail = horner(square[0], LOG_POWER) * (square[0] * cube[0])
    series = add_pairs((s[0] + s[0], s[1] + s[1]), multiply_pairs(cube, (x.like(TWO_THIRDS[0]), x.like(TWO_THIRDS[1]))))
    exponent = multiply_pairs((n, zero), (x.like(LN2_PAIR[0]), x.like(LN2_PAIR[1])))
    return add_pairs(exponent, add_pairs(series, (tail, zero)))


def exp_pair(high: Value, low: Value) -> Value:
    """e^(high + low)."""
    bounded = clamp(high, *FLOAT64.exp_range)
    return exp_sum(bounded, bounded.equal(high).select(low, 0.0))


def positive_power(x: Value, y: Value) -> Value:
    """x^y for positive finite x, any y but NaN."""
    if x.type.element == "float32":
        wide, bounded = x.cast("float64"), clamp(y, -1e11, 1e11).cast("float64")
        return exp(bounded * log(wide)).cast("float32")
    # Beyond these bounds the result is 0, 1 or infinity whatever y is.
    bounded, logarithm = clamp(y, -1e20, 1e20), log_pair(x)
    product, rest = two_product(bounded, logarithm[0])
    return exp_pair(product, bounded.fma(logarithm[1], rest))


@exactly
def power(x: Value, y: Value) -> Value:
    """x^y with the special values of C99: 1^y = x^0 = 1, and negative x allows integer y only."""
    format = FORMATS[x.type.element]
    size = abs(x)
    at_end = size.equal(0.0) | size.equal(INFINITY)
    result = positive_power(at_end.select(1.0, size), y)
    result = at_end.select((size.equal(0.0) ^ (y < 0.0)).select(x.like(0.0), INFINITY), result)
    half = y * 0.5
    whole, even = floor(y).equal(y), floor(half).equal(half)
    result = ((x < 0.0) & ~at_end & ~whole).select(math.nan, result)
    negative = (x.bitcast(format.integer) < 0) & whole & ~even
    result = negative.select(-result, result)
    result = (x.is_nan() | y.is_nan()).select(math.nan, result)
    return (x.equal(1.0) | y.equal(0.0)).select(1.0, result)
