"""A typed table: columns of cells with a kind each, read from a CSV file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chainrule.data.cells import Kind, NumericKind, infer_kind, is_missing, parse_column
from chainrule.data.csv_text import TextColumns, is_parquet, read_text_columns
from chainrule.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Column:
    """One column: its name, its cells as stripped text, and where they came from.

    A column keeps its text because its kind at prediction is the one it had in training, whatever a new file suggests.
    """

    name: str
    cells: Sequence[str] = field(repr=False)
    lines: NDArray[np.int64] = field(repr=False)
    source: str

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def kind(self) -> Kind:
        """What the cells look like: number, boolean, date, category, identifier or empty (see ``data.cells``)."""
        return infer_kind(self.name, self.cells)

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """True where a cell holds no value, shape (n,)."""
        absent = {cell for cell in set(self.cells) if is_missing(cell)}
        return np.array([cell in absent for cell in self.cells], dtype=np.bool_)

    def numbers(self, kind: NumericKind = "number") -> NDArray[np.float64]:
        """Return the cells as numbers of the given kind (number, boolean or date), shape (n,), NaN where missing.

        Raises DataError, with column, line and value, for a cell of another kind and for an infinite number.
        """
        values, unreadable = parse_column(self.cells, kind)
        if unreadable >= 0:
            expected = {"number": "a number", "boolean": "true or false", "date": "a date such as 2024-05-31"}[kind]
            raise DataError(
                f"{self.place(unreadable)}: expected {expected}, got {self.cells[unreadable]!r:.80}; "
                "correct the cell, or leave it blank if the value is not known"
            )
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size:
            raise DataError(
                f"{self.place(int(infinite[0]))}: the value {self.cells[infinite[0]]!r:.80} is infinite "
                f"({infinite.size} such cells); give a finite number, or leave the cell blank if it is not known"
            )
        return values

    def texts(self) -> NDArray[np.object_]:
        """Return the cells as text, shape (n,), "" where missing."""
        return np.where(self.missing, "", np.array(self.cells, dtype=object))

    def place(self, row: int) -> str:
        """Say where a cell stands, for messages: ``column 'age', line 17 of people.csv``."""
        return f"column {self.name!r:.80}, line {self.lines[row]} of {self.source}"


@dataclass(frozen=True)
class Table:
    """Columns of equal length, the name of the target among them if there is one, and remarks about reading.

    ``table["age"]`` is a column, ``len(table)`` the number of rows.
    """

    columns: tuple[Column, ...]
    source: str
    target: str | None = None
    has_header: bool = True
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns[0])

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Column:
        if name not in self:
            hint = did_you_mean(name, self.names)
            raise DataError(f"{self.source} has no column {name!r:.80}{hint}; {self.outline()}")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> list[str]:
        """The names of all columns, in the order of the file."""
        return [column.name for column in self.columns]

    @property
    def features(self) -> list[Column]:
        """All columns except the target."""
        return [column for column in self.columns if column.name != self.target]

    @property
    def target_column(self) -> Column:
        """The target; DataError where the table was read without one."""
        if self.target is None:
            raise DataError(f"{self.source} was read without a target; {self.outline()}")
        return self[self.target]

    def take(self, rows: NDArray[np.int64]) -> Table:
        """The given rows as a table of their own, whose cells still know their lines."""
        chosen = rows.tolist()
        columns = tuple(
            Column(column.name, [column.cells[row] for row in chosen], column.lines[rows], column.source)
            for column in self.columns
        )
        return Table(columns, self.source, self.target, self.has_header, self.notes)

    def outline(self) -> str:
        """Say which columns there are, for messages: twenty at most, and whether a header row named them."""
        shown = ", ".join(name[:40] for name in self.names[:20])
        more = f" and {len(self.names) - 20} more" if len(self.names) > 20 else ""
        header = "" if self.has_header else " (no header row was found, so they are numbered)"
        return f"its columns are {shown}{more}{header}"


class Block(Protocol):
    """Some rows of a table, of which those that are taken become a `Table`."""

    def __len__(self) -> int: ...

    @property
    def target_column(self) -> Column:
        """The cells of the target in all rows."""
        ...

    def take(self, rows: NDArray[np.int64]) -> Table:
        """The given rows."""
        ...


def read_table(path: str | os.PathLike[str], target: str | None = None) -> Table:
    """Read a CSV or a Parquet file as a typed table; which it is, its first bytes say. See `read_csv_table`.

    Errors: `MissingExtraError` for Parquet without pyarrow (the extra ``data``).

    >>> len(read_table("examples/data/diabetes.csv", target="outcome"))
    768
    """
    file = Path(path)
    if is_parquet(file):
        from .parquet import read_parquet_table

        return read_parquet_table(file, target)
    return read_csv_table(path, target)


def read_csv_table(path: str | os.PathLike[str], target: str | None = None) -> Table:
    """Read a CSV file as a typed table.

    The encoding (UTF-8, UTF-16 with its mark, else Latin-1), the separator (comma, semicolon, tab, vertical bar) and
    the header row are found out; what is unusual is said in ``table.notes``. Without a header the columns are named
    column_1, column_2 and so on. Blank cells and NA, N/A, nan, null, None, ? and - are missing values.

    Raises DataError for a file that is missing, empty, not text or has rows of different lengths, and for a target
    that is no column.

    >>> table = read_csv_table("examples/data/diabetes.csv", target="outcome")
    >>> len(table), table["bmi"].kind
    (768, 'number')
    """
    file = Path(path)
    return table_of_text(read_text_columns(file, target), file.name, target)


def table_of_text(found: TextColumns, source: str, target: str | None) -> Table:
    """A table of the columns of a text file. Errors: `DataError` for a target that is no column."""
    columns = tuple(
        Column(name, cells, found.lines, source) for name, cells in zip(found.names, found.columns, strict=True)
    )
    table = Table(columns, source, target, found.has_header, tuple(found.notes))
    if target is not None:
        check_target(table, target)
    return table


def check_target(table: Table, target: str) -> None:
    """Errors: `DataError` for a target that is no column of the table, or the only one."""
    if target not in table:
        hint = did_you_mean(target, table.names)
        raise DataError(f"{table.source} has no column {target!r} to use as target{hint}; {table.outline()}")
    if len(table.columns) == 1:
        raise DataError(
            f"{table.source} has no column besides the target {target!r}; "
            "fields must be separated by commas, semicolons, tabs or vertical bars"
        )
