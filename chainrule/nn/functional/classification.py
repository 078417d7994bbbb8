"""Losses of classification: cross-entropy and negative log-likelihood."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from ...errors import DTypeError, IndexOutOfRangeError, ShapeError, TargetError
from ...graph.site import find_site
from ...ops.source import iota
from ...tensor import operations, reductions, shaping
from ...tensor.operands import as_tensor, enter_all
from ...tensor.recording import Handle, pending, type_of
from ...tensor.remembered import remembered
from ...tensor.storage import Clock, Storage, view_array
from ...types import int64
from .activation import class_dimension
from .loss import check_reduction, reduced


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
    input, target = _as_handle(input), _as_handle(target)
    if type_of(target).dtype.is_floating_point:
        return _soft_cross_entropy(input, target, weight, reduction=reduction, label_smoothing=label_smoothing)
    check_labels(input, target, ignore_index)
    return _cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-w_t input_t: `cross_entropy` of log-probabilities, as `log_softmax` gives them."""
    input, target = _as_handle(input), _as_handle(target)
    check_labels(input, target, ignore_index)
    return _nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


def _as_handle(value: Any) -> Any:
    return value if isinstance(value, Handle) else as_tensor(value)


@remembered
def _cross_entropy(
    input: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    check_reduction(reduction)
    _check_class_shapes("cross_entropy", input, target)
    logarithms = reductions.log_softmax(input, dim=class_dimension(input))
    return _class_loss(logarithms, target, weight, ignore_index, reduction, label_smoothing)


@remembered
def _nll_loss(input: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str) -> Any:
    check_reduction(reduction)
    _check_class_shapes("nll_loss", input, target)
    return _class_loss(input, target, weight, ignore_index, reduction, 0.0)


def _class_loss(logarithms: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float) -> Any:
    axis = class_dimension(logarithms)
    shape = type_of(logarithms).shape
    target = operations.convert(target, int64)
    is_counted = operations.ne(target, ignore_index)
    is_class = operations.eq(shaping.unsqueeze(target, axis), _class_numbers(target, shape, axis))
    class_weight = None if weight is None else _along(weight, shape, axis, logarithms.dtype)
    weights = operations.convert(is_counted, logarithms.dtype)
    if class_weight is not None:
        weights = operations.mul(weights, reductions.sum(_select(is_class, class_weight), axis))
    losses = operations.neg(operations.mul(weights, reductions.sum(_select(is_class, logarithms), axis)))
    if smoothing:
        everything = logarithms if class_weight is None else operations.mul(logarithms, class_weight)
        smooth = operations.where(is_counted, reductions.sum(everything, axis), 0.0)
        losses = operations.sub(operations.mul(losses, 1 - smoothing), operations.mul(smooth, smoothing / shape[axis]))
    # A label outside the classes that nobody could check beforehand gives NaN, never a silently wrong number.
    is_known = reductions.any(is_class, axis)
    losses = operations.where(operations.logical_or(is_known, operations.logical_not(is_counted)), losses, math.nan)
    return _mean(losses, weights) if reduction == "mean" else reduced(losses, reduction)


def _mean(losses: Any, weights: Any) -> Any:
    """Σ losses / Σ weights; where nothing counts NaN, with gradient 0."""
    total = reductions.sum(weights)
    nothing = operations.eq(total, 0)
    return operations.where(
        nothing, math.nan, operations.div(reductions.sum(losses), operations.where(nothing, 1.0, total))
    )


def _select(condition: Any, values: Any) -> Any:
    return operations.where(condition, values, 0.0)


def _class_numbers(beside: Any, shape: tuple[int, ...], axis: int) -> Any:
    """0 ... C-1 along the class dimension, of size 1 elsewhere."""
    wanted = tuple(size if i == axis else 1 for i, size in enumerate(shape))
    segment, _ = enter_all(beside)
    return pending(iota(int64, wanted, axis), segment)


def _along(weight: Any, shape: tuple[int, ...], axis: int, dtype: Any) -> Any:
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
        target = operations.mul(target, _along(weight, shape, axis, input.dtype))
    products = operations.mul(reductions.log_softmax(input, dim=axis), target)
    if reduction != "mean":
        return reduced(operations.neg(reductions.sum(products, axis)), reduction)
    examples = type_of(input).size // shape[axis] if shape[axis] else 0
    return operations.div(operations.neg(reductions.sum(products)), examples)


def _check_class_shapes(name: str, input: Any, target: Any) -> None:
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


_CHECKED: dict[int, tuple[weakref.ref[Any], int, int, int]] = {}
"""Smallest and largest label of memory that has been looked at, and when, by the identity of its array."""


def check_labels(input: Any, target: Any, ignore_index: int) -> None:
    """Refuse stored class indices outside the classes.

    Memory is looked at once per change, so slices of one big target cost a look-up. Labels that are not known yet are
    not waited for: the loss becomes NaN. Errors: `IndexOutOfRangeError`, `TargetError` for what is no class index.
    """
    type = type_of(target)
    if type.dtype.is_floating_point:
        raise TargetError(
            f"expected class indices (int64), got {type.dtype}\n  where: {find_site()}\n  fix: target.long()"
        )
    storage, shape = target._storage, type_of(input).shape
    if storage is None or not shape or not type.size:
        return
    classes = shape[class_dimension(input)]
    is_shared = storage.is_exported and storage.is_shared
    found = None if is_shared else _CHECKED.get(id(storage.array))
    if found is None or found[1] < 0 or found[2] >= classes or storage.was_written_after(found[3]):
        labels = view_array(storage, target._address, type, target._strides)
        if labels.min() < 0 or labels.max() >= classes:
            _check_each(labels, classes, ignore_index)
        if not is_shared:
            _remember_range(storage, labels.dtype)


def _check_each(labels: np.ndarray[Any, Any], classes: int, ignore_index: int) -> None:
    wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        label = int(wrong.flat[0])
        row = int(np.argwhere(labels == label)[0][0]) if labels.ndim else 0
        fix = f"an output layer with {label + 1} units"
        if label == classes:
            fix += f", or target - 1 if labels run from 1 to {classes}"
        raise IndexOutOfRangeError(
            f"Target {label} is out of bounds: label {label} in row {row}, but the input has {classes} classes "
            f"(labels 0 to {classes - 1})\n  where: {find_site()}\n  fix: {fix}"
        )


def _remember_range(storage: Storage, dtype: np.dtype[Any]) -> None:
    array = storage.array
    whole = array[: array.nbytes // dtype.itemsize * dtype.itemsize].view(dtype)
    key = id(array)
    forget = weakref.ref(array, lambda _: _CHECKED.pop(key, None))
    _CHECKED[key] = (forget, int(whole.min()), int(whole.max()), Clock.now)
