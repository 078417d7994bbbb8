"""Normalisation over batches, layers, groups and instances, under PyTorch's names.

All of them subtract a mean and divide by a standard deviation. Both are taken from deviations d = x - s from a point s,
which is the mean with its gradient cut off:

    mean = s + r,  r = mean - s = 0        variance = Σ d²/m - r²        (x - mean) / √(variance + ε) = (d - r) / √(...)

These hold for every s, so derivatives of all orders are those of the plain formula, and with s the mean nothing cancels
in the values. But the gradient through the mean now flows through r, which has one element per channel: the backward
pass needs the sums Σ g and Σ g·d, taken in one pass over the data, and one more pass for the gradient of x.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...tensor import operations, reductions
from ...tensor.inplace import write
from ...tensor.operands import as_tensor
from ...tensor.partition import narrow
from ...tensor.recording import Handle, type_of
from ...tensor.remembered import remembered
from ...types import Shape, float32
from .linear import converted
from .padding import pad
from .windows import channels_moved


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / √(variance + eps) · weight + bias, for every channel (dimension 1) on its own.

    In training the mean and the biased variance of the batch, whose gradients flow; ``running_mean`` and
    ``running_var`` (None, or one number per channel), if given, move towards the mean and the unbiased variance in
    place: running + momentum · (new - running). Otherwise they take the place of the batch's.

    Shapes: input (N, C, ...), result the same, all others (C). Errors: `ShapeError` for other shapes and, in training,
    for one value per channel. Source: Ioffe & Szegedy 2015, Algorithm 1.

    >>> import chainrule as cr
    >>> cr.nn.functional.batch_norm(cr.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0)
    tensor([[-1.],
            [ 1.]])
    """
    x = _as_input(input, weight, running_mean)
    shape = type_of(x).shape
    _check_channels("batch_norm", shape, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError(
                "running_mean must be defined in evaluation mode. fix: pass running_mean and running_var, or "
                "training=True to use the statistics of the batch"
            )
        return _normalize_by_running(x, running_mean, running_var, weight, bias, eps=eps)
    if math.prod(shape) == shape[1]:
        raise ShapeError(
            f"Expected more than 1 value per channel when training, got input size {shape}: the variance of one value "
            f"is 0\n  where: {find_site()}\n  fix: batches of at least 2 rows (leave out a last batch of 1), or "
            "model.eval() to predict"
        )
    axes = (0, *range(2, len(shape)))
    if math.prod(shape):
        _update_running(x, running_mean, running_var, momentum, axes=axes)
    return _normalize_channels(x, weight, bias, axes=axes, eps=eps)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """`batch_norm` with statistics for every row and channel on its own, over the dimensions behind them.

    Running statistics move towards the average over the rows; with ``use_input_stats=False`` they are used instead.
    Shapes: input (N, C, L, ...), result the same, all others (C). Errors: `ShapeError`. Source: Ulyanov et al. 2016.

    >>> import chainrule as cr
    >>> cr.nn.functional.instance_norm(cr.tensor([[[1.0, 3.0]]]), eps=0.0)
    tensor([[[-1.,  1.]]])
    """
    x = _as_input(input, weight, running_mean)
    shape = type_of(x).shape
    _check_channels(
        "instance_norm", shape, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ArgumentError("Expected running_mean and running_var to be defined when use_input_stats=False")
        return _normalize_by_running(x, running_mean, running_var, weight, bias, eps=eps)
    if math.prod(shape[2:]) == 1:
        raise ShapeError(
            f"Expected more than 1 spatial element when training, got input size {shape}: the variance of one value "
            f"is 0\n  where: {find_site()}\n  fix: larger inputs, or batch normalisation"
        )
    axes = tuple(range(2, len(shape)))
    if math.prod(shape):
        _update_running(x, running_mean, running_var, momentum, axes=axes)
    return _normalize_channels(x, weight, bias, axes=axes, eps=eps)


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / √(variance + eps) · weight + bias over the last dimensions, for every row on its own.

    Shapes: input (..., *normalized_shape), weight and bias ``normalized_shape``. Errors: `ShapeError`.
    Source: Ba et al. 2016.

    >>> import chainrule as cr
    >>> cr.nn.functional.layer_norm(cr.tensor([[1.0, 3.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.]])
    """
    x = _as_input(input, weight)
    axes = _check_trailing("layer_norm", type_of(x).shape, tuple(normalized_shape), weight=weight, bias=bias)
    return _normalize_rows(x, weight, bias, axes=axes, eps=eps)


def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """x / √(mean of x² + eps) · weight over the last dimensions; eps None is the type's machine epsilon.

    Shapes: input (..., *normalized_shape), weight ``normalized_shape``. Errors: `ShapeError`.
    Source: Zhang & Sennrich 2019.

    >>> import chainrule as cr
    >>> cr.nn.functional.rms_norm(cr.tensor([[3.0, 4.0, 0.0, 0.0]]), (4,), eps=0.0)
    tensor([[1.2000, 1.6000, 0.0000, 0.0000]])
    """
    x = _as_input(input, weight)
    axes = _check_trailing("rms_norm", type_of(x).shape, tuple(normalized_shape), weight=weight)
    epsilon = float(np.finfo(x.dtype.numpy).eps) if eps is None else eps
    return _normalize_by_size(x, weight, axes=axes, eps=epsilon)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise every row over groups of neighbouring channels and all their positions, then · weight + bias.

    Shapes: input (N, C, ...), weight and bias (C). Errors: `ShapeError` if the groups do not divide the channels, or
    hold one value each in a batch of one row. Source: Wu & He 2018.

    >>> import chainrule as cr
    >>> cr.nn.functional.group_norm(cr.tensor([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    x = _as_input(input, weight)
    shape = type_of(x).shape
    _check_channels("group_norm", shape, weight=weight, bias=bias)
    if num_groups < 1 or shape[1] % num_groups:
        raise ShapeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {shape} and "
            f"num_groups={num_groups}\n  where: {find_site()}"
        )
    if shape[0] * math.prod(shape[2:]) * shape[1] == num_groups:
        raise ShapeError(
            f"Expected more than 1 value per channel when training, got input size {shape}: each group has one value"
            f"\n  where: {find_site()}\n  fix: fewer groups, or larger inputs"
        )
    return _normalize_groups(x, weight, bias, groups=num_groups, eps=eps)


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """x / (k + alpha · mean of x² over the ``size`` neighbouring channels)^beta; there are zeros beside the channels.

    The window of channel c reaches from c - ⌊size/2⌋ to c + ⌊(size - 1)/2⌋.
    Shapes: input (N, C, L, ...), result the same. Errors: `ShapeError`, `ArgumentError` for a size below 1.
    Source: Krizhevsky et al. 2012, who sum where PyTorch takes the mean: their α is alpha / size.

    >>> import chainrule as cr
    >>> cr.nn.functional.local_response_norm(cr.ones(1, 3, 1), 2, alpha=2.0, beta=1.0, k=0.0).flatten()
    tensor([1.0000, 0.5000, 0.5000])
    """
    x = _as_input(input)
    shape = type_of(x).shape
    if len(shape) < 3:
        raise ShapeError(
            f"local_response_norm: expected at least 3 dimensions, (rows, channels, ...), got input of shape {shape}\n"
            f"  where: {find_site()}"
        )
    if size < 1:
        raise ArgumentError(f"local_response_norm: size must be at least 1, got {size}\n  where: {find_site()}")
    return _normalize_by_neighbours(x, size=size, alpha=alpha, beta=beta, k=k)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """x / max(‖x‖_p, eps), the norm taken over ``dim``.

    >>> import chainrule as cr
    >>> cr.nn.functional.normalize(cr.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    x = as_tensor(input)
    return operations.div(x, operations.clamp(reductions.norm(x, p, dim, True), min=eps))


# Formulas ------------------------------------------------------------------------------------------------------------


def _moments(x: Any, axes: Shape) -> tuple[Any, Any, Any]:
    """d, r and the biased variance of the module's head."""
    mean = reductions.mean(x, axes, True)
    centre = mean.detach()
    deviation, rest = operations.sub(x, centre), operations.sub(mean, centre)
    variance = operations.sub(reductions.mean(operations.square(deviation), axes, True), operations.square(rest))
    return deviation, rest, variance


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    scaled = x if weight is None else operations.mul(x, weight)
    return scaled if bias is None else operations.add(scaled, bias)


def _inverse_deviation(variance: Any, eps: float) -> Any:
    return operations.rsqrt(operations.add(variance, eps))


def _per_channel(values: Any, x: Any) -> Any:
    """One value per channel, in a shape that stands beside x."""
    return None if values is None else values.reshape(-1, *(1 for _ in x.shape[2:]))


@remembered
def _normalize_channels(x: Any, weight: Any, bias: Any, *, axes: Shape, eps: float) -> Any:
    weight, bias = _per_channel(weight, x), _per_channel(bias, x)
    if not x.numel():
        return _affine(x, weight, bias)
    deviation, rest, variance = _moments(x, axes)
    scale = _inverse_deviation(variance, eps)
    if weight is not None:
        scale = operations.mul(scale, weight)
    shift = operations.neg(operations.mul(rest, scale))
    return _affine(deviation, scale, shift if bias is None else operations.add(shift, bias))


@remembered
def _normalize_by_running(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    scale = _inverse_deviation(variance, eps)
    if weight is not None:
        scale = operations.mul(scale, weight)
    return _affine(operations.sub(x, _per_channel(mean, x)), _per_channel(scale, x), _per_channel(bias, x))


def _normalized(x: Any, axes: Shape, eps: float) -> Any:
    deviation, rest, variance = _moments(x, axes)
    scale = _inverse_deviation(variance, eps)
    return operations.sub(operations.mul(deviation, scale), operations.mul(rest, scale))


@remembered
def _normalize_rows(x: Any, weight: Any, bias: Any, *, axes: Shape, eps: float) -> Any:
    return _affine(_normalized(x, axes, eps) if x.numel() else x, weight, bias)


@remembered
def _normalize_groups(x: Any, weight: Any, bias: Any, *, groups: int, eps: float) -> Any:
    shape = tuple(x.shape)
    if x.numel():
        grouped = x.reshape(shape[0], groups, -1)
        x = _normalized(grouped, (2,), eps).reshape(shape)
    return _affine(x, _per_channel(weight, x), _per_channel(bias, x))


@remembered
def _normalize_by_size(x: Any, weight: Any, *, axes: Shape, eps: float) -> Any:
    if not x.numel():
        return _affine(x, weight, None)
    square = reductions.mean(operations.square(x), axes, True)
    return _affine(operations.mul(x, _inverse_deviation(square, eps)), weight, None)


@remembered
def _normalize_by_neighbours(x: Any, *, size: int, alpha: float, beta: float, k: float) -> Any:
    channels = x.shape[1]
    squares = pad(operations.square(x), (*(0, 0) * (x.dim() - 2), size // 2, (size - 1) // 2))
    total = functools.reduce(operations.add, (narrow(squares, 1, first, channels) for first in range(size)))
    scaled = operations.add(operations.mul(total, alpha / size), k)
    return operations.div(x, operations.pow(scaled, beta))


# Running statistics --------------------------------------------------------------------------------------------------


def _update_running(x: Any, mean: Any, variance: Any, momentum: Any, *, axes: Shape) -> None:
    """Move running statistics towards those of a batch; ``momentum`` is a number, or a tensor that programs compute."""
    rate, fixed = (momentum, 0.0) if isinstance(momentum, Handle) else (None, float(momentum))
    if mean is not None:
        _overwrite(mean, _next_mean(mean, x, rate, axes=axes, momentum=fixed))
    if variance is not None:
        _overwrite(variance, _next_variance(variance, x, rate, axes=axes, momentum=fixed))


def _overwrite(running: Any, value: Any) -> None:
    """State becomes the new value within the program that is being recorded, any other tensor at once."""
    if running._slot is not None:
        write(running, value)
    else:
        running.copy_(value.detach())


@remembered
def _next_mean(running: Any, x: Any, rate: Any, *, axes: Shape, momentum: float) -> Any:
    mean = reductions.mean(x, axes, True).detach()
    return _moved(running, mean, momentum if rate is None else rate)


@remembered
def _next_variance(running: Any, x: Any, rate: Any, *, axes: Shape, momentum: float) -> Any:
    _, _, biased = _moments(x, axes)
    count = math.prod(x.shape[axis] for axis in axes)
    return _moved(running, operations.mul(biased.detach(), count / (count - 1)), momentum if rate is None else rate)


def _moved(running: Any, batch: Any, rate: Any) -> Any:
    """running + rate · (batch - running); statistics of single rows are averaged first."""
    if batch.shape[0] > 1:
        batch = reductions.mean(batch, 0)
    batch = batch.reshape(running.shape)
    return operations.add(
        operations.mul(running, operations.sub(1, rate) if isinstance(rate, Handle) else 1 - rate),
        operations.mul(batch, rate),
    )


# Checks --------------------------------------------------------------------------------------------------------------


def _as_input(input: Any, *beside: Any) -> Any:
    """The input in the type of the parameters or statistics, if there are any; never integers."""
    x: Any = input if isinstance(input, Handle) else as_tensor(input)
    dtype = next((each.dtype for each in beside if each is not None), None)
    if dtype is None:
        dtype = x.dtype if x.dtype.is_floating_point else float32
    return converted(x, dtype)


def _check_channels(name: str, shape: Shape, **per_channel: Any) -> None:
    """Errors: `ShapeError` for an input without channels, or with others than the parameters are for."""
    if len(shape) < 2:
        raise ShapeError(
            f"{name}: expected at least 2 dimensions, (rows, channels, ...), got input of shape {shape}\n"
            f"  where: {find_site()}\n  fix: x.unsqueeze(0) for a single row"
        )
    for parameter, values in per_channel.items():
        if values is not None and tuple(values.shape) != (shape[1],):
            raise ShapeError(
                f"{parameter} should contain {shape[1]} elements not {math.prod(values.shape)}: {name} got input of "
                f"shape {shape}, whose dimension 1 is the channels\n  where: {find_site()}\n"
                f"  fix: {_channel_fix(shape, math.prod(values.shape))}"
            )


def _channel_fix(shape: Shape, channels: int) -> str:
    if len(shape) > 2 and shape[-1] == channels:
        return f"{channels_moved(shape, len(shape) - 2)}, as the channels seem to come last"
    return f"a layer for {shape[1]} channels, or an input with {channels}"


def _check_trailing(name: str, shape: Shape, normalized: Shape, **parameters: Any) -> Shape:
    """The axes to normalise over. Errors: `ShapeError` if they or the parameters are not of the normalised shape."""
    if not normalized or shape[len(shape) - len(normalized) :] != normalized or len(shape) < len(normalized):
        wanted = ", ".join(["*", *map(str, normalized)])
        raise ShapeError(
            f"Given normalized_shape={list(normalized)}, expected input with shape [{wanted}], but {name} got input "
            f"of shape {shape}\n  where: {find_site()}\n"
            f"  fix: normalized_shape={tuple(shape[len(shape) - len(normalized) :])}, or another input"
        )
    for parameter, values in parameters.items():
        if values is not None and tuple(values.shape) != normalized:
            raise ShapeError(
                f"Expected {parameter} to be of same shape as normalized_shape, but got {parameter} of shape "
                f"{tuple(values.shape)} and normalized_shape = {list(normalized)}\n  where: {find_site()}"
            )
    return tuple(range(len(shape) - len(normalized), len(shape)))
