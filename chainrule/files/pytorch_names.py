"""The names in PyTorch's files, and what each stands for: a closed table of types, and of recipes that note values."""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.files.pickled import Recipe, check_key
from chainrule.types import bool_, float32, float64, int32, int64

BFLOAT16 = "bfloat16"
MOST_DIMENSIONS = 32


@dataclass(frozen=True)
class Storage:
    """A piece of memory in the file: its name there, NumPy's name of its element type or ``bfloat16``, its elements.

    Storages without a type (``element`` is "") count bytes; the tensors in them have the type.
    """

    key: str
    element: str
    count: int


@dataclass(frozen=True, eq=False)
class PickledTensor:
    """A tensor as a view into a storage: of which, from which element on, its shape, and its strides in elements."""

    storage: Storage
    element: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False)
class PickledType:
    """An element type of NumPy's: numbers and booleans alone."""

    dtype: np.dtype[Any]


@dataclass(eq=False)
class PickledArray:
    """An array of NumPy's, which a pickle makes empty, and then gives its state."""

    array: NDArray[Any] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class _ArrayClass:
    """What ``numpy.ndarray`` stands for: something to be named, and nothing else."""


def storage(given: Any) -> Storage:
    """The storage of a persistent id: ("storage", type, key, device, elements), of which the device does not matter."""
    kind, element, key, _, count, *old = given
    if kind != "storage" or type(element) is not StorageType or type(key) is not str or any(old):
        raise ValueError("no storage")
    return Storage(key, element.element, _size(count))


@dataclass(frozen=True)
class StorageType:
    """A type of storages by its elements."""

    element: str


def build(target: Any, state: Any) -> None:
    """Give an object its state. That of a dictionary is attributes: PyTorch notes versions of modules there."""
    if isinstance(target, PickledType):
        if state[1] not in ("<", ">", "|"):
            raise ValueError("no byte order")
        target.dtype = target.dtype.newbyteorder(state[1])
    elif isinstance(target, PickledArray):
        _, shape, kind, is_fortran, elements = state
        flat = np.frombuffer(elements, _dtype(kind))
        if math.prod(map(_size, shape)) != len(flat) or len(shape) > MOST_DIMENSIONS:
            raise ValueError("no array")
        ordered = flat.reshape(shape, order="F" if is_fortran else "C")
        target.array = ordered.astype(ordered.dtype.newbyteorder("="))
    elif not isinstance(target, dict):
        raise TypeError("nothing with a state")


def _tensor(of: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> PickledTensor:
    return _view(of, of.element, offset, shape, strides)


def _typed_tensor(
    of: Any, offset: Any, shape: Any, strides: Any, _: Any, __: Any, kind: Any, *___: Any
) -> PickledTensor:
    return _view(of, _dtype(kind).name, offset, shape, strides)


def _view(of: Any, element: str, offset: Any, shape: Any, strides: Any) -> PickledTensor:
    if type(of) is not Storage or not element or len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS:
        raise ValueError("no tensor")
    return PickledTensor(of, element, _size(offset), tuple(map(_size, shape)), tuple(map(_size, strides)))


def _parameter(data: Any, *_: Any) -> PickledTensor:
    if type(data) is not PickledTensor:
        raise TypeError("no tensor")
    return data


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError("no size")
    return value


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict((check_key(key), value) for key, value in pairs)


def _counter(counts: Any) -> Counter[Any]:
    if type(counts) is not dict or not all(type(count) is int for count in counts.values()):
        raise TypeError("no counts")
    return Counter(counts)


def _set(members: Any) -> set[Any]:
    return {check_key(member) for member in members}


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError("no number")
    return complex(real, imaginary)


def _bytes(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise TypeError("no bytes")
    return text.encode("latin1")


def _numpy_type(code: Any, *_: Any) -> PickledType:
    if not re.fullmatch("[iu][1248]|f[248]|b1", code):
        raise ValueError("no element type")
    return PickledType(np.dtype(code))


def _dtype(kind: Any) -> np.dtype[Any]:
    if type(kind) is not PickledType:
        raise TypeError("no element type")
    return kind.dtype


def _number(kind: Any, value: Any) -> Any:
    (number,) = np.frombuffer(value, _dtype(kind))
    return number


def _empty_array(kind: Any, *_: Any) -> PickledArray:
    if type(kind) is not _ArrayClass:
        raise TypeError("no array")
    return PickledArray()


_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": BFLOAT16,
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip

NAMES: dict[str, Any] = {
    **{f"torch.{name}": StorageType(element) for name, element in _STORAGES.items()},
    "torch.storage.UntypedStorage": StorageType(""),
    **{f"torch.{name}": PickledType(np.dtype(name)) for name in ("uint16", "uint32", "uint64")},
    **{f"torch.{dtype.name}": dtype for dtype in (float32, float64, int32, int64, bool_)},
    "torch.Size": Recipe(lambda sizes: tuple(map(_size, sizes))),
    "torch.device": Recipe(lambda *parts: ":".join(map(str, parts))),
    "torch._utils._rebuild_tensor": Recipe(_tensor),
    "torch._utils._rebuild_tensor_v2": Recipe(_tensor),
    "torch._utils._rebuild_tensor_v3": Recipe(_typed_tensor),
    "torch._utils._rebuild_parameter": Recipe(_parameter),
    "collections.OrderedDict": Recipe(_ordered),
    "collections.Counter": Recipe(_counter),
    **{f"{module}.set": Recipe(_set) for module in ("__builtin__", "builtins")},
    **{f"{module}.complex": Recipe(_complex) for module in ("__builtin__", "builtins")},
    "_codecs.encode": Recipe(_bytes),
    "numpy.dtype": Recipe(_numpy_type),
    "numpy.ndarray": _ArrayClass(),
    **{f"numpy.{core}.multiarray.scalar": Recipe(_number) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": Recipe(_empty_array) for core in ("core", "_core")},
}
