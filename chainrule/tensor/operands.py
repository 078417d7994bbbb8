"""What may stand beside a tensor in an operation: tensors, Python numbers, arrays - and the type in which they meet."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..graph.site import find_site
from ..graph.vertex import Vertex
from ..ops.elementwise import cast
from ..ops.source import constant
from ..types import NUMPY_DTYPES, DType, as_dtype, bool_, contiguous_strides, float32, int64, promote, tensor_type
from .recording import Handle, enter, stored
from .segment import Segment, state
from .storage import adopt, allocate, view_array

MAX_CONSTANTS = 3
"""Different values of a Python number at one place before it becomes a run-time value of the program."""


_NUMBER_DTYPES: dict[type, DType] = {bool: bool_, int: int64, float: float32}


def from_array(array: np.ndarray[Any, Any], dtype: DType | None = None, shares_memory: bool = False) -> Any:
    """Return a stored tensor with the array's elements; sharing its memory only on request."""
    wanted = dtype or NUMPY_DTYPES.get(array.dtype) or as_dtype(array.dtype)
    if shares_memory and wanted.numpy == array.dtype and array.flags.forc and array.size:
        strides = tuple(step // array.itemsize for step in array.strides)
        storage = adopt(array)
        layout = None if strides == contiguous_strides(array.shape) else strides
        return stored(storage, storage.address, tensor_type(wanted, array.shape), layout)
    type = tensor_type(wanted, array.shape)
    storage = allocate(type.nbytes)
    if state.segment.expansion is not None:
        storage.made_in = state.segment
    view_array(storage, storage.address, type, None)[...] = array
    return stored(storage, storage.address, type)


def as_tensor(value: Any, dtype: DType | None = None) -> Any:
    """Return ``value`` as a tensor: itself, or made from a number, an array, a list or anything with DLPack."""
    if isinstance(value, Handle):
        return value
    if value.__class__ is np.ndarray and value.dtype != object:
        return from_array(value, dtype)
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        number, wanted = np.asarray(value), dtype or number_dtype(value)
        check_range(number, wanted)
        with np.errstate(over="ignore"):  # 1e40 is infinity in float32
            return from_array(number.astype(wanted.numpy))
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
        value = np.from_dlpack(value)
    if isinstance(value, list | tuple) and any(isinstance(item, Handle) for item in value):
        value = [np.asarray(item) for item in value]
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.empty((), object)
    if array.dtype == object:
        if array.size and all(isinstance(item, int) for item in array.flat):  # beyond 64 bits
            check_range(array, dtype or int64)
            return from_array(array.astype(np.float64), dtype)
        raise DTypeError(
            "expected a tensor or numbers, got None. fix: a value; a function or a `forward` without return gives None"
            if value is None
            else f"cannot make a tensor from {type(value).__name__} with elements of different lengths or types. "
            "fix: pass numbers, or nested lists of equal lengths"
        )
    if dtype is None and not isinstance(value, np.ndarray | np.generic) and array.dtype == np.float64:
        dtype = float32  # a list of Python floats has the default type, as in PyTorch
    if not isinstance(value, np.ndarray) and (dtype is not None or array.dtype == np.uint64):
        check_range(array, dtype or int64)
    return from_array(array, dtype)


def check_range(numbers: np.ndarray[Any, Any], dtype: DType) -> None:
    """Errors: `DTypeError` for numbers that a type of whole numbers cannot hold; NaN and infinity are such, too."""
    if dtype.kind != "int" or numbers.dtype == dtype.numpy:
        return
    limit = 1 << 8 * dtype.size - 1
    fits = (numbers >= -limit) & (numbers < limit)
    if not np.all(fits):
        wrong = numbers.reshape(-1)[int(np.argmin(fits))]
        wider = "int64" if -(1 << 63) <= wrong < 1 << 63 else "float64"
        raise DTypeError(
            f"value cannot be converted to type {dtype} without overflow: {wrong}\n  where: {find_site()}\n"
            f"  expected: {-limit} to {limit - 1}\n  fix: dtype={wider}"
        )


def number_dtype(value: Any) -> DType:
    """The type that a Python number has on its own."""
    found = _NUMBER_DTYPES.get(value.__class__)
    if found is not None:
        return found
    if isinstance(value, np.bool_):
        return bool_
    return int64 if isinstance(value, numbers.Integral) else float32


def enter_all(*handles: Any) -> tuple[Segment, list[Vertex]]:
    """Give all handles vertices in one segment. Entering one may run the segment: then start again in the new one."""
    while True:
        segment = state.segment
        vertices = [handle._vertex if handle._segment is segment else enter(handle, segment) for handle in handles]
        if state.segment is segment:
            return segment, vertices


def result_dtype(*vertices: Vertex) -> DType:
    """The type in which tensors meet: those without dimensions count only if they are of a higher kind (as PyTorch)."""
    ranks = {"bool": 0, "int": 1, "float": 2}
    dimensioned = [vertex.dtype for vertex in vertices if vertex.shape]
    scalars = [vertex.dtype for vertex in vertices if not vertex.shape]
    if not dimensioned or not scalars:
        return promote(*(dimensioned or scalars))
    base, other = promote(*dimensioned), promote(*scalars)
    return other if ranks[other.kind] > ranks[base.kind] else base


def dtype_beside(value: Any, dtype: DType) -> DType:
    """The type that a Python number takes beside a tensor of ``dtype``: the tensor's, unless the kind is too low."""
    own = number_dtype(value)
    if own.kind == "float":
        return dtype if dtype.kind == "float" else float32
    return int64 if dtype is bool_ and own is not bool_ else dtype


def number_vertex(value: Any, beside: Vertex, place: Any, is_float_result: bool = False) -> Vertex:
    """Return the vertex of a Python number beside a tensor.

    The first few values at a ``place`` (a hashable name of the operation) become constants; a number that keeps
    changing becomes a run-time value, so that it compiles nothing new.
    """
    dtype = dtype_beside(value, beside.dtype)
    if is_float_result and not dtype.is_floating_point:
        dtype = float32
    seen = beside.users.setdefault((place, "numbers", dtype), set())
    key = (value.__class__, value) if value and value == value else repr(value)  # 0.0 is not -0.0, NaN not even itself
    if key in seen or len(seen) < MAX_CONSTANTS:
        seen.add(key)
        return constant(value, dtype)
    _, (vertex,) = enter_all(from_array(np.asarray(value, dtype.numpy)))
    return vertex


def meet(a: Vertex, b: Vertex, needs_float: bool = False) -> tuple[Vertex, Vertex]:
    """Cast two vertices to the type in which they meet."""
    dtype = a.dtype if a.dtype is b.dtype else result_dtype(a, b)
    if needs_float and not dtype.is_floating_point:
        dtype = float32
    return cast(a, dtype), cast(b, dtype)
