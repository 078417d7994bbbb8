"""Vertices without operands: inputs of a program, constants, index ranges."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import ref

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..graph.primitive import NOT_DIFFERENTIABLE, Invalid, Primitive, Sample, register
from ..graph.site import UNKNOWN, Site
from ..graph.vertex import Vertex, make_vertex
from ..types import DType, Shape, TensorType, bool_, float32, float64, int64, tensor_type

_KINDS = {"float": float, "int": int, "bool": bool}


def _input_type_rule(*, type: TensorType, strides: Shape | None) -> TensorType:
    if strides is not None and len(strides) != type.rank:
        raise ArgumentError(f"an input of shape {type.shape} needs one stride per dimension, got {strides}")
    return type


def _constant_type_rule(*, value: float | int | bool, type: TensorType) -> TensorType:
    kind = _KINDS[type.dtype.kind]
    if value.__class__ is not kind:
        raise ArgumentError(f"a constant of {type.dtype} must be given as {kind.__name__}, got {value!r}")
    return type


def _iota_type_rule(*, type: TensorType, axis: int) -> TensorType:
    if type.dtype is bool_:
        raise DTypeError("iota cannot count in bool")
    if not 0 <= axis < type.rank:
        raise ArgumentError(f"axis {axis} is not a dimension of shape {type.shape}")
    return type


INPUT = register(
    Primitive(
        name="input",
        family="source",
        meaning="A value that the program is given when it runs; `strides` (in elements) tell how it lies in memory.",
        attributes=("type", "strides"),
        type_rule=_input_type_rule,
        reference=None,
        vjp=NOT_DIFFERENTIABLE,
        native="input",
        xla="parameter",
        samples=lambda rng: [],
        invalid=(Invalid((), "one stride per dimension", {"type": tensor_type(float32, (2, 3)), "strides": (1,)}),),
        cost=lambda out: 0,
    )
)

CONSTANT = register(
    Primitive(
        name="constant",
        family="source",
        meaning="One number in every element.",
        attributes=("value", "type"),
        type_rule=_constant_type_rule,
        reference=lambda *, value, type: np.full(type.shape, value, type.dtype.numpy),
        vjp=NOT_DIFFERENTIABLE,
        native="constant",
        xla="full",
        samples=lambda rng: [
            Sample((), {"value": 1.5, "type": tensor_type(float32, (2, 3))}),
            Sample((), {"value": -7, "type": tensor_type(int64, ())}),
            Sample((), {"value": math.nan, "type": tensor_type(float64, (0, 2))}),
            Sample((), {"value": True, "type": tensor_type(bool_, (3,))}),
        ],
        invalid=(Invalid((), "must be given as int", {"value": 1.5, "type": tensor_type(int64, ())}),),
        cost=lambda out: 0,
    )
)

IOTA = register(
    Primitive(
        name="iota",
        family="source",
        meaning="The index along `axis`: out[..., i, ...] = i.",
        attributes=("type", "axis"),
        type_rule=_iota_type_rule,
        reference=lambda *, type, axis: np.indices(type.shape, type.dtype.numpy)[axis],
        vjp=NOT_DIFFERENTIABLE,
        native="iota",
        xla="broadcasted_iota",
        samples=lambda rng: [
            Sample((), {"type": tensor_type(int64, (5,)), "axis": 0}),
            Sample((), {"type": tensor_type(int64, (2, 3, 4)), "axis": 1}),
            Sample((), {"type": tensor_type(float32, (3, 0)), "axis": 0}),
        ],
        invalid=(
            Invalid((), "axis 1 is not a dimension", {"type": tensor_type(int64, (3,)), "axis": 1}),
            Invalid((), "cannot count in bool", {"type": tensor_type(bool_, (3,)), "axis": 0}),
        ),
        cost=lambda out: 0,
    )
)

_CONSTANTS: dict[Any, ref[Vertex]] = {}
"""Constants by what they are, while somebody holds them. What their death calls is no function of ours: Ctrl-C that
comes meanwhile would be raised in there, and dropped."""


def forget_users_of_constants() -> None:
    """Forget what has been derived from constants; see `chainrule.graph.vertex.Vertex.users`."""
    for reference in list(_CONSTANTS.values()):
        vertex = reference()
        if vertex is not None:
            vertex.users.clear()


def _known(key: Any) -> Vertex | None:
    """The one constant of this key, if somebody holds it."""
    known = _CONSTANTS.get(key)
    return None if known is None else known()


def _new(key: Any, primitive: Primitive, attributes: Mapping[str, Any]) -> Vertex:
    found = make_vertex(primitive, (), attributes, UNKNOWN)
    _CONSTANTS[key] = ref(found, partial(_CONSTANTS.pop, key))
    return found


def make_input(
    type: TensorType, requires_grad: bool = False, strides: Shape | None = None, site: Site = UNKNOWN
) -> Vertex:
    """Return a new input; inputs are never merged, each is its own."""
    checked = _input_type_rule(type=type, strides=strides)
    return Vertex(INPUT, (), {"type": type, "strides": strides}, checked, requires_grad, site)


def constant(value: float | int | bool, dtype: DType, shape: Shape = ()) -> Vertex:
    """Return the constant ``value`` as ``dtype``. Equal constants are one vertex; 0.0 and -0.0 are not equal.

    Errors: `ArgumentError` for a value that ``dtype`` cannot hold.
    """
    try:
        if dtype.kind == "float":
            value = float(value)
            if dtype is float32:
                value = ctypes.c_float(value).value  # 1e300 is infinity
        else:
            value = dtype.numpy.type(value).item()
    except (OverflowError, ValueError, TypeError):
        raise ArgumentError(f"{value!r} cannot be an element of {dtype}") from None
    key = (dtype, struct.pack("d", value) if dtype.kind == "float" else value, shape)
    return _known(key) or _new(key, CONSTANT, {"value": value, "type": tensor_type(dtype, shape)})


def zeros_like(vertex: Vertex) -> Vertex:
    """Return a constant of zeros of the type of ``vertex``."""
    return constant(0, vertex.dtype, vertex.shape)


def iota(dtype: DType, shape: Shape, axis: int = 0) -> Vertex:
    """Return the index along ``axis``."""
    key = ("iota", dtype, shape, axis)
    return _known(key) or _new(key, IOTA, {"type": tensor_type(dtype, shape), "axis": axis})
