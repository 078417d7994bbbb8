"""Losses. Each is recorded in one look-up; their layers are in `chainrule.nn.losses`."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError, ShapeError, did_you_mean
from ...graph.site import find_site
from ...tensor import operations, reductions
from ...tensor.recording import type_of
from ...tensor.remembered import remembered
from ...types import broadcast_shapes

REDUCTIONS = ("mean", "sum", "none")
LEAST_PROBABILITY = 1e-12
"""Below it the gradient of `binary_cross_entropy` no longer grows."""

LOG_FLOOR = -100.0
"""The least logarithm in `binary_cross_entropy`, so that a probability of exactly 0 costs 100 and not infinity."""


def reduced(losses: Any, reduction: str) -> Any:
    """The mean, the sum, or the losses themselves."""
    if reduction == "mean":
        return reductions.mean(losses)
    return reductions.sum(losses) if reduction == "sum" else losses


def check_reduction(reduction: str) -> None:
    """Errors: `ArgumentError` for anything but mean, sum and none."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(
            f"{reduction!r} is not a valid value for reduction{did_you_mean(reduction, REDUCTIONS)}; "
            "expected 'mean', 'sum' or 'none'"
        )


def _check_same_shape(name: str, input: Any, target: Any) -> None:
    """Losses never broadcast: (N, 1) against (N) would compare every prediction with every target."""
    got, wanted = type_of(target).shape, type_of(input).shape
    if got == wanted:
        return
    fix = "give both the same shape"
    if math.prod(got) == math.prod(wanted):
        fix = f"target.reshape({', '.join(map(str, wanted))})"
    elif wanted and got[:1] == wanted[:1] and math.prod(got[1:]) == 1:
        fix = f"a network with 1 output instead of {wanted[-1]}, or targets of shape {wanted}"
    raise ShapeError(
        f"{name} got input of shape {wanted} and target of shape {got}: they must be equal\n"
        f"  where: {find_site()}\n  fix: {fix}"
    )


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)², elementwise, then the mean, the sum, or none.

    Errors: `ShapeError` if the shapes differ (PyTorch only warns, and compares every input with every target).

    >>> import chainrule as cr
    >>> cr.nn.functional.mse_loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0])).item()
    2.0
    """
    return _mse_loss(input, target, reduction=reduction)


@remembered
def _mse_loss(input: Any, target: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    _check_same_shape("mse_loss", input, target)
    return reduced(operations.square(operations.sub(input, _like(target, input))), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|, elementwise, then the mean, the sum, or none."""
    return _l1_loss(input, target, reduction=reduction)


@remembered
def _l1_loss(input: Any, target: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    _check_same_shape("l1_loss", input, target)
    return reduced(operations.abs(operations.sub(input, _like(target, input))), reduction)


def _like(value: Any, input: Any) -> Any:
    """A target or weight as the type of the predictions."""
    dtype = input.dtype
    return value if value.dtype is dtype or not dtype.is_floating_point else operations.convert(value, dtype)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-w (y log p + (1 - y) log(1 - p)) for probabilities p in [0, 1]; logarithms are not less than -100.

    >>> import chainrule as cr
    >>> round(cr.nn.functional.binary_cross_entropy(cr.tensor([0.5]), cr.tensor([1.0])).item(), 4)
    0.6931
    """
    return _binary_cross_entropy(input, target, weight, reduction=reduction)


@remembered
def _binary_cross_entropy(input: Any, target: Any, weight: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    _check_same_shape("binary_cross_entropy", input, target)
    target = _like(target, input)
    positive = operations.mul(target, _floored_log(input))
    negative = operations.mul(
        operations.reverse_subtract(target, 1), _floored_log(operations.reverse_subtract(input, 1))
    )
    return reduced(_weighted(operations.neg(operations.add(positive, negative)), weight), reduction)


def _floored_log(x: Any) -> Any:
    """max(log x, -100), with the gradient 1 / max(x, 10⁻¹²) as PyTorch's: finite also where x underflows to 0."""
    is_tiny = operations.lt(x, LEAST_PROBABILITY)
    constant = x.detach()
    logarithm = operations.maximum(operations.log(operations.where(is_tiny, constant, x)), LOG_FLOOR)
    straight = operations.mul(operations.sub(x, constant), 1 / LEAST_PROBABILITY)
    return operations.add(logarithm, operations.where(is_tiny, straight, 0.0))


def _weighted(losses: Any, weight: Any) -> Any:
    if weight is None:
        return losses
    shape = type_of(losses).shape
    if broadcast_shapes(type_of(weight).shape, shape) != shape:
        raise ShapeError(f"weight of shape {type_of(weight).shape} does not fit losses of shape {shape}")
    return operations.mul(losses, _like(weight, losses))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """`binary_cross_entropy` of σ(input), stable: (1 - y) x + (1 + (c - 1) y) · softplus(-x), c = pos_weight or 1."""
    return _bce_with_logits(input, target, weight, pos_weight, reduction=reduction)


@remembered
def _bce_with_logits(input: Any, target: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    _check_same_shape("binary_cross_entropy_with_logits", input, target)
    target = _like(target, input)
    # At 0 the derivatives 0 of |x| and ½ of max(-x, 0) add up to the right one.
    softplus = operations.add(
        operations.log1p(operations.exp(operations.neg(operations.abs(input)))),
        operations.maximum(operations.neg(input), 0),
    )
    if pos_weight is not None:
        factor = operations.add(operations.mul(operations.sub(_like(pos_weight, input), 1), target), 1)
        softplus = operations.mul(factor, softplus)
    losses = operations.add(operations.sub(input, operations.mul(target, input)), softplus)
    return reduced(_weighted(losses, weight), reduction)
