"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ..errors import ArgumentError
from ..tensor.inplace import write
from ..tensor.operations import clamp, sign, where
from .optimizer import Gradients, Optimizer, ParameterGroup
from .state import fixed


class Rprop(Optimizer):
    """Steps that depend on the signs of gradients only: p := p - sign(g) · Δ, with a step size Δ for every element.

    Δ starts at lr. Where the gradient keeps its sign Δ grows by η⁺; where it changes Δ shrinks by η⁻ and the element
    waits a step. ``etas`` is (η⁻, η⁺), ``step_sizes`` limits Δ; ``maximize`` climbs. For full batches.
    Source: Riedmiller, Braun 1993, without weight backtracking.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.ones(2))
    >>> optimizer = cr.optim.Rprop([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {"lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes), "maximize": maximize}
        super().__init__(params, defaults, ignored)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        shrink, grow = options["etas"]
        if not 0 < shrink < 1 < grow:
            raise ArgumentError(f"Invalid eta values: {shrink}, {grow}; expected 0 < first < 1 < second")

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for _, members in self.counted_in_state(gradients):
            self.record_each(members, partial(self._record, group))

    def _record(self, group: ParameterGroup, parameter: Any, gradient: Any) -> None:
        (before,) = self.state_of(parameter, "prev")
        (size,) = self.state_of(parameter, "step_size", value=group["lr"])
        if group["maximize"]:
            gradient = -gradient
        agreement = gradient * before
        has_turned = agreement < 0
        shrink, grow = (fixed(eta, size) for eta in group.number("etas"))
        factor = where(has_turned, shrink, where(agreement > 0, grow, fixed(1, size)))
        write(size, clamp(size * factor, *(fixed(limit, size) for limit in group.number("step_sizes"))))
        followed = where(has_turned, fixed(0, gradient), gradient)
        write(parameter, parameter - sign(followed) * size)
        write(before, followed)
