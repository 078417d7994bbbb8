"""Layers that drop elements or channels in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .functional.dropout import (
    alpha_dropout,
    check_probability,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from .module import Module


class DroppingLayer(Module, is_builtin=True):
    """What the layers share: p, the probability of dropping, and that they draw a mask in training."""

    is_transparent = True
    function: ClassVar[Callable[..., Any]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        check_probability(p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.p, self.training)

    @property
    def draws_random_numbers(self) -> bool:
        """Whether calling the layer now draws a mask."""
        return self.training and self.p > 0

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(DroppingLayer, is_builtin=True):
    """In training each element is 0 with probability p, else x / (1 - p); in evaluation the input itself.

    With ``inverted=False`` the classical form: x or 0 in training, (1 - p) · x in evaluation. In front of the first
    layer it drops features. Errors: `ArgumentError` for p outside [0, 1]. Source: Srivastava et al. 2014.

    >>> import chainrule as cr
    >>> cr.nn.Dropout(0.25, inverted=False).eval()(cr.ones(2))
    tensor([0.7500, 0.7500])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, inverted: bool = True) -> None:
        super().__init__(p, inplace)
        self.inverted = inverted

    def forward(self, input: Any) -> Any:
        return dropout(input, self.p, self.training, inverted=self.inverted)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.inverted else ", inverted=False")


class Dropout1d(DroppingLayer, is_builtin=True):
    """In training whole channels are 0 with probability p, the others x / (1 - p). Shapes: (N, C, L) or (C, L)."""

    function = dropout1d


class Dropout2d(DroppingLayer, is_builtin=True):
    """`Dropout1d` for images (N, C, H, W); three dimensions are taken as (N, C, L), as in PyTorch."""

    function = dropout2d


class Dropout3d(DroppingLayer, is_builtin=True):
    """`Dropout1d` for volumes (N, C, D, H, W) or (C, D, H, W)."""

    function = dropout3d


class AlphaDropout(DroppingLayer, is_builtin=True):
    """Dropout for SELU: dropped elements become its lowest value, and an affine map keeps mean 0 and variance 1.

    Source: Klambauer et al. 2017.
    """

    function = alpha_dropout


class FeatureAlphaDropout(DroppingLayer, is_builtin=True):
    """`AlphaDropout` of whole channels. Shapes: (N, C, ...)."""

    function = feature_alpha_dropout
