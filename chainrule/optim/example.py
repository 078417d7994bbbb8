"""Rules recorded by example: once, on tensors of a few elements, for parameters of any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..tensor.segment import state
from ..tensor.strided import is_row_major
from ..types import DType
from .state import memory_of, state_tensor

if TYPE_CHECKING:
    from .optimizer import Optimizer

LENGTH = 8


class Example:
    """An elementwise rule, recorded on an example, and the parameters to which it is to be applied.

    - ``slots``: the vertices of the example parameter, of its gradient and of its state, in this order;
    - ``values``: what the rule leaves in some of them;
    - ``members``: for each parameter the tensors that take the places of ``slots``.
    """

    def __init__(self, optimizer: Optimizer, dtype: DType, rule: Callable[[Any, Any], None]) -> None:
        parameter, gradient = state_tensor((LENGTH,), dtype), state_tensor((LENGTH,), dtype)
        rule(parameter, gradient)
        kept = optimizer.state.pop(parameter, {})
        self._optimizer = optimizer
        self._states = {name: float(memory_of(tensor)[0]) for name, tensor in kept.items()}
        self._tensors = [parameter, gradient, *kept.values()]  # whose slots do not keep them alive
        self.slots = [tensor._slot for tensor in self._tensors]
        updates = state.segment.updates
        self.values = {slot: updates.pop(slot) for slot in self.slots if slot in updates}
        self.members: list[list[Any]] = []

    def add(self, parameter: Any, gradient: Any) -> None:
        """Apply the rule to a parameter too."""
        kept = [self._optimizer.kept_state(parameter, name, value) for name, value in self._states.items()]
        self.members.append([parameter, gradient, *kept])


def record_by_example(
    optimizer: Optimizer, pairs: Iterable[tuple[Any, Any]], rule: Callable[[Any, Any], None]
) -> list[Example]:
    """Record a rule once for all parameters of a type, but for those that do not lie in memory as their gradients."""
    examples: dict[DType, Example] = {}
    for parameter, gradient in pairs:
        if not _are_alike(parameter, gradient):
            rule(parameter, gradient)
            continue
        dtype = parameter._type.dtype
        if dtype not in examples:
            examples[dtype] = Example(optimizer, dtype, rule)
        examples[dtype].add(parameter, gradient)
    return list(examples.values())


def _are_alike(parameter: Any, gradient: Any) -> bool:
    """Whether one walk through memory without gaps meets the elements of both, which are not single numbers."""
    type, strides = parameter._type, parameter._strides
    if gradient._storage is None or gradient._type is not type or gradient._strides != strides:
        return False
    return bool(type.shape) and (strides is None or is_row_major(type.shape[::-1], strides[::-1]))
