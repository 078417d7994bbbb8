"""Rules for elementwise vertices."""

from __future__ import annotations

import math

import numpy as np

from ..graph.vertex import Vertex
from .rewriting import build, filled, is_same_value, rule, shaped, value_of

_FOLDED = (
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "maximum", "minimum", "equal",
    "not_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not", "where", "negative", "abs", "sign",
    "floor", "ceil", "round", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tanh", "erf", "sigmoid",
    "floored_log", "cast",
)  # fmt: skip


@rule(*_FOLDED)
def fold_constants(vertex: Vertex) -> Vertex | None:
    """multiply(2, 3) → 6, by the reference."""
    if not all(operand.primitive.name == "constant" for operand in vertex.inputs):
        return None
    operands = [np.asarray(value_of(operand), operand.dtype.numpy) for operand in vertex.inputs]
    assert vertex.primitive.reference is not None
    with np.errstate(all="ignore"):
        result = vertex.primitive.reference(*operands, **vertex.attributes)
    return filled(vertex, np.asarray(result, vertex.dtype.numpy).item())


@rule("add", "multiply", "equal", "not_equal", "logical_and", "logical_or")
def move_constant_right(vertex: Vertex) -> Vertex | None:
    """add(2, x) → add(x, 2); not for maximum, whose operands decide on the sign of zero"""
    x, y = vertex.inputs
    return build(vertex, vertex.primitive.name, y, x) if value_of(x) is not None else None


@rule("add")
def drop_added_zero(vertex: Vertex) -> Vertex | None:
    """add(x, -0.0) → x; add(x, 0) → x for integers"""
    x, y = vertex.inputs
    zero = -0.0 if vertex.dtype.kind == "float" else 0
    return shaped(vertex, x) if is_same_value(value_of(y), zero) else None


@rule("subtract")
def drop_subtracted_zero(vertex: Vertex) -> Vertex | None:
    """subtract(x, 0) → x"""
    x, y = vertex.inputs
    return shaped(vertex, x) if is_same_value(value_of(y), 0) else None


@rule("multiply", "divide", "power")
def drop_factor_one(vertex: Vertex) -> Vertex | None:
    """multiply(x, 1) → x; divide(x, 1) → x; power(x, 1) → x"""
    x, y = vertex.inputs
    return shaped(vertex, x) if is_same_value(value_of(y), 1) else None


@rule("multiply")
def negate_by_minus_one(vertex: Vertex) -> Vertex | None:
    """multiply(x, -1) → negative(x)"""
    x, y = vertex.inputs
    return shaped(vertex, build(vertex, "negative", x)) if is_same_value(value_of(y), -1) else None


@rule("negative", "logical_not")
def cancel_twice(vertex: Vertex) -> Vertex | None:
    """negative(negative(x)) → x"""
    x = vertex.inputs[0]
    return x.inputs[0] if x.primitive is vertex.primitive else None


@rule("add")
def subtract_negated(vertex: Vertex) -> Vertex | None:
    """add(x, negative(y)) → subtract(x, y); add(negative(x), y) → subtract(y, x)"""
    x, y = vertex.inputs
    if y.primitive.name == "negative":
        return build(vertex, "subtract", x, y.inputs[0])
    return build(vertex, "subtract", y, x.inputs[0]) if x.primitive.name == "negative" else None


@rule("subtract")
def add_negated(vertex: Vertex) -> Vertex | None:
    """subtract(x, negative(y)) → add(x, y)"""
    x, y = vertex.inputs
    return build(vertex, "add", x, y.inputs[0]) if y.primitive.name == "negative" else None


@rule("multiply", "divide")
def move_sign_into_constant(vertex: Vertex) -> Vertex | None:
    """multiply(negative(x), 2) → multiply(x, -2); divide(negative(x), 2) → divide(x, -2)"""
    x, y = vertex.inputs
    if x.primitive.name != "negative" or vertex.dtype.kind != "float" or value_of(y) is None:
        return None
    return build(vertex, vertex.primitive.name, x.inputs[0], filled(y, -value_of(y)))


@rule("divide")
def multiply_by_exact_inverse(vertex: Vertex) -> Vertex | None:
    """divide(x, 8) → multiply(x, 0.125), where the divisor is a power of two"""
    x, y = vertex.inputs
    divisor = value_of(y)
    if not divisor or not math.isfinite(divisor) or abs(math.frexp(divisor)[0]) != 0.5:
        return None
    smallest = float(np.finfo(vertex.dtype.numpy).tiny)
    if not smallest <= 1 / abs(divisor) <= 1 / smallest:
        return None
    return build(vertex, "multiply", x, filled(y, 1 / divisor))


@rule("power")
def expand_small_power(vertex: Vertex) -> Vertex | None:
    """power(x, 0) → 1; power(x, 2) → x·x; power(x, 3) → x·x·x; power(x, -1) → 1/x, at special values too.

    power(x, 0.5) is not sqrt(x): it is +0 for -0 and +∞ for -∞.
    """
    x, y = vertex.inputs
    exponent = value_of(y)
    if exponent == 0:
        return filled(vertex, 1)
    if exponent == -1:
        return build(vertex, "divide", filled(y, 1), shaped(vertex, x))
    if exponent not in (2, 3):
        return None
    x = shaped(vertex, x)
    square = build(vertex, "multiply", x, x)
    return square if exponent == 2 else build(vertex, "multiply", square, x)


@rule("where")
def choose_by_constant(vertex: Vertex) -> Vertex | None:
    """where(true, x, y) → x; where(c, x, x) → x"""
    condition, x, y = vertex.inputs
    if x is y:
        return shaped(vertex, x)
    chosen = value_of(condition)
    return None if chosen is None else shaped(vertex, x if chosen else y)


@rule("where")
def choose_by_negated(vertex: Vertex) -> Vertex | None:
    """where(logical_not(c), x, y) → where(c, y, x)"""
    condition, x, y = vertex.inputs
    return build(vertex, "where", condition.inputs[0], y, x) if condition.primitive.name == "logical_not" else None


@rule("cast")
def drop_cast_to_same(vertex: Vertex) -> Vertex | None:
    """cast(x, dtype) → x, where x has that dtype"""
    x = vertex.inputs[0]
    return x if x.dtype is vertex.dtype else None


@rule("stop_gradient")
def drop_stop_gradient(vertex: Vertex) -> Vertex | None:
    """stop_gradient(x) → x: gradients have been taken"""
    return vertex.inputs[0]
