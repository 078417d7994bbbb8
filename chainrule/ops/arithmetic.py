"""Elementwise functions of two operands that broadcast. Rules do not undo broadcasting: the reverse pass does."""

from __future__ import annotations

import math

import numpy as np

from ..graph.primitive import NOT_DIFFERENTIABLE, PRIMITIVES, Sample, Special
from ..graph.vertex import Vertex, apply
from .comparison import equal, less, where
from .records import BROADCASTS, Operand, binary, build
from .source import constant

_INF, _NAN = math.inf, math.nan


def add(x: Operand, y: Operand) -> Vertex:
    """x + y"""
    return build(ADD, x, y)


def subtract(x: Operand, y: Operand) -> Vertex:
    """x - y"""
    return build(SUBTRACT, x, y)


def multiply(x: Operand, y: Operand) -> Vertex:
    """x · y"""
    return build(MULTIPLY, x, y)


def divide(x: Operand, y: Operand) -> Vertex:
    """x / y"""
    return build(DIVIDE, x, y)


def power(x: Operand, y: Operand) -> Vertex:
    """x^y"""
    return build(POWER, x, y)


def maximum(x: Operand, y: Operand) -> Vertex:
    """The larger of x and y; NaN if either is"""
    return build(MAXIMUM, x, y)


def minimum(x: Operand, y: Operand) -> Vertex:
    """The smaller of x and y; NaN if either is"""
    return build(MINIMUM, x, y)


def bitwise_and(x: Operand, y: Operand) -> Vertex:
    """The bits that are set in both"""
    return build(BITWISE_AND, x, y)


def _negate(x: Vertex) -> Vertex:
    return apply(PRIMITIVES["negative"], x)


def _power_vjp(g: Vertex, out: Vertex, x: Vertex, y: Vertex) -> tuple[Vertex, Vertex]:
    """d x^y = y·x^(y-1) dx + x^y·log(x) dy, where the first is 0 for y = 0 and the second for x = 0, y ≥ 0."""
    by_x = multiply(g, where(equal(y, 0), 0, multiply(y, power(x, subtract(y, 1)))))
    zero_base = where(less(y, 0), constant(-_INF, y.dtype), 0)
    log_x = apply(PRIMITIVES["log"], where(equal(x, 0), 1, x))
    return by_x, multiply(g, where(equal(x, 0), zero_base, multiply(out, log_x)))


def _maximum_vjp(g: Vertex, out: Vertex, x: Vertex, y: Vertex) -> tuple[Vertex, Vertex]:
    """The gradient goes to the larger operand, half to each where they are equal, all to both at NaN (as PyTorch)."""
    share = where(equal(x, y), multiply(g, 0.5), g)
    return where(less(x, y), 0, share), where(less(y, x), 0, share)


def _minimum_vjp(g: Vertex, out: Vertex, x: Vertex, y: Vertex) -> tuple[Vertex, Vertex]:
    """As for the maximum, with the comparisons exchanged."""
    return _maximum_vjp(g, out, y, x)


def _remainder_vjp(g: Vertex, out: Vertex, x: Vertex, y: Vertex) -> tuple[Vertex, Vertex]:
    """d (x - y·⌊x / y⌋) = dx - ⌊x / y⌋ dy."""
    return g, _negate(multiply(g, apply(FLOOR_DIVIDE, x, y)))


def _arctangent_vjp(g: Vertex, out: Vertex, y: Vertex, x: Vertex) -> tuple[Vertex, Vertex]:
    """d atan2(y, x) = (x dy - y dx) / (x² + y²)."""
    share = divide(g, add(multiply(x, x), multiply(y, y)))
    return multiply(share, x), _negate(multiply(share, y))


def _bit_samples(rng: np.random.Generator) -> list[Sample]:
    wide = rng.integers(-(2**40), 2**40, (2, 3, 50))
    narrow = rng.integers(-9, 9, (2, 7)).astype("int32")
    return [Sample((wide[0], wide[1, :1])), Sample((narrow[0], narrow[1]))]


def _integer_samples(rng: np.random.Generator) -> list[Sample]:
    """Operands of both signs, also integers with a zero divisor, whose quotient and remainder are 0."""
    floats = [
        Sample(tuple(rng.uniform(0.5, 4.0, shape) * rng.choice([-1.0, 1.0], shape) for shape in shapes))
        for shapes in BROADCASTS
    ]
    return [*floats, Sample((rng.integers(-9, 9, (50,)), rng.integers(-3, 3, (50,))))]


ADD = binary(
    "add", "x + y", np.add, lambda g, out, x, y: (g, g),
    special=[Special((_INF, -_INF), _NAN), Special((1.0, 2.0), 3.0, 1.0)],
)  # fmt: skip
SUBTRACT = binary(
    "subtract", "x - y", np.subtract, lambda g, out, x, y: (g, _negate(g)), xla="sub",
    special=[Special((_INF, _INF), _NAN), Special((1.0, 2.0), -1.0, 1.0)],
)  # fmt: skip
MULTIPLY = binary(
    "multiply", "x · y", np.multiply, lambda g, out, x, y: (multiply(g, y), multiply(g, x)), xla="mul",
    special=[Special((_INF, 0.0), _NAN), Special((2.0, 3.0), 6.0, 3.0)],
)  # fmt: skip
DIVIDE = binary(
    "divide", "x / y", np.divide, kinds=("float",), domain=(0.5, 3.0), xla="div",
    vjp=lambda g, out, x, y: (divide(g, y), _negate(divide(multiply(g, out), y))),
    special=[Special((1.0, 0.0), _INF), Special((0.0, 0.0), _NAN), Special((-1.0, _INF), -0.0)],
)  # fmt: skip
FLOOR_DIVIDE = binary(
    "floor_divide", "⌊x / y⌋ of the exact quotient; 0 for an integer divided by 0", np.floor_divide, NOT_DIFFERENTIABLE,
    samples=_integer_samples,
    special=[Special((1.0, 0.1), 9.0), Special((-7.0, 2.0), -4.0), Special((7.0, -2.0), -4.0),
             Special((1.0, 0.0), _INF)],
)  # fmt: skip
REMAINDER = binary(
    "remainder", "x - y·⌊x / y⌋, with the sign of y; 0 for an integer modulo 0", np.remainder, _remainder_vjp,
    samples=_integer_samples,
    special=[Special((7.0, -2.0), -1.0, 1.0), Special((-7.0, 2.0), 1.0, 1.0), Special((1.0, 0.0), _NAN)],
)  # fmt: skip
POWER = binary(
    "power", "x^y", np.power, _power_vjp, kinds=("float",), domain=(0.3, 3.0), xla="pow",
    special=[Special((0.0, 0.0), 1.0, 0.0), Special((-2.0, 3.0), -8.0, 12.0), Special((-2.0, 0.5), _NAN),
             Special((_NAN, 0.0), 1.0), Special((1.0, _NAN), 1.0), Special((0.0, -1.0), _INF)],
)  # fmt: skip
MAXIMUM = binary(
    "maximum", "the larger of x and y; NaN if either is", np.maximum, _maximum_vjp, xla="max",
    special=[Special((_NAN, 1.0), _NAN, 1.0), Special((1.0, _NAN), _NAN, 1.0), Special((2.0, 2.0), 2.0, 0.5)],
)  # fmt: skip
MINIMUM = binary(
    "minimum", "the smaller of x and y; NaN if either is", np.minimum, _minimum_vjp, xla="min",
    special=[Special((_NAN, 1.0), _NAN, 1.0), Special((1.0, _NAN), _NAN, 1.0), Special((2.0, 2.0), 2.0, 0.5)],
)  # fmt: skip
ARCTANGENT = binary(
    "atan2", "the angle from the x axis to the point (y, x), in [-π, π]: atan2(y, x) = atan(y / x) for x > 0",
    np.arctan2, _arctangent_vjp, kinds=("float",), domain=(0.2, 3.0), xla="atan2",
    special=[Special((0.0, 1.0), 0.0, 1.0), Special((-0.0, 1.0), -0.0), Special((0.0, -1.0), math.pi),
             Special((-0.0, -1.0), -math.pi), Special((1.0, 0.0), math.pi / 2, 0.0), Special((_NAN, 1.0), _NAN),
             Special((_INF, _INF), math.pi / 4), Special((_INF, -_INF), 3 * math.pi / 4), Special((1.0, _INF), 0.0),
             Special((0.0, 0.0), 0.0), Special((0.0, -0.0), math.pi), Special((-_INF, 1.0), -math.pi / 2)],
)  # fmt: skip
BITWISE_AND = binary(
    "bitwise_and", "the bits that are set in both x and y", np.bitwise_and, NOT_DIFFERENTIABLE, kinds=("int",),
    samples=_bit_samples, special=[Special((6.0, 3.0), 2.0), Special((-1.0, 5.0), 5.0)],
)  # fmt: skip
