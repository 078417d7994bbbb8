"""From one column to numbers for a network: one encoder for numbers, booleans and dates, one for categories."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from chainrule.data.cells import NumericKind
from chainrule.data.table import Column

Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]

# Categories beyond the commonest ones share the feature "(other)".
MOST_CATEGORIES = 50
# A value further out than this many standard deviations is cut off there: one wild cell must not overflow float32.
LARGEST_SCALED = 1e6

_DATE_PARTS = ("day", "month", "weekday")


@dataclass(frozen=True)
class Scale:
    """Standardisation, (x - mean) / deviation, with the mean and standard deviation of the training rows."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: Matrix) -> Scale | None:
        """Measure finite values, shape (n,); None if they are constant up to rounding."""
        peak = float(np.max(np.abs(values))) or 1.0  # relative to it, huge values do not overflow when squared
        relative = values / peak
        relative_deviation = float(np.std(relative))
        deviation = relative_deviation * peak
        if relative_deviation <= 1e-12 or deviation == 0.0:
            return None
        return cls(float(np.mean(relative)) * peak, deviation)

    def apply(self, values: Matrix) -> Matrix:
        """Return the standardised values, between -1e6 and 1e6."""
        with np.errstate(over="ignore"):
            return np.clip((values - self.mean) / self.deviation, -LARGEST_SCALED, LARGEST_SCALED)

    def invert(self, scaled: Matrix) -> Matrix:
        """Return the values in their own unit: scaled · deviation + mean."""
        return scaled * self.deviation + self.mean


@dataclass(frozen=True)
class Part:
    """One number taken from a cell (``value``, or day, month and weekday of a date): how to impute and scale it."""

    name: str
    median: float
    scale: Scale


@dataclass(frozen=True)
class NumericEncoder:
    """Impute by the median, standardise, and add an indicator where training rows lacked the value.

    Features: one per part, then ``name (missing)`` = 1 where the cell is missing, else 0. Mean and deviation are those
    of the imputed training rows.
    """

    column: str
    kind: NumericKind
    parts: tuple[Part, ...]
    indicator: bool

    @classmethod
    def fit(cls, column: Column, rows: Rows, kind: NumericKind) -> NumericEncoder:
        """Measure the given rows; a part that is constant in them is left out."""
        values = column.numbers(kind)[rows]
        absent = np.isnan(values)
        parts = []
        if not absent.all():
            for name, found in _parts(values, kind).items():
                median = float(np.median(found[~absent]))
                scale = Scale.fit(np.where(absent, median, found))
                if scale is not None:
                    parts.append(Part(name, median, scale))
        return cls(column.name, kind, tuple(parts), bool(absent.any() and not absent.all()))

    @property
    def features(self) -> list[str]:
        """The names of the features, in the order of the columns of ``transform``."""
        named = [self.column if part.name == "value" else f"{self.column} ({part.name})" for part in self.parts]
        return [*named, *([f"{self.column} (missing)"] if self.indicator else [])]

    def transform(self, column: Column) -> Matrix:
        """Return the features of every row, shape (n, len(features))."""
        values = column.numbers(self.kind)
        absent = np.isnan(values)
        found = _parts(values, self.kind)
        scaled = [part.scale.apply(np.where(absent, part.median, found[part.name])) for part in self.parts]
        return np.column_stack([*scaled, *([absent] if self.indicator else [])])

    def difference(self, column: Column) -> str:
        """Say what the training rows did not have: values missing in a column that was complete; "" if nothing."""
        absent = int(np.count_nonzero(column.missing))
        if self.indicator or not absent:
            return ""
        return f"{self.column}: {_rows(absent)} without a value, which no training row lacked: the median is used"

    def describe(self) -> str:
        """Say in one line what is done to the column."""
        filled = ", missing values filled with the median and marked" if self.indicator else ""
        if not self.parts:
            return f"{self.column}: {self.kind}, known values do not vary: only marked where missing"
        if self.kind == "date":
            return f"{self.column}: date, as {', '.join(part.name for part in self.parts)}, standardised{filled}"
        scale = self.parts[0].scale
        return (
            f"{self.column}: {self.kind}, standardised (mean {scale.mean:.6g}, "
            f"standard deviation {scale.deviation:.6g}){filled}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, from which ``from_json`` makes an equal encoder."""
        return {**asdict(self), "parts": [asdict(part) for part in self.parts]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> NumericEncoder:
        """Inverse of ``to_json``."""
        if data["kind"] not in get_args(NumericKind):
            raise ValueError(f"unknown kind of column {data['kind']!r}")
        parts = tuple(
            Part(str(part["name"]), float(part["median"]), scale_from_json(part["scale"])) for part in data["parts"]
        )
        known = _DATE_PARTS if data["kind"] == "date" else ("value",)
        if not all(part.name in known and math.isfinite(part.median) for part in parts):
            raise ValueError("unknown parts of a column")
        if not parts and not data["indicator"]:
            raise ValueError("a column without features")
        return cls(str(data["column"]), data["kind"], parts, bool(data["indicator"]))


@dataclass(frozen=True)
class CategoryEncoder:
    """One-hot encoding: one feature per category, 1 where the cell holds it, else 0.

    The commonest categories (50 at most) have a feature each, in sorted order; the rest share ``name=(other)``; missing
    cells have ``name=(missing)`` if training rows lacked the value. A category that no training row had counts as
    other, or, without that feature, as none of the known: all zeros.
    """

    column: str
    categories: tuple[str, ...]
    other: bool
    indicator: bool

    @classmethod
    def fit(cls, column: Column, rows: Rows) -> CategoryEncoder:
        """Count the categories of the given rows; equally common ones are kept in sorted order."""
        counts = Counter(column.texts()[rows].tolist())
        missing = counts.pop("", 0)
        common = sorted(counts, key=lambda category: (-counts[category], category))[:MOST_CATEGORIES]
        return cls(column.name, tuple(sorted(common)), len(counts) > len(common), missing > 0)

    @property
    def features(self) -> list[str]:
        """The names of the features, in the order of the columns of ``transform``; none for a constant column."""
        extra = [name for name, used in (("(other)", self.other), ("(missing)", self.indicator)) if used]
        names = [f"{self.column}={category}" for category in (*self.categories, *extra)]
        return names if len(names) > 1 else []

    def transform(self, column: Column) -> Matrix:
        """Return the features of every row, shape (n, len(features))."""
        slots = {category: slot for slot, category in enumerate(self.categories)}
        width = len(self.features)
        unknown = len(self.categories) if self.other else width  # the slot after the last one is cut off below
        slots[""] = width - 1 if self.indicator else width
        one_hot = np.zeros((len(column), width + 1))
        chosen = [slots.get(text, unknown) for text in column.texts().tolist()]
        one_hot[np.arange(len(column)), chosen] = 1.0
        return one_hot[:, :width]

    def difference(self, column: Column) -> str:
        """Say which rows hold a category or a gap that training rows did not have; "" if none."""
        texts = Counter(column.texts().tolist())
        absent = texts.pop("", 0)
        new = {text: count for text, count in texts.items() if text not in self.categories}
        said = []
        if new:
            examples = ", ".join(repr(text) for text in sorted(new)[:3])
            kept = len(self.categories)
            which = f"is none of the {kept} commonest, counted as other" if self.other else "was not seen in training"
            said.append(f"{_rows(sum(new.values()))} with a category that {which} ({examples})")
        if absent and not self.indicator:
            said.append(f"{_rows(absent)} without a value, which no training row lacked: no category is marked")
        return f"{self.column}: {'; '.join(said)}" if said else ""

    def describe(self) -> str:
        """Say in one line what is done to the column."""
        other = " (the commonest, the rest as one more)" if self.other else ""
        missing = ", missing as one of its own" if self.indicator else ""
        return f"{self.column}: {len(self.categories)} categories{other}{missing}, one feature each"

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, from which ``from_json`` makes an equal encoder."""
        return {"kind": "category", **asdict(self), "categories": list(self.categories)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CategoryEncoder:
        """Inverse of ``to_json``."""
        return cls(
            str(data["column"]), tuple(map(str, data["categories"])), bool(data["other"]), bool(data["indicator"])
        )


Encoder = NumericEncoder | CategoryEncoder


def scale_from_json(data: dict[str, Any]) -> Scale:
    """Make a scale from ``{"mean": ..., "deviation": ...}``. Raises ValueError where no values have these."""
    scale = Scale(float(data["mean"]), float(data["deviation"]))
    if not (math.isfinite(scale.mean) and 0 < scale.deviation < math.inf):
        raise ValueError(f"a mean of {scale.mean} with a standard deviation of {scale.deviation}")
    return scale


def _parts(values: Matrix, kind: str) -> dict[str, Matrix]:
    """Split the values of a column into the numbers that are learnt from: a date has day, month and weekday."""
    if kind != "date":
        return {"value": values}
    absent = np.isnan(values)
    days = np.floor(np.where(absent, 0.0, values)).astype("datetime64[D]")
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1.0
    weekday = (days.astype(np.int64) + 3) % 7 + 1.0  # 1 is Monday; 1970-01-01 was a Thursday
    found = (values, np.where(absent, np.nan, month), np.where(absent, np.nan, weekday))
    return dict(zip(_DATE_PARTS, found, strict=True))


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
