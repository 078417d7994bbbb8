"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import abs, maximum
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed, write_running


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the mean square: steps of lr / (1 - β₁ᵗ) · m / u at step t.

    m := β₁ m + (1 - β₁) g, u := max(β₂ u, |g| + ε). ``weight_decay`` λ adds λ p to the gradient; ``maximize`` climbs.
    Source: Kingma, Ba 2014, section 7.1.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for counter, members in self.counted_in_state(gradients, self.betas_of(group)):
            self.record_each(members, partial(self._record, group, group.rate / (1 - counter.powers[0])))

    def _record(self, group: ParameterGroup, rate: Any, parameter: Any, gradient: Any) -> None:
        gradient = self.descent(group, parameter, gradient)
        first_beta, second_beta = group.number("betas")
        mean, largest = self.state_of(parameter, "exp_avg", "exp_inf")
        write_running(mean, mean + (gradient - mean) * fixed(1 - first_beta, mean))
        size = abs(gradient) + fixed(group.number("eps"), largest)
        write(largest, maximum(largest * fixed(second_beta, largest), size))
        write(parameter, parameter - mean * rate / largest)
