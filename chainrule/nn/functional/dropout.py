"""Dropout: elements, channels, and the form that keeps mean and variance of SELU networks.

A mask is a function of the seed (`manual_seed`), the step and the place in the program: the same on every backend and
for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...tensor import operations
from ...tensor.generator import default_generator
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
from ...tensor.remembered import remembered
from ...types import Shape
from .activation import SELU_ALPHA, SELU_SCALE

SATURATION = -SELU_ALPHA * SELU_SCALE
"""The value of SELU far left of 0, which alpha dropout puts in place of what it drops."""


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, inverted: bool = True) -> Any:
    """Each element 0 with probability p, else x / (1 - p), so that the mean stays; in evaluation the input itself.

    With ``inverted=False`` the classical form: kept elements stay x in training, and evaluation gives (1 - p) · x.
    ``inplace`` is accepted for compatibility: memory is reused anyway.
    Errors: `ArgumentError` for p outside [0, 1]. Source: Srivastava et al. 2014, section 4 and (inverted) section 10.

    >>> import chainrule as cr
    >>> cr.nn.functional.dropout(cr.ones(3), p=0.5, training=False)
    tensor([1., 1., 1.])
    >>> cr.nn.functional.dropout(cr.ones(3), p=0.5, training=False, inverted=False)
    tensor([0.5000, 0.5000, 0.5000])
    """
    check_probability(p)
    if p == 0 or (inverted and not training):
        return input
    x = _as_handle(input)
    if not training:
        return operations.mul(x, 1.0 - p)
    scale = 1.0 if not inverted else 1 / (1 - p) if p < 1 else 0.0
    return _drop(x, default_generator.draw_uniform(type_of(x).shape), p=float(p), scale=scale)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Whole channels 0 with probability p, the others x / (1 - p). Shapes: (N, C, L), or (C, L) for a single row.

    Errors: `ArgumentError` for p outside [0, 1], `ShapeError`. Source: Tompson et al. 2015.

    >>> import chainrule as cr
    >>> cr.nn.functional.dropout1d(cr.ones(1, 2, 3), p=1.0).tolist()
    [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    x = _as_handle(input)
    _check_rank("dropout1d", type_of(x).shape, (2, 3))
    return _channel_dropout(x, p, training, is_single=len(type_of(x).shape) == 2)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout1d` for images (N, C, H, W). Three dimensions are taken as (N, C, L), as in PyTorch."""
    x = _as_handle(input)
    _check_rank("dropout2d", type_of(x).shape, (3, 4))
    return _channel_dropout(x, p, training)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout1d` for volumes (N, C, D, H, W), or (C, D, H, W) for a single row."""
    x = _as_handle(input)
    _check_rank("dropout3d", type_of(x).shape, (4, 5))
    return _channel_dropout(x, p, training, is_single=len(type_of(x).shape) == 4)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Each element SELU's lowest value α' with probability p, then a · x + b so that mean 0 and variance 1 stay.

    a = ((1 - p)(1 + p·α'²))^-½, b = -a·p·α'. In evaluation the input itself.
    Errors: `ArgumentError` for p outside [0, 1]. Source: Klambauer et al. 2017, section "New dropout technique".

    >>> import chainrule as cr
    >>> cr.nn.functional.alpha_dropout(cr.ones(2), p=1.0, training=True)
    tensor([0., 0.])
    """
    return _saturating_dropout(input, p, training, lambda shape: shape)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels. Shapes: (N, C, ...). Errors: `ArgumentError`, `ShapeError`."""
    shape = type_of(_as_handle(input)).shape
    if len(shape) < 2:
        raise ShapeError(
            f"feature dropout requires at least 2 dimensions, (rows, channels, ...), got shape {shape}\n"
            f"  where: {find_site()}"
        )
    return _saturating_dropout(input, p, training, _one_per_channel)


def check_probability(p: float) -> None:
    """Errors: `ArgumentError` for p outside [0, 1]."""
    if not 0 <= p <= 1:
        raise ArgumentError(
            f"dropout probability has to be between 0 and 1, but got {p}. It is the probability of dropping"
        )


def _as_handle(input: Any) -> Any:
    return input if isinstance(input, Handle) else as_tensor(input)


def _check_rank(name: str, shape: Shape, ranks: tuple[int, int]) -> None:
    if len(shape) not in ranks:
        raise ShapeError(
            f"{name}: Expected {ranks[0]}D or {ranks[1]}D input, but received a {len(shape)}D input of shape {shape}\n"
            f"  where: {find_site()}\n  fix: dropout, which drops single elements"
        )


def _one_per_channel(shape: Shape) -> Shape:
    return (*shape[:2], *(1 for _ in shape[2:]))


def _channel_dropout(x: Any, p: float, training: bool, is_single: bool = False) -> Any:
    check_probability(p)
    if p == 0 or not training:
        return x
    shape = type_of(x).shape
    mask_shape = (shape[0], *(1 for _ in shape[1:])) if is_single else _one_per_channel(shape)
    uniform = default_generator.draw_uniform(mask_shape)
    return _drop(x, uniform, p=float(p), scale=1 / (1 - p) if p < 1 else 0.0)


@remembered
def _drop(input: Any, uniform: Any, *, p: float, scale: float) -> Any:
    kept = input if scale == 1 else operations.mul(input, scale)
    return operations.where(operations.lt(uniform, p), 0.0, kept)


def _saturating_dropout(input: Any, p: float, training: bool, mask_shape: Callable[[Shape], Shape]) -> Any:
    check_probability(p)
    if p == 0 or not training:
        return input
    x = _as_handle(input)
    return _saturate(x, default_generator.draw_uniform(mask_shape(type_of(x).shape)), p=float(p))


@remembered
def _saturate(input: Any, uniform: Any, *, p: float) -> Any:
    scale = 1 / math.sqrt((1 - p) * (1 + p * SATURATION**2)) if p < 1 else 0.0
    shift = -scale * p * SATURATION
    kept = operations.add(operations.mul(input, scale), shift)
    return operations.where(operations.lt(uniform, p), scale * SATURATION + shift, kept)
