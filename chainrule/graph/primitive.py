"""The record that describes a primitive operation: everything chainrule knows of it, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import did_you_mean
from ..types import TensorType

Types = TensorType | tuple[TensorType, ...]


@dataclass(frozen=True)
class Sample:
    """Arrays and attributes on which a primitive is tested.

    ``differentiable`` is False where the sample sits on a kink, so that finite differences say nothing.
    """

    inputs: tuple[np.ndarray[Any, Any], ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    differentiable: bool = True


@dataclass(frozen=True)
class Invalid:
    """Input types and attributes that the type rule must refuse, with a part of the expected message."""

    types: tuple[TensorType, ...]
    message: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Special:
    """A point whose value and derivative are fixed by definition: infinities, NaN, kinks.

    ``derivative`` is the gradient with respect to the first input, or None where none is promised.
    """

    inputs: tuple[float, ...]
    value: float
    derivative: float | None = None


NOT_DIFFERENTIABLE = "not differentiable"


def _one_operation_per_element(out: TensorType, *_types: TensorType) -> int:
    return out.size


@dataclass(frozen=True, eq=False)
class Primitive:
    """One primitive operation.

    - ``name``: how it is printed and looked up.
    - ``family``: ``"source"``, ``"elementwise"``, ``"reduction"``, ``"movement"``, ``"matmul"``, ``"indexing"``,
      ``"random"`` or ``"loop"``; passes and backends treat the regular families as one.
    - ``meaning``: one sentence with the formula.
    - ``attributes``: names of the static keyword data, in the order of printing.
    - ``type_rule(*types, **attributes)``: the type of the result (a tuple of types for several results).
    - ``reference(*arrays, **attributes)``: the value, by NumPy: the definition of the meaning.
    - ``vjp(g, out, *inputs, **attributes)``: one gradient vertex or None per input, built from vertices;
      ``NOT_DIFFERENTIABLE`` for integers, conditions and whatever lets no gradient through. The rule of a loop is
      given more, and for all of its results at once: see `chainrule.ops.loop`.
    - ``native``, ``xla``: the name of the lowering in each backend.
    - ``cost(out, *types)``: floating point operations for one result.
    - ``samples(rng)``, ``invalid``, ``special``: what the generated tests run on.
    """

    name: str
    family: str
    meaning: str
    type_rule: Callable[..., Types]
    reference: Callable[..., Any] | None
    vjp: Callable[..., Any] | str
    native: str
    xla: str
    samples: Callable[[np.random.Generator], list[Sample]]
    invalid: tuple[Invalid, ...] = ()
    special: tuple[Special, ...] = ()
    attributes: tuple[str, ...] = ()
    cost: Callable[..., int] = _one_operation_per_element

    @property
    def is_differentiable(self) -> bool:
        return self.vjp is not NOT_DIFFERENTIABLE

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return (find_primitive, (self.name,))


PRIMITIVES: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    """Enter a record into the table of all primitives and return it."""
    if primitive.name in PRIMITIVES:
        raise ValueError(f"two primitives are called {primitive.name!r}")
    PRIMITIVES[primitive.name] = primitive
    return primitive


def find_primitive(name: str) -> Primitive:
    """Return the record of this name.

    Errors: ``KeyError`` naming the closest primitive.
    """
    if name not in PRIMITIVES:
        raise KeyError(f"no primitive is called {name!r}{did_you_mean(name, PRIMITIVES)}")
    return PRIMITIVES[name]
