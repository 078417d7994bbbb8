"""What losses are made of: reductions, weights, and elementwise losses recorded in one look-up.

PyTorch's arguments ``size_average`` and ``reduce``, which it has replaced by ``reduction``, do not exist here: what
follows them there is given by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ShapeError
from ...tensor import operations, reductions
from ...tensor.recording import type_of
from ...tensor.remembered import remembered
from ...types import broadcast_shapes
from .checks import check_reduction, check_same_shape


@remembered
def elementwise_loss(
    input: Any,
    target: Any,
    weight: Any,
    *,
    name: str,
    losses: Callable[..., Any],
    reduction: str,
    is_mean_weighted: bool = False,
    **options: Any,
) -> Any:
    """``losses(input, target, **options)`` times the weight, then the mean, the sum, or the losses themselves.

    ``is_mean_weighted``: the mean is Σ w·loss / Σ w. Errors: `ShapeError` if input and target differ in shape.
    """
    check_reduction(reduction)
    check_same_shape(name, input, target)
    each = losses(input, like(target, input), **options)
    if weight is None:
        return reduced(each, reduction)
    weight = like(weight, each)
    if is_mean_weighted:
        check_same_shape(name, input, weight, "weight")
    each = weighted(each, weight)
    if is_mean_weighted and reduction == "mean":
        return operations.div(reductions.sum(each), reductions.sum(weight))
    return reduced(each, reduction)


def reduced(losses: Any, reduction: str) -> Any:
    """The mean, the sum, or the losses themselves."""
    if reduction == "mean":
        return reductions.mean(losses)
    return reductions.sum(losses) if reduction == "sum" else losses


def like(value: Any, input: Any) -> Any:
    """A target or weight as the type of the predictions."""
    dtype = input.dtype
    return value if value.dtype is dtype or not dtype.is_floating_point else operations.convert(value, dtype)


def weighted(losses: Any, weight: Any) -> Any:
    """Losses times a weight whose shape broadcasts to theirs. Errors: `ShapeError`."""
    if weight is None:
        return losses
    shape = type_of(losses).shape
    if broadcast_shapes(type_of(weight).shape, shape) != shape:
        raise ShapeError(f"weight of shape {type_of(weight).shape} does not fit losses of shape {shape}")
    return operations.mul(losses, like(weight, losses))


def positive_part(x: Any) -> Any:
    """max(0, x) with derivative 1 at 0, as PyTorch's clamp has it; that of `relu` is 0."""
    return operations.where(operations.lt(x, 0), 0.0, x)


def softplus(x: Any) -> Any:
    """log(1 + e^x) for any x, the building block of logistic losses."""
    # At 0 the derivatives 0 of |x| and ½ of max(x, 0) add up to the right one.
    return operations.add(operations.log1p(operations.exp(operations.neg(operations.abs(x)))), operations.maximum(x, 0))
