"""Losses on margins M = target · input, where targets are -1 and 1 and the sign of the input is the answer."""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError
from ...graph.site import find_site
from ...tensor import operations
from ...tensor.recording import type_of
from ...tensor.remembered import remembered
from .checks import as_handle, check_reduction, check_signs
from .loss import elementwise_loss, like, positive_part, reduced, softplus


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """log(1 + e^-M), the logistic loss, for any M without overflow.

    >>> import chainrule as cr
    >>> round(cr.nn.functional.soft_margin_loss(cr.tensor([0.0]), cr.tensor([-1.0])).item(), 4)
    0.6931
    """
    return elementwise_loss(input, target, None, name="soft_margin_loss", losses=_logistic, reduction=reduction)


def _logistic(input: Any, target: Any) -> Any:
    return softplus(operations.neg(operations.mul(target, input)))


def hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(1 - M)₊, the loss of support vector machines; at M = 1 the derivative is 0.

    Errors: `TargetError` for stored targets other than -1 and 1. Source: Cortes, Vapnik 1995.

    >>> import chainrule as cr
    >>> cr.nn.functional.hinge_loss(cr.tensor([0.25, 2.0]), cr.tensor([1.0, -1.0]), reduction="none")
    tensor([0.7500, 3.0000])
    """
    return _sign_loss("hinge_loss", _hinge, input, target, reduction)


def _hinge(input: Any, target: Any) -> Any:
    return operations.relu(operations.reverse_subtract(operations.mul(target, input), 1))


def squared_hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(1 - M)₊². Errors: `TargetError` for stored targets other than -1 and 1.

    >>> import chainrule as cr
    >>> cr.nn.functional.squared_hinge_loss(cr.tensor([0.5, 2.0]), cr.tensor([1.0, -1.0]), reduction="none")
    tensor([0.2500, 9.0000])
    """
    return _sign_loss("squared_hinge_loss", _squared_hinge, input, target, reduction)


def _squared_hinge(input: Any, target: Any) -> Any:
    return operations.square(_hinge(input, target))


def exponential_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """e^-M, the loss that AdaBoost minimises. Errors: `TargetError` for stored targets other than -1 and 1.

    Source: Friedman, Hastie, Tibshirani 2000.

    >>> import chainrule as cr
    >>> cr.nn.functional.exponential_loss(cr.tensor([0.0, 0.0]), cr.tensor([1.0, -1.0])).item()
    1.0
    """
    return _sign_loss("exponential_loss", _exponential, input, target, reduction)


def _exponential(input: Any, target: Any) -> Any:
    return operations.exp(operations.neg(operations.mul(target, input)))


def perceptron_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(-M)₊: its gradient step is the perceptron's rule; at M = 0 the derivative is -target, so that zeros can start.

    Errors: `TargetError` for stored targets other than -1 and 1. Source: Rosenblatt 1958.

    >>> import chainrule as cr
    >>> cr.nn.functional.perceptron_loss(cr.tensor([0.5, 2.0]), cr.tensor([1.0, -1.0]), reduction="none")
    tensor([0., 2.])
    """
    return _sign_loss("perceptron_loss", _perceptron, input, target, reduction)


def _perceptron(input: Any, target: Any) -> Any:
    return positive_part(operations.neg(operations.mul(target, input)))


def _sign_loss(name: str, losses: Any, input: Any, target: Any, reduction: str) -> Any:
    target = as_handle(target)
    check_signs(name, target)
    return elementwise_loss(input, target, None, name=name, losses=losses, reduction=reduction)


# PyTorch's losses of distances and ranks ------------------------------------------------------------------------------


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """x where the target is 1, (margin - x)₊ where it is -1, for a distance x between two things.

    >>> import chainrule as cr
    >>> cr.nn.functional.hinge_embedding_loss(cr.tensor([0.5, 0.25]), cr.tensor([1, -1]), reduction="none")
    tensor([0.5000, 0.7500])
    """
    return elementwise_loss(
        input, target, None, name="hinge_embedding_loss", losses=_hinge_embedding, reduction=reduction,
        margin=float(margin),
    )  # fmt: skip


def _hinge_embedding(input: Any, target: Any, margin: float) -> Any:
    near = operations.where(operations.eq(target, -1), 0.0, input)
    far = operations.where(operations.eq(target, 1), 0.0, positive_part(operations.reverse_subtract(input, margin)))
    return operations.add(near, far)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """(margin - y (x₁ - x₂))₊: where y is 1, x₁ should be the larger, where it is -1, x₂.

    Shapes: of equal rank; sizes of 1 broadcast. Errors: `ShapeError`.

    >>> import chainrule as cr
    >>> cr.nn.functional.margin_ranking_loss(cr.tensor([1.0]), cr.tensor([3.0]), cr.tensor([1.0])).item()
    2.0
    """
    return _margin_ranking_loss(input1, input2, target, margin=float(margin), reduction=reduction)


@remembered
def _margin_ranking_loss(input1: Any, input2: Any, target: Any, *, margin: float, reduction: str) -> Any:
    check_reduction(reduction)
    shapes = [type_of(value).shape for value in (input1, input2, target)]
    if len({len(shape) for shape in shapes}) > 1:
        raise ShapeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{shapes[0]}, input2: {shapes[1]}, target: {shapes[2]}\n  where: {find_site()}"
        )
    margins = operations.mul(like(target, input1), operations.sub(input1, input2))
    return reduced(positive_part(operations.reverse_subtract(margins, margin)), reduction)
