"""Activation functions. Their layers are in `chainrule.nn.activations`."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError
from ...tensor import operations, reductions
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
from ...tensor.remembered import remembered

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def relu(input: Any, inplace: bool = False) -> Any:
    """max(0, x). ``inplace`` is accepted for compatibility: memory is reused anyway.

    >>> import chainrule as cr
    >>> cr.nn.functional.relu(cr.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return operations.relu(input if isinstance(input, Handle) else as_tensor(input))


def sigmoid(input: Any) -> Any:
    """1 / (1 + e^-x)."""
    return operations.sigmoid(input)


def tanh(input: Any) -> Any:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return operations.tanh(input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x for x > 0, else negative_slope · x."""
    return _leaky_relu(input, negative_slope=negative_slope)


@remembered
def _leaky_relu(input: Any, *, negative_slope: float) -> Any:
    return operations.where(operations.gt(input, 0), input, operations.mul(input, negative_slope))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x for x > 0, else α (e^x - 1). Source: Clevert et al. 2015."""
    return _elu(input, alpha=alpha, scale=1.0)


def selu(input: Any, inplace: bool = False) -> Any:
    """λ · elu(x, α) with the λ and α that keep mean 0 and variance 1. Source: Klambauer et al. 2017."""
    return _elu(input, alpha=SELU_ALPHA, scale=SELU_SCALE)


@remembered
def _elu(input: Any, *, alpha: float, scale: float) -> Any:
    negative = operations.mul(operations.expm1(operations.minimum(input, 0)), alpha)
    result = operations.where(operations.gt(input, 0), input, negative)
    return result if scale == 1 else operations.mul(result, scale)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x · Φ(x); with ``approximate="tanh"`` 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Source: Hendrycks, Gimpel 2016.
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"approximate argument must be either none or tanh, got {approximate!r}")
    return _gelu(input, approximate=approximate)


@remembered
def _gelu(input: Any, *, approximate: str) -> Any:
    if approximate == "none":
        inner = operations.erf(operations.mul(input, math.sqrt(0.5)))
    else:
        cube = operations.mul(operations.mul(input, input), input)
        nearly_linear = operations.add(input, operations.mul(cube, 0.044715))
        inner = operations.tanh(operations.mul(nearly_linear, math.sqrt(2 / math.pi)))
    return operations.mul(operations.mul(input, 0.5), operations.add(inner, 1))


@remembered
def _silu(input: Any) -> Any:
    return operations.mul(input, operations.sigmoid(input))


def silu(input: Any, inplace: bool = False) -> Any:
    """x · σ(x), also called swish. Source: Elfwing et al. 2017."""
    return _silu(input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^{βx}) / β, stable for all x; the identity where βx > threshold."""
    return _softplus(input, beta=beta, threshold=threshold)


@remembered
def _softplus(input: Any, *, beta: float, threshold: float) -> Any:
    scaled = operations.mul(input, beta)
    smooth = operations.add(
        operations.maximum(scaled, 0), operations.log1p(operations.exp(operations.neg(operations.abs(scaled))))
    )
    return operations.where(operations.gt(scaled, threshold), input, operations.div(smooth, beta))


def softmax(input: Any, dim: int | None = None) -> Any:
    """e^x / Σ e^x along ``dim``, stable. Without ``dim``, the class dimension of `cross_entropy`."""
    x = input if isinstance(input, Handle) else as_tensor(input)
    return reductions.softmax(x, dim=class_dimension(x) if dim is None else dim)


def log_softmax(input: Any, dim: int | None = None) -> Any:
    """x - log Σ e^x along ``dim``, stable. Without ``dim``, the class dimension of `cross_entropy`."""
    x = input if isinstance(input, Handle) else as_tensor(input)
    return reductions.log_softmax(x, dim=class_dimension(x) if dim is None else dim)


def class_dimension(input: Any) -> int:
    """0 for one example, else 1."""
    return 0 if type_of(input).rank < 2 else 1
