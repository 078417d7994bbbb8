"""From rows to a batch: values of one kind become one tensor with a dimension more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..tensor.operands import from_array
from ..tensor.recording import stored
from ..tensor.storage import spare_memory, view_array
from ..tensor.tensor import Tensor
from ..types import DType, Shape, as_dtype, tensor_type

Array = np.ndarray[Any, Any]


def new_tensor(shape: Shape, dtype: DType) -> tuple[Any, Array]:
    """A tensor in memory of its own, and the array through which its elements are to be written before it is used.

    It is meant for batches, which come and go: where one has gone, its memory serves again.
    """
    type = tensor_type(dtype, shape)
    storage = spare_memory(type.nbytes)
    return stored(storage, storage.address, type), view_array(storage, storage.address, type, None)


def default_collate(batch: Sequence[Any]) -> Any:
    """Join rows to a batch: tensors and arrays are stacked, numbers become a tensor, containers are joined inside.

    Whole numbers become int64, Python's floats float64, as in PyTorch. A tuple of rows becomes a list of batches, a
    dictionary one of batches; text stays a list. Data carry no gradient into a batch.

    Errors: `ShapeError` where rows differ in shape or length, `DTypeError` for anything else than the above.

    >>> default_collate([(np.zeros(3), 1), (np.ones(3), 2)])
    [tensor([[0., 0., 0.],
            [1., 1., 1.]], dtype=float64), tensor([1, 2])]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack([np.asarray(row.detach()._array() if isinstance(row, Tensor) else row) for row in batch])
    if isinstance(first, np.ndarray):
        return _stack([np.asarray(row) for row in batch])
    if isinstance(first, bool | int | float | np.generic) and not isinstance(first, str | bytes):
        return from_array(np.asarray(batch))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        joined = {key: default_collate([row[key] for row in batch]) for key in first}
        return joined if type(first) is dict else type(first)(joined)  # type: ignore[call-arg]
    if isinstance(first, tuple | list):
        lengths = {len(row) for row in batch}
        if len(lengths) > 1:
            raise ShapeError(f"rows of a batch have different numbers of values: {sorted(lengths)}. fix: a collate_fn")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise DTypeError(
        f"rows of type {type(first).__name__} cannot be joined to a batch; expected tensors, arrays, numbers, text, "
        "or tuples, lists and dictionaries of these. fix: a transform that makes tensors (transforms.ToTensor), or a "
        "collate_fn"
    )


def default_convert(row: Any) -> Any:
    """Turn the arrays in a row into tensors, and leave everything else as it is: what is done without batches.

    >>> default_convert({"x": np.zeros(2), "name": "first"})
    {'x': tensor([0., 0.], dtype=float64), 'name': 'first'}
    """
    if isinstance(row, np.ndarray | np.generic) and row.dtype.kind in "fiub":
        return from_array(np.asarray(row))
    if isinstance(row, dict):
        return {key: default_convert(value) for key, value in row.items()}
    if isinstance(row, tuple | list) and not hasattr(row, "_fields"):
        return [default_convert(value) for value in row]
    return row


def _stack(rows: list[Array]) -> Any:
    first = rows[0]
    for number, row in enumerate(rows):
        if row.shape != first.shape:
            raise ShapeError(
                f"rows of a batch have different shapes: {first.shape} in its row 0, {row.shape} in its row {number}. "
                "fix: a transform that gives all the same shape, or a collate_fn"
            )
    dtype = as_dtype(np.result_type(*{row.dtype for row in rows}))
    tensor, array = new_tensor((len(rows), *first.shape), dtype)
    np.stack(rows, out=array)
    return tensor
