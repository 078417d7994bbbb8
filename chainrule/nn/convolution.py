"""Convolutional layers, and their transposes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..devices import Device
from ..errors import ArgumentError, did_you_mean
from ..types import Shape, as_dtype, contiguous_strides, float32
from .functional.convolution import (
    paddings,
    remembered_convolution,
    remembered_transposed,
)
from .functional.padding import MODES, pad
from .functional.windows import per_axis
from .initialization import start_by_default
from .module import Module
from .parameter import Parameter, empty_parameter


class _Convolution(Module, is_builtin=True):
    """What convolutional layers and their transposes share: sizes per dimension, weight and bias."""

    rank: ClassVar[int]
    is_transposed: ClassVar[bool] = False

    weight: Parameter
    bias: Parameter | None

    def _set_up(self, bias: bool, device: Any, dtype: Any) -> None:
        if device is not None:
            Device(device)
        name = type(self).__name__
        for argument in ("groups", "in_channels", "out_channels"):
            size = getattr(self, argument)
            if not isinstance(size, int | np.integer) or size < 1:
                raise ArgumentError(f"{name}: {argument} must be a whole number of at least 1, got {size!r}")
            setattr(self, argument, int(size))
            if size % self.groups:
                raise ArgumentError(f"{name}: {argument} must be divisible by groups ({self.groups}), got {size}")
        for argument in ("kernel_size", "stride", "dilation"):
            setattr(self, argument, per_axis(name, argument, getattr(self, argument), self.rank, 1))
        outer, inner = self.out_channels, self.in_channels
        if self.is_transposed:
            outer, inner = inner, outer
        element = as_dtype(dtype) if dtype is not None else float32
        shape = (outer, inner // self.groups, *self.kernel_size)
        self.weight = empty_parameter(shape, element, self._strides(shape))
        self.register_parameter("bias", empty_parameter((self.out_channels,), element) if bias else None)
        self.reset_parameters()

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: Shape
    stride: Shape
    dilation: Shape
    padding: Any
    padding_mode: str

    def _strides(self, shape: Shape) -> Shape:
        """Output channels lie side by side, then input channels, then the window: the order in which kernels read."""
        order = [*range(2, len(shape)), *((0, 1) if self.is_transposed else (1, 0))]
        packed = contiguous_strides(tuple(shape[axis] for axis in order))
        return tuple(packed[order.index(axis)] for axis in range(len(shape)))

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        start_by_default(self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        none = (0,) * self.rank
        usual = {"padding": none, "dilation": (1,) * self.rank, "output_padding": none, "groups": 1}
        for name, value in usual.items():
            if getattr(self, name, value) != value:
                text += f", {name}={getattr(self, name)}"
        text += "" if self.bias is not None else ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Forward(_Convolution):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding_mode = padding_mode
        if padding_mode not in ("zeros", *MODES):
            hint = did_you_mean(padding_mode, ("zeros", *MODES))
            raise ArgumentError(f"{type(self).__name__}: padding_mode must be zeros or one of {MODES}{hint}")
        self.padding = padding
        self._set_up(bias, device, dtype)
        low, high = paddings(type(self).__name__, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else low
        self._low, self._high = low, high

    def forward(self, input: Any) -> Any:
        low, high = self._low, self._high
        if self.padding_mode != "zeros":
            around = [size for pair in zip(reversed(low), reversed(high), strict=True) for size in pair]
            input = pad(input, around, self.padding_mode)
            low = high = (0,) * self.rank
        return remembered_convolution(
            input, self.weight, self.bias, strides=self.stride, low=low, high=high, dilation=self.dilation,
            groups=self.groups,
        )  # fmt: skip


class Conv1d(_Forward):
    """`Conv2d` over sequences (N, C, L) or (C, L).

    >>> import chainrule as cr
    >>> cr.nn.Conv1d(3, 8, 5)(cr.ones(2, 3, 20)).shape
    Size([2, 8, 16])
    """

    rank = 1


class Conv2d(_Forward):
    """out[n, k] = bias[k] + Σ_c weight[k, c] ⋆ input[n, c], where ⋆ is the cross-correlation.

    Shapes: input (N, in_channels, H, W) or without N; ``weight`` (out_channels, in_channels / groups, R, S), ``bias``
    (out_channels) or None. ``kernel_size``, ``stride``, ``padding`` and ``dilation`` are numbers or pairs; ``padding``
    may be ``"same"`` or ``"valid"``; ``padding_mode``: what is put around the image, ``"zeros"``, ``"reflect"``,
    ``"replicate"`` or ``"circular"``. Initial values follow the activation behind the layer.
    Errors: `ArgumentError` for sizes that are not possible, `ShapeError` for an input of another shape.

    >>> import chainrule as cr
    >>> cr.nn.Conv2d(1, 32, 3, 1)(cr.ones(64, 1, 28, 28)).shape
    Size([64, 32, 26, 26])
    """

    rank = 2


class Conv3d(_Forward):
    """`Conv2d` over volumes (N, C, D, H, W) or (C, D, H, W)."""

    rank = 3


class _Transposed(_Convolution):
    is_transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise ArgumentError(f"{type(self).__name__} supports only padding_mode='zeros', got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding_mode = padding_mode
        self._set_up(bias, device, dtype)
        name = type(self).__name__
        self.padding = per_axis(name, "padding", padding, self.rank, 0)
        self.output_padding = per_axis(name, "output_padding", output_padding, self.rank, 0)

    def forward(self, input: Any) -> Any:
        return remembered_transposed(
            input, self.weight, self.bias, strides=self.stride, cut=self.padding, more=self.output_padding,
            groups=self.groups, dilation=self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_Transposed):
    """`ConvTranspose2d` over sequences (N, C, L) or (C, L)."""

    rank = 1


class ConvTranspose2d(_Transposed):
    """The transpose of `Conv2d`: `functional.conv_transpose2d`. ``weight``: (in_channels, out_channels / groups, R, S)

    >>> import chainrule as cr
    >>> cr.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)(cr.ones(2, 8, 5, 5)).shape
    Size([2, 3, 10, 10])
    """

    rank = 2


class ConvTranspose3d(_Transposed):
    """`ConvTranspose2d` over volumes (N, C, D, H, W) or (C, D, H, W)."""

    rank = 3
