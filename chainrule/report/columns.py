"""What the columns of a table hold: kind, gaps, and how their values are spread."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..data.cells import NumericKind
from ..data.encoders import CategoryEncoder, Encoder
from ..data.table import Column
from .dependence import EPOCH
from .numbers import count, percent, tick

BINS = 16
MOST_CATEGORIES = 12


@dataclass(frozen=True)
class ColumnSummary:
    """One column: what it is, what the network reads of it, how many cells are missing, and its values in words.

    ``counts`` is a histogram: of numbers in ``BINS`` bins of equal width, of categories the commonest.
    """

    name: str
    kind: str
    use: str
    missing: int
    values: str
    counts: NDArray[np.int64]
    is_ordered: bool


def summarize(column: Column, use: str, kind: str | None = None) -> ColumnSummary:
    """Describe all rows of a column, as the kind that it was prepared as, or looks like."""
    found = kind or column.kind
    missing = int(np.count_nonzero(column.missing))
    if found in ("number", "date"):
        values = column.numbers(cast(NumericKind, found))
        known = values[np.isfinite(values)]
        spread = np.quantile(known, [0, 0.5, 1])
        said = " · ".join(_date(value) if found == "date" else tick(float(value)) for value in spread)
        counts = np.histogram(known, BINS)[0] if spread[2] > spread[0] else np.array([len(known)])
        return ColumnSummary(column.name, found, use, missing, said, counts.astype(np.int64), True)
    different = Counter(cell for cell, absent in zip(column.cells, column.missing, strict=True) if not absent)
    common = different.most_common(MOST_CATEGORIES)
    named = ", ".join(f"{cell} {percent(times / max(len(column) - missing, 1))}" for cell, times in common[:3])
    more = f", … ({len(different)} different)" if len(different) > 3 else ""
    shown = common if found in ("category", "boolean", "class") else []
    said = f"{named}{more}" if shown else count(len(different), "different value")
    return ColumnSummary(
        column.name, found, use, missing, said, np.array([times for _, times in shown], dtype=np.int64), False
    )


def kind_of(encoder: Encoder) -> str:
    """Return the kind of column that an encoder reads."""
    return "category" if isinstance(encoder, CategoryEncoder) else encoder.kind


def _date(days: float) -> str:
    return (EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")
