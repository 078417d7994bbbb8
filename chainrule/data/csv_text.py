"""From the bytes of a delimited text file to named columns of text: encoding, separator, quotes, header, lines."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chainrule.data.cells import is_missing, parse_number
from chainrule.errors import DataError

# In order of preference where several would split every line alike: a semicolon file may have decimal commas.
SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "vertical bar"}

_SNIFFED_LINES = 20
HEADER_EVIDENCE_ROWS = 1000
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
PARQUET = b"PAR1"
_FOREIGN_STARTS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: save the sheet as CSV first",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV first",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    PARQUET: "a Parquet file: chainrule.data.read_table reads it",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True)
class TextColumns:
    """Named columns of stripped text cells, the line of the file that each row ends on, and remarks about reading."""

    names: list[str]
    columns: list[list[str]]
    lines: NDArray[np.int64]
    has_header: bool
    notes: list[str]


@dataclass(frozen=True)
class Layout:
    """How the fields of a text file are laid out: what separates them, and what the columns are called."""

    separator: str
    names: list[str]
    has_header: bool
    notes: list[str]

    def columns(self, records: list[list[str]], lines: NDArray[np.int64]) -> TextColumns:
        """The columns of rows of the file, without the header, of which ``lines`` says where each ends."""
        columns = [list(map(str.strip, column)) for column in zip(*records, strict=True)]
        notes = list(self.notes)
        if self.separator != ",":
            _read_decimal_commas(self.names, columns, notes)
        return TextColumns(self.names, columns, lines, self.has_header, notes)


def read_text_columns(path: Path, target: str | None) -> TextColumns:
    """Read a delimited text file; a first row that holds ``target`` is taken for the header.

    Raises DataError for a file that is missing, empty, not text, without a row below its header, or with rows of
    different lengths.
    """
    text, notes = decode(read_bytes(path), path)
    separator = sniff_separator(text)
    records, lines = read_records(io.StringIO(text, newline=""), separator, path)
    layout = find_layout(records, separator, path, target, notes)
    skipped = int(layout.has_header)
    return layout.columns(records[skipped:], np.array(lines[skipped:]))


def find_layout(records: list[list[str]], separator: str, path: Path, target: str | None, notes: list[str]) -> Layout:
    """The layout of a file that begins with these rows; remarks are added to ``notes``.

    Errors: `DataError` where there is no row, or only a header.
    """
    if not records:
        raise DataError(f"{path} is empty: expected a header row and rows of data below it")
    if separator != ",":
        notes.append(f"fields are separated by {SEPARATORS[separator]}s")
    has_header = _has_header(records, target)
    if not has_header:
        names = [f"column_{index}" for index in range(1, len(records[0]) + 1)]
        notes.append(f"no header row was found: the columns are named column_1 to column_{len(names)}")
        return Layout(separator, names, has_header, notes)
    names = _unique_names(records[0], notes)
    if len(records) == 1:
        shown = ", ".join(name[:40] for name in names[:5])
        more = ", ..." if len(names) > 5 else ""
        raise DataError(f"{path} has a header row ({shown}{more}) but no data below it")
    return Layout(separator, names, has_header, notes)


def decode(raw: bytes, path: Path) -> tuple[str, list[str]]:
    """Return the text of a file: UTF-8 or UTF-16 by its mark, else UTF-8, else Latin-1 with a remark.

    Errors: `DataError` for bytes that are no text.
    """
    for start, meaning in _FOREIGN_STARTS.items():
        if raw.startswith(start):
            raise DataError(f"{path} is not a text file but {meaning}")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace"), ["the file is encoded in UTF-16"]
    if b"\x00" in raw:
        raise DataError(f"{path} is not a text file: it contains zero bytes; expected a CSV file")
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return raw.decode("latin-1"), [f"the file is not UTF-8 (line {line}): it was read as Latin-1"]


def read_bytes(path: Path, count: int = -1) -> bytes:
    """Return the first bytes of a file, by default all. Errors: `DataError` with what may be meant instead."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise DataError(f"there is no file {path}: the folder {path.parent} does not exist") from None
        close = difflib.get_close_matches(path.name, [item.name for item in path.parent.iterdir()])
        hint = f"; did you mean {' or '.join(str(path.parent / name) for name in close)}?" if close else ""
        raise DataError(f"there is no file {path}{hint}") from None
    except IsADirectoryError:
        tables = sorted(item.name for item in path.iterdir() if item.suffix in (".csv", ".tsv", ".txt"))
        hint = f"; it contains {', '.join(tables[:5])}" if tables else ""
        raise DataError(f"{path} is a folder, expected a CSV file{hint}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet files do. Errors: `DataError` where there is no file."""
    return read_bytes(path, len(PARQUET)) == PARQUET


def sniff_separator(text: str) -> str:
    """Return the separator that splits each of the first lines into equally many fields, two at least."""
    sample = list(itertools.islice((line for line in io.StringIO(text, newline="") if line.strip()), _SNIFFED_LINES))
    widths = {separator: _widths(sample, separator) for separator in SEPARATORS}
    for separator, found in widths.items():
        if found and min(found) == max(found) > 1:
            return separator
    # No separator fits every line: take the commonest, so that the error names the line that does not fit.
    return max(reversed(widths), key=lambda separator: sum(width > 1 for width in widths[separator]))


def _widths(sample: list[str], separator: str) -> list[int]:
    try:
        return [len(row) for row in csv.reader(sample, delimiter=separator, skipinitialspace=True) if row]
    except csv.Error:  # reading the whole file will say what is wrong, and where
        return []


def read_records(
    text: Iterable[str], separator: str, path: Path, *, at_most: int | None = None, width: int = 0, line: int = 0
) -> tuple[list[list[str]], list[int]]:
    """Return the next rows, all equally long, and the line that each ends on; rows without any text are skipped.

    ``text`` gives lines of the file, of which ``line`` lie before it. ``width`` is that of the first row of the file,
    if that was read before.
    """
    # strict: a quote that is never closed must be an error, or it would swallow the rest of the file in silence
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    try:
        for record in reader if at_most is None else itertools.islice(reader, at_most):
            if any(record):
                records.append(record)
                lines.append(line + reader.line_num)
    except csv.Error as error:
        begin = lines[-1] + 1 if lines else line + 1
        raise DataError(
            f"{path}: the row that begins on line {begin} cannot be read: {error}; "
            'look for a double quote (") that is not closed or not doubled'
        ) from None
    check_widths(records, lines, width or (len(records[0]) if records else 0), separator, path)
    return records, lines


def check_widths(records: list[list[str]], lines: Iterable[int], width: int, separator: str, path: Path) -> None:
    """Errors: `DataError` for the first row that has not as many fields as the first row of the file."""
    for record, ends in zip(records, lines, strict=True):
        if len(record) != width:
            raise DataError(
                f"line {ends} of {path} has {len(record)} fields, but the first row has {width} (separated by "
                f"{SEPARATORS[separator]}s); a field that contains the separator must stand in double quotes"
            )


def _has_header(records: list[list[str]], target: str | None) -> bool:
    """Say whether the first row names the columns.

    It does when the target's name is in it, when a text in it stands above numbers, or, in a table without numbers,
    when its texts differ from each other and none occurs again below.
    """
    first = [cell.strip() for cell in records[0]]
    if target is not None and target in first and parse_number(target) is None:
        return True
    numeric = [parse_number(cell) is not None and not is_missing(cell) for cell in first]
    if len(records) == 1:
        return not any(numeric)
    columns = list(zip(*records[1:HEADER_EVIDENCE_ROWS], strict=True))
    below = [[cell.strip() for cell in column if not is_missing(cell.strip())] for column in columns]
    numeric_below = [bool(cells) and all(parse_number(cell) is not None for cell in cells) for cells in below]
    is_text = [not (number or is_missing(cell)) for number, cell in zip(numeric, first, strict=True)]
    if any(text and number for text, number in zip(is_text, numeric_below, strict=True)):
        return True
    repeats = any(cell in cells for cell, cells in zip(first, below, strict=True))
    return not any(numeric) and len(set(first)) == len(first) and not repeats


def _unique_names(header: list[str], notes: list[str]) -> list[str]:
    """Name blank columns by their position and number repeated names: a, a_2, a_3."""
    names: list[str] = []
    for position, cell in enumerate(header, start=1):
        wanted = cell.strip() or f"column_{position}"
        name = wanted
        for count in itertools.count(2):
            if name not in names:
                break
            name = f"{wanted}_{count}"
        if name != cell.strip():
            notes.append(f"column {position} is named {name}: its header is {'repeated' if cell.strip() else 'blank'}")
        names.append(name)
    return names


def _read_decimal_commas(names: list[str], columns: list[list[str]], notes: list[str]) -> None:
    """Replace 1,5 by 1.5 in columns that hold only numbers with a decimal comma (not in files separated by commas)."""
    changed = []
    for index, cells in enumerate(columns):
        present = [cell for cell in cells if not is_missing(cell)]
        if any("," in cell for cell in present) and all(map(_DECIMAL_COMMA.fullmatch, present)):
            columns[index] = [cell.replace(",", ".") for cell in cells]
            changed.append(names[index])
    if changed:
        notes.append(f"the comma is read as the decimal point in {', '.join(changed)}")
