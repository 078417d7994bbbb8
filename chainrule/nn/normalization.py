"""Layers that normalise: batch, layer, group, instance and root-mean-square normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..errors import ArgumentError, ShapeError
from ..graph.site import find_site
from ..tensor import operations
from ..tensor.creation import full
from ..tensor.inplace import write
from ..tensor.operands import as_tensor
from ..tensor.recording import Handle, type_of
from ..tensor.tensor import Device
from ..types import Shape, as_dtype, float32, int64
from .functional.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from .functional.windows import channels_moved
from .module import Module
from .parameter import Parameter


class _Scaled(Module):
    """What the layers share: a weight that starts at 1 and a bias that starts at 0, where they are wanted.

    Transparent for default initial values: a linear layer before it suits the activation behind it.
    """

    is_transparent = True
    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: Shape, has_weight: bool, has_bias: bool, device: Any, dtype: Any) -> None:
        if device is not None:
            Device(device)
        for name, is_wanted in (("weight", has_weight), ("bias", has_bias)):
            values = full(shape, 0.0, dtype=_element(dtype)) if is_wanted else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            self.weight.write(1.0)
        if self.bias is not None:
            self.bias.write(0.0)


def _element(dtype: Any) -> Any:
    return float32 if dtype is None else as_dtype(dtype)


class _WithStatistics(_Scaled):
    """Batch and instance normalisation: the parameters, and running statistics of every channel as buffers."""

    ranks: ClassVar[Shape] = ()
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        if num_features < 0:
            raise ArgumentError(f"{type(self).__name__}: num_features must not be negative, got {num_features}")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            statistic = full((num_features,), value, dtype=_element(dtype)) if track_running_stats else None
            self.register_buffer(name, statistic)
        self.register_buffer("num_batches_tracked", full((), 0, dtype=int64) if track_running_stats else None)
        self._make_parameters((num_features,), affine, affine and bias, device, dtype)

    def reset_running_stats(self) -> None:
        """Set the running means to 0, the running variances to 1, and forget how many batches were seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the weight to 1, the bias to 0, and forget the running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _checked(self, input: Any, channel_dimension: int = 1) -> Any:
        """The input as a tensor. Errors: `ShapeError` for other dimensions or channels than the layer is for."""
        x = input if isinstance(input, Handle) else as_tensor(input)
        shape, layer = type_of(x).shape, f"{type(self).__name__}({self.num_features})"
        if len(shape) not in self.ranks:
            expected = " or ".join(f"{rank}D" for rank in self.ranks)
            raise ShapeError(
                f"expected {expected} input (got {len(shape)}D input): {layer} got input of shape {shape}\n"
                f"  where: {find_site()}\n  fix: {self._layer_for(shape)}"
            )
        channels = shape[channel_dimension]
        if channels != self.num_features and (self.affine or self.track_running_stats):
            fix = f"{type(self).__name__}({channels})"
            if shape[-1] == self.num_features:
                rank = len(shape) - 1 - channel_dimension
                fix = f"{channels_moved(shape, rank)}, as the channels seem to come last, or {fix}"
            raise ShapeError(
                f"expected input's size at dim={channel_dimension} to match num_features ({self.num_features}), but "
                f"got: {channels}. {layer} got input of shape {shape}\n  where: {find_site()}\n  fix: {fix}"
            )
        return x

    def _layer_for(self, shape: Shape) -> str:
        """What fits an input with another number of dimensions."""
        if len(shape) == self.ranks[0] - 1:
            single = "x"
            if shape[-1] == self.num_features != shape[0]:
                single = channels_moved(shape, len(shape) - 1)
            return f"{single}.unsqueeze(0), if this is a single row"
        dimensions = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}.get(len(shape))
        return f"nn.{type(self).__name__[:-2]}{dimensions}" if dimensions else "x.flatten(1)"

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_WithStatistics, is_builtin=True):
    """y = (x - mean) / √(variance + eps) · weight + bias, for every channel (dimension 1) on its own.

    In training mean and biased variance are those of the batch; ``running_mean`` and ``running_var`` move towards them
    (the variance unbiased) by ``momentum``, or are their averages since the start with ``momentum=None``. In evaluation
    the running statistics are used, or again the batch's with ``track_running_stats=False``. A linear layer before it
    needs no bias.

    Shapes: x (N, C) or (N, C, L), y the same; ``weight`` and ``bias`` (C), None with ``affine=False``.
    Errors: `ShapeError` for other shapes, and in training for batches with one value per channel.
    Source: Ioffe & Szegedy 2015, Algorithms 1 and 2.

    >>> import chainrule as cr
    >>> cr.nn.BatchNorm1d(1, eps=0.0)(cr.tensor([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    """

    ranks: ClassVar[Shape] = (2, 3)

    def forward(self, input: Any) -> Any:
        x = self._checked(input)
        is_tracking = self.training and self.track_running_stats
        return batch_norm(
            x,
            self.running_mean if is_tracking or not self.training else None,
            self.running_var if is_tracking or not self.training else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self._count_batch() if is_tracking else 0.0,
            self.eps,
        )

    def _count_batch(self) -> Any:
        """Count the batch; how far the running statistics move towards it: momentum, or 1 / batches so far."""
        seen = operations.add(self.num_batches_tracked, 1)
        write(self.num_batches_tracked, seen)
        if self.momentum is not None:
            return self.momentum
        return operations.div(1.0, operations.convert(seen, self.running_mean.dtype))


class BatchNorm2d(BatchNorm1d, is_builtin=True):
    """`BatchNorm1d` for images: x (N, C, H, W), statistics over rows and both dimensions of the image."""

    ranks = (4,)


class BatchNorm3d(BatchNorm1d, is_builtin=True):
    """`BatchNorm1d` for volumes: x (N, C, D, H, W)."""

    ranks = (5,)


class InstanceNorm1d(_WithStatistics, is_builtin=True):
    """y = (x - mean) / √(variance + eps) · weight + bias, for every row and channel on its own.

    By default without parameters and without running statistics; with ``track_running_stats=True`` these are used in
    evaluation, as in `BatchNorm1d`.

    Shapes: x (N, C, L) or (C, L), y the same. Errors: `ShapeError`. Source: Ulyanov et al. 2016.

    >>> import chainrule as cr
    >>> cr.nn.InstanceNorm1d(1, eps=0.0)(cr.tensor([[[1.0, 3.0]]])).tolist()
    [[[-1.0, 1.0]]]
    """

    ranks = (2, 3)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Any) -> Any:
        x = input if isinstance(input, Handle) else as_tensor(input)
        is_single = len(type_of(x).shape) == self.ranks[0]
        x = self._checked(x, 0 if is_single else 1)
        result = instance_norm(
            x.unsqueeze(0) if is_single else x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result.squeeze(0) if is_single else result


class InstanceNorm2d(InstanceNorm1d, is_builtin=True):
    """`InstanceNorm1d` for images: x (N, C, H, W) or (C, H, W)."""

    ranks = (3, 4)


class InstanceNorm3d(InstanceNorm1d, is_builtin=True):
    """`InstanceNorm1d` for volumes: x (N, C, D, H, W) or (C, D, H, W)."""

    ranks = (4, 5)


class LayerNorm(_Scaled, is_builtin=True):
    """y = (x - mean) / √(variance + eps) · weight + bias over the last dimensions, for every row on its own.

    Shapes: x (..., *normalized_shape), y the same; ``weight`` and ``bias`` ``normalized_shape``, None with
    ``elementwise_affine=False``. Errors: `ShapeError`. Source: Ba et al. 2016.

    >>> import chainrule as cr
    >>> cr.nn.LayerNorm(2, eps=0.0)(cr.tensor([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Scaled, is_builtin=True):
    """y = x / √(mean of x² + eps) · weight over the last dimensions; ``eps=None`` is the type's machine epsilon.

    Shapes: x (..., *normalized_shape), y the same; ``weight`` ``normalized_shape``, None with
    ``elementwise_affine=False``. Errors: `ShapeError`. Source: Zhang & Sennrich 2019.

    >>> import chainrule as cr
    >>> cr.nn.RMSNorm(2, eps=0.0)(cr.tensor([[1.0, 1.0]])).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, False, device, dtype)
        del self.bias

    def forward(self, input: Any) -> Any:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Scaled, is_builtin=True):
    """Every row normalised over groups of neighbouring channels and all their positions, then · weight + bias.

    Shapes: x (N, C, ...), y the same; ``weight`` and ``bias`` (C), None with ``affine=False``.
    Errors: `ArgumentError` if the groups do not divide the channels, `ShapeError`. Source: Wu & He 2018.

    >>> import chainrule as cr
    >>> cr.nn.GroupNorm(2, 4, eps=0.0)(cr.tensor([[1.0, 3.0, 5.0, 9.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module, is_builtin=True):
    """Every element divided by a power of its neighbours' mean square: `functional.local_response_norm`.

    >>> import chainrule as cr
    >>> cr.nn.LocalResponseNorm(5)(cr.ones(2, 8, 5, 5)).shape
    Size([2, 8, 5, 5])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Any:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _as_shape(normalized_shape: int | Sequence[int]) -> Shape:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(map(int, normalized_shape))
    if not shape or min(shape) < 0:
        raise ArgumentError(f"normalized_shape must be a size or a sequence of sizes, got {normalized_shape!r}")
    return shape
