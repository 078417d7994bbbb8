"""Rows of a table by number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, IndexOutOfRangeError, ShapeError
from ...graph.site import find_site
from ...ops import indexing
from ...tensor import operations, reductions
from ...tensor.creation import ones
from ...tensor.gradmode import no_grad
from ...tensor.operands import as_tensor, enter_all
from ...tensor.recording import Handle, pending, type_of
from ...tensor.remembered import remembered
from ...tensor.segment import state
from ...tensor.storage import view_array
from ...types import int64


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Row i of ``weight`` for every index i. Reading and its gradient touch only the rows that occur.

    ``padding_idx`` names a row that gets no gradient. ``max_norm``: rows that occur and are longer in the
    ``norm_type``-norm are first shortened, in place. ``scale_grad_by_freq`` divides a row's gradient by how often it
    occurs. ``sparse`` is accepted for compatibility: gradients are dense, with zeros in the other rows.

    Shapes: input (...) of integers, or of whole numbers of another type, weight (rows, columns), result (..., columns).
    Errors: `DTypeError` for other numbers, `IndexOutOfRangeError` for a stored index outside the table, with its row;
    one that only the program knows gives NaN.

    >>> import chainrule as cr
    >>> cr.nn.functional.embedding(cr.tensor([1, 0]), cr.tensor([[0.0, 0.1], [1.0, 1.1]]))
    tensor([[1.0000, 1.1000],
            [0.0000, 0.1000]])
    """
    index = input if isinstance(input, Handle) else as_tensor(input)
    rows = _check_table(type_of(weight).shape, padding_idx)
    is_checked = _check_indices(index, rows)
    if not is_checked:
        index = _with_invalid(index, rows=rows)
    index = operations.convert(index, int64)
    if max_norm is not None:
        with no_grad():
            weight.copy_(_shortened(weight, index, max_norm=float(max_norm), norm_type=float(norm_type)))
    padding = None if padding_idx is None else padding_idx % max(rows, 1)
    return _look_up(weight, index, padding=padding, by_frequency=scale_grad_by_freq, is_checked=is_checked)


def _check_table(shape: tuple[int, ...], padding_idx: int | None) -> int:
    """The number of rows."""
    if len(shape) != 2:
        raise ShapeError(f"'weight' must be 2-D, (rows, columns), got shape {shape}\n  where: {find_site()}")
    check_padding(padding_idx, shape[0])
    return shape[0]


def check_padding(padding_idx: int | None, rows: int) -> None:
    """Errors: `ArgumentError` for a padding row that is not in the table."""
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ArgumentError(f"Padding_idx must be within num_embeddings ({rows}), got {padding_idx}")


def _check_indices(index: Any, rows: int) -> bool:
    """Whether all indices are known to lie in the table. Errors: `DTypeError`, `IndexOutOfRangeError`."""
    type = type_of(index)
    if type.dtype.kind == "bool" or index.requires_grad:
        raise DTypeError(
            f"expected indices of type int64 or int32, got {type.dtype}"
            f"{' that requires a gradient' if index.requires_grad else ''}\n  where: {find_site()}\n  fix: x.long()"
        )
    if index._storage is None or state.segment.is_capturing:
        return not type.size
    values = view_array(index._storage, index._address, index._type, index._strides)
    if type.size and type.dtype.is_floating_point and (values != np.floor(values)).any():
        place = np.argwhere(values != np.floor(values))[0]
        raise DTypeError(
            f"expected indices, got the number {values[tuple(place)]:g} in {_name(place)}\n  where: {find_site()}\n"
            "  fix: whole numbers, or a Linear layer for features"
        )
    if type.size and not (values.min() >= 0 and values.max() < rows):
        place = np.argwhere(~((values >= 0) & (values < rows)))[0]
        found = int(values[tuple(place)])
        fix = f"Embedding({found + 1}, ...)" if found >= rows else "indices from 0 on"
        raise IndexOutOfRangeError(
            f"index out of range: index {found} in {_name(place)}, but the table has {rows} rows (0 to {rows - 1})\n"
            f"  where: {find_site()}\n  fix: {fix}"
        )
    return True


def _name(place: Any) -> str:
    """Where an element lies, in words."""
    if not len(place):
        return "the input"
    return f"row {place[0]}" + (f", position {', '.join(map(str, place[1:]))}" if len(place) > 1 else "")


def _take_rows(table: Any, index: Any) -> Any:
    segment, (values, rows) = enter_all(table, index)
    return pending(indexing.take(values, rows, 0), segment)


def _occurrences(index: Any, rows: int) -> Any:
    """How often each row of the table occurs."""
    segment, (counted, at) = enter_all(ones(*index.shape), index)
    return pending(indexing.scatter_add(counted, at, 0, rows), segment)


@remembered
def _with_invalid(index: Any, *, rows: int) -> Any:
    """Indices that nobody has looked at, -1 where there is no such row."""
    is_row = operations.logical_and(operations.ge(index, 0), operations.lt(index, rows))
    if index.dtype.is_floating_point:
        is_row = operations.logical_and(is_row, operations.eq(index, operations.floor(index)))
    return operations.where(is_row, index, -1)


@remembered
def _look_up(weight: Any, index: Any, *, padding: int | None, by_frequency: bool, is_checked: bool) -> Any:
    rows = weight.shape[0]
    if not rows:
        return weight.detach().reshape(0)[:0].reshape(*index.shape, weight.shape[1])
    found = _take_rows(weight, index)
    if by_frequency:
        share = operations.div(1.0, _take_rows(_occurrences(index, rows), index)).unsqueeze(-1)
        fixed = found.detach()
        share = operations.convert(share, weight.dtype)
        found = operations.add(operations.mul(operations.sub(found, fixed), share), fixed)
    if padding is not None:
        found = operations.where(operations.eq(index, padding).unsqueeze(-1), found.detach(), found)
    if not is_checked:
        found = operations.where(operations.lt(index, 0).unsqueeze(-1), math.nan, found)
    return found


@remembered
def _shortened(weight: Any, index: Any, *, max_norm: float, norm_type: float) -> Any:
    """The table with the rows that occur scaled to at most ``max_norm``, by PyTorch's max_norm / (norm + 1e-7)."""
    norms = reductions.norm(weight, norm_type, 1, True)
    occurs = operations.gt(_occurrences(index, weight.shape[0]), 0).unsqueeze(-1)
    is_long = operations.logical_and(occurs, operations.gt(norms, max_norm))
    scale = operations.div(max_norm, operations.add(norms, 1e-7))
    return operations.where(is_long, operations.mul(weight, scale), weight)
