"""Smooth activation functions, and those over an axis. Their layers are in `chainrule.nn.activations`.

``inplace=True`` writes the result over the input, as in PyTorch. It saves nothing here: programs reuse memory anyway.
"""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError, ShapeError
from ...tensor import operations, reductions, shaping
from ...tensor.inplace import assign
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
from ...tensor.remembered import remembered
from ...types import as_dtype

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def written(input: Any, result: Any, inplace: bool) -> Any:
    """``result``; with ``inplace`` the tensor ``input``, which then holds it."""
    return assign(input, result) if inplace else result


def sigmoid(input: Any) -> Any:
    """1 / (1 + e^-x), stable for all x.

    >>> import chainrule as cr
    >>> cr.nn.functional.sigmoid(cr.tensor([0.0, 1000.0]))
    tensor([0.5000, 1.0000])
    """
    return operations.sigmoid(input)


def logsigmoid(input: Any) -> Any:
    """log σ(x) = -softplus(-x), stable for all x.

    >>> import chainrule as cr
    >>> cr.nn.functional.logsigmoid(cr.tensor([-1000.0, 1000.0]))
    tensor([-1000.,     0.])
    """
    return _logsigmoid(input)


@remembered
def _logsigmoid(input: Any) -> Any:
    # At 0 the derivatives ½ of min(x, 0) and 0 of |x| add up to the right one.
    return operations.sub(operations.minimum(input, 0), _log_one_plus_exp_of_minus_abs(input))


def _log_one_plus_exp_of_minus_abs(input: Any) -> Any:
    return operations.log1p(operations.exp(operations.neg(operations.abs(input))))


def tanh(input: Any) -> Any:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return operations.tanh(input)


def tanhshrink(input: Any) -> Any:
    """x - tanh x."""
    return _tanhshrink(input)


@remembered
def _tanhshrink(input: Any) -> Any:
    return operations.sub(input, operations.tanh(input))


def softsign(input: Any) -> Any:
    """x / (1 + |x|).

    >>> import chainrule as cr
    >>> cr.nn.functional.softsign(cr.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    return _softsign(input)


@remembered
def _softsign(input: Any) -> Any:
    return operations.div(input, operations.add(operations.abs(input), 1))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x for x > 0, else α (e^x - 1). Source: Clevert et al. 2015."""
    return written(input, _elu(input, alpha=alpha), inplace)


@remembered
def _elu(input: Any, *, alpha: float) -> Any:
    return _exponential_below_zero(input, alpha)


def _exponential_below_zero(input: Any, alpha: float, width: float = 1.0) -> Any:
    """x for x > 0, else α (e^{x / width} - 1)."""
    is_negative = operations.le(input, 0)
    bounded = operations.where(is_negative, input, 0)  # so that the branch not taken stays finite
    exponential = operations.expm1(bounded if width == 1 else operations.div(bounded, width))
    return operations.where(is_negative, operations.mul(exponential, alpha), input)


def selu(input: Any, inplace: bool = False) -> Any:
    """λ · elu(x, α) with the λ and α that keep mean 0 and variance 1. Source: Klambauer et al. 2017."""
    return written(input, _selu(input), inplace)


@remembered
def _selu(input: Any) -> Any:
    return operations.mul(_exponential_below_zero(input, SELU_ALPHA), SELU_SCALE)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """max(0, x) + min(0, α (e^{x/α} - 1)), which is differentiable everywhere. Source: Barron 2017.

    Errors: `ArgumentError` for α = 0.
    """
    if alpha == 0:
        raise ArgumentError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return written(input, _celu(input, alpha=alpha), inplace)


@remembered
def _celu(input: Any, *, alpha: float) -> Any:
    return _exponential_below_zero(input, alpha, width=alpha)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^{βx}) / β, stable for all x; the identity where βx > threshold."""
    return _softplus(input, beta=beta, threshold=threshold)


@remembered
def _softplus(input: Any, *, beta: float, threshold: float) -> Any:
    scaled = operations.mul(input, beta)
    smooth = operations.add(operations.maximum(scaled, 0), _log_one_plus_exp_of_minus_abs(scaled))
    return operations.where(operations.gt(scaled, threshold), input, operations.div(smooth, beta))


def gelu(input: Any, approximate: str = "none") -> Any:
    """x · Φ(x); with ``approximate="tanh"`` 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Errors: `ArgumentError` for another approximation. Source: Hendrycks, Gimpel 2016.
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


def silu(input: Any, inplace: bool = False) -> Any:
    """x · σ(x), also called swish. Source: Elfwing et al. 2017."""
    return written(input, _silu(input), inplace)


@remembered
def _silu(input: Any) -> Any:
    return operations.mul(input, operations.sigmoid(input))


def mish(input: Any, inplace: bool = False) -> Any:
    """x · tanh(softplus(x)). Source: Misra 2019."""
    return written(input, _mish(input), inplace)


@remembered
def _mish(input: Any) -> Any:
    softplus = operations.add(operations.maximum(input, 0), _log_one_plus_exp_of_minus_abs(input))
    return operations.mul(input, operations.tanh(softplus))


def glu(input: Any, dim: int = -1) -> Any:
    """a · σ(b), where a and b are the halves of the input along ``dim``.

    Errors: `ShapeError` for a number, and for a dimension of odd size. Source: Dauphin et al. 2017.

    >>> import chainrule as cr
    >>> cr.nn.functional.glu(cr.tensor([[4.0, 6.0, 0.0, 0.0]]))
    tensor([[2., 3.]])
    """
    x = input if isinstance(input, Handle) else as_tensor(input)
    if not type_of(x).shape:
        raise ShapeError("glu does not support scalars because halving size must be even")
    return _glu(x, dim=dim)


@remembered
def _glu(input: Any, *, dim: int) -> Any:
    moved = shaping.transpose(input, dim, 0)
    size = type_of(moved).shape[0]
    if size % 2:
        axis = dim % type_of(input).rank
        raise ShapeError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    value, gate = moved[: size // 2], moved[size // 2 :]
    return shaping.transpose(operations.mul(value, operations.sigmoid(gate)), dim, 0)


def softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """e^x / Σ e^x along ``dim``, stable. Without ``dim``, the class dimension of `cross_entropy`.

    ``dtype``: convert to it first.

    >>> import chainrule as cr
    >>> cr.nn.functional.softmax(cr.tensor([1000.0, 1000.0]))
    tensor([0.5000, 0.5000])
    """
    x = _of_type(input, dtype)
    return reductions.softmax(x, dim=class_dimension(x) if dim is None else dim)


def softmin(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """`softmax` of -x."""
    return softmax(operations.neg(_of_type(input, dtype)), dim)


def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """x - log Σ e^x along ``dim``, stable. Without ``dim``, the class dimension of `cross_entropy`."""
    x = _of_type(input, dtype)
    return reductions.log_softmax(x, dim=class_dimension(x) if dim is None else dim)


def _of_type(input: Any, dtype: Any) -> Any:
    x = input if isinstance(input, Handle) else as_tensor(input)
    return x if dtype is None else operations.convert(x, as_dtype(dtype))


def class_dimension(input: Any) -> int:
    """0 for one example, else 1."""
    return 0 if type_of(input).rank < 2 else 1
