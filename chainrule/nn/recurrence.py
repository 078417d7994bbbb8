"""What recurrent layers and cells compute: their parameters, what is known of all steps at once, and one step.

Each kind is a `Recurrence`. The products with the input, and the biases that join them, are taken for the whole
sequence before the loop, so that one step holds no more than what needs the state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import ArgumentError, did_you_mean
from ..ops.source import constant
from ..tensor import operations
from ..tensor.loop import scan
from ..tensor.partition import split
from ..tensor.recording import pending, type_of
from ..tensor.remembered import remembered
from ..tensor.segment import state as recording
from ..types import Shape
from . import init
from .functional.linear import linear
from .functional.piecewise import relu
from .initialization import default_rule
from .parameter import Parameter

Parameters = Mapping[str, Any]
"""The parameters of one direction of a layer by name, as in a cell."""
State = tuple[Any, ...]
"""What goes from step to step, each of shape (rows, size)."""

NONLINEARITIES = {"tanh": operations.tanh, "relu": relu}
PEEPHOLES = "ifo"
"""Gates of an LSTM that may see the cell: input, forget, output."""
UPDATE_GATES = ("keep", "replace")


def check_sizes(**sizes: Any) -> None:
    """Errors: `ArgumentError` for a size that is no whole number from 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ArgumentError(f"{name} must be a whole number greater than zero, got {size!r}")


@dataclass(frozen=True)
class Recurrence:
    """One kind of recurrent network, of a size. Subclasses give ``gates``, `further` and `step`, or other shapes."""

    hidden: int
    use_bias: bool

    def __post_init__(self) -> None:
        check_sizes(hidden_size=self.hidden)

    @property
    def gates(self) -> int:
        """How many gates and candidates have ``hidden`` rows of the weights each."""
        return 1

    @property
    def output(self) -> int:
        """The size of an output."""
        return self.hidden

    @property
    def states(self) -> tuple[int, ...]:
        """The sizes of the states."""
        return (self.hidden,)

    def shapes(self, inputs: int) -> dict[str, Shape]:
        """The shapes of the parameters by name, in PyTorch's order."""
        rows = self.gates * self.hidden
        found: dict[str, Shape] = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.output)}
        if self.use_bias:
            found |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        return found

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return tuple(self.shapes(1))

    def start_gate(self, weight: Any) -> None:
        """Draw the weights of the input of one gate."""
        init.xavier_uniform_(weight)

    def start_biases(self, bias: Any) -> None:
        """Write the initial values of ``bias_ih`` that the user has asked for."""

    def given(self, p: Parameters, x: Any) -> Any:
        """What the steps are given of the inputs x (..., inputs), all at once."""
        bias = p["bias_ih"] + p["bias_hh"] if self.use_bias else None
        return linear(x, p["weight_ih"], bias)

    def step(self, p: Parameters, state: State, given: Any) -> tuple[State, Any]:
        """One step: the next states, and the output."""
        raise NotImplementedError

    def first(self, states: State, shape: Shape, like: Any) -> State:
        """The states before the first step: those that there are, and zeros of (*shape, size) for None."""
        return tuple(
            pending(constant(0.0, like.dtype, (*shape, size)), recording.segment) if state is None else state
            for state, size in zip(states, self.states, strict=True)
        )

    def apart(self, tensors: tuple[Any, ...]) -> tuple[State, Parameters]:
        """Take states and parameters apart that have been passed one after the other."""
        count = len(self.states)
        return tensors[:count], dict(zip(self.names, tensors[count:], strict=True))


def start(recurrence: Recurrence, p: Mapping[str, Parameter]) -> None:
    """Draw the initial values of all parameters.

    Each gate on its own: weights of the state orthogonal (Saxe et al. 2013), those of the input as suits the
    activation; biases and peepholes 0. With ``settings.initialization = "pytorch"`` all U(±1/√hidden).
    """
    is_pytorch = default_rule() == "pytorch"
    bound = 1 / math.sqrt(recurrence.hidden)
    for name, parameter in p.items():
        if is_pytorch:
            init.uniform_(parameter, -bound, bound)
        elif parameter.dim() == 1:
            init.zeros_(parameter)
        else:
            for gate in split(parameter.detach(), recurrence.output if name == "weight_hr" else recurrence.hidden):
                (init.orthogonal_ if name == "weight_hh" else recurrence.start_gate)(gate)
    if recurrence.use_bias:
        recurrence.start_biases(p["bias_ih"].detach())


@remembered
def take_step(x: Any, *tensors: Any, recurrence: Recurrence) -> tuple[Any, ...]:
    """One step from x (rows, inputs) or (inputs), states (None: zeros) and parameters: the output, and the states."""
    states, p = recurrence.apart(tensors)
    first = recurrence.first(states, type_of(x).shape[:-1], p["weight_ih"])
    states, output = recurrence.step(p, first, recurrence.given(p, x))
    return output, *states


@remembered
def take_all_steps(
    x: Any, mask: Any, *tensors: Any, recurrence: Recurrence, number: int, reverse: bool, recompute: int
) -> tuple[Any, ...]:
    """Steps from x (steps, rows, inputs), states of which those with the ``number`` count, and parameters.

    Returns the outputs, and the states behind the last step. Where ``mask`` is False, states stay. ``recompute``: see
    `scan`; then what is known of all steps at once is only computed for as many, too.
    """
    states, p = recurrence.apart(tensors)
    states = tuple(None if state is None else state[number] for state in states)

    def step(state: State, of_step: Any) -> tuple[State, Any]:
        given, is_there = of_step
        if recompute:
            given = recurrence.given(p, given)
        new, output = recurrence.step(p, state, given)
        if is_there is None:
            return new, output
        kept = tuple(operations.where(is_there, *pair) for pair in zip(new, state, strict=True))
        return kept, kept[0] if output is new[0] else output

    first = recurrence.first(states, type_of(x).shape[1:-1], p["weight_ih"])
    given = x if recompute else recurrence.given(p, x)
    last, outputs = scan(step, first, (given, mask), reverse=reverse, recompute=recompute)
    return outputs, *last


@dataclass(frozen=True)
class Elman(Recurrence):
    """h' = φ(W_ih x + b_ih + W_hh h + b_hh)."""

    nonlinearity: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinearity not in NONLINEARITIES:
            raise ArgumentError(
                f"Unknown nonlinearity {self.nonlinearity!r}{did_you_mean(self.nonlinearity, NONLINEARITIES)}; "
                "expected 'tanh' or 'relu'"
            )

    def start_gate(self, weight: Any) -> None:
        if self.nonlinearity == "relu":
            init.kaiming_uniform_(weight, nonlinearity="relu")
        else:
            init.xavier_uniform_(weight)

    def step(self, p: Parameters, state: State, given: Any) -> tuple[State, Any]:
        (h,) = state
        h = NONLINEARITIES[self.nonlinearity](given + h @ p["weight_hh"].T)
        return (h,), h


@dataclass(frozen=True)
class LongShortTerm(Recurrence):
    """i, f, o = σ(...), g = tanh(...), c' = f⊙c + i⊙g, h' = o⊙tanh(c'), or W_hr times that with a projection.

    ``peephole``: which of the gates i, f (they see c) and o (it sees c') have one.
    """

    projection: int = 0
    peephole: bool | str = False
    forget_bias: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.peephole, bool | str) or set(self.seeing) - set(PEEPHOLES):
            raise ArgumentError(
                "LSTM: peephole must be True, False or a string of the gates i, f and o that have one, got "
                f"{self.peephole!r}"
            )
        if not 0 <= self.projection < self.hidden:
            raise ArgumentError(
                f"LSTM: proj_size has to be smaller than hidden_size ({self.hidden}) and not negative, got "
                f"{self.projection}. fix: 0 for no projection"
            )

    @property
    def seeing(self) -> str:
        """The gates that see the cell."""
        return self.peephole if isinstance(self.peephole, str) else PEEPHOLES if self.peephole else ""

    @property
    def gates(self) -> int:
        return 4

    @property
    def output(self) -> int:
        return self.projection or self.hidden

    @property
    def states(self) -> tuple[int, ...]:
        return self.output, self.hidden

    def shapes(self, inputs: int) -> dict[str, Shape]:
        found = super().shapes(inputs)
        if self.projection:
            found["weight_hr"] = (self.projection, self.hidden)
        return found | {f"weight_c{gate}": (self.hidden,) for gate in PEEPHOLES if gate in self.seeing}

    def start_biases(self, bias: Any) -> None:
        if self.forget_bias is not None:
            init.constant_(bias[self.hidden : 2 * self.hidden], self.forget_bias)

    def step(self, p: Parameters, state: State, given: Any) -> tuple[State, Any]:
        h, c = state
        i, f, g, o = (given + h @ p["weight_hh"].T).split(self.hidden, -1)
        i, f = (gate + p[name] * c if name in p else gate for gate, name in ((i, "weight_ci"), (f, "weight_cf")))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        if "weight_co" in p:
            o = o + p["weight_co"] * c
        h = o.sigmoid() * c.tanh()
        if self.projection:
            h = h @ p["weight_hr"].T
        return (h, c), h


@dataclass(frozen=True)
class Gated(Recurrence):
    """r, z = σ(...), n = tanh(W_in x + b_in + r⊙(W_hn h + b_hn)), h' = (1-z)⊙n + z⊙h.

    With ``reset_after`` False, r⊙h before the product: n = tanh(W_in x + b_in + W_hn (r⊙h) + b_hn). The update gate z
    says how much of h to "keep", or to "replace": h' = z⊙n + (1-z)⊙h.
    """

    reset_after: bool = True
    update_gate: str = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.update_gate not in UPDATE_GATES:
            raise ArgumentError(
                f"GRU: the update gate can 'keep' or 'replace' the state, got update_gate={self.update_gate!r}"
            )

    @property
    def gates(self) -> int:
        return 3

    def given(self, p: Parameters, x: Any) -> Any:
        if not self.reset_after:
            return super().given(p, x)
        return linear(x, p["weight_ih"], p.get("bias_ih"))

    def step(self, p: Parameters, state: State, given: Any) -> tuple[State, Any]:
        (h,) = state
        weight, bias, size = p["weight_hh"], p.get("bias_hh"), self.hidden
        if self.reset_after:
            of_h = h @ weight.T if bias is None else h @ weight.T + bias
            r, z = (given[..., : 2 * size] + of_h[..., : 2 * size]).sigmoid().split(size, -1)
            n = (given[..., 2 * size :] + r * of_h[..., 2 * size :]).tanh()
        else:
            r, z = (given[..., : 2 * size] + h @ weight[: 2 * size].T).sigmoid().split(size, -1)
            n = (given[..., 2 * size :] + (r * h) @ weight[2 * size :].T).tanh()
        h = n + z * (h - n) if self.update_gate == "keep" else h + z * (n - h)
        return (h,), h


@dataclass(frozen=True)
class Simple(Recurrence):
    """f, r = σ(W x + v⊙c + b), c' = f⊙c + (1-f)⊙W x, h = r⊙c' + α(1-r)⊙x, or with W x in place of x.

    No product needs the state. Inputs of another size than the states have a fourth block of weights, which projects
    them. α = √(1 + 2e^b), with b where the bias of r starts (0 if there is none), keeps the variance of x.
    """

    rescale: bool = True
    highway_bias: float = 0.0

    @property
    def scale(self) -> float:
        """α, the paper's scaling correction."""
        bias = self.highway_bias if self.use_bias else 0.0
        return math.sqrt(1 + 2 * math.exp(bias)) if self.rescale else 1.0

    def shapes(self, inputs: int) -> dict[str, Shape]:
        blocks = 3 if inputs == self.hidden else 4
        found: dict[str, Shape] = {"weight_ih": (blocks * self.hidden, inputs)}
        if self.use_bias:
            found["bias_ih"] = (2 * self.hidden,)
        return found | {"weight_cf": (self.hidden,), "weight_cr": (self.hidden,)}

    def start_biases(self, bias: Any) -> None:
        init.constant_(bias[self.hidden :], self.highway_bias)

    def start_gate(self, weight: Any) -> None:
        init.lecun_uniform_(weight)

    def given(self, p: Parameters, x: Any) -> Any:
        """W x, and x; cut into blocks by each step, as that needs no copies of blocks."""
        return linear(x, p["weight_ih"]), x

    def step(self, p: Parameters, state: State, given: Any) -> tuple[State, Any]:
        (c,) = state
        of_x, x = given
        new, f, r, *projected = of_x.split(self.hidden, -1)
        if self.use_bias:
            f, r = (gate + bias for gate, bias in zip((f, r), p["bias_ih"].split(self.hidden), strict=True))
        f, r = (f + p["weight_cf"] * c).sigmoid(), (r + p["weight_cr"] * c).sigmoid()
        c = f * c + (1 - f) * new
        return (c,), r * c + (1 - r) * (self.scale * (projected[0] if projected else x))
