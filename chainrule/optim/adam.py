"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import maximum, sqrt
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class Adam(Optimizer):
    """Steps of lr · m̂ / (√v̂ + ε), with running means m of the gradient g and v of g², freed of their bias to 0.

    m := β₁ m + (1 - β₁) g, v := β₂ v + (1 - β₂) g², m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ) at step t.
    ``weight_decay`` λ adds λ p to the gradient, or, if decoupled (`AdamW`), shrinks p by lr · λ · p.
    ``amsgrad`` divides by the largest v so far; ``maximize`` climbs.
    Sources: Kingma, Ba 2014; Reddi et al. 2018 (amsgrad); Loshchilov, Hutter 2017 (decoupled decay).

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for counter, members in self.counted_in_state(gradients, self.betas_of(group)):
            first_power, second_power = counter.powers
            # lr · m̂ / (√v̂ + ε) with both corrections moved into numbers: one division per element.
            root = sqrt(1 - second_power)
            rate = group.rate * root / (1 - first_power)
            epsilon = root * fixed(group.number("eps"), root)
            self.record_each(members, partial(self._record, group, rate, epsilon))

    def _record(self, group: ParameterGroup, rate: Any, epsilon: Any, parameter: Any, gradient: Any) -> None:
        gradient = self.descent(group, parameter, gradient)
        mean, square = self.write_moments(group, parameter, gradient)
        if group["amsgrad"]:
            (largest,) = self.state_of(parameter, "max_exp_avg_sq")
            write(largest, maximum(largest, square))
            square = largest
        write(parameter, self.decayed(group, parameter) - mean * rate / (sqrt(square) + epsilon))


class AdamW(Adam):
    """`Adam` with decoupled weight decay: p shrinks by lr · λ · p, beside the step. Source: Loshchilov, Hutter 2017."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        options = {"maximize": maximize, "decoupled_weight_decay": True, **ignored}
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
