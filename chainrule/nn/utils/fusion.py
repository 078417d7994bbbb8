"""Folding batch normalisation into the linear layer before it: in evaluation both together are one affine map.

γ (W x + b - μ) / √(σ² + ε) + β = (s ⊙ W) x + s ⊙ (b - μ) + β with s = γ / √(σ² + ε).
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..containers import Sequential
from ..layers import Linear
from ..module import Module
from ..normalization import BatchNorm1d
from ..parameter import Parameter


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the one map, from those of a linear layer and the values of a batch normalisation.

    ``linear_b``, ``bn_w`` and ``bn_b`` may be None. Computed in float64 and rounded once.
    """
    weight, mean, variance = (np.asarray(value.detach(), np.float64) for value in (linear_w, bn_rm, bn_rv))
    bias, gain, shift = (
        default if value is None else np.asarray(value.detach(), np.float64)
        for value, default in ((linear_b, 0.0), (bn_w, 1.0), (bn_b, 0.0))
    )
    scale = gain / np.sqrt(variance + bn_eps)
    dtype = linear_w.dtype.numpy
    fused = weight * np.reshape(scale, (-1, 1)), np.broadcast_to((bias - mean) * scale + shift, len(weight))
    return Parameter(fused[0].astype(dtype)), Parameter(fused[1].astype(dtype))


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A linear layer that gives what ``linear`` followed by ``bn`` gives in evaluation.

    Errors: `ArgumentError` in training mode, for other sizes, and without running statistics.

    >>> import chainrule as cr
    >>> linear, bn = cr.nn.Linear(2, 3).eval(), cr.nn.BatchNorm1d(3).eval()
    >>> cr.nn.utils.fuse_linear_bn_eval(linear, bn)
    Linear(in_features=2, out_features=3, bias=True)
    """
    if linear.training or bn.training:
        raise ArgumentError("Fusion only for eval! In training the statistics change. fix: model.eval() first")
    if bn.num_features not in (linear.out_features, 1):
        raise ArgumentError(
            f"To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    if bn.running_mean is None:
        raise ArgumentError("bn.running_mean and bn.running_var must not be None: it has no running statistics")
    fused = Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype).eval()
    weight, bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    fused.weight.write(weight.detach())
    fused.bias = bias
    return fused


def fuse_batch_norms(model: Module) -> Module:
    """A copy of a network in evaluation mode, every ``Linear`` with the ``BatchNorm1d`` behind it made one layer.

    Pairs are found in every `Sequential`, for rows of features (N, features); the other layers keep their names.

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


def _fuse_pairs(sequence: Sequential) -> None:
    names = list(sequence._modules)
    for first, second in itertools.pairwise(names):
        linear: Any = sequence._modules.get(first)
        norm: Any = sequence._modules[second]
        is_pair = type(linear) is Linear and type(norm) is BatchNorm1d and norm.running_mean is not None
        if is_pair and norm.num_features == linear.out_features:
            sequence.add_module(first, fuse_linear_bn_eval(linear, norm))
            delattr(sequence, second)
