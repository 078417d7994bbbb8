"""Recurrent layers, under PyTorch's names: whole sequences, in one loop per layer and direction."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..devices import Device
from ..errors import ArgumentError, ShapeError
from ..graph.site import find_site
from ..tensor import gathering, shaping
from ..tensor.operands import from_array
from ..tensor.recomputation import check_recompute
from ..tensor.recording import type_of
from ..tensor.remembered import remembered
from ..types import DType, Shape, as_dtype, float32
from .functional.checks import as_handle
from .functional.dropout import dropout as drop
from .functional.linear import converted
from .module import Module
from .parameter import Parameter, empty_parameter
from .recurrence import (
    Elman,
    Gated,
    LongShortTerm,
    Parameters,
    Recurrence,
    Simple,
    State,
    check_sizes,
    start,
    take_all_steps,
)
from .utils.rnn import PackedSequence, lengths_of_rows, mask_of


def recurrent_parameters(module: Module, shapes: dict[str, Shape], suffix: str, dtype: Any) -> None:
    """Register parameters of these shapes, their initial values still to be drawn; weights lie by columns."""
    element = float32 if dtype is None else as_dtype(dtype)
    for name, shape in shapes.items():
        by_columns = (1, shape[0]) if min(shape) > 1 and len(shape) == 2 else None
        module.register_parameter(name + suffix, empty_parameter(shape, element, by_columns))


def read_states(name: str, hx: Any, shapes: Sequence[Shape], dtype: DType) -> State:
    """The states that a user gives, if any. Errors: `ArgumentError` for another number of them, `ShapeError`."""
    if hx is None:
        return tuple(None for _ in shapes)
    given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if len(given) != len(shapes):
        wanted = "a pair (h, c) of states" if len(shapes) == 2 else "one tensor of states"
        raise ArgumentError(f"{name} expects {wanted}, got {len(given)} of them\n  where: {find_site()}")
    states = tuple(converted(as_handle(state), dtype) for state in given)
    for number, (state, shape) in enumerate(zip(states, shapes, strict=True)):
        if type_of(state).shape != shape:
            which = f"hidden[{number}]" if len(shapes) == 2 else "hidden"
            raise ShapeError(
                f"{name}: Expected {which} size {shape}, got {type_of(state).shape}\n  where: {find_site()}\n"
                "  fix: (layers · directions, rows, size) for rows, (layers · directions, size) for a single one, "
                "also with batch_first"
            )
    return states


@remembered
def _stacked(*states: Any) -> Any:
    return shaping.stack(states)


class Steps(NamedTuple):
    """The input of a layer: x (steps, rows, features); which steps are there (None: all); and how the user has it."""

    x: Any
    mask: Any
    packed: PackedSequence | None
    is_single: bool
    batch_first: bool

    def in_form(self, output: Any) -> Any:
        """The output (steps, rows, features) in the form of the input, 0 where there was no step."""
        if self.mask is not None:
            output = gathering.masked_fill(output, ~self.mask, 0)
        if self.packed is not None:
            return self.packed.with_padded(output)
        if self.is_single:
            return output.squeeze(1)
        return shaping.transpose(output, 0, 1) if self.batch_first else output


class RecurrentLayer(Module):
    """What the layers share: stacked layers and directions, states, lengths."""

    recurrence: Recurrence
    weight_ih_l0: Parameter

    def __init__(
        self,
        recurrence: Recurrence,
        input_size: int,
        num_layers: int,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: Any,
        dtype: Any,
        recompute: int,
    ) -> None:
        if device is not None:
            Device(device)
        name = type(self).__name__
        check_sizes(input_size=input_size, num_layers=num_layers)
        check_recompute(recompute)
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ArgumentError(
                f"{name}: dropout should be a number in range [0, 1], the probability of an element being zeroed, got "
                f"{dropout!r}"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                UserWarning,
                stacklevel=3,
            )
        self.recurrence = recurrence
        self.input_size = input_size
        self.hidden_size = recurrence.hidden
        self.num_layers = num_layers
        self.bias = recurrence.use_bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.recompute = recompute
        size = input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                recurrent_parameters(self, recurrence.shapes(size), suffix, dtype)
            size = recurrence.output * self._directions
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        """What is behind the names of the parameters of each direction of a layer."""
        return (f"_l{layer}", f"_l{layer}_reverse")[: self._directions]

    def _parameters_with(self, suffix: str) -> Parameters:
        """The parameters of one direction of a layer, by their names in a cell."""
        return {name: getattr(self, name + suffix) for name in self.recurrence.names}

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of every layer and direction."""
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        return [list(self._parameters_with(suffix).values()) for suffix in suffixes]

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                start(self.recurrence, self._parameters_with(suffix))

    def flatten_parameters(self) -> None:
        """Nothing: for programs written for PyTorch, where it arranges the weights in memory."""

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> Any:
        steps = self._read(input, lengths)
        x, states = steps.x, self._first_states(hx, steps)
        ends: list[State] = []
        for layer in range(self.num_layers):
            outputs: list[Any] = []
            for suffix in self._suffixes(layer):
                tensors = (*states, *self._parameters_with(suffix).values())
                output, *last = take_all_steps(
                    x, steps.mask, *tensors, recurrence=self.recurrence, number=len(ends), reverse=bool(outputs),
                    recompute=self.recompute,
                )  # fmt: skip
                outputs.append(output)
                ends.append(tuple(last))
            x = outputs[0] if len(outputs) == 1 else shaping.cat(outputs, -1)
            if layer + 1 < self.num_layers:
                x = drop(x, self.dropout, self.training)
        last_states = tuple(_stacked(*parts) for parts in zip(*ends, strict=True))
        if steps.is_single:
            last_states = tuple(state.squeeze(1) for state in last_states)
        return steps.in_form(x), last_states[0] if len(last_states) == 1 else last_states

    def extra_repr(self) -> str:
        defaults = {
            "proj_size": 0, "nonlinearity": "tanh", "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False, "peephole": False, "forget_bias": None, "reset_after": True, "update_gate": "keep",
            "rescale": True, "highway_bias": 0.0, "recompute": 0,
        }  # fmt: skip
        changed = [(name, getattr(self, name, value)) for name, value in defaults.items()]
        shown = "".join(f", {name}={value}" for name, value in changed if value != defaults[name])
        return f"{self.input_size}, {self.hidden_size}{shown}"

    def _read(self, input: Any, lengths: Any) -> Steps:
        """Errors: `ShapeError` for an input that does not fit, or is empty."""
        name, dtype = type(self).__name__, self.weight_ih_l0.dtype
        packed = input if isinstance(input, PackedSequence) else None
        if packed is not None and lengths is not None:
            raise ArgumentError(f"{name}: a packed sequence has its lengths already. fix: leave lengths out")
        x = packed.padded if packed is not None else as_handle(input)
        shape = type_of(x).shape
        if len(shape) not in (2, 3) or (packed is not None and len(shape) != 3):
            raise ShapeError(
                f"{name}: Expected input to be 2D or 3D, got {len(shape)}D instead, of shape {shape}\n"
                f"  where: {find_site()}\n  fix: (steps, rows, {self.input_size}), with batch_first (rows, steps, "
                f"{self.input_size}), or for one row (steps, {self.input_size})"
            )
        if shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got {shape[-1]}: the "
                f"input has shape {shape}\n  where: {find_site()}\n"
                f"  fix: {name}({shape[-1]}, {self.hidden_size}, ...), or another dimension last"
            )
        is_single = len(shape) == 2
        x = converted(x, dtype)
        if is_single:
            x = x.unsqueeze(1)
        elif self.batch_first and packed is None:
            x = shaping.transpose(x, 0, 1)
        count, rows = type_of(x).shape[:2]
        if not count:
            raise ShapeError(
                f"{name}: Expected sequence length to be larger than 0 in RNN, got input of shape {shape}\n"
                f"  where: {find_site()}"
            )
        mask = None
        if packed is not None:
            mask = mask_of(from_array(packed.order.lengths), steps=count, dimensions=3)
        elif lengths is not None:
            mask = mask_of(lengths_of_rows(lengths, count, rows), steps=count, dimensions=3)
            x = gathering.masked_fill(x, ~mask, 0)
        return Steps(x, mask, packed, is_single, self.batch_first)

    def _first_states(self, hx: Any, steps: Steps) -> State:
        """The states (layers · directions, rows, size) before the first step. Errors: `ArgumentError`, `ShapeError`."""
        dtype, rows = self.weight_ih_l0.dtype, type_of(steps.x).shape[1]
        count = self.num_layers * self._directions
        shapes = [(count, size) if steps.is_single else (count, rows, size) for size in self.recurrence.states]
        states = read_states(type(self).__name__, hx, shapes, dtype)
        return tuple(state.unsqueeze(1) if steps.is_single and state is not None else state for state in states)


class RNN(RecurrentLayer):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu in place of tanh.

    Shapes: see `LSTM`, with one state. ``weight_ih_l0`` (hidden_size, input_size), ``weight_hh_l0`` (hidden_size,
    hidden_size), ``bias_ih_l0`` and ``bias_hh_l0`` (hidden_size). Errors: `ArgumentError`, `ShapeError`.
    Source: Elman 1990.

    >>> import chainrule as cr
    >>> y, h = cr.nn.RNN(8, 12)(cr.ones(5, 3, 8))
    >>> y.shape, h.shape
    (Size([5, 3, 12]), Size([1, 3, 12]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: int = 0,
    ) -> None:
        self.nonlinearity = nonlinearity
        elman = Elman(hidden_size, bool(bias), nonlinearity)
        super().__init__(elman, input_size, num_layers, batch_first, dropout, bidirectional, device, dtype, recompute)


class LSTM(RecurrentLayer):
    """Long short-term memory: c_t = f⊙c_{t-1} + i⊙g, h_t = o⊙tanh(c_t), with i, f, o = σ(...) and g = tanh(...).

    Each of i, f, g, o, in this order, is a function of W_ih x_t + b_ih + W_hh h_{t-1} + b_hh, with its own rows of the
    weights. With ``proj_size``, h_t = W_hr (o⊙tanh(c_t)). ``peephole=True`` adds w_ci⊙c_{t-1} to i, w_cf⊙c_{t-1} to f
    and w_co⊙c_t to o; a string such as "if" names those that are there. ``forget_bias``: where the bias of f starts.
    ``dropout`` is the probability of dropping an output of a layer before the next one.

    Shapes: input (steps, rows, input_size), with ``batch_first`` (rows, steps, input_size), for a single row (steps,
    input_size); output the same with directions · size in place of input_size, where size is proj_size or hidden_size;
    states h and c (layers · directions, rows, size), for a single row without rows; 0 where not given.
    ``lengths`` (rows): steps behind a row's length change nothing and give 0, and the reverse direction begins at each
    row's own last step. A packed input (`chainrule.nn.utils.rnn`) gives a packed output. ``recompute``, a number of
    steps, saves memory with long sequences: see `scan`.

    Parameters: ``weight_ih_l0`` (4·hidden_size, input_size), ``weight_hh_l0`` (4·hidden_size, size), ``bias_ih_l0`` and
    ``bias_hh_l0`` (4·hidden_size), ``weight_hr_l0`` (proj_size, hidden_size), peepholes ``weight_ci_l0``,
    ``weight_cf_l0`` and ``weight_co_l0`` (hidden_size); those of the next layers with its number, those of the reverse
    direction with ``_reverse`` behind. Initial values: `chainrule.nn.recurrence.start`.
    Errors: `ArgumentError`, `ShapeError`. Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al.
    2000; peepholes: Gers & Schmidhuber 2000; projection: Sak et al. 2014.

    >>> import chainrule as cr
    >>> y, (h, c) = cr.nn.LSTM(8, 12, batch_first=True, bidirectional=True)(cr.ones(3, 5, 8), lengths=[5, 2, 1])
    >>> y.shape, h.shape
    (Size([3, 5, 24]), Size([2, 3, 12]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool | str = False,
        forget_bias: float | None = None,
        recompute: int = 0,
    ) -> None:
        self.proj_size = proj_size
        self.peephole = peephole
        self.forget_bias = forget_bias
        long = LongShortTerm(hidden_size, bool(bias), proj_size, peephole, forget_bias)
        super().__init__(long, input_size, num_layers, batch_first, dropout, bidirectional, device, dtype, recompute)


class GRU(RecurrentLayer):
    """Gated recurrent units: h_t = (1-z)⊙n + z⊙h_{t-1} with n = tanh(W_in x_t + b_in + r⊙(W_hn h_{t-1} + b_hn)).

    The gates r and z are σ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), each with its own rows of the weights. With
    ``reset_after=False`` the original form, W_hn (r⊙h_{t-1}) in place of r⊙(W_hn h_{t-1}). With
    ``update_gate="replace"`` z says how much of the state is new: h_t = z⊙n + (1-z)⊙h_{t-1}.
    Shapes: see `LSTM`, with one state; weights and biases in the order r, z, n. Errors: `ArgumentError`, `ShapeError`.
    Source: Cho et al. 2014; ``"replace"``: Chung et al. 2014.

    >>> import chainrule as cr
    >>> y, h = cr.nn.GRU(8, 12, num_layers=2)(cr.ones(5, 3, 8))
    >>> y.shape, h.shape
    (Size([5, 3, 12]), Size([2, 3, 12]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        update_gate: str = "keep",
        recompute: int = 0,
    ) -> None:
        self.reset_after = reset_after
        self.update_gate = update_gate
        gated = Gated(hidden_size, bool(bias), reset_after, update_gate)
        super().__init__(gated, input_size, num_layers, batch_first, dropout, bidirectional, device, dtype, recompute)


class SRU(RecurrentLayer):
    """Simple recurrent units, whose steps have no product: c_t = f⊙c_{t-1} + (1-f)⊙W x_t, h_t = r⊙c_t + (1-r)⊙α x_t.

    The gates are f = σ(W_f x_t + v_f⊙c_{t-1} + b_f) and r = σ(W_r x_t + v_r⊙c_{t-1} + b_r). Where input_size is not
    hidden_size, x_t in h_t is projected. With ``rescale``, α = √(1 + 2·e^b) for
    b = ``highway_bias``, where the bias of r starts, so that the variance of x_t is kept; else 1.

    Shapes: see `LSTM`, with one state c. ``weight_ih_l0`` (3·hidden_size, or 4 with the projection, input_size) holds
    W, W_f, W_r and the projection, ``bias_ih_l0`` (2·hidden_size) b_f and b_r, ``weight_cf_l0`` and ``weight_cr_l0``
    (hidden_size) v_f and v_r.
    Errors: `ArgumentError`, `ShapeError`. Source: Lei et al. 2018, sections 2 and 3.2.

    >>> import chainrule as cr
    >>> y, c = cr.nn.SRU(8, 12, num_layers=2)(cr.ones(5, 3, 8))
    >>> y.shape, c.shape
    (Size([5, 3, 12]), Size([2, 3, 12]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        rescale: bool = True,
        highway_bias: float = 0.0,
        recompute: int = 0,
    ) -> None:
        self.rescale = rescale
        self.highway_bias = highway_bias
        simple = Simple(hidden_size, bool(bias), rescale, highway_bias)
        super().__init__(simple, input_size, num_layers, batch_first, dropout, bidirectional, device, dtype, recompute)
