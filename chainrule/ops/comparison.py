"""Comparisons, logic and choice by condition."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DTypeError
from ..graph.primitive import NOT_DIFFERENTIABLE, Invalid, Primitive, Sample, Special, register
from ..graph.vertex import Vertex, apply
from ..types import TensorType, bool_, broadcast_shapes, float32, int64, tensor_type
from .records import Operand, binary, build
from .source import constant

_NAN = math.nan


def _tied_samples(rng: np.random.Generator) -> list[Sample]:
    """Small integers as floats, so that equal values occur; NaN in some places."""
    values = rng.integers(-2, 3, (2, 6, 7)).astype("float64")
    values[0, 0, 0] = values[1, 1, 1] = _NAN
    return [Sample((values[0], values[1])), Sample((rng.integers(-2, 3, (5,)), rng.integers(-2, 3, (3, 1))))]


def _logical_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample((rng.integers(0, 2, (4, 5)).astype(bool), rng.integers(0, 2, (5,)).astype(bool)))]


_EVERY = ("float", "int", "bool")
EQUAL = binary(
    "equal", "x = y", np.equal, NOT_DIFFERENTIABLE, kinds=_EVERY, result=bool_, samples=_tied_samples, xla="eq",
    special=[Special((_NAN, _NAN), 0.0)],
)  # fmt: skip
NOT_EQUAL = binary(
    "not_equal", "x ≠ y", np.not_equal, NOT_DIFFERENTIABLE, kinds=_EVERY, result=bool_, samples=_tied_samples, xla="ne",
    special=[Special((_NAN, _NAN), 1.0)],
)  # fmt: skip
LESS = binary(
    "less", "x < y", np.less, NOT_DIFFERENTIABLE, kinds=_EVERY, result=bool_, samples=_tied_samples, xla="lt",
    special=[Special((_NAN, 1.0), 0.0)],
)  # fmt: skip
LESS_EQUAL = binary(
    "less_equal", "x ≤ y", np.less_equal, NOT_DIFFERENTIABLE, kinds=_EVERY, result=bool_, samples=_tied_samples,
    xla="le", special=[Special((_NAN, 1.0), 0.0)],
)  # fmt: skip
LOGICAL_AND = binary(
    "logical_and", "x and y", np.logical_and, NOT_DIFFERENTIABLE, kinds=("bool",), samples=_logical_samples,
    xla="bitwise_and", special=[Special((1.0, 0.0), 0.0), Special((1.0, 1.0), 1.0)],
)  # fmt: skip
LOGICAL_OR = binary(
    "logical_or", "x or y", np.logical_or, NOT_DIFFERENTIABLE, kinds=("bool",), samples=_logical_samples,
    xla="bitwise_or", special=[Special((1.0, 0.0), 1.0), Special((0.0, 0.0), 0.0)],
)  # fmt: skip


def _where_type_rule(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    if condition.dtype is not bool_:
        raise DTypeError(f"where needs a bool condition, got {condition.dtype}. fix: compare, e.g. condition != 0")
    if x.dtype is not y.dtype:
        raise DTypeError(f"expected operands of one dtype, got {x.dtype} and {y.dtype}. fix: convert with .to()")
    return tensor_type(x.dtype, broadcast_shapes(condition.shape, x.shape, y.shape))


def _where_vjp(g: Vertex, out: Vertex, condition: Vertex, x: Vertex, y: Vertex) -> tuple[Vertex | None, ...]:
    return None, where(condition, g, 0), where(condition, 0, g)


WHERE = register(
    Primitive(
        name="where",
        family="elementwise",
        meaning="x where the condition holds, y elsewhere; the branch not taken contributes no NaN",
        type_rule=_where_type_rule,
        reference=np.where,
        vjp=_where_vjp,
        native="where",
        xla="select",
        samples=lambda rng: [
            Sample((rng.integers(0, 2, (4, 5)).astype(bool), rng.normal(size=(4, 5)), rng.normal(size=(5,)))),
            Sample((rng.integers(0, 2, (3,)).astype(bool), rng.normal(size=()), rng.normal(size=(2, 3)))),
        ],
        special=(Special((1.0, 2.0, _NAN), 2.0), Special((0.0, _NAN, 3.0), 3.0)),
        invalid=(
            Invalid((tensor_type(float32, (2,)),) * 3, "bool condition"),
            Invalid((tensor_type(bool_, (2,)), tensor_type(float32, (2,)), tensor_type(int64, (2,))), "one dtype"),
        ),
    )
)


def equal(x: Operand, y: Operand) -> Vertex:
    """x = y"""
    return build(EQUAL, x, y)


def not_equal(x: Operand, y: Operand) -> Vertex:
    """x ≠ y"""
    return build(NOT_EQUAL, x, y)


def less(x: Operand, y: Operand) -> Vertex:
    """x < y"""
    return build(LESS, x, y)


def less_equal(x: Operand, y: Operand) -> Vertex:
    """x ≤ y"""
    return build(LESS_EQUAL, x, y)


def logical_and(x: Operand, y: Operand) -> Vertex:
    """x and y"""
    return build(LOGICAL_AND, x, y)


def logical_or(x: Operand, y: Operand) -> Vertex:
    """x or y"""
    return build(LOGICAL_OR, x, y)


def where(condition: Vertex, x: Operand, y: Operand) -> Vertex:
    """x where the condition holds, y elsewhere"""
    dtype = next((operand.dtype for operand in (x, y) if isinstance(operand, Vertex)), float32)
    x, y = (operand if isinstance(operand, Vertex) else constant(operand, dtype) for operand in (x, y))
    return apply(WHERE, condition, x, y)
