"""Helpers with which records of regular families are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..graph.primitive import Invalid, Primitive, Sample, Special, register
from ..graph.vertex import Vertex, apply
from ..types import DType, TensorType, bool_, broadcast_shapes, float32, int64, tensor_type
from .source import constant

Operand = Vertex | float | int | bool
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (5,), (3, 4), (0, 3), (2, 1, 17))
BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()), ((4,), (4,)), ((3, 4), (4,)), ((3, 1), (1, 5)), ((2, 3, 4), ()), ((0, 3), (3,)), ((1,), (7, 33)),
)  # fmt: skip


def build(primitive: Primitive, *operands: Operand, **attributes: Any) -> Vertex:
    """Apply ``primitive``; Python numbers become constants of the type of the first vertex among the operands."""
    for operand in operands:
        if operand.__class__ is not Vertex:
            break
    else:
        return apply(primitive, *operands, **attributes)  # type: ignore[arg-type]
    dtype = next((operand.dtype for operand in operands if isinstance(operand, Vertex)), float32)
    vertices = (operand if isinstance(operand, Vertex) else constant(operand, dtype) for operand in operands)
    return apply(primitive, *vertices, **attributes)


def elementwise_type_rule(arity: int, kinds: Sequence[str], result: DType | None = None) -> Callable[..., TensorType]:
    """Return the rule of an elementwise primitive: ``arity`` operands of one type of ``kinds``, shapes broadcast."""

    def rule(*types: TensorType) -> TensorType:
        if result is None and len(types) == arity and types.count(types[0]) == arity and types[0].dtype.kind in kinds:
            return types[0]
        if len(types) != arity:
            raise ArgumentError(f"expected {arity} operands, got {len(types)}")
        first = types[0].dtype
        for operand in types:
            if operand.dtype.kind not in kinds:
                raise DTypeError(f"expected {' or '.join(kinds)} elements, got {operand.dtype}")
            if operand.dtype is not first:
                raise DTypeError(
                    f"expected operands of one dtype, got {first} and {operand.dtype}. fix: convert with .to()"
                )
        return tensor_type(result or first, broadcast_shapes(*[operand.shape for operand in types]))

    return rule


def real_samples(low: float, high: float, shapes: Sequence[tuple[int, ...]] = SHAPES) -> Callable[..., list[Sample]]:
    """Return a sampler of one float64 array per shape, uniform in [low, high), kept away from 0 (a kink of many)."""

    def samples(rng: np.random.Generator) -> list[Sample]:
        values = [rng.uniform(low, high, shape) for shape in shapes]
        return [Sample((np.where(np.abs(value) < 0.05, 0.5 * (low + high) + 0.1, value),)) for value in values]

    return samples


def pair_samples(low: float, high: float) -> Callable[..., list[Sample]]:
    """Return a sampler of two float64 arrays that broadcast, uniform in [low, high)."""

    def samples(rng: np.random.Generator) -> list[Sample]:
        return [Sample(tuple(rng.uniform(low, high, shape) for shape in shapes)) for shapes in BROADCASTS]

    return samples


def _with_integers(samples: Callable[..., list[Sample]], arity: int) -> Callable[..., list[Sample]]:
    """Add one sample of integers, of both types and signs, to those of ``samples``."""

    def more(rng: np.random.Generator) -> list[Sample]:
        integers = [
            Sample(tuple(rng.integers(-9, 10, shape).astype(dtype) for shape in ((11, 3), (3,))[:arity]))
            for dtype in ("int64", "int32")
        ]
        return [*samples(rng), *integers]

    return more


def unary(
    name: str,
    meaning: str,
    reference: Callable[..., Any],
    vjp: Callable[..., Any] | str,
    *,
    domain: tuple[float, float] = (-3.0, 3.0),
    kinds: Sequence[str] = ("float",),
    xla: str | None = None,
    special: Sequence[Special] = (),
) -> Primitive:
    """Register an elementwise primitive of one operand."""
    return register(
        Primitive(
            name=name,
            family="elementwise",
            meaning=meaning,
            type_rule=elementwise_type_rule(1, kinds),
            reference=reference,
            vjp=vjp,
            native=name,
            xla=xla or name,
            samples=_with_integers(real_samples(*domain), 1) if "int" in kinds else real_samples(*domain),
            special=tuple(special),
            invalid=(Invalid((tensor_type(bool_, (3,)),), "expected"),),
        )
    )


def binary(
    name: str,
    meaning: str,
    reference: Callable[..., Any],
    vjp: Callable[..., Any] | str,
    *,
    domain: tuple[float, float] = (-3.0, 3.0),
    kinds: Sequence[str] = ("float", "int"),
    result: DType | None = None,
    xla: str | None = None,
    special: Sequence[Special] = (),
    samples: Callable[..., list[Sample]] | None = None,
) -> Primitive:
    """Register an elementwise primitive of two operands that broadcast."""
    pairs = pair_samples(*domain)
    return register(
        Primitive(
            name=name,
            family="elementwise",
            meaning=meaning,
            type_rule=elementwise_type_rule(2, kinds, result),
            reference=reference,
            vjp=vjp,
            native=name,
            xla=xla or name,
            samples=samples or (_with_integers(pairs, 2) if "int" in kinds else pairs),
            special=tuple(special),
            invalid=(
                Invalid((tensor_type(float32, (2, 3)), tensor_type(float32, (4,))), "cannot be broadcast")
                if "float" in kinds
                else Invalid((tensor_type(float32, (2,)), tensor_type(float32, (2,))), "expected"),
                Invalid((tensor_type(float32, (2,)), tensor_type(int64, (2,))), "expected"),
            ),
        )
    )
