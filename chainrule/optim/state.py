"""What an optimiser keeps between steps, and how its rules are written down.

Rules are plain tensor expressions; `write` (of `chainrule.tensor.inplace`) lets the program leave their values in
parameters and state. Options enter them through `fixed` as constants of the program, the learning rate as a state
tensor that the program reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.source import constant
from ..tensor.inplace import write
from ..tensor.recording import make_slot, pending, stored
from ..tensor.segment import state
from ..tensor.storage import allocate, view_array
from ..types import DType, Shape, float64, tensor_type


def state_tensor(shape: Shape, dtype: DType, strides: Shape | None = None) -> Any:
    """Return zeros that programs may overwrite; ``strides`` in elements, None for row-major."""
    type = tensor_type(dtype, shape)
    storage = allocate(type.nbytes)
    tensor = stored(storage, storage.address, type, strides)
    make_slot(tensor)
    memory_of(tensor)[...] = 0
    return tensor


def state_like(parameter: Any) -> Any:
    """Return a state tensor that lies in memory as ``parameter`` does, so that one loop walks over both."""
    return state_tensor(parameter._type.shape, parameter._type.dtype, parameter._strides)


def memory_of(tensor: Any) -> np.ndarray[Any, Any]:
    """The elements of a state tensor, to be read or overwritten between programs."""
    return view_array(tensor._storage, tensor._address, tensor._type, tensor._strides)


def fixed(value: float, beside: Any) -> Any:
    """A number as a constant of the program, of the type of ``beside``."""
    return pending(constant(value, beside.dtype), state.segment)


class Counter:
    """The number of steps t of parameters that were always stepped together, and β^t for each β."""

    def __init__(self, betas: Sequence[float], steps: float = 0.0) -> None:
        self.members: set[Any] = set()
        self.steps = state_tensor((), float64)
        self.powers = [state_tensor((), float64) for _ in betas]
        self.set(betas, steps)

    def set(self, betas: Sequence[float], steps: float) -> None:
        """Go to a number of steps, or to other betas at the same number."""
        self.betas = tuple(betas)
        memory_of(self.steps)[...] = steps
        for beta, power in zip(self.betas, self.powers, strict=True):
            memory_of(power)[...] = beta**steps

    @property
    def value(self) -> float:
        """The number of steps made so far."""
        return float(memory_of(self.steps))

    def advance(self) -> None:
        """Record one step more."""
        write(self.steps, self.steps + 1)
        for beta, power in zip(self.betas, self.powers, strict=True):
            write(power, power * fixed(beta, power))
