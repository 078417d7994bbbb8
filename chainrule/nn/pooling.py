"""Layers that make sequences, images and volumes smaller: pooling; and windows as columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from . import functional
from .functional.pooling import OutputSize
from .functional.windows import Sizes
from .module import Module


class PoolingLayer(Module, is_builtin=True):
    """What the layers share: they print the ``options`` they were made with.

    They are transparent: the activation behind them could as well stand in front.
    """

    is_transparent = True
    function: ClassVar[Callable[..., Any]]
    options: ClassVar[tuple[str, ...]] = ("kernel_size", "stride", "padding")

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.options)


class _MaxPool(PoolingLayer, is_builtin=True):
    options = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation)
        return type(self).function(input, *sizes, self.ceil_mode, self.return_indices)


class MaxPool1d(_MaxPool, is_builtin=True):
    """The largest element of every window; see `functional.max_pool1d`. Shapes: (N, C, L) or (C, L).

    >>> import chainrule as cr
    >>> cr.nn.MaxPool1d(2)(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]))
    tensor([[3., 5.]])
    """

    function = functional.max_pool1d


class MaxPool2d(_MaxPool, is_builtin=True):
    """`MaxPool1d` of images (N, C, H, W) or (C, H, W)."""

    function = functional.max_pool2d


class MaxPool3d(_MaxPool, is_builtin=True):
    """`MaxPool1d` of volumes (N, C, D, H, W) or (C, D, H, W)."""

    function = functional.max_pool3d


class AvgPool1d(PoolingLayer, is_builtin=True):
    """The mean of every window; see `functional.avg_pool1d`. Shapes: (N, C, L) or (C, L).

    >>> import chainrule as cr
    >>> cr.nn.AvgPool1d(2)(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]))
    tensor([[2.0000, 3.5000]])
    """

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self.kernel_size = _single(kernel_size)
        self.stride = _single(kernel_size if stride is None else stride)
        self.padding = _single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Any) -> Any:
        sizes = (self.kernel_size, self.stride, self.padding)
        return functional.avg_pool1d(input, *sizes, self.ceil_mode, self.count_include_pad)


def _single(size: Any) -> Any:
    """A tuple, as PyTorch prints the sizes of this layer."""
    return (size,) if isinstance(size, int) else size


class _AvgPool(PoolingLayer, is_builtin=True):
    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        sizes = (self.kernel_size, self.stride, self.padding)
        return type(self).function(input, *sizes, self.ceil_mode, self.count_include_pad, self.divisor_override)


class AvgPool2d(_AvgPool, is_builtin=True):
    """`AvgPool1d` of images (N, C, H, W) or (C, H, W); ``divisor_override`` divides every sum instead of its count."""

    function = functional.avg_pool2d


class AvgPool3d(_AvgPool, is_builtin=True):
    """`AvgPool2d` of volumes (N, C, D, H, W) or (C, D, H, W)."""

    function = functional.avg_pool3d


class _LPPool(PoolingLayer, is_builtin=True):
    options = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return type(self).function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool, is_builtin=True):
    """The p-norm of every window, p = ``norm_type``; see `functional.lp_pool1d`. Shapes: (N, C, L) or (C, L).

    >>> import chainrule as cr
    >>> cr.nn.LPPool1d(2, 2)(cr.tensor([[3.0, 4.0, 5.0, 12.0]]))
    tensor([[ 5., 13.]])
    """

    function = functional.lp_pool1d


class LPPool2d(_LPPool, is_builtin=True):
    """`LPPool1d` of images (N, C, H, W) or (C, H, W)."""

    function = functional.lp_pool2d


class _AdaptivePool(PoolingLayer, is_builtin=True):
    options = ("output_size",)

    def __init__(self, output_size: OutputSize) -> None:
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.output_size)


class AdaptiveAvgPool1d(_AdaptivePool, is_builtin=True):
    """The means of as many windows as are asked for; see `functional.adaptive_avg_pool1d`.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveAvgPool1d(1)(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]))
    tensor([[3.]])
    """

    function = functional.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptivePool, is_builtin=True):
    """`AdaptiveAvgPool1d` of images (N, C, H, W) or (C, H, W)."""

    function = functional.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptivePool, is_builtin=True):
    """`AdaptiveAvgPool1d` of volumes (N, C, D, H, W) or (C, D, H, W)."""

    function = functional.adaptive_avg_pool3d


class _AdaptiveMaxPool(_AdaptivePool, is_builtin=True):
    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool, is_builtin=True):
    """The largest elements of as many windows as are asked for; see `functional.adaptive_max_pool1d`.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveMaxPool1d(1)(cr.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]))
    tensor([[5.]])
    """

    function = functional.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool, is_builtin=True):
    """`AdaptiveMaxPool1d` of images (N, C, H, W) or (C, H, W)."""

    function = functional.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool, is_builtin=True):
    """`AdaptiveMaxPool1d` of volumes (N, C, D, H, W) or (C, D, H, W)."""

    function = functional.adaptive_max_pool3d


class Unfold(PoolingLayer, is_builtin=True):
    """The elements of every window of an image as a column; see `functional.unfold`.

    >>> import chainrule as cr
    >>> cr.nn.Unfold(2)(cr.ones(10, 3, 5, 4)).shape
    Size([10, 12, 12])
    """

    options = ("kernel_size", "dilation", "padding", "stride")

    def __init__(self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> None:
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        return functional.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(PoolingLayer, is_builtin=True):
    """Columns summed back into images of ``output_size``; see `functional.fold`.

    >>> import chainrule as cr
    >>> cr.nn.Fold((5, 4), 2)(cr.ones(10, 12, 12)).shape
    Size([10, 3, 5, 4])
    """

    options = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(
        self, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        sizes = (self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
        return functional.fold(input, *sizes)
