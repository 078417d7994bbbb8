"""Batches of sequences of unequal length: padded to one length, and put together so that little padding is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..data.collation import default_collate, new_tensor
from ..data.samplers import BatchSampler, Sampler
from ..errors import ArgumentError, DataError, ShapeError
from ..tensor.generator import Generator, default_generator
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor
from ..types import as_dtype

Array = np.ndarray[Any, Any]


class PadSequences:
    """A ``collate_fn`` for `DataLoader`: sequences are padded with ``value`` behind their end, up to the longest.

    A row is a sequence (T, ...), or a tuple; in a tuple every tensor, array or list of at least one dimension is a
    sequence, and all else is joined by `default_collate`. ``multiple`` rounds lengths up, so that batches have few
    different shapes: a compiled step is compiled once per shape. ``lengths=True`` puts the lengths (N) behind a batch.

    Errors: `ArgumentError` for a multiple below 1; `DataError` for an empty sequence, with its row in the batch;
    `ShapeError` for sequences whose steps have different shapes.

    >>> PadSequences(multiple=4, lengths=True)([([3, 4, 5], 1), ([6], 0)])
    [tensor([[3, 4, 5, 0],
            [6, 0, 0, 0]]), tensor([3, 1]), tensor([1, 0])]
    """

    def __init__(self, value: float = 0, multiple: int = 1, lengths: bool = False) -> None:
        if multiple < 1:
            raise ArgumentError(f"multiple must be at least 1, got {multiple}")
        self.value, self.multiple, self.lengths = value, multiple, lengths

    def __call__(self, batch: Sequence[Any]) -> Any:
        if not isinstance(batch[0], tuple):
            columns = self._join(batch)
            return columns if self.lengths else columns[0]
        return [joined for column in zip(*batch, strict=True) for joined in self._join(column)]

    def _join(self, column: Sequence[Any]) -> list[Any]:
        """A column of the batch, and perhaps its lengths behind it."""
        arrays = [_as_array(row) for row in column]
        if not arrays[0].ndim or arrays[0].dtype.kind not in "fiub":
            return [default_collate(column)]
        lengths = [len(array) for array in arrays]
        if 0 in lengths:
            raise DataError(
                f"row {lengths.index(0)} of the batch is an empty sequence. fix: leave it out of the data, or put one "
                "unknown token in its place"
            )
        longest = -(-max(lengths) // self.multiple) * self.multiple
        others = {array.shape[1:] for array in arrays}
        if len(others) > 1:
            raise ShapeError(f"sequences of a batch differ in more than their length: their steps have shapes {others}")
        dtype = as_dtype(np.result_type(*{array.dtype for array in arrays}))
        tensor, target = new_tensor((len(arrays), longest, *arrays[0].shape[1:]), dtype)
        target.fill(self.value)
        for row, array in zip(target, arrays, strict=True):
            row[: len(array)] = array
        return [tensor, from_array(np.array(lengths))] if self.lengths else [tensor]


def _as_array(row: Any) -> Array:
    return np.asarray(row.detach()._array() if isinstance(row, Tensor) else row)


class BucketSampler(Sampler[list[int]]):
    """A ``batch_sampler`` for `DataLoader`: batches of rows of similar length, in a new random order in every epoch.

    Rows are shuffled, sorted by length within pools of ``pool`` batches, cut into batches, and the batches shuffled.
    The order is a function of ``generator``, by default that of ``manual_seed``. ``lengths``: one per row.

    Errors: `ArgumentError` for sizes that are not positive.

    >>> sampler = BucketSampler([1, 9, 2, 8], batch_size=2)
    >>> sorted(sorted(batch) for batch in sampler)
    [[0, 2], [1, 3]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | Array,
        batch_size: int,
        drop_last: bool = False,
        pool: int = 100,
        generator: Generator | None = None,
    ) -> None:
        if pool < 1:
            raise ArgumentError(f"pool must be a positive number of batches, got {pool}")
        self._batches = BatchSampler(range(len(lengths)), batch_size, drop_last)
        self.lengths = np.asarray(lengths)
        self.batch_size, self.drop_last, self.pool, self.generator = batch_size, drop_last, pool, generator

    def __iter__(self) -> Iterator[list[int]]:
        numbers = (self.generator or default_generator).numpy()
        order = numbers.permutation(len(self.lengths))
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        size = self.pool * self.batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            rows = rows[np.argsort(self.lengths[rows], kind="stable")].tolist()
            batches += BatchSampler(rows, self.batch_size, drop_last=False)
        return iter([batches[place] for place in numbers.permutation(len(batches)).tolist()])

    def __len__(self) -> int:
        return len(self._batches)
