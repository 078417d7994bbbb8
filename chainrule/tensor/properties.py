"""What tensors and element types are, and PyTorch's older names of types that make tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..devices import Device
from ..errors import DTypeError
from ..types import DType, as_dtype, bool_, float32, float64, int32, int64, promote
from ..types import broadcast_shapes as broadcast
from . import creation
from .operands import as_tensor, dtype_beside, enter_all, number_dtype, result_dtype
from .recording import Handle, dtype_of, type_of

METHODS = (
    "cuda", "get_device", "is_complex", "is_cpu", "is_cuda", "is_nonzero", "is_same_size", "is_signed", "is_sparse",
    "itemsize", "nbytes", "ndimension", "nelement",
)  # fmt: skip
_KINDS = {"bool": 0, "int": 1, "float": 2}


class finfo:
    """The limits of a float type: bits, eps, max, min, smallest_normal, tiny, resolution.

    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: Any = float32) -> None:
        dtype = as_dtype(type)
        if not dtype.is_floating_point:
            raise DTypeError(f"finfo() requires a floating point input type, got {dtype}. fix: use iinfo")
        limits = np.finfo(dtype.numpy)
        self.bits, self.dtype = 8 * dtype.size, dtype.name
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.resolution, self.tiny = float(limits.resolution), float(limits.tiny)
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        return f"finfo(eps={self.eps:g}, max={self.max:g}, min={self.min:g}, tiny={self.tiny:g}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer type: bits, max, min.

    >>> iinfo(int32).max
    2147483647
    """

    def __init__(self, type: Any) -> None:
        dtype = as_dtype(type)
        if dtype.kind != "int":
            raise DTypeError(f"iinfo() requires an integer input type, got {dtype}. fix: use finfo")
        self.bits, self.dtype = 8 * dtype.size, dtype.name
        self.max, self.min = 2 ** (self.bits - 1) - 1, -(2 ** (self.bits - 1))

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def is_tensor(obj: Any) -> bool:
    """Whether it is a tensor."""
    return isinstance(obj, Handle)


def numel(input: Any) -> int:
    """The number of elements."""
    count: int = as_tensor(input).numel()
    return count


def is_floating_point(input: Any) -> bool:
    """Whether the elements are floats."""
    dtype: DType = as_tensor(input).dtype
    return dtype.is_floating_point


def is_complex(input: Any) -> bool:
    """Whether the elements are complex numbers: never here."""
    return as_tensor(input).dtype.kind not in _KINDS


def is_nonzero(input: Any) -> bool:
    """Whether the only element is not zero."""
    return bool(as_tensor(input))


def is_same_size(input: Any, other: Any) -> bool:
    """Whether both have the same shape."""
    return bool(type_of(input).shape == type_of(other).shape)


def is_signed(input: Any) -> bool:
    """Whether elements may be negative."""
    return dtype_of(input) is not bool_


def ndimension(input: Any) -> int:
    """The number of dimensions."""
    return len(type_of(input).shape)


def get_device(input: Any) -> int:
    """The number of the GPU that a tensor lies on: -1 for the CPU."""
    return -1


def cuda(input: Any, device: Any = None, **ignored: Any) -> Any:
    """Refused: programs run on the CPU here. Errors: `ArgumentError`."""
    return Device(device or "cuda")


nelement = numel
is_cpu = property(lambda self: True, doc="Whether the tensor lies in the CPU's memory: always here.")
is_cuda = is_sparse = property(lambda self: False, doc="Whether it lies on a GPU, or is sparse: never here.")
itemsize = property(lambda self: dtype_of(self).size, doc="Bytes per element.")
nbytes = property(lambda self: type_of(self).nbytes, doc="Bytes of all elements.")


def typename(obj: Any) -> str:
    """The name of a tensor's type, or of another object's class."""
    return type_name(dtype_of(obj)) if isinstance(obj, Handle) else f"{type(obj).__module__}.{type(obj).__qualname__}"


def promote_types(type1: Any, type2: Any) -> DType:
    """The type in which elements of two types meet.

    >>> promote_types(int64, float32)
    float32
    """
    return promote(as_dtype(type1), as_dtype(type2))


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The type in which two tensors, or a tensor and a number, meet."""
    if not isinstance(tensor1, Handle) and not isinstance(tensor2, Handle):
        return promote(number_dtype(tensor1), number_dtype(tensor2))
    if not isinstance(tensor1, Handle):
        return dtype_beside(tensor1, dtype_of(tensor2))
    if not isinstance(tensor2, Handle):
        return dtype_beside(tensor2, dtype_of(tensor1))
    _, vertices = enter_all(tensor1, tensor2)
    return result_dtype(*vertices)


def can_cast(from_: Any, to: Any) -> bool:
    """Whether results of one type may be written to another: not from floats to integers, nor from these to bool."""
    return _KINDS[as_dtype(from_).kind] <= _KINDS[as_dtype(to).kind]


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The common shape of several shapes or numbers of elements."""
    return broadcast(*((shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes))


def get_default_dtype() -> DType:
    """The type that Python floats become."""
    return float32


class _TypedTensor(type):
    """The class of `FloatTensor` and its like: they make tensors, and tensors of their type count as instances."""

    dtype: DType

    def __call__(cls, *data: Any) -> Any:
        """Elements of no particular value for sizes, else those of the data given."""
        if all(isinstance(size, int) for size in data):
            return creation.empty(*(data or (0,)), dtype=cls.dtype)
        return creation.tensor(*data, dtype=cls.dtype)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Handle) and dtype_of(instance) is cls.dtype


class FloatTensor(metaclass=_TypedTensor):
    """PyTorch's older constructor of float32 tensors, from data or from sizes.

    >>> FloatTensor([1, 2])
    tensor([1., 2.])
    """

    dtype = float32


class DoubleTensor(metaclass=_TypedTensor):
    """As `FloatTensor`, of float64."""

    dtype = float64


class IntTensor(metaclass=_TypedTensor):
    """As `FloatTensor`, of int32."""

    dtype = int32


class LongTensor(metaclass=_TypedTensor):
    """As `FloatTensor`, of int64."""

    dtype = int64


class BoolTensor(metaclass=_TypedTensor):
    """As `FloatTensor`, of bool."""

    dtype = bool_


TYPED_TENSORS = (FloatTensor, DoubleTensor, IntTensor, LongTensor, BoolTensor)


def type_name(dtype: DType) -> str:
    """PyTorch's older name of the type of tensors with these elements.

    >>> type_name(float32)
    'torch.FloatTensor'
    """
    return next(f"torch.{typed.__name__}" for typed in TYPED_TENSORS if typed.dtype is dtype)


def named_dtype(type: Any) -> DType:
    """The element type meant by a type, by `FloatTensor` or its like, or by their names."""
    name = type.rpartition(".")[2] if isinstance(type, str) else None
    for typed in TYPED_TENSORS:
        if type is typed or name == typed.__name__:
            return typed.dtype
    return as_dtype(name if name is not None else type)
