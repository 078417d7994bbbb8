"""Layers that turn channels into pixels, and back."""

from __future__ import annotations

from typing import Any

from .functional.pixels import pixel_shuffle, pixel_unshuffle
from .module import Module


class PixelShuffle(Module, is_builtin=True):
    """(N, C r², H, W) → (N, C, H r, W r); see `functional.pixel_shuffle`."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module, is_builtin=True):
    """(N, C, H r, W r) → (N, C r², H, W); see `functional.pixel_unshuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
