"""Parameters: tensors that a module owns and an optimiser changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..memory import spend
from ..tensor.operands import as_tensor
from ..tensor.recording import make_slot, note_write, resolve, set_stored
from ..tensor.segment import flush
from ..tensor.storage import Storage, allocate
from ..tensor.structure import note_change
from ..tensor.tensor import Tensor
from ..types import DType, Shape, TensorType, tensor_type


class Parameter(Tensor):
    """A tensor that a module lists among its parameters when it is assigned as an attribute.

    Shares the memory of ``data``. Programs overwrite it in place, so it has an address of its own for life, whether or
    not it requires a gradient (the default).

    >>> import chainrule as cr
    >>> cr.nn.Parameter(cr.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()
    start: Any = None
    """How the values were drawn, if by default (`chainrule.nn.initialization`)."""

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        source = as_tensor(data)
        resolve(source)
        self._place(source._storage, source._address, source._type, source._strides, requires_grad)

    def _place(
        self, storage: Storage, address: int, type: TensorType, strides: Shape | None, requires_grad: bool
    ) -> None:
        set_stored(self, storage, address, type, strides, requires_grad)
        if not requires_grad:
            make_slot(self)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether the gradient with respect to this parameter is wanted; returns the parameter."""
        if requires_grad != self._requires_grad:
            super().requires_grad_(requires_grad)
            if self._slot is None:
                make_slot(self)
            note_change()
        return self

    def convert_(self, dtype: DType) -> None:
        """Change the element type: new memory, the same parameter."""
        if dtype is self._type.dtype:
            return
        undrawn = self._undrawn
        values = None if undrawn else np.array(self._array())
        flush()
        gradient = self._grad
        type = tensor_type(dtype, self._type.shape)
        storage = allocate(type.nbytes)
        self._place(storage, storage.address, type, self._strides, self._requires_grad)
        if undrawn:
            storage.undrawn = undrawn._replace(type=type)
        else:
            self._array()[...] = values
        self._grad = None if gradient is None else gradient.to(dtype)._resolved()
        note_change()

    def write(self, values: Any) -> None:
        """Overwrite the elements now, with anything that broadcasts to them."""
        values = np.asarray(values)
        flush()
        self._array()[...] = values
        note_write(self)

    @property
    def _undrawn(self) -> Any:
        """What stands for values that nobody has needed yet; None if they are there, or a recorded write gives them."""
        if self._storage is None:
            return None
        if self._storage.undrawn is not None:
            flush()
        return self._storage.undrawn

    def postpone(self, undrawn: Any) -> None:
        """Let ``undrawn`` give the elements when somebody first needs them, in place of those that are there."""
        flush()
        if self._storage is not None:
            self._storage.undrawn = undrawn

    def forget_start(self) -> None:
        """Do without default values that nobody has needed yet, as every element is about to be written."""
        if self._undrawn and self._storage is not None:
            self._storage.undrawn.start.is_drawn = True
            self._storage.undrawn = None

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo: Any) -> Parameter:
        undrawn = self._undrawn
        if undrawn:
            copied = empty_parameter(self._type.shape, self._type.dtype, self._strides)
            copied.requires_grad_(self._requires_grad)
            copied.postpone(undrawn)
        else:
            copied = _rebuild(np.array(self._array()), self._requires_grad, self._strides)
        copied.start = self.start
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (np.array(self._array()), self._requires_grad, self._strides)


def empty_parameter(shape: Shape, dtype: DType, strides: Shape | None = None) -> Parameter:
    """Return a parameter in new memory, with unspecified values; ``strides`` in elements, None for row-major."""
    type = tensor_type(dtype, shape)
    spend(type.nbytes)
    storage = allocate(type.nbytes)
    parameter = Parameter.__new__(Parameter)
    parameter._place(storage, storage.address, type, strides, True)
    return parameter


def _rebuild(values: np.ndarray[Any, Any], requires_grad: bool, strides: Shape | None) -> Parameter:
    source = as_tensor(values)
    parameter = empty_parameter(values.shape, source.dtype, strides)
    parameter._array()[...] = values
    parameter.requires_grad_(requires_grad)
    return parameter
