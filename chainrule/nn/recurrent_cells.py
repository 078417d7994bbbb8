"""Recurrent cells, under PyTorch's names: one step at a time."""

from __future__ import annotations

from typing import Any

from ..devices import Device
from ..errors import ShapeError
from ..graph.site import find_site
from ..tensor.recording import type_of
from .functional.checks import as_handle
from .functional.linear import converted
from .module import Module
from .parameter import Parameter
from .recurrence import Elman, Gated, LongShortTerm, Recurrence, Simple, check_sizes, start, take_step
from .recurrent import read_states, recurrent_parameters


class RecurrentCell(Module):
    """What the cells share: parameters, and one step."""

    recurrence: Recurrence
    weight_ih: Parameter

    def __init__(self, recurrence: Recurrence, input_size: int, device: Any, dtype: Any) -> None:
        if device is not None:
            Device(device)
        check_sizes(input_size=input_size)
        self.recurrence = recurrence
        self.input_size = input_size
        self.hidden_size = recurrence.hidden
        self.bias = recurrence.use_bias
        recurrent_parameters(self, recurrence.shapes(input_size), "", dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        start(self.recurrence, self._parameters)

    def _step(self, input: Any, hx: Any) -> tuple[Any, ...]:
        """The output and the next states. Errors: `ShapeError`, `ArgumentError`."""
        name = type(self).__name__
        x = as_handle(input)
        shape = type_of(x).shape
        if len(shape) not in (1, 2) or shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: Expected input to be 1D or 2D with input_size {self.input_size} last, got shape {shape}\n"
                f"  where: {find_site()}\n  fix: (rows, {self.input_size}) or ({self.input_size}): one step at a time"
            )
        states = read_states(name, hx, [(*shape[:-1], size) for size in self.recurrence.states], self.weight_ih.dtype)
        parameters = (getattr(self, name) for name in self.recurrence.names)
        x = converted(x, self.weight_ih.dtype)
        result: tuple[Any, ...] = take_step(x, *states, *parameters, recurrence=self.recurrence)
        return result

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RecurrentCell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu in place of tanh: one step of `RNN`.

    Shapes: x (rows, input_size) or (input_size), h and h' (rows, hidden_size) or (hidden_size); h is 0 where not given.
    ``weight_ih`` (hidden_size, input_size), ``weight_hh`` (hidden_size, hidden_size), ``bias_ih``, ``bias_hh``
    (hidden_size). Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> cr.nn.RNNCell(8, 12)(cr.ones(3, 8)).shape
    Size([3, 12])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(Elman(hidden_size, bool(bias), nonlinearity), input_size, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(input, hx)[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(RecurrentCell):
    """(h', c') of x and (h, c): one step of `LSTM`, with its options.

    Shapes: x (rows, input_size) or (input_size), states (rows, hidden_size) or (hidden_size), 0 where not given.
    ``weight_ih`` (4·hidden_size, input_size), ``weight_hh`` (4·hidden_size, hidden_size), ``bias_ih``, ``bias_hh``
    (4·hidden_size), in the order i, f, g, o. Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> h, c = cr.nn.LSTMCell(8, 12, peephole=True)(cr.ones(3, 8))
    >>> h.shape, c.shape
    (Size([3, 12]), Size([3, 12]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool | str = False,
        forget_bias: float | None = None,
    ) -> None:
        self.peephole = peephole
        self.forget_bias = forget_bias
        recurrence = LongShortTerm(hidden_size, bool(bias), peephole=peephole, forget_bias=forget_bias)
        super().__init__(recurrence, input_size, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(input, hx)[1:]


class GRUCell(RecurrentCell):
    """h' of x and h: one step of `GRU`, with its options.

    Shapes: as for `RNNCell`, with 3·hidden_size in place of hidden_size in the weights, in the order r, z, n.
    Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> cr.nn.GRUCell(8, 12)(cr.ones(3, 8), cr.zeros(3, 12)).shape
    Size([3, 12])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        update_gate: str = "keep",
    ) -> None:
        self.reset_after = reset_after
        self.update_gate = update_gate
        super().__init__(Gated(hidden_size, bool(bias), reset_after, update_gate), input_size, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(input, hx)[0]


class SRUCell(RecurrentCell):
    """(h, c') of x and c: one step of `SRU`, with its options.

    Shapes: x (rows, input_size) or (input_size); output h and state c (rows, hidden_size) or (hidden_size), c 0 where
    not given. Parameters as those of `SRU`. Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> h, c = cr.nn.SRUCell(8, 12)(cr.ones(3, 8))
    >>> h.shape, c.shape
    (Size([3, 12]), Size([3, 12]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rescale: bool = True,
        highway_bias: float = 0.0,
    ) -> None:
        self.rescale = rescale
        self.highway_bias = highway_bias
        super().__init__(Simple(hidden_size, bool(bias), rescale, highway_bias), input_size, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(input, hx)
