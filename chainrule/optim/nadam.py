"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from ..tensor.inplace import write
from ..tensor.operations import pow, sqrt
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: steps of lr · ((1 - μₜ) / (1 - Πₜ) g + μₜ₊₁ / (1 - Πₜ μₜ₊₁) m) / (√v̂ + ε).

    μₜ = β₁ (1 - ½ · 0.96^(t ψ)) with ψ = ``momentum_decay``, Πₜ = μ₁ ··· μₜ; m, v and v̂ as in `Adam`.
    ``weight_decay`` λ adds λ p to the gradient, or, if decoupled, shrinks p by lr · λ · p; ``maximize`` climbs.
    Source: Dozat 2016.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.8944, 0.8944])
    """

    shared: ClassVar[dict[str, float]] = {"mu_product": 1.0}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        first_beta, _ = group.number("betas")
        for counter, members in self.counted_in_state(gradients, self.betas_of(group)):
            product, steps = counter.numbers["mu_product"], counter.steps
            momentum, following = (
                first_beta * (1 - 0.5 * pow(fixed(0.96, steps), t * fixed(group.number("momentum_decay"), steps)))
                for t in (steps, steps + 1)
            )
            write(product, product * momentum)
            root = sqrt(1 - counter.powers[1])
            of_gradient = group.rate * root * (1 - momentum) / (1 - product)
            of_mean = group.rate * root * following / (1 - product * following)
            epsilon = root * fixed(group.number("eps"), root)
            self.record_each(members, partial(self._record, group, of_gradient, of_mean, epsilon))

    def _record(
        self, group: ParameterGroup, of_gradient: Any, of_mean: Any, epsilon: Any, parameter: Any, gradient: Any
    ) -> None:
        gradient = self.descent(group, parameter, gradient)
        mean, square = self.write_moments(group, parameter, gradient)
        change = (gradient * of_gradient + mean * of_mean) / (sqrt(square) + epsilon)
        write(parameter, self.decayed(group, parameter) - change)
