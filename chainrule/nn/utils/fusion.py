"""Folding batch normalisation into the linear layer or convolution before it: in evaluation both are one affine map.

γ (W x + b - μ) / √(σ² + ε) + β = (s ⊙ W) x + s ⊙ (b - μ) + β with s = γ / √(σ² + ε).
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..containers import Sequential
from ..convolution import Conv1d, Conv2d, Conv3d
from ..layers import Linear
from ..module import Module
from ..normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from ..parameter import Parameter


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the one map, from those of a linear layer and the values of a batch normalisation.

    ``linear_b``, ``bn_w`` and ``bn_b`` may be None. Computed in float64 and rounded once.
    """
    return _fused_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any, transpose: bool = False
) -> tuple[Parameter, Parameter]:
    """`fuse_linear_bn_weights` for a convolution; ``transpose``: a transposed one, without groups."""
    return _fused_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, int(transpose))


def _fused_weights(
    weight: Any, bias: Any, mean: Any, variance: Any, eps: float, gain: Any, shift: Any, axis: int
) -> tuple[Parameter, Parameter]:
    """``axis``: the dimension of the weight that counts outputs."""
    w, mean, variance = (np.asarray(value.detach(), np.float64) for value in (weight, mean, variance))
    bias, gain, shift = (
        default if value is None else np.asarray(value.detach(), np.float64)
        for value, default in ((bias, 0.0), (gain, 1.0), (shift, 0.0))
    )
    scale = gain / np.sqrt(variance + eps)
    dtype = weight.dtype.numpy
    w = w * np.reshape(scale, [-1 if dimension == axis else 1 for dimension in range(w.ndim)])
    b = np.broadcast_to((bias - mean) * scale + shift, w.shape[axis])
    return Parameter(w.astype(dtype)), Parameter(b.astype(dtype))


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A linear layer that gives what ``linear`` followed by ``bn`` gives in evaluation.

    Errors: `ArgumentError` in training mode, for other sizes, and without running statistics.

    >>> import chainrule as cr
    >>> linear, bn = cr.nn.Linear(2, 3).eval(), cr.nn.BatchNorm1d(3).eval()
    >>> cr.nn.utils.fuse_linear_bn_eval(linear, bn)
    Linear(in_features=2, out_features=3, bias=True)
    """
    return _fused_layer(linear, bn, linear.out_features, "linear.out_features", 0)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """`fuse_linear_bn_eval` for a convolution; ``transpose``: a transposed one, without groups.

    >>> import chainrule as cr
    >>> conv, bn = cr.nn.Conv2d(2, 3, 1).eval(), cr.nn.BatchNorm2d(3).eval()
    >>> cr.nn.utils.fuse_conv_bn_eval(conv, bn)
    Conv2d(2, 3, kernel_size=(1, 1), stride=(1, 1))
    """
    if transpose and conv.groups > 1:
        raise ArgumentError(f"a transposed convolution with {conv.groups} groups cannot be fused")
    return _fused_layer(conv, bn, conv.out_channels, "conv.out_channels", int(transpose))


def _fused_layer(layer: Any, bn: Any, outputs: int, name: str, axis: int) -> Any:
    if layer.training or bn.training:
        raise ArgumentError("Fusion only for eval! In training the statistics change. fix: model.eval() first")
    if bn.num_features not in (outputs, 1):
        raise ArgumentError(
            f"To fuse, {name} == bn.num_features or bn.num_features == 1, got {name}={outputs} and "
            f"bn.num_features={bn.num_features}"
        )
    if bn.running_mean is None:
        raise ArgumentError("bn.running_mean and bn.running_var must not be None: it has no running statistics")
    fused = copy.deepcopy(layer)
    weight, bias = _fused_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, axis
    )
    fused.weight.write(weight.detach())
    fused.bias = bias
    return fused


def fuse_batch_norms(model: Module) -> Module:
    """A copy of a network in evaluation mode, every linear layer or convolution made one with the batch norm behind it.

    Pairs are found in every `Sequential`: ``Linear`` for rows of features (N, features), ``Conv1d`` to ``Conv3d``. The
    other layers keep their names.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.BatchNorm1d(3), cr.nn.ReLU())
    >>> cr.nn.utils.fuse_batch_norms(net)
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (2): ReLU()
    )
    """
    fused = copy.deepcopy(model).eval()
    for part in list(fused.modules()):
        if isinstance(part, Sequential):
            _fuse_pairs(part)
    return fused


_PAIRS: dict[type, tuple[type, str]] = {
    Linear: (BatchNorm1d, "out_features"),
    Conv1d: (BatchNorm1d, "out_channels"),
    Conv2d: (BatchNorm2d, "out_channels"),
    Conv3d: (BatchNorm3d, "out_channels"),
}


def _fuse_pairs(sequence: Sequential) -> None:
    names = list(sequence._modules)
    for first, second in itertools.pairwise(names):
        layer: Any = sequence._modules.get(first)
        norm: Any = sequence._modules[second]
        kind, outputs = _PAIRS.get(type(layer), (None, ""))
        is_pair = type(norm) is kind
        if is_pair and norm.running_mean is not None and norm.num_features == getattr(layer, outputs):
            sequence.add_module(first, _fused_layer(layer, norm, norm.num_features, outputs, 0))
            delattr(sequence, second)
