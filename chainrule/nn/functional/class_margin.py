"""Margin losses of many classes, and of many labels."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...tensor import operations, reductions, shaping
from ...tensor.recording import type_of
from ...tensor.remembered import remembered
from ...types import int64
from .checks import as_handle, check_labels, check_reduction, check_same_shape
from .classification import along_classes, class_numbers, select
from .loss import like, reduced, softplus, weighted


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Σ_{c≠y} w_y (margin - x_y + x_c)₊^p / C for the class y: every other class should lie ``margin`` below it.

    Shapes: input (N, C) or (C); target class indices (N) or (); weight (C). p is 1 or 2; where a term is 0 so is its
    derivative. Errors: `ShapeError`, `IndexOutOfRangeError`, `ArgumentError`. Source: Crammer, Singer 2001.

    >>> import chainrule as cr
    >>> cr.nn.functional.multi_margin_loss(cr.tensor([[0.0, 0.5]]), cr.tensor([0])).item()
    0.75
    """
    check_power(p)
    input, target = as_handle(input), as_handle(target)
    if type_of(input).shape:
        check_labels(target, type_of(input).shape[-1])
    return _multi_margin_loss(input, target, weight, p=int(p), margin=float(margin), reduction=reduction)


def check_power(p: int) -> None:
    """Errors: `ArgumentError` for a power other than 1 and 2."""
    if p not in (1, 2):
        raise ArgumentError(f"only p == 1 and p == 2 supported, got {p}")


@remembered
def _multi_margin_loss(input: Any, target: Any, weight: Any, *, p: int, margin: float, reduction: str) -> Any:
    check_reduction(reduction)
    shape, labels = type_of(input).shape, type_of(target).shape
    if len(shape) not in (1, 2) or labels not in ((shape[:1],) if len(shape) == 2 else ((), (1,))):
        raise ShapeError(
            f"multi_margin_loss got input of shape {shape} and target of shape {labels}: expected (N, C) and (N)\n"
            f"  where: {find_site()}"
        )
    x, classes = shaping.reshape(input, -1, shape[-1]), shape[-1]
    is_class = operations.eq(shaping.reshape(target, -1, 1), class_numbers(x, (1, classes), 1))
    own = reductions.sum(select(is_class, x), 1, keepdim=True)
    terms = operations.relu(operations.add(operations.sub(x, own), margin))
    losses = reductions.sum(operations.where(is_class, 0.0, operations.square(terms) if p == 2 else terms), 1)
    if weight is not None:
        of_class = along_classes(weight, (1, classes), 1, x.dtype)
        losses = operations.mul(losses, reductions.sum(select(is_class, of_class), 1))
    losses = operations.where(reductions.any(is_class, 1), operations.div(losses, classes), math.nan)
    return reduced(shaping.reshape(losses, labels), reduction)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Σ_j Σ_i (1 - x_j + x_i)₊ / C over the classes j that a row has and the classes i that it has not.

    Shapes: input (N, C) or (C); target the same: the class indices of a row, then -1 (what follows it does not count).
    Errors: `ShapeError`, `IndexOutOfRangeError`.

    >>> import chainrule as cr
    >>> x, labels = cr.tensor([[0.1, 0.2, 0.4, 0.8]]), cr.tensor([[3, 0, -1, 1]])
    >>> round(cr.nn.functional.multilabel_margin_loss(x, labels).item(), 4)
    0.85
    """
    input, target = as_handle(input), as_handle(target)
    if type_of(input).shape:
        check_labels(target, type_of(input).shape[-1], -1)
    return _multilabel_margin_loss(input, target, reduction=reduction)


@remembered
def _multilabel_margin_loss(input: Any, target: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    check_same_shape("multilabel_margin_loss", input, target)
    shape = type_of(input).shape
    if len(shape) not in (1, 2):
        raise ShapeError(
            f"multilabel_margin_loss expects input of shape (N, C) or (C), got {shape}\n  where: {find_site()}"
        )
    classes = shape[-1]
    x = shaping.reshape(input, -1, classes)
    target = operations.convert(shaping.reshape(target, -1, classes), int64)
    position = class_numbers(x, (1, classes), 1)
    end = reductions.amin(operations.where(operations.eq(target, -1), position, classes), 1, keepdim=True)
    counts = operations.lt(position, end)
    is_label = operations.eq(shaping.unsqueeze(target, 2), class_numbers(x, (1, 1, classes), 2))  # (N, place, class)
    is_label = operations.logical_and(is_label, shaping.unsqueeze(counts, 2))
    row = shaping.unsqueeze(x, 1)
    of_label = reductions.sum(select(is_label, row), 2, keepdim=True)
    terms = operations.relu(operations.add(operations.sub(row, of_label), 1))
    is_term = operations.logical_and(
        shaping.unsqueeze(counts, 2), operations.logical_not(reductions.any(is_label, 1, keepdim=True))
    )
    losses = operations.div(reductions.sum(select(is_term, terms), (1, 2)), classes)
    is_known = reductions.all(operations.logical_or(reductions.any(is_label, 2), operations.logical_not(counts)), 1)
    losses = operations.where(is_known, losses, math.nan)
    return reduced(shaping.reshape(losses, shape[:-1]), reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """The mean over the C classes of the binary cross-entropy of logits: every class is a yes or no of its own.

    Shapes: input and target (..., C); weight (C); one loss per row. Errors: `ShapeError`.

    >>> import chainrule as cr
    >>> round(cr.nn.functional.multilabel_soft_margin_loss(cr.zeros(1, 3), cr.ones(1, 3)).item(), 4)
    0.6931
    """
    return _multilabel_soft_margin_loss(input, target, weight, reduction=reduction)


@remembered
def _multilabel_soft_margin_loss(input: Any, target: Any, weight: Any, *, reduction: str) -> Any:
    check_reduction(reduction)
    check_same_shape("multilabel_soft_margin_loss", input, target)
    shape = type_of(input).shape
    if not shape:
        raise ShapeError(f"multilabel_soft_margin_loss needs one value per class, got a number\n  where: {find_site()}")
    target = like(target, input)
    losses = operations.add(
        softplus(operations.neg(input)), operations.mul(operations.reverse_subtract(target, 1), input)
    )
    return reduced(operations.div(reductions.sum(weighted(losses, weight), -1), shape[-1]), reduction)
