"""Smooth activation functions as layers, and those over an axis. Those made of straight pieces are in `piecewise`."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..tensor.recording import type_of
from . import functional
from .module import Module


class Activation(Module, is_builtin=True):
    """A layer that applies a function of `chainrule.nn.functional`; prints the ``options`` it was made with.

    ``inplace=True`` writes the result over the input, as in PyTorch; it saves nothing, as memory is reused anyway.
    """

    options: tuple[str, ...] = ()
    inplace = False

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.options]
        return ", ".join(shown + ["inplace=True"] * self.inplace)


class Sigmoid(Activation, is_builtin=True):
    """1 / (1 + e^-x)."""

    def forward(self, input: Any) -> Any:
        return functional.sigmoid(input)


class LogSigmoid(Activation, is_builtin=True):
    """log σ(x)."""

    def forward(self, input: Any) -> Any:
        return functional.logsigmoid(input)


class Tanh(Activation, is_builtin=True):
    """(e^x - e^-x) / (e^x + e^-x)."""

    def forward(self, input: Any) -> Any:
        return functional.tanh(input)


class Tanhshrink(Activation, is_builtin=True):
    """x - tanh x."""

    def forward(self, input: Any) -> Any:
        return functional.tanhshrink(input)


class Softsign(Activation, is_builtin=True):
    """x / (1 + |x|)."""

    def forward(self, input: Any) -> Any:
        return functional.softsign(input)


class ELU(Activation, is_builtin=True):
    """x for x > 0, else α (e^x - 1)."""

    options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.elu(input, self.alpha, self.inplace)


class SELU(Activation, is_builtin=True):
    """λ · ELU(x, α) with the λ and α that keep mean 0 and variance 1."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.selu(input, self.inplace)


class CELU(Activation, is_builtin=True):
    """max(0, x) + min(0, α (e^{x/α} - 1)). Errors: `ArgumentError` for α = 0 when called."""

    options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.celu(input, self.alpha, self.inplace)


class Softplus(Activation, is_builtin=True):
    """log(1 + e^{βx}) / β; the identity where βx > threshold."""

    options = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return functional.softplus(input, self.beta, self.threshold)


class GELU(Activation, is_builtin=True):
    """x · Φ(x); ``approximate="tanh"`` for the approximation by tanh."""

    options = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return functional.gelu(input, self.approximate)


class SiLU(Activation, is_builtin=True):
    """x · σ(x), also called swish."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.silu(input, self.inplace)


class Mish(Activation, is_builtin=True):
    """x · tanh(softplus(x))."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.mish(input, self.inplace)


class GLU(Activation, is_builtin=True):
    """a · σ(b), where a and b are the halves of the input along ``dim``, whose size must be even."""

    options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.glu(input, self.dim)


class Softmax(Activation, is_builtin=True):
    """e^x / Σ e^x along ``dim``; without ``dim``, over the classes of (N, C, ...) or (C)."""

    options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.softmax(input, self.dim)


class Softmin(Activation, is_builtin=True):
    """`Softmax` of -x."""

    options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.softmin(input, self.dim)


class LogSoftmax(Activation, is_builtin=True):
    """x - log Σ e^x along ``dim``; without ``dim``, over the classes of (N, C, ...) or (C)."""

    options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.log_softmax(input, self.dim)


class Softmax2d(Activation, is_builtin=True):
    """`Softmax` over the channels of images: (N, C, H, W) or (C, H, W). Errors: `ShapeError` for other shapes."""

    def forward(self, input: Any) -> Any:
        rank = type_of(input).rank
        if rank not in (3, 4):
            raise ShapeError(f"Softmax2d: expected input to be 3D or 4D, got {rank}D instead")
        return functional.softmax(input, -3)
