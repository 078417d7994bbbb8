"""Data sets: rows by number, under PyTorch's names; and whole batches at once where that is possible."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, IndexOutOfRangeError, ShapeError
from ..tensor.generator import Generator, default_generator
from ..tensor.operands import as_tensor, from_array
from .collation import new_tensor

Row = TypeVar("Row", covariant=True)
Rows = NDArray[np.int64]


class Dataset(Generic[Row]):
    """Rows by number: a subclass has ``__getitem__(index)`` and ``__len__()``.

    It may also have ``gather_rows(rows)``: for an int64 array of row numbers, the list of columns that
    `default_collate` would make of these rows, made at once; or None where that is not possible. `DataLoader` uses it.
    A class that overrides ``__getitem__`` alone is read row by row.

    >>> class Squares(cr.data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> list(cr.data.DataLoader(Squares(), batch_size=3))
    [[tensor([0, 1, 2]), tensor([0, 1, 4])], [tensor([3]), tensor([9])]]
    """

    def __getitem__(self, index: Any) -> Row:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__(index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Row], Iterable[Row]):
    """Rows one after another: a subclass has ``__iter__()``. For sources without numbers: streams, files too large.

    It may also have ``batches(size)``: an iterator over what `default_collate` would make of so many rows at a time,
    the last one perhaps smaller, made at once; `DataLoader` uses it.

    >>> class Countdown(cr.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter([3, 2, 1])
    >>> list(cr.data.DataLoader(Countdown(), batch_size=2))
    [tensor([3, 2]), tensor([1])]
    """

    def __iter__(self) -> Iterator[Row]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__()")


def defined_together(kind: type, whole: str, single: str) -> bool:
    """Whether a class has the method ``whole`` for many from the very class that defines ``single`` for one.

    Otherwise a subclass has changed what happens to one, and the method for many knows nothing of it.
    """
    owners = [next((base for base in kind.__mro__ if name in vars(base)), None) for name in (whole, single)]
    return owners[0] is not None and owners[0] is owners[1]


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Rows of tensors with equally many rows: row i is ``(tensors[0][i], tensors[1][i], ...)``.

    Errors: `ShapeError` where the numbers of rows differ.

    >>> data = cr.data.TensorDataset(cr.ones(3, 2), cr.arange(3))
    >>> len(data), data[1]
    (3, (tensor([1., 1.]), tensor(1)))
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(as_tensor(tensor) for tensor in tensors)
        shapes = [tuple(tensor.shape) for tensor in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(f"a TensorDataset needs tensors with equally many rows, got shapes {shapes}")

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def gather_rows(self, rows: Rows) -> list[Any]:
        """The rows of every tensor, as one tensor each."""
        check_rows(rows, len(self))
        return [_gather(tensor, rows) for tensor in self.tensors]


def _gather(tensor: Any, rows: Rows) -> Any:
    if tensor.requires_grad:
        return tensor[from_array(rows)]
    gathered, array = new_tensor((len(rows), *tensor.shape[1:]), tensor.dtype)
    np.take(tensor._array(), rows, axis=0, out=array, mode="wrap")  # they have been checked; "raise" would copy twice
    return gathered


def check_rows(rows: Rows, count: int) -> None:
    """Errors: `IndexOutOfRangeError` for a row that is not between -count and count - 1."""
    outside = rows[(rows < -count) | (rows >= count)]
    if outside.size:
        raise IndexOutOfRangeError(f"there is no row {outside[0]} in a data set of {count} rows")


class Subset(Dataset[Row]):
    """The rows of another data set with the given numbers.

    >>> cr.data.Subset(["a", "b", "c"], [2, 0])[0]
    'c'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Row:
        row: Row = self.dataset[self.indices[index]]
        return row

    def __len__(self) -> int:
        return len(self.indices)

    def gather_rows(self, rows: Rows) -> list[Any] | None:
        """The rows of the other data set, if that gathers."""
        if not gathers(self.dataset):
            return None
        columns: list[Any] | None = self.dataset.gather_rows(
            np.array([self.indices[row] for row in rows.tolist()], np.int64)
        )
        return columns


def gathers(dataset: Any) -> bool:
    """Whether a data set has a ``gather_rows`` that does what its ``__getitem__`` does."""
    return defined_together(type(dataset), "gather_rows", "__getitem__")


def gives_batches(dataset: Any) -> bool:
    """Whether an iterable data set has a ``batches`` that does what its ``__iter__`` does."""
    return defined_together(type(dataset), "batches", "__iter__")


class ConcatDataset(Dataset[Any]):
    """Data sets one after another; ``a + b`` is short for two.

    >>> joined = cr.data.ConcatDataset(["ab", "cde"])
    >>> len(joined), joined[2], joined[-1]
    (5, 'c', 'e')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets or any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise ArgumentError(
                "a ConcatDataset needs one or more data sets with numbered rows, none an IterableDataset"
            )
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: Any) -> Any:
        check_rows(np.array([index]), len(self))
        index = index % len(self)
        number = bisect_right(self.cumulative_sizes, index)
        return self.datasets[number][index - (self.cumulative_sizes[number - 1] if number else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Split the rows at random into parts of the given lengths: numbers of rows, or fractions that add up to 1.

    Of fractions every part gets the whole rows, ⌊fraction · rows⌋, and the first parts one each of what is left.
    The split is a function of the generator, by default that of ``manual_seed``.

    Errors: `ArgumentError` for lengths that do not add up.

    >>> [len(part) for part in cr.data.random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    count = len(dataset)
    if min(lengths, default=-1) >= 0 and math.isclose(math.fsum(lengths), 1):
        sizes = [math.floor(count * fraction) for fraction in lengths]
        for place in range(count - sum(sizes)):
            sizes[place % len(sizes)] += 1
    else:
        sizes = [int(length) for length in lengths if length >= 0 and not length % 1]
    if sum(sizes) != count or len(sizes) != len(lengths):
        raise ArgumentError(
            f"lengths {list(lengths)} do not add up to the data set's {count} rows. "
            "fix: numbers of rows that do, or fractions that add up to 1"
        )
    order = (generator or default_generator).numpy().permutation(count).tolist()
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, accumulate(sizes), strict=True)]
