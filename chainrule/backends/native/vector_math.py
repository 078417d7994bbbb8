"""What each elementwise operation does to values of the kernel language: every element type, any number of lanes.

``ELEMENTWISE["exp"](x)`` emits e^x; ``ELEMENTWISE["where"](mask, a, b)`` selects. The meaning is NumPy's: NaN goes
through maximum and minimum, remainders have the sign of the divisor, integers wrap around, and integer division by zero
gives 0. Comparisons and logical operations give masks (element type bool). The operands of one operation have the same
element type.
"""

from __future__ import annotations

from collections.abc import Callable

from chainrule.backends.native import powers, transcendental
from chainrule.backends.native.arctangent import atan2
from chainrule.backends.native.transcendental import exactly, floor
from chainrule.backends.native.value import Value
from chainrule.ops.elementwise import LOG_FLOOR


def rounding(name: str) -> Callable[[Value], Value]:
    """A rounding intrinsic for floats; integers are as they are."""

    def emit(x: Value) -> Value:
        return x.function.intrinsic(f"llvm.{name}.{x.type.mangled}", [x], x.type) if x.type.is_float else x

    return emit


def absolute(x: Value) -> Value:
    """|x|; the smallest integer stays."""
    return x if x.type.element == "bool" else abs(x)


def sign(x: Value) -> Value:
    """-1, 0 or 1; NaN stays. (Adding 0 makes +0 of -0.)"""
    return (x > 0).select(1, (x < 0).select(-1, x + 0))


@exactly
def reciprocal_sqrt(x: Value) -> Value:
    """1 / sqrt(x), both steps correctly rounded."""
    return 1.0 / x.sqrt()


def add(a: Value, b: Value) -> Value:
    """a + b; for masks a or b."""
    return a | b if a.type.element == "bool" else a + b


def multiply(a: Value, b: Value) -> Value:
    """a b; for masks a and b."""
    return a & b if a.type.element == "bool" else a * b


def differs_in_sign(a: Value, b: Value) -> Value:
    """Whether exactly one of both is below 0."""
    return (a < 0) ^ (b < 0)


def safe_divisor(divisor: Value) -> tuple[Value, Value]:
    """Where an integer divisor is 0 or -1, and the divisor with 1 there: the others can trap."""
    special = divisor.equal(0) | divisor.equal(-1)
    return special, special.select(1, divisor)


def integer_floor_divide(a: Value, b: Value) -> Value:
    """The quotient rounded down; 0 for a zero divisor."""
    special, divisor = safe_divisor(b)
    quotient = a.signed_divide(divisor)
    inexact = (quotient * divisor).not_equal(a) & differs_in_sign(a, divisor)
    quotient = inexact.select(quotient - 1, quotient)
    return special.select(b.equal(0).select(0, -a), quotient)


def integer_remainder(a: Value, b: Value) -> Value:
    """The remainder with the sign of b; 0 for a zero divisor."""
    special, divisor = safe_divisor(b)
    rest = a.signed_remainder(divisor)
    rest = (rest.not_equal(0) & differs_in_sign(rest, divisor)).select(rest + divisor, rest)
    return special.select(0, rest)


def float_floor_divide(a: Value, b: Value) -> Value:
    """The quotient of a less its remainder, rounded to the integer it must be; the steps of NumPy."""
    rest = a.signed_remainder(b)
    quotient = (a - rest) / b
    quotient = (rest.not_equal(0.0) & differs_in_sign(rest, b)).select(quotient - 1.0, quotient)
    whole = floor(quotient)
    whole = (quotient - whole > 0.5).select(whole + 1.0, whole)
    ratio = a / b
    whole = quotient.equal(0.0).select(quotient.like(0.0).copysign(ratio), whole)
    return b.equal(0.0).select(ratio, whole)


def float_remainder(a: Value, b: Value) -> Value:
    """The remainder with the sign of b; NaN for a zero divisor."""
    rest = a.signed_remainder(b)
    adjusted = differs_in_sign(rest, b).select(rest + b, rest)
    return rest.equal(0.0).select(rest.copysign(b), adjusted)


@exactly
def floor_divide(a: Value, b: Value) -> Value:
    """The quotient rounded down; integers: 0 for a zero divisor."""
    return float_floor_divide(a, b) if a.type.is_float else integer_floor_divide(a, b)


@exactly
def remainder(a: Value, b: Value) -> Value:
    """a - b floor(a / b), with the sign of b; integers: 0 for a zero divisor."""
    return float_remainder(a, b) if a.type.is_float else integer_remainder(a, b)


def integer_power(base: Value, exponent: Value) -> Value:
    """Products of repeated squares, wrapping around; a negative exponent gives its fraction rounded towards zero."""
    function, bits = base.function, 63 if base.type.element == "int64" else 31
    carried = [base.like(1), base, exponent]
    with function.loop(0, bits, carried=carried, name="bit") as bit:
        product, square, left = bit.values
        product = (left & 1).equal(0).select(product, product * square)
        bit.next([product, square * square, left.shift_right_logical(1)])
    result = bit.results[0]
    # Parity of the exponent is all that counts for -1, the other negative powers are fractions or 1.
    odd_sign = (exponent & 1).equal(0).select(base.like(1), base)
    unit = base.equal(1) | base.equal(-1)
    return (exponent < 0).select(unit.select(odd_sign, 0), result)


def power(a: Value, b: Value) -> Value:
    """a to the power b."""
    return powers.power(a, b) if a.type.is_float else integer_power(a, b)


def truth(x: Value) -> Value:
    """Whether x is not 0."""
    return x.cast("bool")


def floored_log(x: Value) -> Value:
    """max(log x, -100)."""
    return transcendental.log(x).maximum(LOG_FLOOR)


ELEMENTWISE: dict[str, Callable[..., Value]] = {
    "negative": Value.__neg__,
    "abs": absolute,
    "sign": sign,
    "exp": transcendental.exp,
    "expm1": transcendental.expm1,
    "log": transcendental.log,
    "floored_log": floored_log,
    "log1p": transcendental.log1p,
    "sqrt": Value.sqrt,
    "rsqrt": reciprocal_sqrt,
    "sin": transcendental.sin,
    "cos": transcendental.cos,
    "tanh": transcendental.tanh,
    "erf": transcendental.erf,
    "sigmoid": transcendental.sigmoid,
    "floor": rounding("floor"),
    "ceil": rounding("ceil"),
    "round": rounding("rint"),
    "logical_not": lambda x: ~truth(x),
    "add": add,
    "subtract": Value.__sub__,
    "multiply": multiply,
    "divide": Value.__truediv__,
    "floor_divide": floor_divide,
    "remainder": remainder,
    "power": power,
    "maximum": Value.maximum,
    "minimum": Value.minimum,
    "equal": Value.equal,
    "not_equal": Value.not_equal,
    "less": Value.__lt__,
    "less_equal": Value.__le__,
    "logical_and": lambda a, b: truth(a) & truth(b),
    "logical_or": lambda a, b: truth(a) | truth(b),
    "atan2": atan2,
    "bitwise_and": Value.__and__,
    "where": lambda mask, a, b: truth(mask).select(a, b),
}
"""Name of the operation → function of its operands."""
