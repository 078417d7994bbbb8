"""Element types, shapes, broadcasting and promotion: the vocabulary that every other module shares.

>>> promote(int64, float32)
float32
>>> broadcast_shapes((4, 1), (3,))
(4, 3)
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .errors import DTypeError, IndexOutOfRangeError, ShapeError, did_you_mean

Shape = tuple[int, ...]


class DType:
    """The type of a tensor's elements: one of ``float32``, ``float64``, ``int32``, ``int64``, ``bool``.

    Attributes: ``name``, ``numpy`` (the NumPy dtype), ``size`` in bytes, ``kind`` (``"float"``, ``"int"``, ``"bool"``).
    """

    __slots__ = ("kind", "name", "numpy", "rank", "size")

    def __init__(self, name: str, kind: str, rank: int) -> None:
        self.name = name
        self.kind = kind
        self.rank = rank
        self.numpy = np.dtype(name)
        self.size = self.numpy.itemsize

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return (as_dtype, (self.name,))

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "float"


float32 = DType("float32", "float", 3)
float64 = DType("float64", "float", 4)
int32 = DType("int32", "int", 1)
int64 = DType("int64", "int", 2)
bool_ = DType("bool", "bool", 0)

DTYPES: dict[str, DType] = {dtype.name: dtype for dtype in (float32, float64, int32, int64, bool_)}
_ALIASES: dict[Any, DType] = {float: float32, int: int64, bool: bool_, "float": float32, "double": float64}
NUMPY_DTYPES: dict[np.dtype[Any], DType] = {dtype.numpy: dtype for dtype in DTYPES.values()}
# NumPy types that are stored in the nearest type which keeps their values (float16 and small integers exactly).
_STORED_AS: dict[str, DType] = {
    "float16": float32, "int8": int32, "int16": int32, "uint8": int32, "uint16": int32,
    "uint32": int64, "uint64": int64,
}  # fmt: skip


def as_dtype(value: Any) -> DType:
    """Return the `DType` meant by a `DType`, a name, a Python type or a NumPy dtype.

    Errors: `DTypeError` for types that chainrule does not compute with (complex, object, text).
    """
    if isinstance(value, DType):
        return value
    found = _ALIASES.get(value) if value.__hash__ is not None else None
    if found is not None:
        return found
    if isinstance(value, str) and value in DTYPES:
        return DTYPES[value]
    try:
        if value is None:  # NumPy would read it as float64
            raise TypeError
        numpy_dtype = np.dtype(value)
    except TypeError:
        raise DTypeError(
            f"unknown dtype {value!r}{did_you_mean(str(value), DTYPES)}; expected one of {', '.join(DTYPES)}"
        ) from None
    stored = NUMPY_DTYPES.get(numpy_dtype.newbyteorder("=")) or _STORED_AS.get(numpy_dtype.name)
    if stored is None:
        raise DTypeError(
            f"arrays of dtype {numpy_dtype} cannot be tensors; expected numbers or booleans. "
            f"fix: convert first, e.g. array.astype('float32')"
        )
    return stored


def promote(*dtypes: DType) -> DType:
    """Return the type in which operands of these types meet: bool < int32 < int64 < float32 < float64 (as PyTorch)."""
    return max(dtypes, key=lambda dtype: dtype.rank)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the common shape of the operands, by NumPy's rule.

    Errors: `ShapeError` naming the axis when two sizes differ and neither is 1.
    """
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    if len(shapes) == 2:  # one of them is a number, or a row
        for small, large in (shapes, shapes[::-1]):
            if not small or small == large[len(large) - len(small) :]:
                return large
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and size != result[axis]:
                if result[axis] != 1:
                    raise ShapeError(
                        f"shapes {' and '.join(map(str, shapes))} cannot be broadcast together: "
                        f"axis {axis - rank} has sizes {result[axis]} and {size}. "
                        f"fix: make them equal, or make one of them 1 (reshape, unsqueeze)"
                    )
                result[axis] = size
    return tuple(result)


def normalize_axis(axis: int, rank: int) -> int:
    """Return ``axis`` counted from the front.

    A scalar counts as one dimension here, as in PyTorch. Errors: `IndexOutOfRangeError` outside ``[-rank, rank)``.
    """
    if not -max(rank, 1) <= axis < max(rank, 1):
        raise IndexOutOfRangeError(
            f"dimension out of range: expected a dim in [{-max(rank, 1)}, {max(rank, 1) - 1}] "
            f"for a tensor of {rank} dimensions, got {axis}"
        )
    return axis % rank if rank else 0


class TensorType:
    """Element type and shape of one value. Instances are interned: equal types are the same object, never changed."""

    __slots__ = ("_text", "dtype", "shape", "size")

    def __init__(self, dtype: DType, shape: Shape) -> None:
        self.dtype = dtype
        self.shape = shape
        self.size: int = math.prod(shape)
        self._text: str | None = None

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.size

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        if self._text is None:
            self._text = f"{self.dtype.name}[{','.join(map(str, self.shape))}]"
        return self._text

    def __reduce__(self) -> tuple[Any, ...]:
        return (tensor_type, (self.dtype, self.shape))


_INTERNED: dict[tuple[DType, Shape], TensorType] = {}


def tensor_type(dtype: DType, shape: Shape) -> TensorType:
    """Return the interned `TensorType` of this element type and shape."""
    key = (dtype, shape)
    found = _INTERNED.get(key)
    if found is None:
        # One atomic step, so that two threads get the same object; sizes become plain integers.
        found = _INTERNED.setdefault(key, TensorType(dtype, tuple(map(int, shape))))
    return found


@lru_cache(maxsize=4096)
def contiguous_strides(shape: Shape) -> tuple[int, ...]:
    """Return row-major strides, in elements.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)
