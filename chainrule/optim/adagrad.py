"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import sqrt
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class Adagrad(Optimizer):
    """Steps of lr / (1 + (t - 1) · lr_decay) · g / (√s + ε) at step t, with the sum s of all g² so far.

    s starts at ``initial_accumulator_value``. ``weight_decay`` λ adds λ p to the gradient; ``maximize`` climbs.
    Source: Duchi, Hazan, Singer 2011.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for counter, members in self.counted_in_state(gradients):
            rate = group.rate
            if group["lr_decay"]:
                rate = rate / (1 + (counter.steps - 1) * fixed(group.number("lr_decay"), rate))
            self.record_each(members, partial(self._record, group, rate))

    def _record(self, group: ParameterGroup, rate: Any, parameter: Any, gradient: Any) -> None:
        gradient = self.descent(group, parameter, gradient)
        (total,) = self.state_of(parameter, "sum", value=group["initial_accumulator_value"])
        write(total, total + gradient * gradient)
        write(parameter, parameter - gradient * rate / (sqrt(total) + fixed(group.number("eps"), total)))
