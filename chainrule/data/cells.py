"""What the text cells of one column mean: missing tokens, numbers, booleans, dates, and the kind of a whole column.

| kind       | its cells                                                         | read as                          |
|------------|-------------------------------------------------------------------|----------------------------------|
| number     | at least 90 % are numbers                                         | float64, NaN where missing       |
| boolean    | true/false, yes/no, t/f, y/n in any case                          | float64 0 and 1, NaN if missing  |
| date       | ISO dates, `2024-05-31` or `2024-05-31T12:00`; months, `2024-05`; | float64 days since 1970-01-01    |
|            | quarters, `2024Q2` or `2024-Q2`                                   | of their beginning               |
| category   | text with repeated values                                         | text, "" where missing           |
| identifier | text that differs in most rows, or whole numbers named as row ids | (nothing to learn from)          |
| empty      | nothing but missing cells                                         | (nothing to learn from)          |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan, nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

NumericKind = Literal["number", "boolean", "date"]
Kind = NumericKind | Literal["category", "identifier", "empty"]

MISSING_TOKENS = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "+nan", "null", "none", "?", "-"})
BOOLEAN_WORDS = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0}

# Below this share a column with some numbers is taken for text codes; above it, its text cells are taken for mistakes.
NUMBER_SHARE = 0.9
# So few different texts are categories even when most rows differ: a table of ten rows is no reason to drop a column.
ALWAYS_CATEGORIES = 10

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")
_MONTH_OR_QUARTER = re.compile(r"(\d{4})-(\d{2})|(\d{4})-?[Qq]([1-4])")
_SIGNS = re.compile(r"[\s,'’$€£¥%]")
_ROW_NAMES = frozenset({"id", "index", "row", "row number", "order", "obs", "observation", "no", "unnamed: 0"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_missing(cell: str) -> bool:
    """Say whether a cell stands for "no value": blank, NA, N/A, nan, null, None, ? or -, in any case."""
    return cell.lower() in MISSING_TOKENS


def parse_number(cell: str) -> float | None:
    """Return the number written in a cell, NaN for a missing one, None for any other text.

    >>> parse_number("1e3"), parse_number("-inf"), parse_number("12 kg")
    (1000.0, -inf, None)
    """
    if is_missing(cell):
        return nan
    try:
        return None if "_" in cell else float(cell)  # Python alone reads 1_000 as a number
    except ValueError:
        return None


def parse_boolean(cell: str) -> float | None:
    """Return 1 or 0 for a boolean word or digit, NaN for a missing cell, None for any other text."""
    if is_missing(cell):
        return nan
    number = parse_number(cell)
    return BOOLEAN_WORDS.get(cell.lower(), number if number in (0.0, 1.0) else None)


def parse_date(cell: str) -> float | None:
    """Return the days since 1970-01-01 (UTC where no zone is given), NaN for a missing cell, None for other text.

    >>> parse_date("1970-01-02"), parse_date("1970-01-01T12:00"), parse_date("1970-02"), parse_date("1970Q2")
    (1.0, 0.5, 31.0, 90.0)
    """
    if is_missing(cell):
        return nan
    begins = _MONTH_OR_QUARTER.fullmatch(cell)
    if begins:
        year, month, year_of_quarter, quarter = begins.groups()
        cell = f"{year}-{month}-01" if year else f"{year_of_quarter}-{3 * int(quarter) - 2:02d}-01"
    if not _ISO_DATE.fullmatch(cell):
        return None
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds() / 86400


_PARSERS = {"number": parse_number, "boolean": parse_boolean, "date": parse_date}


def parse_column(cells: Sequence[str], kind: NumericKind) -> tuple[NDArray[np.float64], int]:
    """Return the values of a column, shape (n,), NaN where missing, and the row of its first unreadable cell or -1.

    >>> parse_column(["1", "?", "x"], "number")
    (array([ 1., nan, nan]), 2)
    """
    only_numbers = _parse_only_numbers(cells) if kind == "number" else None
    if only_numbers is not None:
        return only_numbers, -1
    parse = _PARSERS[kind]
    parsed = {cell: parse(cell) for cell in set(cells)}
    unreadable = {cell for cell, value in parsed.items() if value is None}
    first = next(row for row, cell in enumerate(cells) if cell in unreadable) if unreadable else -1
    known = {cell: nan if value is None else value for cell, value in parsed.items()}
    return np.array([known[cell] for cell in cells], dtype=np.float64), first


def _parse_only_numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the values of a column of nothing but numbers and blanks, else None: most are such, and this is fast."""
    numbers = [cell or "nan" for cell in cells] if "" in cells else cells
    try:
        values = np.array(list(map(float, numbers)), dtype=np.float64)
    except ValueError:
        return None
    return None if "_" in "".join(cells) else values


def infer_kind(name: str, cells: Sequence[str]) -> Kind:
    """Return the kind of a column from its name and cells; the table of this module lists them.

    >>> infer_kind("weight", ["70", "NA", "68.5"]), infer_kind("pet", ["cat", "dog", "cat"])
    ('number', 'category')
    """
    values = _parse_only_numbers(cells)
    if values is not None and not np.isnan(values).all():
        return "identifier" if _are_row_names(name, values) else "number"
    present = {cell: count for cell, count in Counter(cells).items() if not is_missing(cell)}
    if not present:
        return "empty"
    total = sum(present.values())
    numbers = sum(count for cell, count in present.items() if parse_number(cell) is not None)
    if numbers >= NUMBER_SHARE * total:
        return "number"
    if all(cell.lower() in BOOLEAN_WORDS for cell in present):
        return "boolean"
    if all(parse_date(cell) is not None for cell in present):
        return "date"
    if len(present) > max(ALWAYS_CATEGORIES, total / 2):
        return "identifier"
    return "category"


def number_with_signs(cells: Sequence[str]) -> str | None:
    """Return the first of the cells that would be a number without a sign of currency or percent, or separators of
    thousands; None if that does not make numbers of all cells.

    >>> number_with_signs(["NA", "$1,500", "$900"]), number_with_signs(["12 kg", "5"])
    ('$1,500', None)
    """
    if any(parse_number(_SIGNS.sub("", cell)) is None for cell in set(cells)):
        return None
    return next((cell for cell in cells if parse_number(cell) is None), None)


def _are_row_names(name: str, values: NDArray[np.float64]) -> bool:
    """Say whether whole numbers, all different, stand under a name such as id: they number the rows, no more."""
    named = name.lower() in _ROW_NAMES or name.endswith(("Id", "ID", "_id", " id"))
    return (
        named
        and len(values) > ALWAYS_CATEGORIES
        and bool(np.all(values == np.round(values)))
        and len(np.unique(values)) == len(values)
    )


def canonical_label(cell: str) -> str:
    """Return one spelling for labels that mean the same number: 1, 1.0 and 01 are one class.

    >>> canonical_label("01") == canonical_label("1.0"), canonical_label("yes")
    (True, 'yes')
    """
    number = parse_number(cell)
    return cell if number is None or isnan(number) else repr(number + 0.0)  # + 0.0 makes -0 the same as 0
