"""A vertex: one primitive applied to vertices. Equal applications are one object (hash-consing)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ChainruleError
from ..types import DType, Shape, TensorType
from .primitive import Primitive, Types
from .site import Site, find_site


class Growth:
    """How much is remembered: ``new`` vertices since a program was last built, ``total`` since the last sweep."""

    __slots__ = ("new", "total")

    def __init__(self) -> None:
        self.new = self.total = 0


growth = Growth()


class Vertex:
    """One typed result: a primitive, its input vertices and its attributes.

    Never changed after it is made. ``users`` remembers what was derived from it: above all, for an application in which
    this vertex is the first operand, the resulting vertex, so that recording it again is one dictionary look-up.
    ``structure`` is a hash that is equal for vertices that are computed in the same way from inputs of the same types.
    """

    __slots__ = (
        "__weakref__", "attributes", "inputs", "primitive", "requires_grad", "site", "structure", "type", "users",
    )  # fmt: skip

    def __init__(
        self,
        primitive: Primitive,
        inputs: tuple[Vertex, ...],
        attributes: Mapping[str, Any],
        type: Types,
        requires_grad: bool,
        site: Site,
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.attributes = attributes
        self.type: Any = type
        self.requires_grad = requires_grad
        self.site = site
        self.users: dict[Any, Any] = {}
        self.structure: int = hash((primitive, *[operand.structure for operand in inputs], *attributes.values()))

    @property
    def shape(self) -> Shape:
        shape: Shape = self.type.shape
        return shape

    @property
    def dtype(self) -> DType:
        dtype: DType = self.type.dtype
        return dtype

    def __repr__(self) -> str:
        return f"{self.primitive.name}: {self.type}"


def apply(primitive: Primitive, *inputs: Vertex, **attributes: Any) -> Vertex:
    """Return the vertex for ``primitive(*inputs, **attributes)``, made now or earlier.

    Errors: whatever the primitive's type rule refuses, with the user's source line added.
    """
    if not inputs:
        return make_vertex(primitive, inputs, attributes)
    key = (primitive, inputs[1:], *attributes.items())
    found: Vertex | None = inputs[0].users.get(key)
    if found is None:
        found = inputs[0].users[key] = make_vertex(primitive, inputs, attributes)
        growth.new += 1
        growth.total += 1
    return found


def make_vertex(
    primitive: Primitive, inputs: tuple[Vertex, ...], attributes: Mapping[str, Any], site: Site | None = None
) -> Vertex:
    """Check the types and return a new vertex, not entered anywhere."""
    try:
        result = primitive.type_rule(*[vertex.type for vertex in inputs], **attributes)
    except ChainruleError as error:
        raise type(error)(f"{error}\n  where: {site or find_site()}") from None
    requires_grad = False
    for vertex in inputs:
        if vertex.requires_grad:
            is_float = not isinstance(result, TensorType) or result.dtype.is_floating_point
            requires_grad = primitive.is_differentiable and is_float
            break
    return Vertex(primitive, inputs, attributes, result, requires_grad, site or find_site())
