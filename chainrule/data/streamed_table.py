"""A table that memory cannot hold: prepared by a sample of its rows, and streamed from the disk in every epoch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError
from ..tensor.generator import Generator, default_generator
from ..tensor.operands import from_array
from .csv_blocks import CsvBlocks
from .csv_text import is_parquet
from .datasets import IterableDataset
from .parquet import ParquetBlocks
from .preparation import Preparation
from .row_sample import RowSample
from .splits import Rows
from .table import Block, Table
from .target import TargetPreparation

SAMPLE_CELLS = 1_000_000
MOST_SAMPLE_ROWS = 50_000
BUFFER_BYTES = 1 << 26
MOST_BUFFER_ROWS = 1 << 16

Batch = tuple[NDArray[np.float32], NDArray[Any]]
"""Features and targets of some rows."""


class Blocks(Protocol):
    """A table on the disk, in blocks of rows: scanned once from its beginning to its end, and then read by number."""

    @property
    def columns(self) -> int:
        """How many there are."""
        ...

    def __len__(self) -> int:
        """The number of blocks, as far as they have been scanned."""
        ...

    def scan(self) -> Iterator[Block]:
        """Give the whole table in order, in as many parts as ``read`` gives of all blocks one after another."""
        ...

    def read(self, number: int) -> Iterator[Block]:
        """Give the rows of a block, in one part or several."""
        ...


class StreamedTable:
    """A CSV or Parquet file of any size, of which memory holds a sample and a buffer.

    - ``target`` and ``task``: as for `TargetPreparation`. Rows without a value of the target are left out.
    - ``validation_fraction``: this share of the rows, each drawn by ``seed``, belongs to ``validation`` and the others
      to ``training``; both are data sets for `Trainer.fit` and `DataLoader`.
    - ``sample_rows``: one pass over the file counts the rows, and draws so many of those for training at random
      (by default 50 000, and at most 1 000 000 cells). ``preparation`` (kinds of columns, categories, medians, means
      and deviations) and ``target_preparation`` are measured on them; the classes are those of the whole file.
    - ``buffer_rows``: how many rows are shuffled at a time (by default 65 536, and at most 64 MB of features).

    In every epoch the blocks of the file are read in a new random order into the buffer, and rows are drawn from it, a
    function of ``generator``, by default that of ``manual_seed``. ``validation`` keeps the order of the file.

    Errors: those of `read_csv_table`, `TargetPreparation` and `Preparation`; `ArgumentError` for numbers that make no
    sense; cells of the wrong kind that the sample did not have are errors when their block is read.

    >>> table = cr.data.StreamedTable("examples/data/diabetes.csv", target="outcome", validation_fraction=0.2)
    >>> len(table.training) + len(table.validation), table.inputs, table.outputs
    (768, 8, 1)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        target: str,
        *,
        task: str | None = None,
        validation_fraction: float = 0.0,
        sample_rows: int | None = None,
        buffer_rows: int | None = None,
        seed: int = 0,
        generator: Generator | None = None,
    ) -> None:
        if not 0 <= validation_fraction < 1:
            raise ArgumentError(f"validation_fraction must be at least 0 and below 1, got {validation_fraction}")
        for name, number in (("sample_rows", sample_rows), ("buffer_rows", buffer_rows)):
            if number is not None and number < 1:
                raise ArgumentError(f"{name} must be at least 1, got {number}")
        file = Path(path)
        self.source = file.name
        self._blocks: Blocks = ParquetBlocks(file, target) if is_parquet(file) else CsvBlocks(file, target)
        self._fraction, self._seed = validation_fraction, seed
        default = max(1, min(MOST_SAMPLE_ROWS, SAMPLE_CELLS // self._blocks.columns))
        (sample, rows), counts = self._scan(RowSample(sample_rows or default, seed))
        self.target_preparation = TargetPreparation.fit(sample, rows, task)
        self.preparation = Preparation.fit(sample, rows)
        buffer = buffer_rows or max(1, min(MOST_BUFFER_ROWS, BUFFER_BYTES // (4 * self.inputs)))
        self.training = TableStream(self, False, counts[0], buffer, generator)
        self.validation = TableStream(self, True, counts[1]) if validation_fraction else None

    @property
    def inputs(self) -> int:
        """The number of features."""
        return len(self.preparation.feature_names)

    @property
    def outputs(self) -> int:
        """The number of outputs that a network needs: one per class if there are more than two, else one."""
        return max(1, len(self.target_preparation.classes)) if self.target_preparation.task == "multiclass" else 1

    @property
    def blocks(self) -> int:
        """The number of blocks, which are read in a new order in every epoch."""
        return len(self._blocks)

    def read(self, number: int, validation: bool) -> Iterator[Batch]:
        """Give the prepared rows of one block that belong to the training, or to the validation."""
        for part, block in enumerate(self._blocks.read(number)):
            rows = self._rows(block, number, part)[validation]
            if len(rows):
                table = block.take(rows)
                yield self.preparation.transform(table), self.target_preparation.transform(table)

    def _scan(self, sample: RowSample) -> tuple[tuple[Table, Rows], list[int]]:
        """Go over the whole file: a sample of the rows for training, and how many rows there are of each part."""
        counts = [0, 0]
        for number, part, block in self._numbered():
            training, validation = self._rows(block, number, part)
            counts[0] += len(training)
            counts[1] += len(validation)
            sample.add(block, training)
        if not counts[0]:
            raise DataError(f"{self.source} has no row to train on: no row has a value of the target")
        return sample.table(), counts

    def _numbered(self) -> Iterator[tuple[int, int, Block]]:
        """All parts of a scan with the number of their block and their own in it."""
        number, part = -1, 0
        for block in self._blocks.scan():
            is_next = len(self._blocks) - 1 > number
            number, part = (len(self._blocks) - 1, 0) if is_next else (number, part + 1)
            yield number, part, block

    def _rows(self, block: Block, number: int, part: int) -> tuple[Rows, Rows]:
        """The labelled rows for training and for validation, drawn by the seed and the place of the rows alone."""
        is_labelled = ~block.target_column.missing
        drawn = np.random.default_rng((self._seed, number, part)).random(len(block)) < self._fraction
        return np.flatnonzero(is_labelled & ~drawn), np.flatnonzero(is_labelled & drawn)


class TableStream(IterableDataset[tuple[Any, Any]]):
    """The rows of a `StreamedTable` for training or for validation: features (inputs,) and target of each."""

    def __init__(
        self,
        table: StreamedTable,
        is_validation: bool,
        count: int,
        buffer_rows: int = 0,
        generator: Generator | None = None,
    ) -> None:
        self.table = table
        self.is_validation = is_validation
        self.buffer_rows = buffer_rows
        self.generator = generator
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for X, y in self._chunks():
            yield from zip(X, y, strict=True)

    def batches(self, size: int) -> Iterator[list[Any]]:
        """The rows in batches [X, y] of ``size`` rows, the last one perhaps smaller."""
        return _in_batches(self._chunks(), size)

    def _chunks(self) -> Iterator[Batch]:
        """All rows, some at a time, in the order of this epoch, which is drawn now and not at the first row."""
        if not self.buffer_rows:
            return self._read(range(self.table.blocks))
        numbers = np.random.default_rng(int((self.generator or default_generator).numpy().integers(1 << 63)))
        blocks = self._read(numbers.permutation(self.table.blocks).tolist())
        return shuffled(blocks, self.buffer_rows, numbers)

    def _read(self, blocks: Iterable[int]) -> Iterator[Batch]:
        return (batch for number in blocks for batch in self.table.read(number, self.is_validation))


def shuffled(chunks: Iterable[Batch], buffer_rows: int, numbers: np.random.Generator) -> Iterator[Batch]:
    """Give all rows in a random order, as far as a buffer of so many rows allows: each row that comes in takes the
    place of one that is drawn from the buffer and goes out.
    """
    buffer: Batch | None = None
    filled = 0
    for X, y in chunks:
        if buffer is None:
            buffer = np.empty((buffer_rows, X.shape[1]), X.dtype), np.empty(buffer_rows, y.dtype)
        start = min(len(X), buffer_rows - filled)
        for held, new in zip(buffer, (X, y), strict=True):
            held[filled : filled + start] = new[:start]
        filled += start
        for begin in range(start, len(X), buffer_rows):
            end = min(len(X), begin + buffer_rows)
            places = numbers.choice(buffer_rows, end - begin, replace=False)
            yield buffer[0][places], buffer[1][places]
            buffer[0][places], buffer[1][places] = X[begin:end], y[begin:end]
    if buffer is not None:
        order = numbers.permutation(filled)
        yield buffer[0][order], buffer[1][order]


def _in_batches(chunks: Iterable[Batch], size: int) -> Iterator[list[Any]]:
    """Cut chunks of rows into batches of tensors."""
    rest: Batch | None = None
    for chunk in chunks:
        whole = chunk if rest is None else tuple(map(np.concatenate, zip(rest, chunk, strict=True)))
        X, y = whole
        end = len(X) - len(X) % size
        for start in range(0, end, size):
            yield [from_array(X[start : start + size]), from_array(y[start : start + size])]
        rest = X[end:], y[end:]
    if rest is not None and len(rest[0]):
        yield [from_array(rest[0]), from_array(rest[1])]
