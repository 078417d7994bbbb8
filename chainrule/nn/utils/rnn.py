"""Sequences of different lengths: padded to one length, or packed, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, CaptureError, DTypeError, ShapeError
from ...graph.site import find_site
from ...ops.source import iota
from ...tensor import gathering, operations, shaping
from ...tensor.operands import as_tensor, enter_all, from_array
from ...tensor.recording import Handle, pending, resolve, type_of
from ...tensor.remembered import remembered
from ...tensor.segment import state
from ...tensor.storage import view_array
from ...types import Shape

Array = np.ndarray[Any, Any]


class Order(NamedTuple):
    """How rows of different lengths are packed: the longest first, all first steps before all second ones.

    ``lengths`` in the order of the user's rows; ``rank``: which place each row has among the sorted ones.
    """

    lengths: Array
    rank: Array

    @property
    def steps(self) -> int:
        """The number of steps of the longest row."""
        return int(self.lengths.max(initial=0))

    @property
    def batch_sizes(self) -> Array:
        """How many rows have a first step, a second one, ..."""
        return np.count_nonzero(self.lengths > np.arange(self.steps)[:, None], axis=1)

    def places(self) -> Array:
        """Where step t of row b lies among the packed ones, shape (steps, rows); 0 beyond the row's end."""
        first = np.cumsum(self.batch_sizes) - self.batch_sizes
        is_there = self.lengths > np.arange(self.steps)[:, None]
        return np.where(is_there, first[:, None] + self.rank, 0)

    def origins(self) -> Array:
        """For each packed step, where it lies among those of (steps · rows)."""
        row = np.argsort(self.rank, kind="stable")
        step = np.repeat(np.arange(self.steps), self.batch_sizes)
        place = np.concatenate([np.arange(size) for size in self.batch_sizes]) if self.steps else step
        return step * len(row) + row[place]


class PackedSequence:
    """Rows of different lengths without their padding, as `pack_padded_sequence` and `pack_sequence` make them.

    ``data`` (Σ lengths, ...): the steps of all rows, all first ones before all second ones, the longest row first;
    ``batch_sizes``: how many rows have each step; ``sorted_indices`` and ``unsorted_indices``: the order of the rows by
    length, and back, None where the user's was that. Inside, the rows stay padded until ``data`` is asked for, so that
    the programs of layers do not depend on lengths.
    """

    _fields = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")

    def __init__(
        self, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> None:
        if batch_sizes is None:
            raise ArgumentError("PackedSequence needs batch_sizes. fix: pack_padded_sequence or pack_sequence makes it")
        sizes = _numbers(batch_sizes, "batch_sizes")
        rows = np.arange(sizes[0] if len(sizes) else 0)
        if sorted_indices is None and unsorted_indices is not None:
            sorted_indices = from_array(np.argsort(_numbers(unsorted_indices, "unsorted_indices")))
        if unsorted_indices is None and sorted_indices is not None:
            unsorted_indices = from_array(np.argsort(_numbers(sorted_indices, "sorted_indices")))
        rank = rows if unsorted_indices is None else _numbers(unsorted_indices, "unsorted_indices")
        self._data = as_tensor(data)
        self._padded: Any = None
        self.order = Order((sizes[:, None] > rank).sum(0), rank)
        self.batch_sizes = from_array(sizes)
        self.sorted_indices = sorted_indices
        self.unsorted_indices = unsorted_indices
        if int(sizes.sum()) != type_of(self._data).shape[0]:
            raise ShapeError(
                f"PackedSequence: batch_sizes add up to {int(sizes.sum())} steps, but data has shape "
                f"{type_of(self._data).shape}\n  where: {find_site()}"
            )

    @classmethod
    def of_padded(cls, padded: Any, order: Order, sorted_indices: Any, unsorted_indices: Any) -> PackedSequence:
        """Pack steps of shape (steps, rows, ...) that are 0 beyond the ends of rows."""
        packed = cls.__new__(cls)
        packed._data, packed._padded, packed.order = None, padded, order
        packed.batch_sizes = from_array(order.batch_sizes)
        packed.sorted_indices, packed.unsorted_indices = sorted_indices, unsorted_indices
        return packed

    def with_padded(self, padded: Any) -> PackedSequence:
        """Other steps of the same lengths and order."""
        return self.of_padded(padded, self.order, self.sorted_indices, self.unsorted_indices)

    @property
    def data(self) -> Any:
        """The steps of all rows."""
        if self._data is not None:
            return self._data
        return shaping.flatten(self._padded, 0, 1)[from_array(self.order.origins())]

    @property
    def padded(self) -> Any:
        """The steps as (steps, rows, ...), in the user's order of rows, 0 beyond their ends."""
        if self._padded is not None:
            return self._padded
        found = self._data[from_array(self.order.places())]
        mask = mask_of(from_array(self.order.lengths), steps=self.order.steps, dimensions=found.dim())
        return gathering.masked_fill(found, ~mask, 0)

    def _replace(self, **changed: Any) -> PackedSequence:
        return PackedSequence(**{**dict(zip(self._fields, self, strict=True)), **changed})

    def to(self, *arguments: Any, **options: Any) -> PackedSequence:
        """The same with ``data.to(...)``."""
        return self._replace(data=self.data.to(*arguments, **options))

    def cpu(self) -> PackedSequence:
        """The sequence itself."""
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter((self.data, self.batch_sizes, self.sorted_indices, self.unsorted_indices))

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __repr__(self) -> str:
        return "PackedSequence(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields) + ")"


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack rows that are padded to one length.

    Shapes: input (steps, rows, ...), with ``batch_first`` (rows, steps, ...); lengths: one whole number per row, in a
    list or a tensor; with ``enforce_sorted`` they must not increase. Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1, 2, 0], [3, 0, 0]])
    >>> cr.nn.utils.rnn.pack_padded_sequence(x, [2, 1], batch_first=True).data
    tensor([1, 3, 2])
    """
    x = input if isinstance(input, Handle) else as_tensor(input)
    x = _steps_first(x, batch_first)
    steps, rows = type_of(x).shape[:2]
    numbers = _numbers(lengths, "lengths")
    check_lengths(numbers, steps, rows)
    is_sorted = bool((numbers[:-1] >= numbers[1:]).all())
    if enforce_sorted and not is_sorted:
        raise ArgumentError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True, got "
            f"{numbers[:10].tolist()}\n  where: {find_site()}\n  fix: enforce_sorted=False"
        )
    sorted_indices = unsorted_indices = None
    rank = np.arange(rows)
    if not enforce_sorted:
        by_length = np.argsort(-numbers, kind="stable")
        rank = np.argsort(by_length)
        sorted_indices, unsorted_indices = from_array(by_length), from_array(rank)
    order = Order(numbers, rank)
    padded = gathering.masked_fill(
        x[: order.steps], ~mask_of(from_array(numbers), steps=order.steps, dimensions=x.dim()), 0
    )
    return PackedSequence.of_padded(padded, order, sorted_indices, unsorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Any, Any]:
    """The rows of a packed sequence, padded, and their lengths.

    Shapes: (steps, rows, ...), with ``batch_first`` (rows, steps, ...); as many steps as the longest row has, or
    ``total_length``. Errors: `ArgumentError` for a total length that is too short.

    >>> import chainrule as cr
    >>> from chainrule.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> pad_packed_sequence(pack_sequence([cr.tensor([1, 2]), cr.tensor([3])]), batch_first=True)
    (tensor([[1, 2],
            [3, 0]]), tensor([2, 1]))
    """
    padded, lengths, steps = sequence.padded, from_array(sequence.order.lengths), sequence.order.steps
    if total_length is not None and total_length < steps:
        raise ArgumentError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {steps}"
        )
    if padding_value:
        padded = gathering.masked_fill(padded, ~mask_of(lengths, steps=steps, dimensions=padded.dim()), padding_value)
    if total_length is not None and total_length > steps:
        shape = (total_length - steps, *padded.shape[1:])
        padded = shaping.cat([padded, padded.new_full(shape, padding_value)])
    return _steps_first(padded, batch_first), lengths


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    """Sequences of different lengths as one tensor, with ``padding_value`` behind (or on the "left" before) each.

    Shapes: sequences (length, ...), result (longest, sequences, ...), with ``batch_first`` (sequences, longest, ...).
    Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> cr.nn.utils.rnn.pad_sequence([cr.tensor([1, 2]), cr.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if padding_side not in ("left", "right"):
        raise ArgumentError(f"padding_side should be either 'right' or 'left', got {padding_side!r}")
    parts = [as_tensor(part) for part in sequences]
    _check_parts(parts)
    lengths = np.array([type_of(part).shape[0] for part in parts])
    steps = int(lengths.max())
    step = np.arange(steps)[:, None] - (steps - lengths if padding_side == "left" else 0)
    places = np.where((step >= 0) & (step < lengths), np.cumsum(lengths) - lengths + step, -1)
    everything = shaping.cat([*parts, parts[0].new_full((1, *parts[0].shape[1:]), padding_value)])
    return _steps_first(everything[from_array(places % (int(lengths.sum()) + 1))], batch_first)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The sequences that were padded behind their ends, in a list.

    >>> import chainrule as cr
    >>> cr.nn.utils.rnn.unpad_sequence(cr.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    x = _steps_first(as_tensor(padded_sequences), batch_first)
    numbers = _numbers(lengths, "lengths")
    check_lengths(numbers, *type_of(x).shape[:2])
    return [x[:length, row] for row, length in enumerate(numbers.tolist())]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (length, ...), with ``enforce_sorted`` the longest first. Errors: as for the others.

    >>> import chainrule as cr
    >>> cr.nn.utils.rnn.pack_sequence([cr.tensor([1, 2]), cr.tensor([3])]).batch_sizes
    tensor([2, 1])
    """
    parts = [as_tensor(part) for part in sequences]
    lengths = [type_of(part).shape[0] if part.dim() else 0 for part in parts]
    return pack_padded_sequence(pad_sequence(parts), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The sequences of a packed one, in a list.

    >>> import chainrule as cr
    >>> from chainrule.nn.utils.rnn import pack_sequence, unpack_sequence
    >>> unpack_sequence(pack_sequence([cr.tensor([1, 2]), cr.tensor([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


@remembered
def mask_of(lengths: Any, *, steps: int, dimensions: int) -> Any:
    """Which steps belong to rows of these lengths: (steps, rows, 1, ...) of so many dimensions."""
    rows = type_of(lengths).shape[0]
    segment, (vertex,) = enter_all(lengths)
    step = pending(iota(vertex.dtype, (steps, rows), 0), segment)
    return operations.lt(step, lengths).reshape(steps, rows, *(1 for _ in range(dimensions - 2)))


def lengths_of_rows(lengths: Any, steps: int, rows: int) -> Any:
    """Lengths as a tensor, checked as `check_lengths` does if they are stored; what a program computes is trusted."""
    tensor = as_tensor(lengths)
    if type_of(tensor).dtype.kind != "int":
        raise DTypeError(f"lengths must be whole numbers, got {type_of(tensor).dtype}. fix: lengths.long()")
    if tensor._storage is not None:
        check_lengths(_stored_values(tensor), steps, rows)
    elif type_of(tensor).shape != (rows,):
        raise _wrong_number(type_of(tensor).shape, rows)
    return tensor


def check_lengths(numbers: Array, steps: int, rows: int) -> None:
    """Errors: `ArgumentError` for lengths outside [1, steps], `ShapeError` for another number of them than of rows."""
    if numbers.shape != (rows,):
        raise _wrong_number(numbers.shape, rows)
    wrong = np.flatnonzero((numbers < 1) | (numbers > steps))
    if len(wrong):
        row = int(wrong[0])
        raise ArgumentError(
            f"Length of all samples has to be greater than 0 and at most that of the padded input, which has {steps} "
            f"steps, but row {row} has length {numbers[row]}\n  where: {find_site()}\n"
            "  fix: leave empty rows out; lengths count the steps before the padding"
        )


def _wrong_number(shape: Shape, rows: int) -> ShapeError:
    return ShapeError(
        f"Expected `len(lengths)` to be equal to batch_size, but got lengths of shape {shape} for {rows} rows\n"
        f"  where: {find_site()}\n  fix: one length per row; batch_first says which dimension of the input is which"
    )


def _numbers(value: Any, name: str) -> Array:
    """Whole numbers that are known when the function is called."""
    tensor = as_tensor(value)
    if type_of(tensor).dtype.kind != "int":
        raise DTypeError(f"{name} must be whole numbers, got {type_of(tensor).dtype}. fix: {name}.long()")
    if state.segment.is_capturing:
        if tensor._storage is None or tensor._storage.made_in is not state.segment:
            raise CaptureError(
                f"a packed sequence is made from the values of {name}, which a compiled function does not know yet. "
                "fix: leave the rows padded, and call the layer with lengths="
            )
    else:
        resolve(tensor)
    return _stored_values(tensor)


def _stored_values(tensor: Any) -> Array:
    return np.array(view_array(tensor._storage, tensor._address, tensor._type, tensor._strides))


def _steps_first(x: Any, batch_first: bool) -> Any:
    """(rows, steps, ...) as (steps, rows, ...), and back, if the batch comes first. Errors: `ShapeError`."""
    if x.dim() < 2:
        raise ShapeError(
            f"expected a tensor of shape (rows, steps, ...) or (steps, rows, ...), got {type_of(x).shape}"
            f"\n  where: {find_site()}"
        )
    return shaping.transpose(x, 0, 1) if batch_first else x


def _check_parts(parts: Sequence[Any]) -> None:
    """Errors: `ArgumentError` for no sequences, `ShapeError` for some that differ in more than their length."""
    if not parts:
        raise ArgumentError("received an empty list of sequences")
    shapes = [type_of(part).shape for part in parts]
    for shape in shapes:
        if not shape or shape[1:] != shapes[0][1:]:
            raise ShapeError(
                f"sequences may differ in their first dimension only, got shapes {shapes[0]} and {shape}\n"
                f"  where: {find_site()}"
            )
