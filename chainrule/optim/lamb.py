"""LAMB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import sqrt, where
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class LAMB(Optimizer):
    """Adam with a step in proportion to the parameter: p := p - lr · (‖p‖ / ‖r‖) · r, r = m̂ / (√v̂ + ε) + λ p.

    Norms are over one parameter (a layer's weight, its bias); their ratio counts as 1 where one of them is 0. m̂ and v̂
    as in `Adam`, λ is ``weight_decay``; ``maximize`` climbs. For large batches.
    Source: You et al. 2019, "Large Batch Optimization for Deep Learning", algorithm 2 with φ(z) = z.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.LAMB([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for counter, members in self.counted(gradients, self.betas_of(group)):
            self.note_steps(members)
            first_power, second_power = counter.powers
            root = sqrt(1 - second_power)
            factor = root / (1 - first_power)
            for parameter in members:
                gradient = -gradients[parameter] if group["maximize"] else gradients[parameter]
                self._record(group, parameter, gradient, factor, root)

    def _record(self, group: ParameterGroup, parameter: Any, gradient: Any, factor: Any, root: Any) -> None:
        mean, square = self.write_moments(group, parameter, gradient)
        direction = mean * factor / (sqrt(square) + root * fixed(group.number("eps"), root))
        if group["weight_decay"]:
            direction = direction + parameter * fixed(group.number("weight_decay"), parameter)
        size, length = (sqrt((each * each).sum()) for each in (parameter, direction))
        trust = where((size > 0).logical_and(length > 0), size / length, fixed(1, size))
        write(parameter, parameter - direction * (fixed(group.rate, trust) * trust))
