"""Elementwise operations and their PyTorch names. Each function is also a method of `Tensor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..graph.primitive import PRIMITIVES, Primitive
from ..graph.vertex import Vertex, apply
from ..ops.comparison import where as where_vertex
from ..ops.elementwise import cast
from ..ops.source import constant
from ..types import DType, bool_, float32
from .operands import as_tensor, enter_all, meet, number_vertex
from .recording import Handle, pending
from .segment import state

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
        operand = cast(vertex, float32) if needs_float and not vertex.dtype.is_floating_point else vertex
        found = vertex.users[primitive] = apply(primitive, operand)
    return pending(found, segment)


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
        left, right = meet(a, b, needs_float)
        found = a.users[key] = apply(primitive, *((right, left) if reverse else (left, right)))
    return pending(found, segment)


def _apply_number(primitive: Primitive, x: Any, number: Any, needs_float: bool, reverse: bool) -> Any:
    segment = state.segment
    if x._segment is segment:
        vertex = x._vertex
    else:
        segment, (vertex,) = enter_all(x)
    key = (primitive, number.__class__, number, reverse) if number else (primitive, repr(number), reverse)
    found = vertex.users.get(key)
    if found is None:
        other = number_vertex(number, vertex, (primitive, reverse), needs_float)
        if state.segment is not segment:
            segment, (vertex,) = enter_all(x)
        left, right = meet(vertex, other, needs_float)
        found = apply(primitive, *((right, left) if reverse else (left, right)))
        if not other.primitive.name == "input":
            vertex.users[key] = found
    return pending(found, segment)


def _unary(name: str, needs_float: bool = True) -> Callable[[Any], Any]:
    primitive = PRIMITIVES[name]

    def operation(input: Any) -> Any:
        return apply_unary(primitive, input if isinstance(input, Handle) else as_tensor(input), needs_float)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{primitive.meaning[0].upper()}{primitive.meaning[1:]}, elementwise."
    return operation


def _binary(name: str, needs_float: bool = False, reverse: bool = False) -> Callable[[Any, Any], Any]:
    primitive = PRIMITIVES[name]

    def operation(input: Any, other: Any) -> Any:
        if not isinstance(input, Handle):
            input = as_tensor(input)
        return apply_binary(primitive, input, other, needs_float, reverse)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{primitive.meaning[0].upper()}{primitive.meaning[1:]}, elementwise; shapes broadcast."
    return operation


neg = negative = _unary("negative", needs_float=False)
abs = absolute = _unary("abs", needs_float=False)
sign = _unary("sign", needs_float=False)
exp, expm1, log, log1p = _unary("exp"), _unary("expm1"), _unary("log"), _unary("log1p")
sqrt, rsqrt, sin, cos = _unary("sqrt"), _unary("rsqrt"), _unary("sin"), _unary("cos")
tanh, erf, sigmoid = _unary("tanh"), _unary("erf"), _unary("sigmoid")
floor, ceil, round = _unary("floor"), _unary("ceil"), _unary("round")

_add, _subtract = _binary("add"), _binary("subtract")
mul = multiply = _binary("multiply")
div = divide = true_divide = _binary("divide", needs_float=True)
floor_divide, remainder = _binary("floor_divide"), _binary("remainder")
maximum, minimum = _binary("maximum"), _binary("minimum")
eq, ne, lt, le = _binary("equal"), _binary("not_equal"), _binary("less"), _binary("less_equal")
gt, ge = _binary("less", reverse=True), _binary("less_equal", reverse=True)
reverse_subtract, reverse_divide = _binary("subtract", reverse=True), _binary("divide", True, True)
_power, reverse_power = _binary("power", needs_float=True), _binary("power", True, True)


def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input + alpha · other, elementwise; shapes broadcast."""
    return _add(input, other if alpha == 1 else multiply(other, alpha))


def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input - alpha · other, elementwise; shapes broadcast."""
    return _subtract(input, other if alpha == 1 else multiply(other, alpha))


def pow(input: Any, exponent: Any) -> Any:
    """input to the power ``exponent``, elementwise. Integers to whole powers of at least 0 stay integers."""
    is_whole = isinstance(exponent, int) and not isinstance(exponent, bool) and exponent >= 0
    if is_whole and isinstance(input, Handle) and not input.dtype.is_floating_point:  # type: ignore[attr-defined]
        result = as_tensor(1).expand(input.shape) if exponent == 0 else input  # type: ignore[attr-defined]
        for _ in range(exponent - 1):
            result = multiply(result, input)
        return result
    return _power(input, exponent)


def square(input: Any) -> Any:
    """input², elementwise."""
    return multiply(input, input)


def logical_not(input: Any) -> Any:
    """True where the element is zero or false."""
    return apply_unary(PRIMITIVES["logical_not"], to_bool(input))


def logical_and(input: Any, other: Any) -> Any:
    """True where both elements are non-zero."""
    return apply_binary(PRIMITIVES["logical_and"], to_bool(input), to_bool(other))


def logical_or(input: Any, other: Any) -> Any:
    """True where one of the elements is non-zero."""
    return apply_binary(PRIMITIVES["logical_or"], to_bool(input), to_bool(other))


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


def where(condition: Any, input: Any, other: Any) -> Any:
    """input where the condition holds, other elsewhere; shapes broadcast."""
    condition = as_tensor(condition)
    values = [value if isinstance(value, Handle) else as_tensor(value) for value in (input, other)]
    segment, (chosen, a, b) = enter_all(condition, *values)
    if chosen.dtype is not bool_:
        raise DTypeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {chosen.dtype}")
    return pending(where_vertex(chosen, *meet(a, b)), segment)


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """input limited to [min, max], elementwise; NaN stays NaN."""
    if min is None and max is None:
        raise ArgumentError("clamp: at least one of min or max must not be None")
    result = input if min is None else maximum(input, min)
    return result if max is None else minimum(result, max)


def relu(input: Any) -> Any:
    """max(0, x), elementwise; the derivative at 0 is 0 and NaN stays NaN."""
    segment = state.segment
    if input._segment is segment:
        vertex = input._vertex
    else:
        segment, (vertex,) = enter_all(input)
    found = vertex.users.get("relu")
    if found is None:
        found = vertex.users["relu"] = _relu_vertex(vertex)
    return pending(found, segment)


def _relu_vertex(x: Vertex) -> Vertex:
    return where_vertex(apply(PRIMITIVES["less_equal"], x, constant(0, x.dtype)), 0, x)
