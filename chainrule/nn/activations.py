"""Activation functions as layers.

``initialization`` names the distribution that suits weights in front of the activation (`chainrule.nn.initialization`).
"""

from __future__ import annotations

from typing import Any

from ..tensor.operations import relu, sigmoid, tanh
from . import functional
from .module import Module


class ReLU(Module, is_builtin=True):
    """max(0, x). ``inplace`` is accepted for compatibility: memory is reused anyway."""

    initialization = "he"

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return relu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module, is_builtin=True):
    """x for x > 0, else negative_slope · x."""

    initialization = "he"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module, is_builtin=True):
    """x for x > 0, else α (e^x - 1)."""

    initialization = "he"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class SELU(Module, is_builtin=True):
    """λ · ELU(x, α) with the λ and α that keep mean 0 and variance 1."""

    initialization = "lecun"

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.selu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class GELU(Module, is_builtin=True):
    """x · Φ(x); ``approximate="tanh"`` for the approximation by tanh."""

    initialization = "he"

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return functional.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module, is_builtin=True):
    """x · σ(x), also called swish."""

    initialization = "he"

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.silu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Softplus(Module, is_builtin=True):
    """log(1 + e^{βx}) / β; the identity where βx > threshold."""

    initialization = "he"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return functional.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module, is_builtin=True):
    """1 / (1 + e^-x)."""

    def forward(self, input: Any) -> Any:
        return sigmoid(input)


class Tanh(Module, is_builtin=True):
    """(e^x - e^-x) / (e^x + e^-x)."""

    def forward(self, input: Any) -> Any:
        return tanh(input)


class Softmax(Module, is_builtin=True):
    """e^x / Σ e^x along ``dim``; without ``dim``, over the classes of (N, C, ...) or (C)."""

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module, is_builtin=True):
    """x - log Σ e^x along ``dim``; without ``dim``, over the classes of (N, C, ...) or (C)."""

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
