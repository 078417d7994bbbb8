"""Parquet files as tables: all at once, or group of rows by group of rows. Needs the extra ``data``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingExtraError
from .csv_text import TextColumns
from .table import Table, table_of_text

BLOCK_CELLS = 100_000


def read_parquet_table(path: Path, target: str | None = None) -> Table:
    """Read a Parquet file as a typed table, as `read_csv_table` reads one in text.

    Errors: `DataError` for a damaged file or a target that is no column, `MissingExtraError` without pyarrow.
    """
    with _opened(path) as file:
        return _table(_guarded(path, file.read), path, target, 0)


class ParquetBlocks:
    """The groups of rows of a Parquet file; each is given as tables of so many rows as memory easily holds."""

    def __init__(self, path: Path, target: str | None) -> None:
        self.path = path
        self.target = target
        with _opened(path) as file:
            self.columns: int = file.metadata.num_columns
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        self._starts = np.cumsum([0, *sizes]).tolist()
        self._scanned = 0

    def __len__(self) -> int:
        """The number of groups that have been scanned."""
        return self._scanned

    def scan(self) -> Iterator[Table]:
        """Give all groups, one after another."""
        for number in range(len(self._starts) - 1):
            self._scanned = number + 1
            yield from self.read(number)

    def read(self, number: int) -> Iterator[Table]:
        """Give the group of this number in pieces."""
        rows = max(1, BLOCK_CELLS // self.columns)
        start = self._starts[number]
        with _opened(self.path) as file:
            pieces = _guarded(self.path, lambda: file.iter_batches(batch_size=rows, row_groups=[number]))
            for piece in pieces:
                yield _table(piece, self.path, self.target, start)
                start += piece.num_rows


def _table(data: Any, path: Path, target: str | None, start: int) -> Table:
    """Columns of Arrow as cells of text; ``start``: how many rows of the file lie before them."""
    if not data.num_rows:
        raise DataError(f"{path} has no rows")
    cells = [["" if value is None else str(value).strip() for value in column.to_pylist()] for column in data.columns]
    lines = np.arange(start + 1, start + 1 + data.num_rows)
    return table_of_text(TextColumns(list(data.schema.names), cells, lines, True, []), path.name, target)


def _opened(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "data") from None
    return _guarded(path, lambda: pyarrow.parquet.ParquetFile(path))


def _guarded(path: Path, action: Any) -> Any:
    """Do something with a file; what is wrong with it is told as a `DataError`."""
    import pyarrow

    try:
        return action()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a Parquet file: {error}") from None
