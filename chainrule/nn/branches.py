"""Layers in which data takes more than one way: bilinear, maxout, residual, highway, dense and parallel."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError, ShapeError, did_you_mean
from ..graph.site import find_site
from ..tensor import operations, reductions, shaping
from ..tensor.generator import default_generator
from ..tensor.operands import as_tensor
from ..tensor.recording import Handle, type_of
from ..types import as_dtype, float32
from .containers import Sequential
from .functional.linear import bilinear
from .init import constant_
from .initialization import follow_activations
from .layers import Linear
from .module import Module
from .parameter import Parameter, empty_parameter
from .piecewise import ReLU

JOINS = ("concatenate", "sum")


class Bilinear(Module):
    """y_k = x₁ᵀ A_k x₂ + b_k over the last dimensions.

    Shapes: x₁ (..., in1_features), x₂ (..., in2_features), y (..., out_features); ``weight`` (out_features,
    in1_features, in2_features), ``bias`` (out_features) or None. Both start uniform in ±1/√in1_features, as in PyTorch.
    Errors: `ShapeError`, `ArgumentError`.

    >>> import chainrule as cr
    >>> cr.nn.Bilinear(2, 3, 4)(cr.ones(5, 2), cr.ones(5, 3)).shape
    Size([5, 4])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if in1_features <= 0:
            raise ArgumentError(f"in1_features must be > 0, but got (in1_features={in1_features})")
        if min(in2_features, out_features) < 0:
            raise ArgumentError(f"Bilinear: sizes must not be negative, got {in2_features} and {out_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        element = float32 if dtype is None else as_dtype(dtype)
        self.weight = empty_parameter((out_features, in1_features, in2_features), element)
        self.register_parameter("bias", empty_parameter((out_features,), element) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            parameter.write(default_generator.numpy().uniform(-bound, bound, tuple(parameter.shape)))

    def forward(self, input1: Any, input2: Any) -> Any:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Maxout(Module, is_builtin=True):
    """y_i = max_j (W_ij · x + b_ij): the largest of ``pieces`` affine maps, which learns any convex activation.

    Shapes: x (..., in_features), y (..., out_features); the maps are the layer ``linear``, the pieces of one output
    side by side. Errors: `ArgumentError`, `ShapeError`. Source: Goodfellow et al. 2013.

    >>> import chainrule as cr
    >>> cr.nn.Maxout(8, 12, pieces=3)(cr.ones(10, 8)).shape
    Size([10, 12])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pieces: int = 2,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if pieces < 1:
            raise ArgumentError(f"Maxout: pieces must be at least 1, got {pieces}")
        self.in_features = in_features
        self.out_features = out_features
        self.pieces = pieces
        self.linear = Linear(in_features, out_features * pieces, bias, device, dtype)

    @property
    def bias(self) -> Parameter | None:
        """The bias of the maps."""
        return self.linear.bias

    def forward(self, input: Any) -> Any:
        maps = shaping.unflatten(self.linear(input), -1, (self.out_features, self.pieces))
        return reductions.max(maps, -1).values

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, pieces={self.pieces}"


class Residual(Module, is_builtin=True):
    """y = layers(x) + x: the layers learn the difference from the input.

    Where the shapes differ, x goes through ``projection``; if none is given and the layers start and end with linear
    ones of different sizes, through a linear map without bias. Shapes: x and y as the layers have them.
    Errors: `ShapeError` if the sum does not fit. Source: He et al. 2016.

    >>> import chainrule as cr
    >>> cr.nn.Residual(cr.nn.Linear(3, 5), cr.nn.Tanh())
    Residual(
      (body): Sequential(
        (0): Linear(in_features=3, out_features=5, bias=True)
        (1): Tanh()
      )
      (projection): Linear(in_features=3, out_features=5, bias=False)
    )
    """

    body: Module | None
    projection: Module | None

    def __init__(self, *layers: Module, projection: Module | None = None) -> None:
        body = layers[0] if len(layers) == 1 else Sequential(*layers) if layers else None
        self.register_module("body", body)
        self.register_module("projection", projection or _linear_projection(body))

    def forward(self, input: Any) -> Any:
        if self.body is None:
            raise ArgumentError("Residual has no layers. fix: nn.Residual(nn.Linear(8, 8), nn.ReLU())")
        x = input if isinstance(input, Handle) else as_tensor(input)
        output = self.body(x)
        shortcut = x if self.projection is None else self.projection(x)
        if type_of(shortcut).shape != type_of(output).shape:
            raise ShapeError(
                f"Residual: the layers give shape {type_of(output).shape}, but x beside them has shape "
                f"{type_of(shortcut).shape}\n  where: {find_site()}\n"
                "  fix: nn.Residual(..., projection=a layer that maps the one shape to the other)"
            )
        return operations.add(output, shortcut)


def _linear_projection(body: Module | None) -> Module | None:
    """A linear map between the sizes of the first and the last linear layer, if these differ."""
    linear = [part for part in body.modules() if isinstance(part, Linear)] if body is not None else []
    if not linear or linear[0].in_features == linear[-1].out_features:
        return None
    return Linear(linear[0].in_features, linear[-1].out_features, bias=False, dtype=linear[0].weight.dtype)


class Highway(Module, is_builtin=True):
    """y = H(x)⊙T + x⊙(1 - T) with H(x) = activation(W x + b), and T = σ(W' x + b'), the share that is transformed.

    b' starts at ``gate_bias``; -1 to -3 lets a deep network start by carrying its input through.
    Shapes: x and y (..., features). Errors: `ShapeError`. Source: Srivastava et al. 2015, equation 3.

    >>> import chainrule as cr
    >>> cr.nn.Highway(8, cr.nn.Tanh())(cr.ones(10, 8)).shape
    Size([10, 8])
    """

    def __init__(
        self,
        features: int,
        activation: Module | None = None,
        gate_bias: float = -2.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.features = features
        self.gate_bias = gate_bias
        self.transform = Linear(features, features, device=device, dtype=dtype)
        self.activation = ReLU() if activation is None else activation
        self.gate = Linear(features, features, device=device, dtype=dtype)
        follow_activations([self.transform, self.activation])
        constant_(self.gate.bias, gate_bias)

    def forward(self, input: Any) -> Any:
        x = input if isinstance(input, Handle) else as_tensor(input)
        share = operations.sigmoid(self.gate(x))
        transformed = self.activation(self.transform(x))
        return operations.add(operations.mul(transformed, share), operations.mul(x, operations.sub(1, share)))

    def extra_repr(self) -> str:
        return f"features={self.features}, gate_bias={self.gate_bias}"


class DenseBlock(Module, is_builtin=True):
    """y = [x₀, x₁, ..., x_L] with x₀ = x and x_l = layer_l([x₀, ..., x_{l-1}]): each layer sees all that came before.

    [ ] joins along ``dim``. Shapes: x and all that the layers give differ at most in ``dim``; layer l must take the sum
    of the sizes before it. Errors: `ShapeError`. Source: Huang et al. 2017, "Densely Connected Convolutional Networks".

    >>> import chainrule as cr
    >>> cr.nn.DenseBlock(cr.nn.Linear(3, 2), cr.nn.Linear(5, 2))(cr.ones(10, 3)).shape
    Size([10, 7])
    """

    def __init__(self, *layers: Module, dim: int = 1) -> None:
        self.dim = dim
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)

    def forward(self, input: Any) -> Any:
        joined = input if isinstance(input, Handle) else as_tensor(input)
        for name, layer in self._modules.items():
            outputs = [joined, layer(joined)]
            _check_joined("DenseBlock", {"what came before": outputs[0], f"layer {name}": outputs[1]}, self.dim)
            joined = shaping.cat(outputs, self.dim)
        return joined

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Parallel(Module, is_builtin=True):
    """The outputs of several branches for the same input: concatenated along ``dim``, or with ``join="sum"`` added.

    Shapes: concatenated, the branches' outputs differ at most in ``dim``; summed, not at all.
    Errors: `ArgumentError` for another way to join, `ShapeError`. Source: Szegedy et al. 2015 (Inception).

    >>> import chainrule as cr
    >>> cr.nn.Parallel(cr.nn.Linear(3, 4), cr.nn.Linear(3, 2))(cr.ones(10, 3)).shape
    Size([10, 6])
    """

    def __init__(self, *branches: Module, join: str = "concatenate", dim: int = 1) -> None:
        if join not in JOINS:
            raise ArgumentError(f"join must be 'concatenate' or 'sum', got {join!r}{did_you_mean(join, JOINS)}")
        self.join = join
        self.dim = dim
        for number, branch in enumerate(branches):
            self.add_module(str(number), branch)

    def forward(self, input: Any) -> Any:
        outputs = {f"branch {name}": branch(input) for name, branch in self._modules.items()}
        if not outputs:
            raise ArgumentError("Parallel has no branches. fix: nn.Parallel(nn.Linear(8, 4), nn.Linear(8, 4))")
        _check_joined("Parallel", outputs, self.dim if self.join == "concatenate" else None)
        total, *others = outputs.values()
        if self.join == "concatenate":
            return shaping.cat([total, *others], self.dim)
        for output in others:
            total = operations.add(total, output)
        return total

    def extra_repr(self) -> str:
        return f"join={self.join!r}, dim={self.dim}" if self.join == "concatenate" else f"join={self.join!r}"


def _check_joined(layer: str, outputs: dict[str, Any], dim: int | None) -> None:
    """Errors: `ShapeError` naming the part whose shape does not fit to the first one's, outside ``dim``."""
    (first, output), *others = outputs.items()
    expected = type_of(output).shape
    axis = None if dim is None or not expected else dim % len(expected)
    for name, other in others:
        shape = type_of(other).shape
        differs = [d for d, (a, b) in enumerate(zip(shape, expected, strict=False)) if a != b and d != axis]
        if len(shape) != len(expected) or differs:
            rule = "be equal" if axis is None else f"differ only in dimension {dim}"
            raise ShapeError(
                f"{layer}: {name} gives shape {shape}, {first} {expected}: they must {rule}\n  where: {find_site()}"
            )
