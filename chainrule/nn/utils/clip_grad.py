"""Limiting gradients before a step. Inside `chainrule.compile` this is part of the program, in a loop it is recorded.

Every function changes ``parameter.grad`` in place and passes over parameters without a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ...errors import ArgumentError, NonFiniteError
from ...tensor.creation import tensor
from ...tensor.events import held_gradient
from ...tensor.gradmode import no_grad
from ...tensor.operations import clamp, sqrt
from ...tensor.recording import Handle
from ...tensor.reductions import norm
from ...tensor.shaping import stack


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Any:
    """Return the norm of tensors as if all were one vector: (Σ |x|^p)^(1/p) with p = ``norm_type``, or the largest |x|.

    ``foreach`` is accepted and has no effect. Errors: `NonFiniteError` for a norm that is not finite, if asked for.

    >>> import chainrule as cr
    >>> cr.nn.utils.get_total_norm([cr.tensor([3.0]), cr.tensor([0.0, 4.0])])
    tensor(5.)
    """
    order = float(norm_type)
    with no_grad():
        total = _norm(_listed(tensors), order)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise NonFiniteError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "fix: look for the cause with chainrule.debug(), or pass error_if_nonfinite=False"
        )
    return total


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale all gradients by max_norm / (total norm + 1e-6) if that is below 1; return the total norm before.

    Source: Pascanu, Mikolov, Bengio 2012, "On the difficulty of training recurrent neural networks".

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.tensor([3.0, 4.0]))
    >>> (w * w).sum().backward()
    >>> cr.nn.utils.clip_grad_norm_([w], max_norm=1.0), w.grad
    (tensor(10.), tensor([0.6000, 0.8000]))
    """
    members = _listed(parameters)
    total = get_total_norm(_gradients(members), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(members, max_norm, total)
    return total


def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Any, foreach: bool | None = None) -> None:
    """Scale all gradients by max_norm / (total_norm + 1e-6) if that is below 1."""
    gradients = _gradients(_listed(parameters))
    _check_limit("max_norm", max_norm)
    with no_grad():
        factor = clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)


def clip_grad_norm_each_(parameters: Any, max_norm: float, norm_type: float = 2.0) -> list[Any]:
    """Scale each parameter's gradient on its own so that its norm is at most ``max_norm``; return the norms before.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.tensor([3.0, 4.0]))
    >>> (w * w).sum().backward()
    >>> cr.nn.utils.clip_grad_norm_each_([w], max_norm=1.0), w.grad
    ([tensor(10.)], tensor([0.6000, 0.8000]))
    """
    members = [parameter for parameter in _listed(parameters) if held_gradient(parameter) is not None]
    norms = [get_total_norm(gradient, norm_type) for gradient in _gradients(members)]
    for parameter, total in zip(members, norms, strict=True):
        clip_grads_with_norm_(parameter, max_norm, total)
    return norms


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value].

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.tensor([3.0, 0.25]))
    >>> (w * w).sum().backward()
    >>> cr.nn.utils.clip_grad_value_([w], 1.0); w.grad
    tensor([1.0000, 0.5000])
    """
    _check_limit("clip_value", clip_value)
    with no_grad():
        for gradient in _gradients(_listed(parameters)):
            gradient.clamp_(-float(clip_value), float(clip_value))


def _listed(tensors: Any) -> list[Any]:
    members: Iterable[Any] = [tensors] if isinstance(tensors, Handle) else list(tensors)
    for member in members:
        if not isinstance(member, Handle):
            raise ArgumentError(f"clipping expects tensors, but one of them is {type(member).__name__}")
    return list(members)


def _gradients(parameters: list[Any]) -> list[Any]:
    found = (held_gradient(parameter) for parameter in parameters)
    return [gradient for gradient in found if gradient is not None]


def _check_limit(name: str, value: float) -> None:
    if not float(value) >= 0:
        raise ArgumentError(f"{name} must be at least 0, got {value}")


def _norm(tensors: list[Any], order: float) -> Any:
    if not tensors:
        return tensor(0.0)
    if order == 2:  # one root for all
        squares = [(each * each).sum() for each in tensors]
        return sqrt(sum(squares[1:], squares[0]))
    return norm(stack([norm(each, order) for each in tensors]), order)
