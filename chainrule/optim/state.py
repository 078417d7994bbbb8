"""What an optimiser keeps between steps, and how its rules are written down.

Rules are plain tensor expressions; `write` (of `chainrule.tensor.inplace`) lets the program leave their values in
parameters and state. Options enter them through `fixed` as constants of the program; the learning rate, and options
that are changed between steps, as state tensors that the program reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ops.source import constant
from ..tensor.inplace import write
from ..tensor.operations import abs, convert, pow, where
from ..tensor.properties import finfo
from ..tensor.recording import Handle, make_slot, pending, stored
from ..tensor.segment import state
from ..tensor.storage import allocate, view_array
from ..types import DType, Shape, TensorType, float64, tensor_type


def state_tensor(shape: Shape, dtype: DType) -> Any:
    """Return zeros that programs may overwrite."""
    tensor = _zeros(tensor_type(dtype, shape), None)
    make_slot(tensor)
    return tensor


def _zeros(type: TensorType, strides: Shape | None) -> Any:
    storage = allocate(type.nbytes)
    storage.array.fill(0)
    return stored(storage, storage.address, type, strides)


def state_like(parameter: Any, value: float = 0.0) -> Any:
    """Return a tensor that lies in memory as ``parameter`` does, so that one loop walks over both.

    Programs may not overwrite it until it has a slot.
    """
    tensor = _zeros(parameter._type, parameter._strides)
    if value:
        memory_of(tensor)[...] = value
    return tensor


def state_number(value: float) -> Any:
    """Return a number that programs read, and may overwrite."""
    tensor = state_tensor((), float64)
    memory_of(tensor)[...] = value
    return tensor


def memory_of(tensor: Any) -> np.ndarray[Any, Any]:
    """The elements of a state tensor, to be read or overwritten between programs."""
    return view_array(tensor._storage, tensor._address, tensor._type, tensor._strides)


def fixed(value: Any, beside: Any) -> Any:
    """A number as a constant of the program, of the type of ``beside``; a tensor, read at run time, in that type."""
    if isinstance(value, Handle):
        return convert(value, beside.dtype)
    return pending(constant(value, beside.dtype), state.segment)


def write_running(tensor: Any, value: Any) -> None:
    """Let the program leave a running mean, or another quantity that fades while gradients are 0, in state.

    What is smaller than the smallest normal number becomes 0. It no longer moves a parameter, but it would never fade
    further, since a tenth of the last few bits rounds to nothing; and processors on which such numbers take a hundred
    times as long would then compute each step of a network with dead units three times slower.
    """
    is_fading = abs(value) < fixed(finfo(value.dtype).smallest_normal, value)
    write(tensor, where(is_fading, fixed(0.0, value), value))


class Counter:
    """The number of steps t of parameters that were always stepped together, and β^t for each β.

    ``numbers`` are further numbers that a rule keeps from step to step for all of them.
    """

    def __init__(self, betas: Sequence[Any], steps: float, numbers: Mapping[str, float]) -> None:
        self.members: set[Any] = set()
        self.steps = state_number(steps)
        self.numbers = {name: state_number(value) for name, value in numbers.items()}
        self.set_betas(betas)

    def set_betas(self, betas: Sequence[Any]) -> None:
        """Go on with these betas: numbers, or tensors that are read at every step."""
        self.betas = tuple(betas)
        self._powers = [None if isinstance(beta, Handle) else state_number(beta**self.value) for beta in self.betas]

    def has_betas(self, betas: Sequence[Any]) -> bool:
        """Whether the powers are those of ``betas``."""
        pairs = zip(self.betas, betas, strict=True)
        return all(a is b or (not isinstance(a, Handle) and not isinstance(b, Handle) and a == b) for a, b in pairs)

    @property
    def value(self) -> float:
        """The number of steps made so far."""
        return float(memory_of(self.steps))

    @property
    def powers(self) -> list[Any]:
        """β^t for each β."""
        pairs = zip(self.betas, self._powers, strict=True)
        return [pow(beta, self.steps) if power is None else power for beta, power in pairs]

    def stored_powers(self) -> list[float | None]:
        """β^t as they are kept; None for betas whose powers are computed in every step."""
        return [None if power is None else float(memory_of(power)) for power in self._powers]

    def load_powers(self, values: Sequence[float | None]) -> None:
        """Go on with these, where they are kept."""
        for power, value in zip(self._powers, values, strict=True):
            if power is not None and value is not None:
                memory_of(power)[...] = value

    def advance(self) -> None:
        """Record one step more."""
        write(self.steps, self.steps + 1)
        for beta, power in zip(self.betas, self._powers, strict=True):
            if power is not None:
                write(power, power * fixed(beta, power))

    def tensors(self) -> list[Any]:
        """Where the count, the numbers and the powers are kept."""
        return [self.steps, *self.numbers.values(), *(power for power in self._powers if power is not None)]

    def state(self) -> dict[str, float]:
        """The numbers as they are now."""
        return {name: float(memory_of(number)) for name, number in self.numbers.items()}
