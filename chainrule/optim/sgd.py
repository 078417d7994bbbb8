"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ..errors import ArgumentError
from ..tensor.inplace import write
from ..tensor.operations import where
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed, write_running


class SGD(Optimizer):
    """p := p - lr · d, with d = g, or with momentum μ the velocity v := μ v + (1 - dampening) g, v = g at first.

    ``weight_decay`` λ adds λ p to the gradient; ``nesterov`` steps along g + μ v; ``maximize`` climbs. With
    ``dampening=momentum`` v is the running mean v := μ v + (1 - μ) g.
    Sources: Polyak 1964; Sutskever et al. 2013 (Nesterov).

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.8000, 0.8000])
    """

    shows_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ArgumentError("Nesterov momentum requires a momentum and zero dampening")

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        if group["momentum"] and group["dampening"]:
            for counter, members in self.counted(gradients):
                pairs = [(parameter, gradients[parameter]) for parameter in members]
                self.record_each(pairs, partial(self._record, group, counter.steps == 1))
        else:
            self.record_each(gradients.items(), partial(self._record, group, None))

    def _record(self, group: ParameterGroup, is_first: Any, parameter: Any, gradient: Any) -> None:
        direction = self.descent(group, parameter, gradient)
        if group["momentum"]:
            momentum = fixed(group.number("momentum"), parameter)
            (velocity,) = self.state_of(parameter, "momentum_buffer")
            added = direction
            if is_first is not None:
                share = where(is_first, fixed(1, parameter), fixed(1 - group.number("dampening"), parameter))
                added = direction * share
            write_running(velocity, velocity * momentum + added)
            direction = direction + velocity * momentum if group["nesterov"] else velocity
        write(parameter, parameter - direction * group.rate)
