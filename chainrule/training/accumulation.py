"""Gradient accumulation: several batches make one update together, as one batch with all their rows would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..optim.state import memory_of, state_like, state_number
from ..tensor.creation import zeros_like
from ..tensor.gradmode import no_grad
from ..tensor.inplace import write
from ..tensor.operations import eq, where
from ..tensor.recording import make_slot
from ..types import float64
from .steps import Group, TrainingStep, count_batch


class Mean:
    """Σ c · v / Σ c over batches, with a value v of each and the count c that it is a mean over; and its gradient.

    The sums lie in native memory, where the programs of the batches add to them.
    """

    def __init__(self) -> None:
        self._value, self._count = state_number(0.0), state_number(0.0)
        self._gradients: dict[Any, Any] = {}

    def add(self, value: Any, count: Any, parameters: Sequence[Any]) -> None:
        """Record adding a batch, and take the gradients. Without a count (None) the value is a sum, and so is ours."""
        weighted = value if count is None else value * count
        weighted.backward()
        with no_grad():
            self._value.add_(weighted.detach().to(float64))
            if count is not None:
                self._count.add_(count)
            for parameter in parameters:
                gradient, parameter.grad = parameter.grad, None
                if gradient is not None:
                    total = self._total(parameter)
                    write(total, total + gradient)

    def value(self) -> Any:
        """The mean, or the sum."""
        return self._divided(self._value)

    def gradients(self) -> dict[Any, Any]:
        """The gradient for every parameter that has had one."""
        return {parameter: self._divided(total) for parameter, total in self._gradients.items()}

    def sums(self) -> list[Any]:
        """What is 0 before the first batch."""
        return [self._value, self._count, *self._gradients.values()]

    def _total(self, parameter: Any) -> Any:
        if parameter not in self._gradients:
            self._gradients[parameter] = state_like(parameter)
            make_slot(self._gradients[parameter])
        return self._gradients[parameter]

    def _divided(self, total: Any) -> Any:
        count = where(eq(self._count, 0), 1.0, self._count)  # of a sum, or where no row has a weight
        return total / count.to(total.dtype)


class Accumulation:
    """What a group of ``batches`` has added up: the loss and the penalty, which are means over different things."""

    def __init__(self) -> None:
        self.batches = 1
        self.loss, self.penalty = Mean(), Mean()

    def gradients(self) -> dict[Any, Any]:
        """The gradient of loss and penalty together, for every parameter that has had one."""
        found = self.loss.gradients()
        for parameter, gradient in self.penalty.gradients().items():
            found[parameter] = found[parameter] + gradient if parameter in found else gradient
        return found

    def sums(self) -> list[Any]:
        """What is 0 before the first batch."""
        return [*self.loss.sums(), *self.penalty.sums()]


class AccumulatingStep(TrainingStep):
    """A step in two programs: one that a batch runs, which adds to the sums, and the update that uses them."""

    def __init__(self, accumulation: Accumulation, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._accumulation = accumulation
        self._group = Group(accumulation.batches, self._run_update)

    def run(self, advance: Callable[[int], None]) -> None:
        """Train on all rows once; a group that an earlier training has not finished is forgotten."""
        for total in self._accumulation.sums():
            memory_of(total)[...] = 0
        self.data.run(self, advance, self._group)

    def __call__(self, size: int) -> None:
        """Record adding the next ``size`` rows."""
        batch = self._forward(size)
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        count = self.objective.count(batch.output, batch.target, batch.weights)
        self._accumulation.loss.add(batch.loss, count, parameters)
        if batch.penalty is not None:
            self._accumulation.penalty.add(batch.penalty, batch.output.shape[0], parameters)
        count_batch(self.objective, self.data, batch)

    def _run_update(self) -> None:
        sums = self._accumulation.sums()  # more of them if a parameter has its first gradient
        self.data.loop(partial(self._record_update, sums), 0, ("update", len(sums))).run(1)

    def _record_update(self, sums: Sequence[Any], size: int) -> None:
        self.optimizer.zero_grad()
        with no_grad():
            for parameter, gradient in self._accumulation.gradients().items():
                parameter.grad = gradient if parameter.requires_grad else None  # it may have been frozen since
            loss = self._accumulation.loss.value()
        self._update(loss)
        for total in sums:
            write(total, zeros_like(total))
