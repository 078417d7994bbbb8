"""The class that users hold: a value not computed yet, or a view of memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..devices import Device as Device
from ..errors import ArgumentError, ChainruleError, DTypeError, GradientError
from ..ops.elementwise import stop_gradient
from ..types import DType, as_dtype, bool_, float32, float64, int32, int64, normalize_axis
from . import (
    bitwise,
    creation,
    cumulative,
    elementwise,
    gathering,
    indexing,
    linear_algebra,
    operations,
    partition,
    properties,
    reductions,
    sampling,
    scattering,
    shaping,
    sorting,
    special,
    statistics,
)
from .display import format_tensor
from .events import CONSUMED, record_backward
from .inplace import IN_PLACE, OPERATORS, InPlaceMethods, assign, in_place
from .operands import as_tensor, enter_all
from .properties import named_dtype
from .recording import Handle, catch_up, pending, resolve, set_stored, set_tensor_class, snapshot, type_of, vertex_of
from .segment import addresses, flush, state
from .storage import view_array
from .strided import is_row_major
from .structure import note_change
from .views import detached, offset_of, strides_of, write_through


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple that prints as PyTorch's."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Size({list(self)})"

    def numel(self) -> int:
        """The number of elements."""
        return int(np.prod(self, dtype=np.int64))


class Tensor(InPlaceMethods, Handle):
    """An array of numbers of one type, with PyTorch's methods.

    Operations record a graph; values are computed when they are asked for (``item``, ``numpy``, ``print``, ``if``).

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ("__dict__",)
    __array_priority__ = 1000

    def __init__(self, data: Any = (), *, dtype: Any = None, requires_grad: bool = False) -> None:
        source = as_tensor(data, float32 if dtype is None and not isinstance(data, Handle | np.ndarray) else None)
        copy = snapshot(source._resolved())
        set_stored(self, copy._storage, copy._address, copy._type, copy._strides, requires_grad)

    # What it is ----------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return Size(type_of(self).shape)

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return type_of(self).dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(type_of(self).shape)

    @property
    def device(self) -> Any:
        """Where the tensor lives: always the CPU here."""
        return Device("cpu")

    def dim(self) -> int:
        """The number of dimensions."""
        return len(type_of(self).shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return type_of(self).size

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.size

    def is_floating_point(self) -> bool:
        """Whether the elements are floats."""
        return self.dtype.is_floating_point

    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order."""
        return is_row_major(type_of(self).shape, strides_of(self))

    def contiguous(self) -> Tensor:
        """The tensor itself if it is contiguous, else a copy in row-major order."""
        if self.is_contiguous():
            return self
        segment, (vertex,) = enter_all(self)
        return _as_tensor_class(pending(vertex, segment))

    def stride(self, dim: int | None = None) -> Any:
        """Elements from one element to the next along each dimension, or along one.

        Results of operations are row-major; a parameter says so too, however its memory is laid out.
        """
        strides = strides_of(self)
        return strides if dim is None else strides[normalize_axis(dim, len(strides))]

    def data_ptr(self) -> int:
        """The address of the first element; equal for tensors that share it. Asks for the value."""
        resolve(self)
        return self._address

    def __len__(self) -> int:
        shape = type_of(self).shape
        if not shape:
            raise DTypeError("len() of a 0-d tensor")
        return shape[0]

    # Values --------------------------------------------------------------------------------------------------------

    def _resolved(self) -> Tensor:
        resolve(self)
        return self

    def _array(self) -> np.ndarray[Any, Any]:
        """The memory as a NumPy view, pending work done first."""
        if state.segment.is_capturing or (self._slot is not None and self._slot in state.segment.updates):
            flush()  # an error while a function is being captured: the value would be that of the first call
        resolve(self)
        assert_storage = self._storage
        if assert_storage is None:
            raise GradientError("this tensor has no value")
        return view_array(assert_storage, self._address, self._type, self._strides)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array that shares memory with the tensor."""
        if self.requires_grad:
            raise GradientError("Can't call numpy() on Tensor that requires grad. fix: use tensor.detach().numpy()")
        array = self._array()
        storage = self._storage
        if storage is not None:
            if storage.read_in is state.segment:
                flush()  # what is pending must not see what is written into the array
            storage.is_exported = True
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The values for NumPy: a copy, or with ``copy=False`` the shared memory that `numpy` gives."""
        if copy is False:
            shared = self.numpy()
            return np.asarray(shared, dtype)
        return np.array(self._array(), dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def item(self) -> Any:
        """The value of a tensor of one element as a Python number."""
        if type_of(self).size != 1:
            raise ArgumentError(f"a Tensor with {type_of(self).size} elements cannot be converted to a Python number")
        return self._array().item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self._array().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating_point:
            raise DTypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __bool__(self) -> bool:
        if type_of(self).size != 1:
            raise ArgumentError(
                "Boolean value of Tensor with more than one value is ambiguous. fix: use .any() or .all()"
            )
        return bool(self.item())

    def __format__(self, specification: str) -> str:
        if not type_of(self).shape:
            return format(self.item(), specification)
        return object.__format__(self, specification)

    def __repr__(self) -> str:
        return format_tensor(self)

    def __iter__(self) -> Iterator[Tensor]:
        if not type_of(self).shape:
            raise DTypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __contains__(self, element: Any) -> bool:
        return bool((self._array() == (element._array() if isinstance(element, Tensor) else element)).any())

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (np.array(self._array()), self.requires_grad)

    # Gradients -----------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to this tensor, or through it, are recorded."""
        if self._base is not None:
            catch_up(self)
        if self._storage is not None:
            return self._requires_grad
        vertex_requires: bool = self._vertex.requires_grad
        return vertex_requires

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients with respect to this tensor are wanted; returns the tensor."""
        if requires_grad and not self.dtype.is_floating_point:
            raise GradientError(f"only tensors of floating point dtype can require gradients, got {self.dtype}")
        if requires_grad == self.requires_grad:
            return self
        if self._storage is None and self.requires_grad:
            raise GradientError("you can only change requires_grad of leaf tensors. fix: use .detach()")
        resolve(self)
        if self._storage is not None:
            if self._slot is not None:
                flush()
            gradient = self._grad
            set_stored(self, self._storage, self._address, self._type, self._strides, requires_grad)
            self._grad = gradient
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user, not by an operation that records gradients."""
        return not self.requires_grad or self._slot is not None

    @property
    def grad_fn(self) -> Any:
        """The primitive that made a tensor with a gradient; None for leaves."""
        return None if self.is_leaf else (self._vertex or vertex_of(self)).primitive

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward`` accumulated; None before."""
        if state.segment.expansion is not None:
            recorded: Tensor | None = state.segment.expansion.shown_gradient(self)
            return recorded
        if state.segment.events:
            flush()
        gradient: Any = self._grad
        if gradient is CONSUMED:
            return None
        if gradient is not None and vars(self).get("gradient_home") is gradient:
            del vars(self)["gradient_home"]  # from now on the user's: the next gradient gets memory of its own
            addresses.changed()
        return gradient

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and tuple(value.shape) != tuple(self.shape):
            raise GradientError(f"grad must have the tensor's shape {tuple(self.shape)}, got {tuple(value.shape)}")
        if state.segment.expansion is not None:
            gradient = None if value is None else as_tensor(value, self.dtype)
            if gradient is not None:
                enter_all(gradient)
            state.segment.expansion.show(self, gradient)
            return
        if state.segment.events:
            flush()
        addresses.changed()
        self._grad = None if value is None else as_tensor(value, self.dtype)._resolved()

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Ask for the gradient of this tensor with respect to all leaves that require it, added to their ``grad``.

        Computed with the next optimiser step or when a value is read. A tensor of several elements needs ``gradient``.
        """
        record_backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """The same elements, through which no gradient flows; shares their memory."""
        return _as_tensor_class(detached(self))

    def detach_(self) -> Tensor:
        """Cut the tensor off from what it was computed from, in place."""
        if self._base is not None:
            raise GradientError("Can't detach views in-place. fix: use detach() instead of detach_()")
        if self._slot is not None:
            return self.requires_grad_(False)
        if self.requires_grad:
            segment, (vertex,) = enter_all(self)
            write_through(self, stop_gradient(vertex), segment)
        return self

    @property
    def data(self) -> Tensor:
        """The same elements without gradient history; see `detach`."""
        return _as_tensor_class(detached(self))

    @data.setter
    def data(self, value: Any) -> None:
        source = as_tensor(value)
        if type_of(source) is type_of(self):
            assign(detached(self), detached(source))  # in place, so that programs keep their addresses
            return
        copy = snapshot(source._resolved())
        flush()
        gradient = self._grad
        set_stored(self, copy._storage, copy._address, copy._type, copy._strides, self.requires_grad)
        self._grad = gradient
        note_change()
        addresses.changed()

    # Conversions ---------------------------------------------------------------------------------------------------

    def to(self, *arguments: Any, dtype: Any = None, device: Any = None, **ignored: Any) -> Tensor:
        """The tensor as another element type; devices other than the CPU are refused."""
        for argument in arguments:
            if isinstance(argument, Tensor):
                dtype = argument.dtype
            elif isinstance(argument, Device) or (isinstance(argument, str) and not _names_dtype(argument)):
                device = argument
            elif argument is not None and not isinstance(argument, bool):
                dtype = argument
        if device is not None:
            Device(device)
        converted: Tensor = self if dtype is None else operations.convert(self, as_dtype(dtype))
        return converted

    def type(self, dtype: Any = None) -> Any:
        """PyTorch's older name of the tensor's type, or the tensor converted to another one."""
        return properties.type_name(self.dtype) if dtype is None else operations.convert(self, named_dtype(dtype))

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor with the element type of another."""
        return self.to(other.dtype)

    def float(self) -> Tensor:
        """As float32."""
        return self.to(float32)

    def double(self) -> Tensor:
        """As float64."""
        return self.to(float64)

    def int(self) -> Tensor:
        """As int32, toward zero."""
        return self.to(int32)

    def long(self) -> Tensor:
        """As int64, toward zero."""
        return self.to(int64)

    def bool(self) -> Tensor:
        """Compared with zero."""
        return self.to(bool_)

    def clone(self) -> Tensor:
        """A copy; gradients flow through it."""
        segment, (vertex,) = enter_all(self)
        if vertex.requires_grad or segment.is_capturing:
            return _as_tensor_class(pending(vertex, segment))
        return _as_tensor_class(snapshot(self._resolved()))

    def __deepcopy__(self, memo: Any) -> Tensor:
        if not self.is_leaf:
            raise GradientError("only leaf tensors can be deep-copied. fix: copy tensor.detach()")
        copied = snapshot(self._resolved())
        copied.requires_grad_(self.requires_grad)
        memo[id(self)] = copied
        return _as_tensor_class(copied)

    # Shapes with properties of their own ------------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:  # noqa: N802 - PyTorch's name
        """The transpose: the order of the dimensions reversed."""
        return _as_tensor_class(shaping.permute(self, *reversed(range(self.dim()))))

    @property
    def mT(self) -> Tensor:  # noqa: N802 - PyTorch's name
        """The transpose of every matrix in a batch."""
        return _as_tensor_class(shaping.transpose(self, -1, -2 if self.dim() else -1))

    def __getitem__(self, index: Any) -> Tensor:
        tensor: Tensor = indexing.getitem(self, index)
        return tensor


def _names_dtype(text: str) -> bool:
    try:
        as_dtype(text)
    except ChainruleError:
        return False
    return True


def _as_tensor_class(handle: Any) -> Tensor:
    tensor: Tensor = handle
    return tensor


def _rebuild(array: np.ndarray[Any, Any], requires_grad: bool) -> Tensor:
    tensor = _as_tensor_class(as_tensor(array))
    return tensor.requires_grad_(requires_grad)


_FAMILIES = (
    bitwise, creation, cumulative, elementwise, gathering, linear_algebra, partition, properties, sampling,
    scattering, sorting, special, statistics,
)  # fmt: skip
_METHODS = {
    **{name: getattr(family, name) for family in _FAMILIES for name in family.METHODS},
    **{name: getattr(operations, name) for name in (
        "abs", "absolute", "add", "ceil", "clamp", "cos", "div", "divide", "eq", "erf", "exp", "expm1", "floor",
        "floor_divide",
        "ge", "gt", "le", "log", "log1p", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "maximum",
        "minimum", "arctan2", "atan2", "clip", "subtract",
        "mul", "multiply", "ne", "neg", "negative", "pow", "relu", "remainder", "round", "rsqrt", "sigmoid", "sign",
        "sin",
        "sqrt", "square", "sub", "tanh", "true_divide",
    )},
    **{name: getattr(reductions, name) for name in (
        "all", "amax", "amin", "any", "argmax", "argmin", "logsumexp", "max", "mean", "min", "norm", "prod", "std",
        "sum", "var",
    )},
    **{name: getattr(shaping, name) for name in (
        "as_strided", "expand", "flatten", "flip", "matmul", "permute", "reshape", "squeeze", "t", "transpose",
        "unflatten", "unsqueeze", "view_as",
    )},
    "where": lambda self, condition, other: operations.where(condition, self, other),
    "cpu": lambda self: self, "storage_offset": offset_of, "view": shaping.view_as_shape,
    "index_put": indexing.index_put, "mm": shaping.matmul, "bmm": shaping.matmul, "reshape_as": shaping.view_as,
    "expand_as": lambda self, other: shaping.expand(self, *other.shape),
    "softmax": lambda self, dim: reductions.softmax(self, dim=dim),
    "log_softmax": lambda self, dim: reductions.log_softmax(self, dim=dim),
    "__add__": operations.add, "__radd__": operations.add, "__sub__": operations.sub,
    "__rsub__": operations.reverse_subtract, "__mul__": operations.mul, "__rmul__": operations.mul,
    "__truediv__": operations.div, "__rtruediv__": operations.reverse_divide, "__floordiv__": operations.floor_divide,
    "__rfloordiv__": operations.reverse_floor_divide, "__mod__": operations.remainder,
    "__rmod__": operations.reverse_remainder, "__pow__": operations.pow, "__rpow__": operations.reverse_power,
    "__neg__": operations.neg, "__abs__": operations.abs, "__matmul__": shaping.matmul,
    "__rmatmul__": lambda self, other: shaping.matmul(as_tensor(other), self),
    "__eq__": lambda self, other: False if other is None else operations.eq(self, other),
    "__ne__": lambda self, other: True if other is None else operations.ne(self, other), "__lt__": operations.lt,
    "__le__": operations.le,
    "__gt__": operations.gt, "__ge__": operations.ge, "__invert__": bitwise.bitwise_not,
    **{f"__{side}{name}__": getattr(bitwise, f"bitwise_{name}") for name in ("and", "or", "xor") for side in ("", "r")},
    "__lshift__": bitwise.bitwise_left_shift, "__rshift__": bitwise.bitwise_right_shift,
}  # fmt: skip
for _name, _function in _METHODS.items():
    setattr(Tensor, _name, _function)
for _name in IN_PLACE:
    setattr(Tensor, f"{_name}_", in_place(_name, _METHODS[_name]))
for _name, _operation in OPERATORS.items():
    setattr(Tensor, _name, getattr(Tensor, f"{_operation}_"))
set_tensor_class(Tensor)
