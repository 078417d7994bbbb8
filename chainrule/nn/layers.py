"""Layers: the affine map, changes of shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..devices import Device
from ..errors import ArgumentError, ShapeError
from ..tensor import shaping
from ..tensor.operands import as_tensor
from ..tensor.recording import Handle, type_of
from ..types import as_dtype, float32
from .functional.linear import remembered_linear
from .initialization import start_by_default
from .module import Module
from .parameter import Parameter, empty_parameter


class Linear(Module, is_builtin=True):
    """y = x Wᵀ + b over the last dimension.

    Shapes: x (..., in_features), y (..., out_features); ``weight`` (out_features, in_features), ``bias``
    (out_features) or None. The weight lies in memory by columns, so that Wᵀ is read in order. Initial values follow
    the activation behind the layer (`chainrule.nn.initialization`).

    >>> import chainrule as cr
    >>> cr.nn.Linear(8, 12)(cr.ones(10, 8)).shape
    Size([10, 12])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        if device is not None:
            Device(device)
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(size, int | np.integer) or size < 0:
                fix = f". fix: {size:.0f}" if isinstance(size, float) and size >= 0 else ""
                raise ArgumentError(f"Linear: {name} must be a whole number that is not negative, got {size!r}{fix}")
        self.in_features = in_features
        self.out_features = out_features
        element = as_dtype(dtype) if dtype is not None else float32
        by_columns = (1, out_features) if min(in_features, out_features) > 1 else None
        self.weight = empty_parameter((out_features, in_features), element, by_columns)
        self.register_parameter("bias", empty_parameter((out_features,), element) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        start_by_default(self.weight, self.bias)

    def forward(self, input: Any) -> Any:
        return remembered_linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module, is_builtin=True):
    """The input itself. Arguments are accepted and ignored."""

    is_transparent = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module, is_builtin=True):
    """The dimensions from ``start_dim`` to ``end_dim`` made one; by default all but the first."""

    is_transparent = True

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        return shaping.flatten(input if isinstance(input, Handle) else as_tensor(input), self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module, is_builtin=True):
    """Dimension ``dim`` split into ``unflattened_size``; one of the sizes may be -1."""

    is_transparent = True

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        x = input if isinstance(input, Handle) else as_tensor(input)
        sizes, size = self.unflattened_size, type_of(x).shape[self.dim]
        if -1 not in sizes and math.prod(sizes) != size:
            raise ShapeError(f"unflatten: sizes {sizes} do not multiply up to the size of dim {self.dim} ({size})")
        return shaping.unflatten(x, self.dim, sizes)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
