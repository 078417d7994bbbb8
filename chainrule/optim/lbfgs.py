"""L-BFGS, for full batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, did_you_mean
from ..tensor.gradmode import enable_grad
from ..tensor.operands import from_array
from .flat import FlatParameters, Vector
from .inverse_hessian import InverseHessian
from .line_search import Point, strong_wolfe
from .optimizer import Optimizer

MIN_CURVATURE = 1e-10
"""Pairs of step and gradient change whose product is not above this are left out, as in PyTorch."""


class LBFGS(Optimizer):
    """Quasi-Newton steps x := x - t · H g for full batches; ``step(closure)`` makes up to ``max_iter`` of them.

    - ``lr``: the step t, or with ``line_search_fn="strong_wolfe"`` the first t that is tried. In the very first
      iteration it is scaled by 1 / Σ|g| if that is below 1.
    - ``max_eval``: evaluations of the closure per step; 1.25 · max_iter by default.
    - ``tolerance_grad``: stop where no |g| is larger. ``tolerance_change``: stop where the loss, or every parameter,
      changes less. ``history_size``: pairs of vectors kept.

    The closure clears the gradients, computes the loss, calls backward and returns the loss. There is one parameter
    group. Vectors are float64, whatever the parameters are.
    Errors: `ArgumentError` without a closure.
    Source: Liu, Nocedal 1989, "On the limited memory BFGS method".

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter(cr.tensor([3.0, -2.0]))
    >>> optimizer = cr.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - cr.tensor([1.0, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    tensor(20., grad_fn=<sum>)
    >>> w.detach()
    tensor([1.0000, 2.0000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        self._start_anew()

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Only one group is possible."""
        if self.param_groups:
            raise ArgumentError("LBFGS doesn't support per-parameter options (parameter groups)")
        super().add_param_group(param_group)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        search = options["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            hint = did_you_mean(search, ["strong_wolfe"])
            raise ArgumentError(f"only 'strong_wolfe' is supported as line_search_fn, got {search!r}{hint}")
        for name in ("max_iter", "history_size"):
            if options[name] < 1:
                raise ArgumentError(f"Invalid {name}: {options[name]}; it must be at least 1")

    def _options_changed(self) -> None:
        """Python reads the options: no program depends on them."""

    def _start_anew(self) -> None:
        self.evaluations = self.iterations = 0
        self._inverse: InverseHessian | None = None
        self._direction = self._gradient = np.empty(0)
        self._t = self._width = 0.0  # _width is the largest element of the direction

    # One step: iterations until something ends it ------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to ``max_iter`` iterations, each of one or more calls of ``closure``; return the first loss."""
        if closure is None:
            raise ArgumentError(
                "LBFGS.step() is missing the closure that computes the loss anew. fix: optimizer.step(closure), where "
                "closure() calls zero_grad(), backward() and returns the loss"
            )
        options = self.param_groups[0]
        self.has_stepped = True
        flat = FlatParameters(options["params"])
        first_loss = _call(closure)
        value, gradient = float(first_loss), flat.gradient()
        evaluations = 1
        if _largest(gradient) > options["tolerance_grad"]:
            position = flat.position()
            for iteration in range(1, options["max_iter"] + 1):
                origin = self._turn(value, gradient)
                if origin.slope > -options["tolerance_change"]:
                    break
                is_last = iteration == options["max_iter"]
                line = _Line(flat, closure, position, self._direction)
                point, used = self._advance(line, origin, is_last, options["max_eval"] - evaluations)
                position = line.end_at(point.t)
                evaluations += used
                before, value, gradient, self._t = value, float(point.value), point.gradient, float(point.t)
                if evaluations >= options["max_eval"] or self._has_converged(before, value, gradient):
                    break
        self.evaluations += evaluations
        return first_loss

    def _turn(self, value: float, gradient: Vector) -> Point:
        """Learn from the last iteration, choose the next direction, and return where it starts."""
        if self._inverse is None:
            self._inverse = InverseHessian(len(gradient), self.param_groups[0]["history_size"])
        else:
            step, change = self._t * self._direction, gradient - self._gradient
            if step.dot(change) > MIN_CURVATURE:
                self._inverse.append(step, change)
        direction = -(self._inverse @ gradient)
        self._direction, self._width, self._gradient = direction, _largest(direction), gradient
        self.iterations += 1
        return Point(0.0, np.float64(value), gradient.dot(direction), gradient)

    def _advance(self, line: _Line, origin: Point, is_last: bool, limit: int) -> tuple[Point, int]:
        """Find the next point along the direction, and how many evaluations that took."""
        options = self.param_groups[0]
        t = float(options["lr"])
        if self.iterations == 1:
            t *= min(1.0, 1.0 / float(np.abs(origin.gradient).sum()))
        if options["line_search_fn"] is not None:
            return strong_wolfe(line.evaluate, origin, t, self._width, options["tolerance_change"], limit)
        if is_last:  # nobody looks at the value that it would have
            return Point(t, origin.value, origin.slope, origin.gradient), 0
        return line.evaluate(t), 1

    def _has_converged(self, before: float, value: float, gradient: Vector) -> bool:
        options = self.param_groups[0]
        smallest = options["tolerance_change"]
        return (
            _largest(gradient) <= options["tolerance_grad"]
            or abs(self._t) * self._width <= smallest
            or abs(value - before) < smallest
        )

    # Saving ----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Options and state in PyTorch's form."""
        saved = super().state_dict()
        if self._inverse is not None:
            steps, changes = self._inverse.pairs()
            saved["state"][0] = {
                "func_evals": self.evaluations, "n_iter": self.iterations, "d": from_array(self._direction),
                "t": self._t, "old_dirs": [from_array(y) for y in changes], "old_stps": [from_array(s) for s in steps],
                "ro": [1 / float(s @ y) for s, y in zip(steps, changes, strict=True)], "H_diag": self._inverse.scale,
                "prev_flat_grad": from_array(self._gradient),
            }  # fmt: skip
        return saved

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({**state_dict, "state": {}})
        self._start_anew()
        saved = state_dict["state"].get(0)
        if saved is None or saved.get("d") is None:
            return
        self.evaluations, self.iterations, self._t = saved["func_evals"], saved["n_iter"], float(saved["t"])
        self._direction, self._gradient = (np.asarray(saved[name], float) for name in ("d", "prev_flat_grad"))
        self._inverse = InverseHessian(len(self._gradient), self.param_groups[0]["history_size"])
        for step, change in zip(saved["old_stps"], saved["old_dirs"], strict=True):
            self._inverse.append(np.asarray(step, float), np.asarray(change, float))


class _Line:
    """The line through ``position`` along ``direction``, on which the closure is evaluated."""

    def __init__(self, flat: FlatParameters, closure: Callable[[], Any], position: Vector, direction: Vector) -> None:
        self._flat, self._closure = flat, closure
        self._position, self._direction = position, direction
        self._t: Any = None  # where the parameters are
        self._here = position

    def evaluate(self, t: Any) -> Point:
        """Move the parameters to ``t`` and call the closure there."""
        self._move_to(t)
        value = np.float64(float(_call(self._closure)))
        gradient = self._flat.gradient()
        return Point(np.float64(t), value, gradient.dot(self._direction), gradient)

    def end_at(self, t: Any) -> Vector:
        """Leave the parameters at ``t``, and return that position."""
        if t != self._t:
            self._move_to(t)
        return self._here

    def _move_to(self, t: Any) -> None:
        self._t, self._here = t, self._position + t * self._direction
        self._flat.move_to(self._here)


def _call(closure: Callable[[], Any]) -> Any:
    with enable_grad():
        return closure()


def _largest(vector: Vector) -> float:
    return float(np.maximum.reduce(np.abs(vector), initial=0.0))
