"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ..errors import ArgumentError
from ..tensor.inplace import write
from ..tensor.operations import sqrt
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed, write_running


class Adadelta(Optimizer):
    """Steps of lr · d, with d = √(u + ε) / √(s + ε) · g and running means s of g² and u of d².

    Both forget by ρ: s := ρ s + (1 - ρ) g². ``weight_decay`` λ adds λ p to the gradient; ``maximize`` climbs.
    Source: Zeiler 2012.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.Adadelta([w])
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9968, 0.9968])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, ignored)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        if not 0 <= options["rho"] <= 1:
            raise ArgumentError(f"Invalid rho value: {options['rho']}; it must lie in [0, 1]")

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for _, members in self.counted_in_state(gradients):
            self.record_each(members, partial(self._record, group))

    def _record(self, group: ParameterGroup, parameter: Any, gradient: Any) -> None:
        gradient = self.descent(group, parameter, gradient)
        rho, (square, accumulated) = group.number("rho"), self.state_of(parameter, "square_avg", "acc_delta")
        keep, share, epsilon = fixed(rho, square), fixed(1 - rho, square), fixed(group.number("eps"), square)
        write_running(square, square * keep + gradient * gradient * share)
        delta = sqrt(accumulated + epsilon) / sqrt(square + epsilon) * gradient
        write_running(accumulated, accumulated * keep + delta * delta * share)
        write(parameter, parameter - delta * group.rate)
