"""A CSV file in blocks of rows, each of which can be read by itself: for files that memory cannot hold."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chainrule.data.csv_text import (
    HEADER_EVIDENCE_ROWS,
    Layout,
    check_widths,
    decode,
    find_layout,
    read_bytes,
    read_records,
    sniff_separator,
)
from chainrule.data.table import Column, Table, table_of_text
from chainrule.errors import DataError

SAMPLE_BYTES = 1 << 16
"""What the separator is found from."""
BLOCK_CELLS = 100_000
"""Cells of a block: as text in Python they take about 6 MB."""
MOST_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Place:
    """Where a block begins: its first byte, and how many lines lie before it."""

    byte: int
    line: int


@dataclass(frozen=True)
class PlainRows:
    """Rows that are lines without quotes. Those that are taken are split into cells: a scan takes few of them."""

    lines: list[str]
    ends: NDArray[np.int64]
    layout: Layout
    source: str
    target: str

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def target_column(self) -> Column:
        """The cells of the target, for which a line is split from the nearer end."""
        separator, before = self.layout.separator, self.layout.names.index(self.target)
        behind = len(self.layout.names) - 1 - before
        if before < behind:
            cells = [line.split(separator, before + 1)[before] for line in self.lines]
        else:
            cells = [line.rsplit(separator, behind + 1)[-behind - 1] for line in self.lines]
        return Column(self.target, list(map(str.strip, cells)), self.ends, self.source)

    def take(self, rows: NDArray[np.int64]) -> Table:
        """The given rows as a table."""
        records = [self.lines[row].split(self.layout.separator) for row in rows.tolist()]
        return table_of_text(self.layout.columns(records, self.ends[rows]), self.source, self.target)


class CsvBlocks:
    """The blocks of a CSV file in UTF-8; separator, header and names are found as by `read_csv_table`.

    ``scan`` goes over all of them once and notes where each begins; from then on ``read`` gives each by its number.
    """

    def __init__(self, path: Path, target: str) -> None:
        self.path = path
        self.target = target
        start = read_bytes(path, SAMPLE_BYTES)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path} is encoded in UTF-16, which cannot be read in blocks. fix: save it as UTF-8")
        # The last line of the sample may be cut in the middle of a character.
        text, _ = decode(start[: start.rfind(b"\n") + 1] or start, path)
        self._separator = sniff_separator(text)
        self._skipped = len(b"\xef\xbb\xbf") if start.startswith(b"\xef\xbb\xbf") else 0
        with path.open("rb") as file:
            lines = _Lines(file, path, Place(self._skipped, 0))
            records, ends = read_records(lines, self._separator, path, at_most=HEADER_EVIDENCE_ROWS)
        self.layout = find_layout(records, self._separator, path, target, [])
        skipped = int(self.layout.has_header)
        self._table(records[skipped:], ends[skipped:])  # where the target is no column, that is said now
        self.block_rows = max(1, min(MOST_BLOCK_ROWS, BLOCK_CELLS // len(self.layout.names)))
        self._places: list[Place] = []

    @property
    def columns(self) -> int:
        """The number of columns."""
        return len(self.layout.names)

    def __len__(self) -> int:
        """The number of blocks, as far as they have been scanned."""
        return len(self._places)

    def scan(self) -> Iterator[PlainRows | Table]:
        """Give all blocks in the order of the file. Errors: `DataError` for rows of another length, and for no text."""
        self._places = []
        with self.path.open("rb") as file:
            lines = _Lines(file, self.path, Place(self._skipped, 0))
            if self.layout.has_header:
                self._read(lines, 1)
            while True:
                place = lines.place
                block = self._read(lines, self.block_rows)
                if lines.place == place:
                    return
                if block is not None:
                    self._places.append(place)
                    yield block

    def read(self, number: int) -> Iterator[PlainRows | Table]:
        """Give the block of this number."""
        with self.path.open("rb") as file:
            block = self._read(_Lines(file, self.path, self._places[number]), self.block_rows)
        if block is None:
            raise DataError(f"{self.path} has changed while it was read: a block of rows is gone")
        yield block

    def _read(self, lines: _Lines, count: int) -> PlainRows | Table | None:
        """The next rows; None if there are only blank ones, or none."""
        before = lines.place.line
        found = lines.without_quotes(count)
        if found is None:
            records, ends = read_records(
                lines, self._separator, self.path, at_most=count, width=self.columns, line=before
            )
            return self._table(records, ends) if records else None
        blank = self._separator + " "
        ends = [end for end, line in enumerate(found, before + 1) if line.strip(blank)]
        plain = [found[end - before - 1] for end in ends]
        if not plain:
            return None
        is_even = {line.count(self._separator) for line in plain} == {self.columns - 1}
        if is_even and (self._separator == "," or not any("," in line for line in plain)):
            return PlainRows(plain, np.array(ends), self.layout, self.path.name, self.target)
        # A row too long or too short is an error; and whether commas are decimal points, the whole block says.
        records = [line.split(self._separator) for line in plain]
        check_widths(records, ends, self.columns, self._separator, self.path)
        return self._table(records, ends)

    def _table(self, records: list[list[str]], ends: list[int]) -> Table:
        return table_of_text(self.layout.columns(records, np.array(ends)), self.path.name, self.target)


class _Lines:
    """The lines of a file as text from a place on, and the place of the next one."""

    def __init__(self, file: io.BufferedReader, path: Path, place: Place) -> None:
        file.seek(place.byte)
        self._file, self._path = file, path
        self._byte, self._line = place.byte, place.line

    @property
    def place(self) -> Place:
        return Place(self._byte, self._line)

    def without_quotes(self, count: int) -> list[str] | None:
        """The next lines without their ends, if they can be split at every separator, which is several times as fast
        as reading them as CSV; None, and no step forward, if there is a quote among them, or an unusual end of a line.
        """
        raw = list(itertools.islice(self._file, count))
        data = b"".join(raw)
        if b'"' in data or data.count(b"\r") != data.count(b"\r\n"):
            self._file.seek(self._byte)
            return None
        try:
            lines = data.decode().replace("\r\n", "\n").split("\n")
        except UnicodeDecodeError:
            self._file.seek(self._byte)
            return None
        self._byte += len(data)
        self._line += len(raw)
        return lines

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._file.readline()
        if not raw:
            raise StopIteration
        self._byte += len(raw)
        self._line += 1
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise DataError(
                f"line {self._line} of {self._path} is not UTF-8, and a file that is read in blocks must be. "
                "fix: convert it, e.g. iconv -f latin1 -t utf-8"
            ) from None
