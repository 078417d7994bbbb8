"""Losses of distributions over classes: cross-entropy, negative log-likelihood, Kullback-Leibler divergence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, IndexOutOfRangeError, ShapeError
from ...graph.site import find_site
from ...ops.source import iota
from ...tensor import operations, reductions, shaping
from ...tensor.operands import enter_all
from ...tensor.recording import pending, type_of
from ...tensor.remembered import remembered
from ...types import int32, int64
from .activation import class_dimension
from .checks import (
    DIVERGENCE_REDUCTIONS,
    Allowed,
    as_handle,
    check_labels,
    check_reduction,
    check_same_shape,
    find_refused,
)
from .loss import like, reduced


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-Σ_c w_c t_c log softmax(input)_c, where t is the one-hot code of a class index or a distribution over classes.

    Shapes: input (N, C, ...) or (C); target class indices (N, ...) or (), or probabilities of the input's shape.
    ``weight`` (C) scales the classes and the mean is weighted by it; targets equal to ``ignore_index`` do not count;
    ``label_smoothing`` ε replaces t by (1 - ε) t + ε / C.
    Errors: `ShapeError`, `DTypeError`, `IndexOutOfRangeError` for a label outside [0, C).

    >>> import chainrule as cr
    >>> round(cr.nn.functional.cross_entropy(cr.zeros(1, 4), cr.tensor([2])).item(), 4)
    1.3863
    """
    input, target = as_handle(input), as_handle(target)
    if type_of(target).dtype.is_floating_point:
        return _soft_cross_entropy(input, target, weight, reduction=reduction, label_smoothing=label_smoothing)
    are_classes = _check_labels(input, target, ignore_index)
    return _cross_entropy(
        input, target, weight, ignored=None if are_classes else ignore_index, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-w_t input_t: `cross_entropy` of log-probabilities, as `log_softmax` gives them."""
    input, target = as_handle(input), as_handle(target)
    are_classes = _check_labels(input, target, ignore_index)
    return _nll_loss(input, target, weight, ignored=None if are_classes else ignore_index, reduction=reduction)


def _check_labels(input: Any, target: Any, ignore_index: int) -> bool:
    """Whether all labels are known to be classes."""
    shape = type_of(input).shape
    return bool(shape) and check_labels(target, shape[class_dimension(input)], ignore_index)


@remembered
def _cross_entropy(
    input: Any, target: Any, weight: Any, *, ignored: int | None, reduction: str, label_smoothing: float
) -> Any:
    check_reduction(reduction)
    check_class_shapes("cross_entropy", input, target)
    logarithms = reductions.log_softmax(input, dim=class_dimension(input))
    return _class_loss(logarithms, target, weight, ignored, reduction, label_smoothing)


@remembered
def _nll_loss(input: Any, target: Any, weight: Any, *, ignored: int | None, reduction: str) -> Any:
    check_reduction(reduction)
    check_class_shapes("nll_loss", input, target)
    return _class_loss(input, target, weight, ignored, reduction, 0.0)


def _class_loss(
    logarithms: Any, target: Any, weight: Any, ignored: int | None, reduction: str, smoothing: float
) -> Any:
    """``ignored`` is None where every label is a class."""
    axis = class_dimension(logarithms)
    shape = type_of(logarithms).shape
    target = operations.convert(target, int64)
    is_class = operations.eq(shaping.unsqueeze(target, axis), class_numbers(target, shape, axis))
    is_counted = None if ignored is None else operations.ne(target, ignored)
    class_weight = None if weight is None else along_classes(weight, shape, axis, logarithms.dtype)
    weights = None if is_counted is None else operations.convert(is_counted, logarithms.dtype)
    if class_weight is not None:
        of_targets = reductions.sum(select(is_class, class_weight), axis)
        weights = of_targets if weights is None else operations.mul(weights, of_targets)
    likelihoods = reductions.sum(select(is_class, logarithms), axis)
    losses = operations.neg(likelihoods if weights is None else operations.mul(weights, likelihoods))
    if smoothing:
        everything = logarithms if class_weight is None else operations.mul(logarithms, class_weight)
        smooth = reductions.sum(everything, axis)
        smooth = smooth if is_counted is None else operations.where(is_counted, smooth, 0.0)
        losses = operations.sub(operations.mul(losses, 1 - smoothing), operations.mul(smooth, smoothing / shape[axis]))
    if is_counted is not None:
        # A label outside the classes that nobody could check beforehand gives NaN, never a silently wrong number.
        is_known = reductions.any(is_class, axis)
        losses = operations.where(operations.logical_or(is_known, operations.logical_not(is_counted)), losses, math.nan)
    return _mean(losses, weights) if weights is not None and reduction == "mean" else reduced(losses, reduction)


def _mean(losses: Any, weights: Any) -> Any:
    """Σ losses / Σ weights; where nothing counts NaN, with gradient 0."""
    total = reductions.sum(weights)
    nothing = operations.eq(total, 0)
    return operations.where(
        nothing, math.nan, operations.div(reductions.sum(losses), operations.where(nothing, 1.0, total))
    )


def select(condition: Any, values: Any) -> Any:
    return operations.where(condition, values, 0.0)


def class_numbers(beside: Any, shape: tuple[int, ...], axis: int) -> Any:
    """0 ... C-1 along the class dimension, of size 1 elsewhere."""
    wanted = tuple(size if i == axis else 1 for i, size in enumerate(shape))
    segment, _ = enter_all(beside)
    return pending(iota(int64, wanted, axis), segment)


def along_classes(weight: Any, shape: tuple[int, ...], axis: int, dtype: Any) -> Any:
    if type_of(weight).shape != (shape[axis],):
        raise ShapeError(
            f"weight tensor should be defined either for all {shape[axis]} classes or no classes but got weight tensor "
            f"of shape: {list(type_of(weight).shape)}"
        )
    placed = shaping.reshape(weight, *(size if i == axis else 1 for i, size in enumerate(shape)))
    return operations.convert(placed, dtype)


@remembered
def _soft_cross_entropy(input: Any, target: Any, weight: Any, *, reduction: str, label_smoothing: float) -> Any:
    check_reduction(reduction)
    shape, axis = type_of(input).shape, class_dimension(input)
    if type_of(target).shape != shape:
        without_classes = shape[:axis] + shape[axis + 1 :]
        if type_of(target).shape == without_classes:
            raise DTypeError(
                f"cross_entropy got float targets of shape {without_classes}: expected target dtype to be Long, "
                f"but got {target.dtype}\n  where: {find_site()}\n  fix: target.long() for class indices"
            )
        raise ShapeError(
            f"cross_entropy got input of shape {shape} and float target of shape {type_of(target).shape}: "
            "probabilities must have the input's shape\n"
            f"  where: {find_site()}\n  fix: class indices of shape {without_classes}"
        )
    target = operations.convert(target, input.dtype)
    if label_smoothing:
        target = operations.add(operations.mul(target, 1 - label_smoothing), label_smoothing / shape[axis])
    if weight is not None:
        target = operations.mul(target, along_classes(weight, shape, axis, input.dtype))
    products = operations.mul(reductions.log_softmax(input, dim=axis), target)
    if reduction != "mean":
        return reduced(operations.neg(reductions.sum(products, axis)), reduction)
    examples = type_of(input).size // shape[axis] if shape[axis] else 0
    return operations.div(operations.neg(reductions.sum(products)), examples)


def check_class_shapes(name: str, input: Any, target: Any) -> None:
    shape, labels = type_of(input).shape, type_of(target).shape
    if not shape:
        raise ShapeError(f"{name} needs one value per class, got a number\n  where: {find_site()}")
    axis = class_dimension(input)
    wanted = shape[:axis] + shape[axis + 1 :]
    if labels == wanted:
        return
    if axis and labels and labels[0] != shape[0]:
        message = f"Expected input batch_size ({shape[0]}) to match target batch_size ({labels[0]})."
        fix = "the same rows in both"
    else:
        message = f"{name} got input of shape {shape}, so class indices must have shape {wanted}, got {labels}"
        fixes = {(*wanted, 1): "target.squeeze(1)", shape: "target.argmax(1)"}
        fix = fixes.get(labels, f"class indices of shape {wanted}")
    raise ShapeError(f"{message}\n  where: {find_site()}\n  fix: {fix}")


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """The Kullback-Leibler divergence t (log t - x) of log-probabilities x from a distribution t, elementwise.

    ``reduction="batchmean"`` is the divergence itself, the mean of the rows; "mean" divides by the number of elements.
    ``log_target``: the target holds log t. Where t is 0 the loss is 0. Errors: `ShapeError`, `ArgumentError`.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([[0.5, 0.5]]).log(), cr.tensor([[1.0, 0.0]])
    >>> round(cr.nn.functional.kl_div(x, t, reduction="batchmean").item(), 4)
    0.6931
    """
    return _kl_div(input, target, reduction=reduction, log_target=bool(log_target))


@remembered
def _kl_div(input: Any, target: Any, *, reduction: str, log_target: bool) -> Any:
    check_reduction(reduction, DIVERGENCE_REDUCTIONS)
    check_same_shape("kl_div", input, target)
    target = like(target, input)
    if log_target:
        losses = operations.mul(operations.exp(target), operations.sub(target, input))
    else:
        logarithm = operations.log(operations.where(operations.eq(target, 0), 1.0, target))
        losses = operations.sub(operations.mul(target, logarithm), operations.mul(target, input))
    if reduction != "batchmean":
        return reduced(losses, reduction)
    shape = type_of(losses).shape
    return operations.div(reductions.sum(losses), shape[0] if shape else 1)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """A last dimension of ``num_classes`` zeros with a 1 at each class index; int64.

    By default as many classes as the largest index asks for, which must be known by then. An index that is not known
    and lies outside gives zeros. Errors: `DTypeError`, `ArgumentError`, `IndexOutOfRangeError` for an index outside.

    >>> import chainrule as cr
    >>> cr.nn.functional.one_hot(cr.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    labels = as_handle(tensor)
    dtype, shape = type_of(labels).dtype, type_of(labels).shape
    if dtype not in (int32, int64):
        raise DTypeError(f"one_hot is only applicable to index tensor of type LongTensor, got {dtype}. fix: .long()")
    if num_classes == -1:
        if not type_of(labels).size:
            raise ArgumentError("Can not infer total number of classes from empty tensor. fix: give num_classes")
        num_classes = max(int(np.asarray(tensor).max()) + 1, 1)
    if num_classes < 1:
        raise ArgumentError(f"num_classes should be positive, got {num_classes}")
    found = find_refused(labels, Allowed(0, num_classes - 1))
    if found is not None:
        raise IndexOutOfRangeError(
            f"Class values must be from 0 to num_classes - 1 = {num_classes - 1}, got {found[1]} in row {found[0]}"
        )
    numbers = class_numbers(labels, (*shape, num_classes), len(shape))
    return operations.convert(operations.eq(shaping.unsqueeze(labels, -1), numbers), int64)
