"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..tensor.inplace import write
from ..tensor.operations import maximum, sqrt
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed, write_running


class RMSprop(Optimizer):
    """Steps of lr · g / (√s + ε), with the running mean s := α s + (1 - α) g²; ``alpha`` is α.

    ``centered`` divides by √(s - m²) + ε, with the running mean m of g. A ``momentum`` μ > 0 steps along
    b := μ b + g / (√s + ε). ``weight_decay`` λ adds λ p to the gradient; ``maximize`` climbs.
    Sources: Tieleman, Hinton 2012; Graves 2013 (centred, with momentum).

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.RMSprop([w], lr=0.01)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, ignored)

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for _, members in self.counted_in_state(gradients):
            self.record_each(members, partial(self._record, group))

    def _record(self, group: ParameterGroup, parameter: Any, gradient: Any) -> None:
        gradient = self.descent(group, parameter, gradient)
        alpha, (square,) = group.number("alpha"), self.state_of(parameter, "square_avg")
        share = fixed(1 - alpha, square)
        write_running(square, square * fixed(alpha, square) + gradient * gradient * share)
        spread = square
        if group["centered"]:
            (mean,) = self.state_of(parameter, "grad_avg")
            write_running(mean, mean + (gradient - mean) * share)
            spread = maximum(square - mean * mean, fixed(0.0, square))  # a variance, but for rounding
        direction = gradient / (sqrt(spread) + fixed(group.number("eps"), square))
        if group["momentum"]:
            (buffer,) = self.state_of(parameter, "momentum_buffer")
            write_running(buffer, buffer * fixed(group.number("momentum"), buffer) + direction)
            direction = buffer
        write(parameter, parameter - direction * group.rate)
