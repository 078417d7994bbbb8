"""Operations that change a tensor instead of making a new one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import GradientError, IndexOutOfRangeError, ShapeError
from ..graph.vertex import Vertex
from ..ops.elementwise import cast, stop_gradient
from ..ops.movement import broadcast
from . import operations
from .generator import default_generator
from .operands import as_tensor, enter_all
from .recording import note_write, overwrite, resolve
from .segment import Segment, flush, state
from .shaping import take_integers


def assign(tensor: Any, value: Any) -> Any:
    """Make ``tensor`` hold ``value`` (a tensor that broadcasts to it) and return it.

    A value that is not stored yet is replaced in the record. A slot (parameter, state) gets its new value when the
    segment runs. Any other stored tensor may share its memory with views, so it is written at once.
    """
    if tensor.is_leaf and tensor.requires_grad and state.is_grad_enabled:
        raise GradientError(
            "a leaf Variable that requires grad is being used in an in-place operation. fix: with torch.no_grad(): ..."
        )
    segment, (old, new) = enter_all(tensor, as_tensor(value))
    new = _fitted(new, old)
    if new.requires_grad and not state.is_grad_enabled:
        new = stop_gradient(new)
    if tensor._storage is None or (new.requires_grad and tensor._slot is None):
        return _replace(tensor, new, segment)
    storage = tensor._storage
    if tensor._slot is None or storage.read_by != id(tensor) or storage.is_read_by_many or storage.is_exported:
        return _write_now(tensor, value)
    overwrite(tensor, new, segment)
    return tensor


def _replace(tensor: Any, new: Vertex, segment: Segment) -> Any:
    """Make a tensor that is not a slot the pending value ``new``."""
    if tensor._storage is not None or tensor._segment is not segment:
        segment.handles.append(tensor)
    tensor._storage = None
    tensor._segment = segment
    tensor._vertex = new
    return tensor


def _fitted(new: Vertex, old: Vertex) -> Vertex:
    if len(new.shape) > len(old.shape):
        raise ShapeError(f"output with shape {old.shape} doesn't match the broadcast shape {new.shape}")
    return broadcast(cast(new, old.dtype), old.shape)


def _write_now(tensor: Any, value: Any) -> Any:
    if state.segment.is_capturing:
        raise GradientError(
            "compile() cannot capture an in-place write to a tensor that shares its memory with views. "
            "fix: write to the original tensor, or return the new value"
        )
    result = np.array(as_tensor(value)._array())
    flush()
    resolve(tensor)
    tensor._array()[...] = result
    note_write(tensor)
    return tensor


def write(tensor: Any, value: Any) -> None:
    """Let the program leave ``value`` in a parameter or state tensor; read afterwards, the tensor has that value."""
    segment, (old, new) = enter_all(tensor, value)
    overwrite(tensor, cast(new, old.dtype), segment)


class InPlaceMethods:
    """Methods whose names end in an underscore, and indexed assignment. Each returns the tensor itself."""

    __slots__ = ()

    def add_(self: Any, other: Any, *, alpha: float = 1) -> Any:
        """self += alpha · other"""
        return assign(self, operations.add(self, other, alpha=alpha))

    def sub_(self: Any, other: Any, *, alpha: float = 1) -> Any:
        """self -= alpha · other"""
        return assign(self, operations.sub(self, other, alpha=alpha))

    def mul_(self: Any, other: Any) -> Any:
        """self *= other"""
        return assign(self, operations.mul(self, other))

    def div_(self: Any, other: Any) -> Any:
        """self /= other"""
        return assign(self, operations.div(self, other))

    def pow_(self: Any, exponent: Any) -> Any:
        """self **= exponent"""
        return assign(self, operations.pow(self, exponent))

    def clamp_(self: Any, min: Any = None, max: Any = None) -> Any:
        """Limit the elements to [min, max]."""
        return assign(self, operations.clamp(self, min, max))

    def copy_(self: Any, source: Any) -> Any:
        """Take over the elements of ``source``, which broadcasts."""
        return assign(self, source)

    def fill_(self: Any, value: float) -> Any:
        """Set every element to ``value``."""
        return assign(self, as_tensor(value))

    def zero_(self: Any) -> Any:
        """Set every element to 0."""
        return assign(self, as_tensor(0))

    def lerp_(self: Any, end: Any, weight: Any) -> Any:
        """self += weight · (end - self)"""
        return assign(self, operations.add(self, operations.mul(operations.sub(end, self), weight)))

    def addcmul_(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
        """self += value · tensor1 · tensor2"""
        return assign(self, operations.add(self, operations.mul(operations.mul(tensor1, tensor2), value)))

    def addcdiv_(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
        """self += value · tensor1 / tensor2"""
        return assign(self, operations.add(self, operations.mul(operations.div(tensor1, tensor2), value)))

    def uniform_(self: Any, from_: float = 0.0, to: float = 1.0) -> Any:
        """Fill with numbers uniform in [from_, to)."""
        drawn = default_generator.numpy().uniform(from_, to, tuple(self.shape))
        return assign(self, as_tensor(drawn, self.dtype))

    def normal_(self: Any, mean: float = 0.0, std: float = 1.0) -> Any:
        """Fill with normal numbers."""
        drawn = default_generator.numpy().normal(mean, std, tuple(self.shape))
        return assign(self, as_tensor(drawn, self.dtype))

    __iadd__ = add_
    __isub__ = sub_
    __imul__ = mul_
    __itruediv__ = div_

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        """Write into a part of the tensor; views of the same memory see it."""
        if self.requires_grad and state.is_grad_enabled:
            raise GradientError("indexed assignment to a tensor that requires grad. fix: with torch.no_grad(): ...")
        source = as_tensor(value)
        if source.requires_grad and state.is_grad_enabled:
            raise GradientError(
                "indexed assignment of a value that requires grad: its gradient would be lost. fix: put the parts "
                "together with cat, stack or where, or assign value.detach()"
            )
        items = index if isinstance(index, tuple) else (index,)
        new = np.array(source._array())
        flush()
        try:
            array, rest = take_integers(self._array(), items)
            array[rest] = new
        except IndexError as error:
            raise IndexOutOfRangeError(f"{error} (tensor of shape {tuple(self.shape)})") from None
        except ValueError:
            raise ShapeError(
                f"a value of shape {new.shape} does not fit into this part of a tensor of shape {tuple(self.shape)}"
            ) from None
        note_write(self)
