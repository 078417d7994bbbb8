"""Binary cross-entropy, of probabilities and of logits."""

from __future__ import annotations

from typing import Any

from ...tensor import operations
from ...tensor.remembered import remembered
from .checks import as_handle, check_probabilities, check_reduction, check_same_shape
from .loss import elementwise_loss, like, reduced, softplus, weighted


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-w (y log p + (1 - y) log(1 - p)) for probabilities p in [0, 1]; logarithms are not less than -100.

    Where p is the result of a sigmoid, the gradient before the sigmoid is w (p - y), also where p is exactly 0 or 1.
    There PyTorch's is 0.
    Errors: `TargetError` for a stored p or y outside [0, 1]; `ShapeError`. A p outside that is computed gives NaN.

    >>> import chainrule as cr
    >>> round(cr.nn.functional.binary_cross_entropy(cr.tensor([0.5]), cr.tensor([1.0])).item(), 4)
    0.6931
    """
    input, target = as_handle(input), as_handle(target)
    check_probabilities("input", input)
    check_probabilities("target", target)
    return elementwise_loss(
        input, target, weight, name="binary_cross_entropy", losses=_binary_cross_entropy, reduction=reduction
    )


def _binary_cross_entropy(input: Any, target: Any) -> Any:
    positive = operations.mul(target, operations.floored_log(input))
    negative = operations.mul(
        operations.reverse_subtract(target, 1), operations.floored_log(operations.reverse_subtract(input, 1))
    )
    return operations.neg(operations.add(positive, negative))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """`binary_cross_entropy` of σ(input), stable: (1 - y) x + (1 + (c - 1) y) · softplus(-x), c = pos_weight or 1.

    >>> import chainrule as cr
    >>> round(cr.nn.functional.binary_cross_entropy_with_logits(cr.tensor([0.0]), cr.tensor([1.0])).item(), 4)
    0.6931
    """
    return _bce_with_logits(input, target, weight, pos_weight, reduction=reduction)


@remembered
def _bce_with_logits(input: Any, target: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    check_same_shape("binary_cross_entropy_with_logits", input, target)
    target = like(target, input)
    cost = softplus(operations.neg(input))
    if pos_weight is not None:
        factor = operations.add(operations.mul(operations.sub(like(pos_weight, input), 1), target), 1)
        cost = operations.mul(factor, cost)
    losses = operations.add(operations.mul(operations.reverse_subtract(target, 1), input), cost)
    return reduced(weighted(losses, weight), reduction)
