"""Activation functions made of pieces as layers: rectifiers, straight-line versions of smooth functions, steps."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..tensor.tensor import Device
from ..types import as_dtype, float32
from . import functional
from .activations import Activation
from .init import constant_
from .parameter import Parameter, empty_parameter


class ReLU(Activation, is_builtin=True):
    """max(0, x)."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.relu(input, self.inplace)


class ReLU6(Activation, is_builtin=True):
    """min(max(0, x), 6)."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.relu6(input, self.inplace)


class LeakyReLU(Activation, is_builtin=True):
    """x for x > 0, else negative_slope · x."""

    options = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(Activation, is_builtin=True):
    """x for x > 0, else weight · x with a learned slope: one for all, or one per channel (dimension 1).

    Shapes: ``weight`` (num_parameters), which starts at ``init``. Source: He et al. 2015.

    >>> import chainrule as cr
    >>> cr.nn.PReLU()(cr.tensor([-4.0, 4.0])).tolist()
    [-1.0, 4.0]
    """

    options = ("num_parameters",)
    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        if device is not None:
            Device(device)
        if num_parameters < 1:
            raise ArgumentError(f"PReLU: num_parameters must be positive, got {num_parameters}")
        self.num_parameters = num_parameters
        self.init = init
        self.weight = empty_parameter((num_parameters,), float32 if dtype is None else as_dtype(dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to ``init``."""
        constant_(self.weight, self.init)

    def forward(self, input: Any) -> Any:
        return functional.prelu(input, self.weight)


class RReLU(Activation, is_builtin=True):
    """x for x > 0, else a · x: in training with a drawn from U(lower, upper) per element, else (lower + upper) / 2."""

    options = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    @property
    def draws_random_numbers(self) -> bool:
        """Whether calling the layer now draws slopes."""
        return self.training


class Hardtanh(Activation, is_builtin=True):
    """min_val for x ≤ min_val, max_val for x ≥ max_val, else x. Errors: `ArgumentError` unless max_val > min_val."""

    options = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        if not max_val > min_val:
            raise ArgumentError(f"max_val ({max_val}) must be greater than min_val ({min_val})")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.hardtanh(input, self.min_val, self.max_val, self.inplace)


class PiecewiseLinear(Activation, is_builtin=True):
    """0 for x ≤ -½, 1 for x ≥ ½, else x + ½."""

    def forward(self, input: Any) -> Any:
        return functional.piecewise_linear(input)


class Hardsigmoid(Activation, is_builtin=True):
    """0 for x ≤ -3, 1 for x ≥ 3, else x / 6 + ½."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""  # as PyTorch


class Hardswish(Activation, is_builtin=True):
    """x · hardsigmoid(x)."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""  # as PyTorch


class Threshold(Activation, is_builtin=True):
    """``value`` for x ≤ threshold, else x."""

    options = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.threshold(input, self.threshold, self.value, self.inplace)


class Hardshrink(Activation, is_builtin=True):
    """0 for |x| ≤ λ, else x."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return functional.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Activation, is_builtin=True):
    """0 for |x| ≤ λ, else x - λ · sign(x). Errors: `ArgumentError` for λ < 0 when called."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return functional.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Heaviside(Activation, is_builtin=True):
    """The unit step: 0 for x < 0, ``value`` at 0, 1 for x > 0. Its derivative is 0 everywhere.

    >>> import chainrule as cr
    >>> cr.nn.Heaviside(1.0)(cr.tensor([-2.0, 0.0, 2.0])).tolist()
    [0.0, 1.0, 1.0]
    """

    options = ("value",)

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def forward(self, input: Any) -> Any:
        return functional.heaviside(input, self.value)


class Sign(Activation, is_builtin=True):
    """-1, 0 or 1. Its derivative is 0 everywhere."""

    def forward(self, input: Any) -> Any:
        return functional.sign(input)
