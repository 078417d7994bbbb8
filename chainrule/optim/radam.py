"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import sqrt, where
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class RAdam(Optimizer):
    """Adam whose adaptive rate is rectified: steps of lr · r · m̂ / (√v̂ + ε), and of lr · m̂ while ρₜ ≤ 5.

    ρ∞ = 2 / (1 - β₂) - 1, ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ), r² = (ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ); m̂, v̂ as in
    `Adam`. ``weight_decay`` λ adds λ p to the gradient, or, if decoupled, shrinks p by lr · λ · p; ``maximize`` climbs.
    Source: Liu et al. 2019.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.8000, 0.8000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        _, second_beta = group.number("betas")
        for counter, members in self.counted_in_state(gradients, self.betas_of(group)):
            first_power, second_power = counter.powers
            limit = 2 / (1 - second_beta) - 1
            length = limit - 2 * counter.steps * second_power / (1 - second_power)
            is_rectified = length > 5
            ratio = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
            rectifier = sqrt(where(is_rectified, ratio, fixed(1, ratio)) * (1 - second_power))
            rate = group.rate / (1 - first_power)
            self.record_each(members, partial(self._record, group, rate, is_rectified, rectifier))

    def _record(
        self, group: ParameterGroup, rate: Any, is_rectified: Any, rectifier: Any, parameter: Any, gradient: Any
    ) -> None:
        gradient = self.descent(group, parameter, gradient)
        mean, square = self.write_moments(group, parameter, gradient)
        adapted = fixed(rectifier, square) / (sqrt(square) + fixed(group.number("eps"), square))
        factor = where(is_rectified, adapted, fixed(1, square))
        write(parameter, self.decayed(group, parameter) - mean * rate * factor)
