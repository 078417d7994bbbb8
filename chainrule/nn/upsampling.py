"""Layers that make sequences, images and volumes larger, or smaller, by interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .functional.interpolation import Factors, interpolate
from .module import Module


class Upsample(Module, is_builtin=True):
    """`functional.interpolate` to ``size``, or to ``scale_factor`` times the size; transparent for initial values.

    >>> import chainrule as cr
    >>> cr.nn.Upsample(scale_factor=2)(cr.ones(2, 8, 5, 5)).shape
    Size([2, 8, 10, 10])
    """

    is_transparent = True

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: Factors = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        self.size = size
        if isinstance(scale_factor, tuple | list):
            self.scale_factor: Factors = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None  # type: ignore[arg-type]
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Any:
        return interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample, is_builtin=True):
    """`Upsample` of images by repeating pixels."""

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: Factors = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample, is_builtin=True):
    """`Upsample` of images, bilinear with aligned corners."""

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: Factors = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
