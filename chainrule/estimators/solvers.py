"""What changes the weights: scikit-learn's rules of Adam and of gradient descent, and any optimiser by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..errors import ArgumentError, did_you_mean
from ..optim import Adam, Optimizer
from ..optim.optimizer import Gradients, ParameterGroup
from ..optim.state import fixed
from ..tensor.inplace import write
from ..tensor.operations import sqrt
from ..training.names import OPTIMIZERS, find_optimizer

OWN = ("sgd", "adam", "lbfgs")
"""The solvers of scikit-learn."""


class PlainAdam(Adam):
    """`Adam` with ε beside √v, not beside √v̂: p := p - lr √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε).

    The cheaper form at the end of section 2 of Kingma, Ba 2014, which scikit-learn has.
    """

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for counter, members in self.counted_in_state(gradients, self.betas_of(group)):
            first_power, second_power = counter.powers
            rate = group.rate * sqrt(1 - second_power) / (1 - first_power)
            epsilon = fixed(group.number("eps"), rate)
            self.record_each(members, partial(self._record, group, rate, epsilon))


class Momentum(Optimizer):
    """Velocities with the rate inside: v := μ v - lr · g, p := p + v, or with Nesterov's momentum p + μ v - lr · g.

    At a constant rate `chainrule.optim.SGD` does the same; where the rate changes, what was gathered before keeps the
    old one, as in scikit-learn. The momentum is a run-time value, 0 included.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov})
        for group in self.param_groups:
            group.variable("momentum")

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        self.record_each(gradients.items(), partial(self._record, group))

    def _record(self, group: ParameterGroup, parameter: Any, gradient: Any) -> None:
        momentum, step = fixed(group.number("momentum"), parameter), gradient * fixed(group.rate, parameter)
        (velocity,) = self.state_of(parameter, "velocity")
        after = velocity * momentum - step
        write(velocity, after)
        write(parameter, parameter + (after * momentum - step if group["nesterov"] else after))


class GradientReader(Optimizer):
    """Leaves the parameters as they are, and their gradients in the state: for rules that live outside the program."""

    def __init__(self, params: Iterable[Any]) -> None:
        super().__init__(params, {"lr": 0.0})

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        for parameter, gradient in gradients.items():
            (kept,) = self.state_of(parameter, "gradient")
            write(kept, gradient)


Make = Callable[[list[Any]], Optimizer]


def find_solver(estimator: Any) -> tuple[Any, Make]:
    """A key, equal for solvers of one program, and what makes the optimiser that an estimator's options describe.

    The rate, and the momentum of ``"sgd"``, are run-time values and not part of the key.
    Errors: `ArgumentError` for an unknown name.
    """
    solver = estimator.solver
    if solver == "adam":
        options = estimator.beta_1, estimator.beta_2, estimator.epsilon
        return ("adam", *options), lambda p: PlainAdam(p, betas=options[:2], eps=options[2])
    if solver == "sgd":
        nesterov = bool(estimator.nesterovs_momentum)
        return ("sgd", nesterov), lambda p: Momentum(p, 0.0, 0.0, nesterov)
    if solver == "lbfgs":
        return "lbfgs", GradientReader
    if callable(solver):
        return (solver,), solver
    if solver not in OPTIMIZERS:
        known = list(dict.fromkeys([*OWN, *OPTIMIZERS]))
        raise ArgumentError(f"unknown solver {solver!r}{did_you_mean(solver, known)}; expected one of {known}")
    rate = float(estimator.learning_rate_init)

    def make(parameters: list[Any]) -> Optimizer:
        optimizer: Optimizer = find_optimizer(solver, parameters)
        optimizer.param_groups[0]["lr"] = rate
        return optimizer

    return (solver, rate), make  # with the rate: the state of some rules begins with it
