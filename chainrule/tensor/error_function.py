"""The complement of the error function, whose tail 1 - erf(x) would lose."""

from __future__ import annotations

import math
from typing import Any

from ..types import float32
from . import operations
from .keywords import pytorch_keywords
from .operands import as_tensor
from .operations import abs, add, div, exp, lt, mul, neg, sub, where

METHODS = ("erfc",)

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
    far = div(operations.reverse_subtract(rest, 1 / math.sqrt(math.pi)), y)
    # e^(-y²), y² in a part without rounding and the rest.
    coarse = div(operations.floor(mul(y, 16.0)), 16.0)
    gauss = mul(exp(neg(mul(coarse, coarse))), exp(neg(mul(sub(y, coarse), add(y, coarse)))))
    tail = mul(gauss, where(lt(4.0, y), far, _ratio(y, _MIDDLE)))
    value = where(is_near, sub(1.0, operations.erf(x)), where(lt(x, 0), sub(2.0, tail), tail))
    if not x.requires_grad:
        return value
    slope = neg(operations.erf(x))  # the approximation is not for differentiating
    return add(value.detach(), sub(slope, slope.detach()))
