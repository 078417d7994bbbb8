"""Operations on the bits of integers, and the operators & | ^ ~ << >>, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError
from ..graph.primitive import PRIMITIVES
from ..types import bool_
from . import operations
from .keywords import pytorch_keywords
from .operands import as_tensor

METHODS = (
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
)  # fmt: skip


def _operands(symbol: str, *inputs: Any) -> list[Any]:
    """The operands, the first as a tensor. Errors: `DTypeError` for floats."""
    kinds = [as_tensor(value).dtype for value in inputs]
    if any(dtype.is_floating_point for dtype in kinds):
        found = " and ".join(str(dtype) for dtype in kinds)
        raise DTypeError(f"operator {symbol} needs booleans or integers, got {found}. fix: compare or convert first")
    first, *rest = inputs
    return [as_tensor(first), *rest]


def _and(x: Any, y: Any) -> Any:
    """x & y of operands of which one is no boolean."""
    if x.dtype is bool_:
        x = operations.convert(x, as_tensor(y).dtype)
    return operations.apply_binary(PRIMITIVES["bitwise_and"], x, y)


def _are_booleans(x: Any, y: Any) -> bool:
    return x.dtype is bool_ and as_tensor(y).dtype is bool_


@pytorch_keywords
def bitwise_and(input: Any, other: Any) -> Any:
    """The bits set in both; for booleans whether both hold.

    >>> import chainrule as cr
    >>> cr.tensor([6]) & 3
    tensor([2])
    """
    x, y = _operands("&", input, other)
    return operations.logical_and(x, y) if _are_booleans(x, y) else _and(x, y)


@pytorch_keywords
def bitwise_or(input: Any, other: Any) -> Any:
    """The bits set in one or both: x + y - (x & y); for booleans whether one holds."""
    x, y = _operands("|", input, other)
    if _are_booleans(x, y):
        return operations.logical_or(x, y)
    return operations.sub(operations.add(x, y), _and(x, y))


@pytorch_keywords
def bitwise_xor(input: Any, other: Any) -> Any:
    """The bits set in one but not in both: x + y - 2 (x & y); for booleans whether they differ."""
    x, y = _operands("^", input, other)
    if _are_booleans(x, y):
        return operations.logical_xor(x, y)
    return operations.sub(operations.add(x, y), operations.mul(_and(x, y), 2))


@pytorch_keywords
def bitwise_not(input: Any) -> Any:
    """All bits turned over: -x - 1; for booleans the opposite."""
    (x,) = _operands("~", input)
    return operations.logical_not(x) if x.dtype is bool_ else operations.sub(operations.neg(x), 1)


@pytorch_keywords
def bitwise_left_shift(input: Any, other: Any) -> Any:
    """x · 2^y."""
    x, y = _operands("<<", input, other)
    return operations.mul(x, operations.reverse_power(as_tensor(y), 2))


@pytorch_keywords
def bitwise_right_shift(input: Any, other: Any) -> Any:
    """x / 2^y, rounded down."""
    x, y = _operands(">>", input, other)
    return operations.floor_divide(x, operations.reverse_power(as_tensor(y), 2))
