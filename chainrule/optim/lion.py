"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import sign
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed, write_running


class Lion(Optimizer):
    """Steps of equal size: p := p - lr · (sign(β₁ m + (1 - β₁) g) + λ p), then m := β₂ m + (1 - β₂) g.

    λ is ``weight_decay``, always decoupled; ``maximize`` climbs. Rates are 3 to 10 times smaller than those of `AdamW`,
    and weight decays larger by the same factor.
    Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", program 1.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.Lion([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    shows_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        self.record_each(gradients.items(), partial(self._record, group))

    def _record(self, group: ParameterGroup, parameter: Any, gradient: Any) -> None:
        first_beta, second_beta = group.number("betas")
        (mean,) = self.state_of(parameter, "exp_avg")
        change = (-gradient if group["maximize"] else gradient) - mean
        direction = sign(mean + change * fixed(1 - first_beta, mean))
        write(parameter, self.decayed(group, parameter) - direction * group.rate)
        write_running(mean, mean + change * fixed(1 - second_beta, mean))
