"""Elementwise functions of one operand. In every rule ``g`` is the gradient of the result, ``out`` the result."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DTypeError
from ..graph.primitive import NOT_DIFFERENTIABLE, Invalid, Primitive, Sample, Special, register
from ..graph.vertex import Vertex, apply
from ..types import DType, TensorType, bool_, float32, float64, int32, int64, tensor_type
from .arithmetic import add, divide, maximum, multiply, subtract
from .records import Operand, build, elementwise_type_rule, unary
from .source import zeros_like

_INF, _NAN = math.inf, math.nan

LEAST_PROBABILITY = 1e-12
"""Below it the derivative of `floored_log` no longer grows."""

LOG_FLOOR = -100.0
"""The least value of `floored_log`, so that a probability of exactly 0 costs 100 and not infinity."""

_vectorized_erf = np.vectorize(math.erf, otypes=[np.float64])


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(_vectorized_erf(x) if x.size else x, x.dtype)


def _floored_log(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.log(x), LOG_FLOOR), x.dtype)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small), x.dtype)


def _step_vjp(g: Vertex, out: Vertex, x: Vertex) -> tuple[Vertex]:
    """Steps are flat: a gradient of zeros, so that a loss behind one still has a gradient (as PyTorch)."""
    return (zeros_like(x),)


NEGATIVE = unary(
    "negative", "-x", np.negative, lambda g, out, x: (negative(g),), kinds=("float", "int"), xla="neg",
    special=[Special((_INF,), -_INF, -1.0), Special((0.0,), -0.0, -1.0)],
)  # fmt: skip
ABS = unary(
    "abs", "|x|, with derivative 0 at 0", np.abs, lambda g, out, x: (multiply(g, sign(x)),), kinds=("float", "int"),
    special=[Special((0.0,), 0.0, 0.0), Special((-_INF,), _INF, -1.0)],
)  # fmt: skip
SIGN = unary(
    "sign", "-1, 0 or 1, with derivative 0", np.sign, _step_vjp, kinds=("float", "int"),
    special=[Special((0.0,), 0.0, 0.0), Special((_NAN,), _NAN), Special((-_INF,), -1.0, 0.0)],
)  # fmt: skip
FLOOR = unary(
    "floor",
    "largest integer not above x, with derivative 0",
    np.floor,
    _step_vjp,
    special=[Special((-0.5,), -1.0, 0.0)],
)
CEIL = unary(
    "ceil", "smallest integer not below x, with derivative 0", np.ceil, _step_vjp, special=[Special((1.5,), 2.0, 0.0)]
)
ROUND = unary(
    "round", "nearest integer, halves to even, with derivative 0", np.round, _step_vjp,
    special=[Special((0.5,), 0.0, 0.0), Special((1.5,), 2.0), Special((2.5,), 2.0), Special((-_INF,), -_INF)],
)  # fmt: skip
EXP = unary(
    "exp", "e^x", np.exp, lambda g, out, x: (multiply(g, out),),
    special=[Special((0.0,), 1.0, 1.0), Special((-_INF,), 0.0, 0.0), Special((_INF,), _INF, _INF),
             Special((_NAN,), _NAN)],
)  # fmt: skip
EXPM1 = unary(  # whose derivative is not out + 1: far below 0 that would have no correct digit
    "expm1", "e^x - 1, exact near 0", np.expm1, lambda g, out, x: (multiply(g, exp(x)),),
    special=[Special((0.0,), 0.0, 1.0), Special((-_INF,), -1.0, 0.0)],
)  # fmt: skip
LOG = unary(
    "log", "natural logarithm", np.log, lambda g, out, x: (divide(g, x),), domain=(0.1, 5.0),
    special=[Special((0.0,), -_INF), Special((-1.0,), _NAN), Special((_INF,), _INF), Special((1.0,), 0.0, 1.0)],
)  # fmt: skip
FLOORED_LOG = unary(  # no composition has this value and this gradient without five vertices
    "floored_log", "max(log x, -100), with derivative 1 / max(x, 10⁻¹²)", _floored_log,
    lambda g, out, x: (divide(g, maximum(x, LEAST_PROBABILITY)),), domain=(0.1, 5.0),
    special=[Special((0.0,), LOG_FLOOR, 1 / LEAST_PROBABILITY), Special((1e-50,), LOG_FLOOR, 1 / LEAST_PROBABILITY),
             Special((-1.0,), _NAN), Special((_NAN,), _NAN), Special((1.0,), 0.0, 1.0)],
)  # fmt: skip
LOG1P = unary(
    "log1p", "log(1 + x), exact near 0", np.log1p, lambda g, out, x: (divide(g, add(x, 1)),), domain=(-0.8, 5.0),
    special=[Special((0.0,), 0.0, 1.0), Special((-1.0,), -_INF)],
)  # fmt: skip
SQRT = unary(
    "sqrt", "square root", np.sqrt, lambda g, out, x: (divide(multiply(g, 0.5), out),), domain=(0.1, 5.0),
    special=[Special((0.0,), 0.0, _INF), Special((-1.0,), _NAN), Special((_INF,), _INF, 0.0)],
)  # fmt: skip
RSQRT = unary(
    "rsqrt", "1 / sqrt(x)", lambda x: (1 / np.sqrt(x)).astype(x.dtype),
    lambda g, out, x: (divide(multiply(multiply(g, -0.5), out), x),), domain=(0.1, 5.0),
    special=[Special((4.0,), 0.5, -0.0625), Special((0.0,), _INF), Special((_INF,), 0.0)],
)  # fmt: skip
SIN = unary(
    "sin", "sine of x in radians", np.sin, lambda g, out, x: (multiply(g, cos(x)),),
    special=[Special((0.0,), 0.0, 1.0), Special((_INF,), _NAN)],
)  # fmt: skip
COS = unary(
    "cos", "cosine of x in radians", np.cos, lambda g, out, x: (negative(multiply(g, sin(x))),),
    special=[Special((0.0,), 1.0, 0.0), Special((_INF,), _NAN)],
)  # fmt: skip
TANH = unary(
    "tanh", "hyperbolic tangent; derivative 1 - tanh²", np.tanh,
    lambda g, out, x: (multiply(g, subtract(1, multiply(out, out))),),
    special=[Special((0.0,), 0.0, 1.0), Special((_INF,), 1.0, 0.0), Special((_NAN,), _NAN)],
)  # fmt: skip
ERF = unary(
    "erf", "2/√π ∫₀ˣ e^(-t²) dt", _erf,
    lambda g, out, x: (multiply(multiply(g, 2 / math.sqrt(math.pi)), exp(negative(multiply(x, x)))),),
    special=[Special((0.0,), 0.0, 2 / math.sqrt(math.pi)), Special((_INF,), 1.0, 0.0)],
)  # fmt: skip
SIGMOID = unary(
    "sigmoid", "1 / (1 + e^-x); derivative σ(1 - σ)", _sigmoid, xla="logistic",
    vjp=lambda g, out, x: (multiply(g, multiply(out, subtract(1, out))),),
    special=[Special((0.0,), 0.5, 0.25), Special((_INF,), 1.0, 0.0), Special((-_INF,), 0.0, 0.0),
             Special((_NAN,), _NAN)],
)  # fmt: skip

STOP_GRADIENT = register(
    Primitive(
        name="stop_gradient",
        family="elementwise",
        meaning="x, through which no gradient flows",
        type_rule=elementwise_type_rule(1, ("float", "int", "bool")),
        reference=lambda x: x,
        vjp=NOT_DIFFERENTIABLE,
        native="identity",
        xla="identity",
        samples=lambda rng: [Sample((rng.normal(size=(3, 4)),)), Sample((rng.integers(-9, 9, (5,)),))],
        special=(Special((_NAN,), _NAN),),
        invalid=(Invalid((), "expected 1 operands"),),
        cost=lambda out, x: 0,
    )
)


def _cast_type_rule(x: TensorType, *, dtype: DType) -> TensorType:
    if not isinstance(dtype, DType):
        raise DTypeError(f"expected a dtype, got {dtype!r}")
    return tensor_type(dtype, x.shape)


def _cast_vjp(g: Vertex, out: Vertex, x: Vertex, *, dtype: DType) -> tuple[Vertex]:
    return (cast(g, x.dtype),)


CAST = register(
    Primitive(
        name="cast",
        family="elementwise",
        meaning="x converted to another element type: to bool by x != 0, to integers toward zero",
        attributes=("dtype",),
        type_rule=_cast_type_rule,
        reference=lambda x, *, dtype: x.astype(dtype.numpy),
        vjp=_cast_vjp,
        native="cast",
        xla="convert_element_type",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"dtype": float32}, differentiable=False),  # too coarse for differences
            Sample((rng.normal(size=(5,)).astype("float32"),), {"dtype": float64}, differentiable=False),
            Sample((rng.normal(size=(7,)) * 10,), {"dtype": int64}, differentiable=False),
            Sample((rng.integers(-2, 3, (9,)),), {"dtype": bool_}, differentiable=False),
            Sample((rng.integers(0, 2, (9,)).astype(bool),), {"dtype": float32}, differentiable=False),
            Sample((rng.integers(-9, 9, (2, 3)),), {"dtype": float64}, differentiable=False),
            Sample((rng.integers(-9, 9, (7,)),), {"dtype": int32}, differentiable=False),
        ],
        special=(Special((_NAN,), _NAN, 1.0), Special((_INF,), _INF, 1.0), Special((1e300,), _INF, 1.0)),
        invalid=(Invalid((tensor_type(float32, (3,)),), "expected a dtype", {"dtype": "float16"}),),
    )
)

LOGICAL_NOT = register(
    Primitive(
        name="logical_not",
        family="elementwise",
        meaning="true where x is false",
        type_rule=elementwise_type_rule(1, ("bool",)),
        reference=np.logical_not,
        vjp=NOT_DIFFERENTIABLE,
        native="logical_not",
        xla="bitwise_not",
        samples=lambda rng: [Sample((rng.integers(0, 2, (3, 5)).astype(bool),))],
        special=(Special((1.0,), 0.0), Special((0.0,), 1.0)),
        invalid=(Invalid((tensor_type(int64, (3,)),), "expected bool"),),
    )
)


def cast(x: Vertex, dtype: DType) -> Vertex:
    """x as ``dtype``; x itself if it has that type."""
    return x if x.dtype is dtype else apply(CAST, x, dtype=dtype)


def negative(x: Operand) -> Vertex:
    """-x"""
    return build(NEGATIVE, x)


def absolute(x: Operand) -> Vertex:
    """|x|"""
    return build(ABS, x)


def sign(x: Operand) -> Vertex:
    """-1, 0 or 1"""
    return build(SIGN, x)


def exp(x: Operand) -> Vertex:
    """e^x"""
    return build(EXP, x)


def log(x: Operand) -> Vertex:
    """Natural logarithm"""
    return build(LOG, x)


def sqrt(x: Operand) -> Vertex:
    """Square root"""
    return build(SQRT, x)


def sin(x: Operand) -> Vertex:
    """Sine"""
    return build(SIN, x)


def cos(x: Operand) -> Vertex:
    """Cosine"""
    return build(COS, x)


def stop_gradient(x: Vertex) -> Vertex:
    """x, through which no gradient flows"""
    return apply(STOP_GRADIENT, x)
