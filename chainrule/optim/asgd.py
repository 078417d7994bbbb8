"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from ..tensor.inplace import write
from ..tensor.operations import maximum, pow, where
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class ASGD(Optimizer):
    """p := p · (1 - λ ηₜ) - ηₜ g, with the mean ``state[p]["ax"]`` of p from step ``t0`` on.

    η₁ = lr, ηₜ₊₁ = lr / (1 + λ lr t)^α; ``lambd`` is λ, ``alpha`` is α. ``weight_decay`` adds to the gradient as
    everywhere; ``maximize`` climbs.
    Source: Polyak, Juditsky 1992.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.ASGD([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.8000, 0.8000])
    """

    shared: ClassVar[dict[str, float]] = {"eta": -1.0, "mu": 1.0}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for counter, members in self.counted_in_state(gradients):
            steps, share, rate = counter.steps, counter.numbers["mu"], counter.numbers["eta"]
            eta = where(rate < 0, group.rate, rate)
            shrink = 1 - eta * fixed(group.number("lambd"), eta)
            self.record_each(members, partial(self._record, group, eta, shrink, share))
            growth = 1 + group.rate * steps * fixed(group.number("lambd"), steps)
            write(rate, group.rate / pow(growth, fixed(group.number("alpha"), steps)))
            write(share, 1 / maximum(steps - fixed(group.number("t0"), steps), fixed(1, steps)))

    def _record(self, group: ParameterGroup, eta: Any, shrink: Any, share: Any, parameter: Any, gradient: Any) -> None:
        gradient = self.descent(group, parameter, gradient)
        (mean,) = self.state_of(parameter, "ax")
        write(parameter, parameter * shrink - gradient * eta)
        write(mean, mean + (parameter - mean) * share)
