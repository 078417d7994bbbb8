"""Special functions: complement (whose tail 1 - erf(x) would lose) and inverse of the error function, and ln |Γ|."""

from __future__ import annotations

import functools
import math
from typing import Any

from ..types import float32, float64
from . import operations
from .keywords import pytorch_keywords
from .operands import as_tensor
from .operations import abs, add, div, eq, exp, log, lt, mul, neg, reverse_subtract, sin, sqrt, sub, where

METHODS = ("erfc", "erfinv", "lgamma")

# Rational approximations of e^(x²) erfc(x), highest power first: Cody 1969, "Rational Chebyshev approximations for the
# error function", Mathematics of Computation 23. From 1/2 to 4 in x; beyond of x in 1 / x², as he writes it.
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 66.1191906371416295, 298.635138197400131,
     881.952221241769090, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725),
    (1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
     4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346047, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip

# Quantiles of the normal distribution: Wichura 1988, algorithm AS 241, PPND16, highest power first. In the middle of
# q/2 by 0.180625 - q²/4; then of s = √-ln((1 - |q|)/2), up to 5 by s - 1.6 and beyond by s - 5.
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
     1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080),
    (5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867, 5394.1960214247511077,
     687.18700749205790830, 42.313330701600911252, 1.0),
)  # fmt: skip
_NEAR_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip

# Σ c_k / w^(2k+1): Stirling's series, B_2k / (2k (2k - 1)), highest power first.
_STIRLING = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_SHIFT = 8


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    total = mul(x, coefficients[0])
    for coefficient in coefficients[1:-1]:
        total = mul(add(total, coefficient), x)
    return add(total, coefficients[-1])


def _ratio(x: Any, pair: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    return div(_polynomial(x, pair[0]), _polynomial(x, pair[1]))


@pytorch_keywords
def erfc(input: Any) -> Any:
    """1 - erf(x) = 2/√π ∫ₓ^∞ e^(-t²) dt, elementwise, exact in the tail too.

    >>> import chainrule as cr
    >>> cr.erfc(cr.tensor([0.0, 5.0]))
    tensor([1.0000e+00, 1.5375e-12])
    """
    x = as_tensor(input)
    x = x if x.dtype.is_floating_point else operations.convert(x, float32)
    size = abs(x)
    is_near = lt(size, 0.5)
    y = operations.clamp(where(is_near, 1.0, size), max=30.0)  # where it is 0 in float64
    inverse = div(1.0, mul(y, y))
    rest = mul(inverse, _ratio(inverse, _FAR))
    far = div(reverse_subtract(rest, 1 / math.sqrt(math.pi)), y)
    # e^(-y²), y² in a part without rounding and the rest.
    coarse = div(operations.floor(mul(y, 16.0)), 16.0)
    gauss = mul(exp(neg(mul(coarse, coarse))), exp(neg(mul(sub(y, coarse), add(y, coarse)))))
    tail = mul(gauss, where(lt(4.0, y), far, _ratio(y, _MIDDLE)))
    value = where(is_near, sub(1.0, operations.erf(x)), where(lt(x, 0), sub(2.0, tail), tail))
    if not x.requires_grad:
        return value
    slope = neg(operations.erf(x))  # the approximation is not for differentiating
    return add(value.detach(), sub(slope, slope.detach()))


@pytorch_keywords
def erfinv(input: Any) -> Any:
    """The number whose error function is x, elementwise: ±∞ at ±1, NaN beyond.

    >>> import chainrule as cr
    >>> cr.erfinv(cr.erf(cr.tensor([0.5, -2.0])))
    tensor([ 0.5000, -2.0000])
    """
    x = as_tensor(input)
    x = x if x.dtype.is_floating_point else operations.convert(x, float32)
    wide = operations.convert(x, float64)
    size = abs(wide)
    is_inside, is_central = lt(size, 1.0), lt(size, 0.85)
    half = mul(where(is_central, wide, 0.0), 0.5)
    central = mul(half, _ratio(reverse_subtract(mul(half, half), 0.180625), _CENTRE))
    share = mul(reverse_subtract(where(is_central, 0.9, where(is_inside, size, 0.9)), 1.0), 0.5)
    s = sqrt(neg(log(share)))
    is_near = lt(s, 5.0)
    near = _ratio(sub(where(is_near, s, 5.0), 1.6), _NEAR_TAIL)
    far = _ratio(sub(where(is_near, 5.0, s), 5.0), _FAR_TAIL)
    tail = mul(operations.sign(wide), where(is_near, near, far))
    outside = mul(where(is_inside, 1.0, wide), where(eq(size, 1.0), math.inf, math.nan))  # slopes ∞ and NaN as well
    quantile = where(is_inside, where(is_central, central, tail), outside)
    return operations.convert(mul(quantile, math.sqrt(0.5)), x.dtype)


@pytorch_keywords
def lgamma(input: Any) -> Any:
    """ln |Γ(x)|, elementwise: ∞ at 0, -1, -2, ...; computed in float64, with an absolute error of 10⁻¹⁴ near 1 and 2.

    Source: Stirling's series from 8 on, Γ(x+1) = x Γ(x) below, and Γ(x) Γ(1-x) = π / sin πx below ½.

    >>> import chainrule as cr
    >>> cr.lgamma(cr.tensor([5.0, 0.5])).exp()
    tensor([24.0000,  1.7725])
    """
    x = as_tensor(input)
    x = x if x.dtype.is_floating_point else operations.convert(x, float32)
    wide = operations.convert(x, float64)
    is_left = lt(wide, 0.5)
    logarithm = _right_half(where(is_left, reverse_subtract(wide, 1.0), wide))
    fraction = sub(wide, operations.round(wide).detach())  # sin πx is that of the distance to a whole number
    sine = where(is_left, abs(sin(mul(fraction, math.pi))), 1.0)
    reflected = sub(reverse_subtract(log(sine), math.log(math.pi)), logarithm)
    value = where(is_left, reflected, logarithm)
    is_infinite = eq(wide, -math.inf)
    return operations.convert(where(is_infinite, math.inf, value), x.dtype)


def _right_half(z: Any) -> Any:
    """ln Γ(z) for z ≥ ½."""
    is_small = lt(z, float(_SHIFT))
    small = where(is_small, z, 1.0)
    product = functools.reduce(lambda total, n: mul(total, add(small, float(n))), range(1, _SHIFT), small)
    w = where(is_small, add(z, float(_SHIFT)), z)
    inverse = div(1.0, w)
    square = mul(inverse, inverse)
    first, *others = _STIRLING
    series = functools.reduce(lambda total, c: add(mul(total, square), c), others, first)
    stirling = add(mul(sub(w, 0.5), sub(log(w), 1.0)), 0.5 * math.log(2 * math.pi) - 0.5)
    return sub(add(stirling, mul(inverse, series)), where(is_small, log(product), 0.0))
