"""Losses of regression, of the error ε = input - target."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...tensor import operations, shaping
from ...tensor.recording import type_of
from ...tensor.remembered import remembered
from .checks import Allowed, as_handle, check_reduction, find_refused
from .loss import elementwise_loss, like, reduced


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """ε², elementwise, then the mean (Σ w ε² / Σ w with a weight of the input's shape), the sum, or none.

    Errors: `ShapeError` if the shapes differ (PyTorch only warns, and compares every input with every target).

    >>> import chainrule as cr
    >>> cr.nn.functional.mse_loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0])).item()
    2.0
    """
    return elementwise_loss(
        input, target, weight, name="mse_loss", losses=_squared_error, reduction=reduction, is_mean_weighted=True
    )


def _squared_error(input: Any, target: Any) -> Any:
    return operations.square(operations.sub(input, target))


def half_mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """½ε², whose derivative is ε itself: the error of Rumelhart, Hinton, Williams 1986.

    >>> import chainrule as cr
    >>> cr.nn.functional.half_mse_loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0]), reduction="sum").item()
    2.0
    """
    return elementwise_loss(input, target, None, name="half_mse_loss", losses=_half_squared_error, reduction=reduction)


def _half_squared_error(input: Any, target: Any) -> Any:
    return operations.mul(_squared_error(input, target), 0.5)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """|ε|, elementwise, then the mean (Σ w |ε| / Σ w with a weight of the input's shape), the sum, or none.

    >>> import chainrule as cr
    >>> cr.nn.functional.l1_loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0])).item()
    1.0
    """
    return elementwise_loss(
        input, target, weight, name="l1_loss", losses=_absolute_error, reduction=reduction, is_mean_weighted=True
    )


def _absolute_error(input: Any, target: Any) -> Any:
    return operations.abs(operations.sub(input, target))


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """½ε² for |ε| ≤ δ, else δ (|ε| - δ/2): squares for small errors, absolute values for large ones.

    Errors: `ArgumentError` for δ ≤ 0. Source: Huber 1964.

    >>> import chainrule as cr
    >>> cr.nn.functional.huber_loss(cr.tensor([0.0, 0.0]), cr.tensor([1.0, 4.0]), reduction="none")
    tensor([0.5000, 3.5000])
    """
    if not delta > 0:
        raise ArgumentError(f"huber_loss does not support non-positive values for delta: got {delta}")
    return elementwise_loss(
        input, target, weight, name="huber_loss", losses=_huber, reduction=reduction, delta=float(delta)
    )


def _huber(input: Any, target: Any, delta: float) -> Any:
    error = operations.sub(input, target)
    size = operations.abs(error)
    linear = operations.mul(operations.sub(size, 0.5 * delta), delta)
    return operations.where(operations.le(size, delta), operations.mul(operations.square(error), 0.5), linear)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """ε²/(2β) for |ε| < β, else |ε| - β/2: `huber_loss` divided by its δ. β = 0 is `l1_loss`.

    Errors: `ArgumentError` for β < 0. Source: Girshick 2015.

    >>> import chainrule as cr
    >>> cr.nn.functional.smooth_l1_loss(cr.tensor([0.0, 0.0]), cr.tensor([1.0, 4.0]), "none", beta=2.0)
    tensor([0.2500, 3.0000])
    """
    if not beta >= 0:
        raise ArgumentError(f"smooth_l1_loss does not support negative values for beta: got {beta}")
    if beta == 0:
        return elementwise_loss(input, target, None, name="smooth_l1_loss", losses=_absolute_error, reduction=reduction)
    return elementwise_loss(
        input, target, None, name="smooth_l1_loss", losses=_smooth_l1, reduction=reduction, beta=float(beta)
    )


def _smooth_l1(input: Any, target: Any, beta: float) -> Any:
    error = operations.sub(input, target)
    size = operations.abs(error)
    square = operations.mul(operations.square(error), 0.5 / beta)
    return operations.where(operations.lt(size, beta), square, operations.sub(size, 0.5 * beta))


def epsilon_insensitive_loss(input: Any, target: Any, epsilon: float = 0.1, reduction: str = "mean") -> Any:
    """(|ε| - c)₊ with c = ``epsilon``: errors up to c cost nothing. At |ε| = c the derivative is 0.

    Errors: `ArgumentError` for c < 0. Source: Vapnik 1995 (support vector regression).

    >>> import chainrule as cr
    >>> cr.nn.functional.epsilon_insensitive_loss(cr.tensor([0.0, 0.0]), cr.tensor([1.0, 4.0]), 1.5, "none")
    tensor([0.0000, 2.5000])
    """
    if not epsilon >= 0:
        raise ArgumentError(f"epsilon_insensitive_loss needs epsilon of at least 0, got {epsilon}")
    return elementwise_loss(
        input, target, None, name="epsilon_insensitive_loss", losses=_epsilon_insensitive, reduction=reduction,
        epsilon=float(epsilon),
    )  # fmt: skip


def _epsilon_insensitive(input: Any, target: Any, epsilon: float) -> Any:
    return operations.relu(operations.sub(_absolute_error(input, target), epsilon))


def quantile_loss(input: Any, target: Any, quantile: float = 0.5, reduction: str = "mean") -> Any:
    """max(q (y - x), (q - 1)(y - x)): least in the mean where x is the q-quantile of y. Also called pinball loss.

    Errors: `ArgumentError` for q outside (0, 1). Source: Koenker, Bassett 1978.

    >>> import chainrule as cr
    >>> cr.nn.functional.quantile_loss(cr.tensor([0.0, 0.0]), cr.tensor([1.0, -1.0]), 0.75, "none")
    tensor([0.7500, 0.2500])
    """
    if not 0 < quantile < 1:
        raise ArgumentError(f"quantile must lie between 0 and 1, got {quantile}")
    return elementwise_loss(
        input, target, None, name="quantile_loss", losses=_quantile, reduction=reduction, quantile=float(quantile)
    )


def _quantile(input: Any, target: Any, quantile: float) -> Any:
    error = operations.sub(target, input)
    return operations.maximum(operations.mul(error, quantile), operations.mul(error, quantile - 1))


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """-log of the Poisson probability of a count: e^x - y x for x = log of the rate, x - y log(x + eps) for a rate x.

    ``full`` adds Stirling's y log y - y + ½ log(2πy) for log y!, where y > 1.

    >>> import chainrule as cr
    >>> cr.nn.functional.poisson_nll_loss(cr.tensor([0.0]), cr.tensor([3.0])).item()
    1.0
    """
    return elementwise_loss(
        input, target, None, name="poisson_nll_loss", losses=_poisson_nll, reduction=reduction,
        log_input=bool(log_input), full=bool(full), eps=float(eps),
    )  # fmt: skip


def _poisson_nll(input: Any, target: Any, log_input: bool, full: bool, eps: float) -> Any:
    if log_input:
        losses = operations.sub(operations.exp(input), operations.mul(target, input))
    else:
        losses = operations.sub(input, operations.mul(target, operations.log(operations.add(input, eps))))
    if not full:
        return losses
    is_small = operations.le(target, 1)
    count = operations.where(is_small, 1.0, target)
    stirling = operations.add(
        operations.sub(operations.mul(count, operations.log(count)), count),
        operations.mul(operations.log(operations.mul(count, 2 * math.pi)), 0.5),
    )
    return operations.add(losses, operations.where(is_small, 0.0, stirling))


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """½ (log v + ε²/v) with the variance v = max(var, eps): -log of the normal density; ``full`` adds ½ log 2π.

    Shapes: target as the input, or 1 in some dimensions; var a number, as the input, without its last dimension, or
    with 1 in one dimension. Gradients pass var where it is below eps, as if it were not clamped.
    Errors: `ShapeError`, `ArgumentError` for a negative variance (NaN where it is not known beforehand).
    Source: Nix, Weigend 1994.

    >>> import chainrule as cr
    >>> cr.nn.functional.gaussian_nll_loss(cr.tensor([1.0]), cr.tensor([3.0]), cr.tensor([1.0])).item()
    2.0
    """
    var = as_handle(float(var) if isinstance(var, int) else var)
    found = find_refused(var, Allowed(0, math.inf))
    if found is not None:
        row, value = found
        raise ArgumentError(f"var has negative entry/entries: {value:g} in row {row}\n  where: {find_site()}")
    return _gaussian_nll_loss(input, target, var, full=bool(full), eps=float(eps), reduction=reduction)


@remembered
def _gaussian_nll_loss(input: Any, target: Any, var: Any, *, full: bool, eps: float, reduction: str) -> Any:
    check_reduction(reduction)
    shape, found = type_of(input).shape, type_of(target).shape
    if len(found) != len(shape) or any(b not in (a, 1) for a, b in zip(shape, found, strict=True)):
        raise ShapeError(
            f"gaussian_nll_loss got input of shape {shape} and target of shape {found}: the target must have the "
            f"input's shape, or 1 in some of its dimensions\n  where: {find_site()}"
        )
    var = _placed_variance(like(var, input), shape)
    clamped = operations.where(
        operations.lt(var, eps), operations.add(var, operations.reverse_subtract(var, eps).detach()), var
    )
    variance = operations.where(operations.lt(var, 0), math.nan, clamped)
    error = operations.square(operations.sub(input, like(target, input)))
    losses = operations.mul(operations.add(operations.log(variance), operations.div(error, variance)), 0.5)
    return reduced(operations.add(losses, 0.5 * math.log(2 * math.pi)) if full else losses, reduction)


def _placed_variance(var: Any, shape: tuple[int, ...]) -> Any:
    """``var`` in a form that broadcasts to ``shape``."""
    found = type_of(var).shape
    if found in (shape, ()):
        return var
    if found == shape[:-1]:
        return shaping.unsqueeze(var, -1)
    if len(found) == len(shape) and [b for a, b in zip(shape, found, strict=True) if a != b] == [1]:
        return var
    raise ShapeError(
        f"var is of incorrect size: {found} for input of shape {shape}; expected {shape}, {shape[:-1]}, or 1 in one "
        f"dimension\n  where: {find_site()}"
    )
