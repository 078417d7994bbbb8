"""Elementwise operations and their PyTorch names. Each function is also a method of `Tensor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..graph.primitive import PRIMITIVES, Primitive
from ..graph.vertex import Vertex, apply
from ..ops.comparison import less
from ..ops.comparison import where as where_vertex
from ..ops.elementwise import cast
from ..ops.source import constant
from ..types import DType, bool_, float32, float64, int64
from .keywords import pytorch_keywords, write_out
from .operands import as_tensor, dtype_beside, enter_all, meet, number_dtype, number_vertex, result_dtype
from .recording import Handle, dtype_of, pending
from .segment import run_overgrown, state

_NUMBERS = (bool, int, float)


def apply_unary(primitive: Primitive, x: Any, needs_float: bool = False) -> Any:
    """Record an elementwise primitive of one tensor."""
    segment = state.segment
    if x._segment is segment:
        vertex = x._vertex
    else:
        segment, (vertex,) = enter_all(x)
    found = vertex.users.get(primitive)
    if found is None:
        if run_overgrown(segment):
            return apply_unary(primitive, x, needs_float)
        operand = cast(vertex, float32) if needs_float and not vertex.dtype.is_floating_point else vertex
        found = vertex.users[primitive] = apply(primitive, operand)
    return pending(found, segment)


# What these mean for two booleans, as in PyTorch.
_OF_BOOLEANS = {"add": "logical_or", "multiply": "logical_and", "maximum": "logical_or", "minimum": "logical_and"}


def _binary_vertex(primitive: Primitive, a: Vertex, b: Vertex, needs_float: bool, reverse: bool) -> Vertex:
    """Apply a binary primitive to vertices of any types."""
    dtype = a.type.dtype
    if dtype is b.type.dtype and (dtype.kind == "float" or not needs_float):
        left, right = a, b
    else:
        left, right = meet(a, b, needs_float)
    if left.dtype is bool_:
        primitive = PRIMITIVES[_OF_BOOLEANS.get(primitive.name, primitive.name)]
    return apply(primitive, *((right, left) if reverse else (left, right)))


def apply_binary(primitive: Primitive, x: Any, y: Any, needs_float: bool = False, reverse: bool = False) -> Any:
    """Record an elementwise primitive of two operands, of which x is a tensor; ``reverse`` swaps them."""
    if y.__class__ in _NUMBERS or isinstance(y, np.generic):
        return _apply_number(primitive, x, y, needs_float, reverse)
    if not isinstance(y, Handle):
        y = as_tensor(y)
    segment = state.segment
    if x._segment is segment and y._segment is segment:
        a, b = x._vertex, y._vertex
    else:
        segment, (a, b) = enter_all(x, y)
    key = (primitive, b, reverse)
    found = a.users.get(key)
    if found is None:
        if run_overgrown(segment):
            return apply_binary(primitive, x, y, needs_float, reverse)
        found = a.users[key] = _binary_vertex(primitive, a, b, needs_float, reverse)
    return pending(found, segment)


def _apply_number(primitive: Primitive, x: Any, number: Any, needs_float: bool, reverse: bool) -> Any:
    segment = state.segment
    if x._segment is segment:
        vertex = x._vertex
    else:
        segment, (vertex,) = enter_all(x)
    if number and number == number:
        key = (primitive, number.__class__, number, reverse)
    else:  # 0.0 equals -0.0 and False, and NaN not even itself
        key = (primitive, number.__class__, repr(number), reverse)
    found = vertex.users.get(key)
    if found is None:
        if run_overgrown(segment):
            return _apply_number(primitive, x, number, needs_float, reverse)
        other = number_vertex(number, vertex, (primitive, reverse), needs_float)
        if state.segment is not segment:
            segment, (vertex,) = enter_all(x)
        found = _binary_vertex(primitive, vertex, other, needs_float, reverse)
        if other.primitive.name != "input":
            vertex.users[key] = found
    return pending(found, segment)


def _unary(name: str, needs_float: bool = True) -> Callable[..., Any]:
    primitive = PRIMITIVES[name]

    def operation(input: Any, *, out: Any = None) -> Any:
        result = apply_unary(primitive, input if isinstance(input, Handle) else as_tensor(input), needs_float)
        return result if out is None else write_out(result, out)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{primitive.meaning[0].upper()}{primitive.meaning[1:]}, elementwise."
    return operation


def _rounding(name: str) -> Callable[..., Any]:
    """A rounding function: integers stay as they are."""
    of_floats = _unary(name)

    def operation(input: Any, *, out: Any = None) -> Any:
        x = as_tensor(input)
        result = of_floats(x) if x.dtype.is_floating_point else x.clone()
        return result if out is None else write_out(result, out)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = of_floats.__doc__
    return operation


def _binary(name: str, needs_float: bool = False, reverse: bool = False) -> Callable[..., Any]:
    primitive = PRIMITIVES[name]

    def operation(input: Any, other: Any, *, out: Any = None) -> Any:
        if not isinstance(input, Handle):
            input = as_tensor(input)
        result = apply_binary(primitive, input, other, needs_float, reverse)
        return result if out is None else write_out(result, out)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{primitive.meaning[0].upper()}{primitive.meaning[1:]}, elementwise; shapes broadcast."
    return operation


neg = negative = _unary("negative", needs_float=False)
abs = absolute = _unary("abs", needs_float=False)
sign = _unary("sign", needs_float=False)
exp, expm1, log, log1p = _unary("exp"), _unary("expm1"), _unary("log"), _unary("log1p")
floored_log = _unary("floored_log")
sqrt, rsqrt, sin, cos = _unary("sqrt"), _unary("rsqrt"), _unary("sin"), _unary("cos")
tanh, erf, sigmoid = _unary("tanh"), _unary("erf"), _unary("sigmoid")
floor, ceil, round = _rounding("floor"), _rounding("ceil"), _rounding("round")

_add, _subtract = _binary("add"), _binary("subtract")
mul = multiply = _binary("multiply")
_divide = _binary("divide", needs_float=True)
atan2 = arctan2 = _binary("atan2", needs_float=True)
floor_divide, remainder = _binary("floor_divide"), _binary("remainder")
maximum, minimum = _binary("maximum"), _binary("minimum")
eq, ne, lt, le = _binary("equal"), _binary("not_equal"), _binary("less"), _binary("less_equal")
gt, ge = _binary("less", reverse=True), _binary("less_equal", reverse=True)
reverse_subtract, reverse_divide = _binary("subtract", reverse=True), _binary("divide", True, True)
reverse_floor_divide, reverse_remainder = _binary("floor_divide", reverse=True), _binary("remainder", reverse=True)
_power, _reverse_power = _binary("power", needs_float=True), _binary("power", True, True)


def add(input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Any:
    """input + alpha · other, elementwise; shapes broadcast."""
    return _add(input, other if alpha == 1 else multiply(other, alpha), out=out)


def sub(input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Any:
    """input - alpha · other, elementwise; shapes broadcast."""
    return _subtract(input, other if alpha == 1 else multiply(other, alpha), out=out)


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """other - alpha · input, elementwise; shapes broadcast."""
    return reverse_subtract(input if alpha == 1 else multiply(input, alpha), other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """input / other, elementwise; shapes broadcast. ``rounding_mode``: "floor" rounds down, "trunc" towards 0."""
    if rounding_mode is None:
        return _divide(input, other, out=out)
    if rounding_mode not in ("floor", "trunc"):
        raise ArgumentError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}"
        )
    quotient = floor_divide(input, other)
    if rounding_mode == "trunc":  # one more where the exact quotient is negative and no integer
        is_between = logical_and(lt(quotient, 0), ne(multiply(quotient, other), input))
        quotient = add(quotient, convert(is_between, quotient.dtype))
    return quotient if out is None else write_out(quotient, out)


subtract, divide, true_divide = sub, div, div


@pytorch_keywords
def pow(input: Any, exponent: Any) -> Any:
    """input to the power ``exponent``, elementwise; integers to integers give integers."""
    if exponent.__class__ in _NUMBERS and exponent == 2 and dtype_of(as_tensor(input)).is_floating_point:
        return multiply(input, input)  # as `simplify` would have it, with a shorter gradient
    return _integer_power(_power, input, exponent)


def reverse_power(input: Any, base: Any) -> Any:
    """``base`` to the power input, elementwise."""
    return _integer_power(_reverse_power, input, base)


def _integer_power(power: Callable[[Any, Any], Any], input: Any, other: Any) -> Any:
    """``power``, for integers by way of float64, which is exact up to 2⁵³."""
    x = as_tensor(input)
    other_dtype = dtype_of(other) if isinstance(other, Handle) else number_dtype(other)
    if x.dtype.is_floating_point or other_dtype.is_floating_point:
        return power(x, other)
    if isinstance(other, Handle):
        _, vertices = enter_all(x, other)
        dtype = result_dtype(*vertices)
        other = convert(other, float64)
    else:
        dtype = int64 if x.dtype is bool_ and other_dtype is int64 else x.dtype
    return convert(power(convert(x, float64), other), dtype)


@pytorch_keywords
def square(input: Any) -> Any:
    """input², elementwise."""
    return multiply(input, input)


@pytorch_keywords
def logical_not(input: Any) -> Any:
    """True where the element is zero or false."""
    return apply_unary(PRIMITIVES["logical_not"], to_bool(input))


@pytorch_keywords
def logical_and(input: Any, other: Any) -> Any:
    """True where both elements are non-zero."""
    return apply_binary(PRIMITIVES["logical_and"], to_bool(input), to_bool(other))


@pytorch_keywords
def logical_or(input: Any, other: Any) -> Any:
    """True where one of the elements is non-zero."""
    return apply_binary(PRIMITIVES["logical_or"], to_bool(input), to_bool(other))


@pytorch_keywords
def logical_xor(input: Any, other: Any) -> Any:
    """True where exactly one of the elements is non-zero."""
    return ne(to_bool(input), to_bool(other))


def to_bool(input: Any) -> Any:
    """The elements compared with zero."""
    return convert(as_tensor(input), bool_)


def convert(x: Any, dtype: DType) -> Any:
    """x as ``dtype``; x itself if it has that type."""
    segment, (vertex,) = enter_all(x)
    return x if vertex.dtype is dtype else pending(cast(vertex, dtype), segment)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, other elsewhere; shapes broadcast. Numbers are constants of the program."""
    condition = as_tensor(condition)
    if input is None or other is None:
        return _where_nonzero(condition, input, other)
    if isinstance(input, _NUMBERS) and isinstance(other, _NUMBERS):
        input = as_tensor(input)
    given = [as_tensor(value) for value in (input, other) if not isinstance(value, _NUMBERS)]
    segment, (chosen, *entered) = enter_all(condition, *given)
    if chosen.dtype is not bool_:
        raise DTypeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {chosen.dtype}")
    vertices = iter(entered)
    parts = [value if isinstance(value, _NUMBERS) else next(vertices) for value in (input, other)]
    key = ("where", *(repr(part) if isinstance(part, _NUMBERS) else part for part in parts))
    found = chosen.users.get(key)
    if found is None:
        left, right = (
            constant(part, dtype_beside(part, entered[0].dtype)) if isinstance(part, _NUMBERS) else part
            for part in parts
        )
        found = chosen.users[key] = where_vertex(chosen, *meet(left, right))
    return pending(found, segment)


def _where_nonzero(condition: Any, input: Any, other: Any) -> Any:
    """With the condition alone: the coordinates at which it holds, one tensor per dimension."""
    if input is not None or other is not None:
        raise ArgumentError("where: pass both input and other, or the condition alone")
    return condition.nonzero(as_tuple=True)


@pytorch_keywords
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """input limited to [min, max], elementwise; NaN stays NaN. The derivative is 1 at the limits too."""
    if min is None and max is None:
        raise ArgumentError("clamp: at least one of min or max must not be None")
    if not {min.__class__, max.__class__} <= _CONSTANT_LIMITS or min != min or max != max:
        result = input if min is None else _limited(input, min, lt)
        return result if max is None else _limited(result, max, gt)
    segment, (vertex,) = enter_all(as_tensor(input))
    key = "clamp", repr(min), repr(max)
    found = vertex.users.get(key)
    if found is None:
        found = vertex.users[key] = _clamp_vertex(vertex, min, max)
    return pending(found, segment)


_CONSTANT_LIMITS = {float, int, type(None)}


def _clamp_vertex(x: Vertex, low: float | None, high: float | None) -> Vertex:
    for bound, is_lower in ((low, True), (high, False)):
        if bound is not None:
            x = cast(x, dtype_beside(bound, x.dtype))
            limit = constant(bound, x.dtype)
            x = where_vertex(less(x, limit) if is_lower else less(limit, x), limit, x)
    return x


def _limited(input: Any, bound: Any, beyond: Callable[[Any, Any], Any]) -> Any:
    """The bound where the input lies beyond it, or the bound is NaN. (`maximum` would share the derivative of ties.)"""
    bound = as_tensor(bound)
    return where(logical_or(beyond(input, bound), ne(bound, bound)), bound, input)


clip = clamp


def relu(input: Any) -> Any:
    """max(0, x), elementwise; the derivative at 0 is 0 and NaN stays NaN."""
    segment = state.segment
    if isinstance(input, Handle) and input._segment is segment:
        vertex = input._vertex
    else:
        segment, (vertex,) = enter_all(as_tensor(input))
    found = vertex.users.get("relu")
    if found is None:
        found = vertex.users["relu"] = _relu_vertex(vertex)
    return pending(found, segment)


def _relu_vertex(x: Vertex) -> Vertex:
    return where_vertex(apply(PRIMITIVES["less_equal"], x, constant(0, x.dtype)), 0, x)
