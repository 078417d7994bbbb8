"""L-BFGS, for full batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, did_you_mean
from ..tensor.events import held_gradient
from ..tensor.gradmode import enable_grad
from ..tensor.operands import from_array
from ..tensor.recording import note_write
from ..tensor.segment import flush
from .line_search import Point, strong_wolfe
from .optimizer import Optimizer
from .state import memory_of

Vector = np.ndarray[Any, np.dtype[np.float64]]

MIN_CURVATURE = 1e-10
"""Pairs of step and gradient change whose product is not above this are left out, as in PyTorch."""


class InverseHessian:
    """The inverse Hessian as the last steps s and gradient changes y tell it: H = γ I + corrections, γ = s·y / y·y.

    In the compact form a product costs four passes over the vectors, whatever their number; with P = Sᵀg, Q = Yᵀg,
    u = R⁻¹P: H g = γ g + S R⁻ᵀ((D + γ YᵀY) u - γ Q) - γ Y u, where R is the upper triangle of SᵀY and D its diagonal.
    Source: Byrd, Nocedal, Schnabel 1994, "Representations of quasi-Newton matrices", theorem 2.2.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.limit = limit
        self.scale = 1.0
        self.order: list[int] = []  # rows of steps and changes, oldest first
        self._steps = np.empty((0, size))
        self._changes = np.empty((0, size))
        self._inverse = np.empty((0, 0))  # R⁻¹
        self._products = np.empty((0, 0))  # YᵀY
        self._curvatures = np.empty(0)  # D

    def pairs(self) -> tuple[Vector, Vector]:
        """Steps and gradient changes as rows, oldest first."""
        return self._steps[self.order], self._changes[self.order]

    def append(self, step: Vector, change: Vector) -> None:
        """Take in a pair with positive curvature, in place of the oldest if there are enough."""
        curvature, square = float(step @ change), float(change @ change)
        if len(self.order) == self.limit:
            row = self.order.pop(0)
            self._inverse, self._products = self._inverse[1:, 1:], self._products[1:, 1:]
            self._curvatures = self._curvatures[1:]
        else:
            row = len(self.order)
            self._reserve(row + 1)
        above = -(self._inverse @ (self._steps @ change)[self.order]) / curvature
        beside = (self._changes @ change)[self.order]
        self.order.append(row)
        self._inverse = _bordered(self._inverse, above, np.zeros_like(above), 1 / curvature)
        self._products = _bordered(self._products, beside, beside, square)
        self._curvatures = np.append(self._curvatures, curvature)
        self._steps[row], self._changes[row] = step, change
        self.scale = curvature / square

    def __matmul__(self, vector: Vector) -> Vector:
        if not self.order:
            return self.scale * vector
        order, scale = self.order, self.scale
        u = self._inverse @ (self._steps @ vector)[order]
        inner = self._curvatures * u + scale * (self._products @ u - (self._changes @ vector)[order])
        of_steps, of_changes = np.zeros((2, len(self._steps)))
        of_steps[order], of_changes[order] = inner @ self._inverse, -scale * u
        result: Vector = scale * vector + of_steps @ self._steps + of_changes @ self._changes
        return result

    def _reserve(self, rows: int) -> None:
        """Make room: memory grows by doubling, up to the limit."""
        if rows > len(self._steps):
            more = min(max(4, rows), self.limit - len(self._steps))
            room = np.zeros((more, self._steps.shape[1]))
            self._steps, self._changes = np.concatenate([self._steps, room]), np.concatenate([self._changes, room])


def _bordered(matrix: Vector, above: Vector, beside: Vector, corner: float) -> Vector:
    """A matrix with one column and one row more."""
    size = len(matrix)
    larger = np.empty((size + 1, size + 1))
    larger[:size, :size], larger[:size, size], larger[size, :size], larger[size, size] = matrix, above, beside, corner
    return larger


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
        self._t = 0.0
        self._at: Any = None  # how far along the direction the parameters are

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
        flush()  # what is pending is no part of the program that all evaluations run
        self._views = [memory_of(parameter) for parameter in options["params"]]
        self._seen: list[tuple[Any, Any]] = [(self, None)] * len(self._views)  # gradients with their views
        first_loss = self._call(closure)
        value, gradient = float(first_loss), self._flat_gradient()
        evaluations = 1
        if _largest(gradient) > options["tolerance_grad"]:
            position = self._position()
            for iteration in range(1, options["max_iter"] + 1):
                origin = self._turn(value, gradient)
                if origin.slope > -options["tolerance_change"]:
                    break
                point, used = self._advance(closure, position, origin, iteration, evaluations)
                position = position + point.t * self._direction
                if point.t != self._at:
                    self._move_to(position)
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
            if step @ change > MIN_CURVATURE:
                self._inverse.append(step, change)
        self._direction, self._gradient = -(self._inverse @ gradient), gradient
        self.iterations += 1
        return Point(0.0, np.float64(value), gradient @ self._direction, gradient)

    def _advance(
        self, closure: Callable[[], Any], position: Vector, origin: Point, iteration: int, evaluations: int
    ) -> tuple[Point, int]:
        """Find the next point along the direction, and how many evaluations that took."""
        options, direction = self.param_groups[0], self._direction
        t = float(options["lr"])
        if self.iterations == 1:
            t *= min(1.0, 1.0 / float(np.abs(origin.gradient).sum()))

        self._at = None

        def evaluate(t: Any) -> Point:
            self._at = t
            self._move_to(position + t * direction)
            value = np.float64(self._call(closure))
            gradient = self._flat_gradient()
            return Point(np.float64(t), value, gradient @ direction, gradient)

        if options["line_search_fn"] is None:
            is_last = iteration == options["max_iter"]  # nobody looks at the value that it would have
            return (Point(t, origin.value, origin.slope, origin.gradient), 0) if is_last else (evaluate(t), 1)
        limit = options["max_eval"] - evaluations
        return strong_wolfe(evaluate, origin, t, _largest(direction), options["tolerance_change"], limit)

    def _has_converged(self, before: float, value: float, gradient: Vector) -> bool:
        options = self.param_groups[0]
        smallest = options["tolerance_change"]
        return (
            _largest(gradient) <= options["tolerance_grad"]
            or _largest(self._t * self._direction) <= smallest
            or abs(value - before) < smallest
        )

    # Between parameters and one long vector ------------------------------------------------------------------------

    @staticmethod
    def _call(closure: Callable[[], Any]) -> Any:
        with enable_grad():
            return closure()

    def _flat_gradient(self) -> Vector:
        flush()  # the closure may have limited the gradients
        pieces = []
        for number, parameter in enumerate(self.param_groups[0]["params"]):
            gradient = held_gradient(parameter)
            known, view = self._seen[number]
            if gradient is not known:
                view = np.zeros(parameter.numel()) if gradient is None else gradient._array()
                self._seen[number] = gradient, view
            pieces.append(view.ravel())
        return np.concatenate(pieces, dtype=np.float64)

    def _position(self) -> Vector:
        return np.concatenate([view.ravel() for view in self._views], dtype=np.float64)

    def _move_to(self, position: Vector) -> None:
        flush()
        offset = 0
        for parameter, view in zip(self.param_groups[0]["params"], self._views, strict=True):
            view[...] = position[offset : offset + view.size].reshape(view.shape)
            note_write(parameter)
            offset += view.size

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


def _largest(vector: Any) -> float:
    return float(np.abs(vector).max(initial=0.0))
