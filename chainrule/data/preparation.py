"""From a table to the matrix a network reads: what was fitted on the training rows and is saved with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.data.cells import number_with_signs
from chainrule.data.encoders import CategoryEncoder, Encoder, NumericEncoder
from chainrule.data.table import Column, Table
from chainrule.errors import DataError, ModelFileError, did_you_mean

_DROPPED_KINDS = {
    "empty": "it has no values",
    "identifier": "it identifies rows: nearly every value is different",
}


@dataclass(frozen=True)
class Preparation:
    """How the columns of a table become features, fitted on the training rows and nothing else.

    Numbers, booleans and dates are imputed by the median and standardised; categories become one-hot features; both
    have a feature that marks missing cells if training rows had any. Empty, constant and identifying columns are left
    out, with the reason in ``dropped``. An infinite number, and text in a column of numbers, is an error that names
    column, line and value: neither can be guessed.

    >>> from chainrule.data.table import read_csv_table
    >>> table = read_csv_table("examples/data/diabetes.csv", target="outcome")
    >>> preparation = Preparation.fit(table, rows=np.arange(500))
    >>> preparation.transform(table, rows=np.arange(500, 768)).shape
    (268, 8)
    """

    encoders: tuple[Encoder, ...]
    dropped: dict[str, str]
    target: str | None

    @classmethod
    def fit(cls, table: Table, rows: NDArray[np.int64] | None = None) -> Preparation:
        """Measure the given rows of a table, by default all.

        Raises DataError for a cell that does not fit its column, and where no column is left to learn from.
        """
        rows = np.arange(len(table)) if rows is None else rows
        encoders: list[Encoder] = []
        dropped: dict[str, str] = {}
        for column in table.features:
            encoder = _fit_encoder(column, rows)
            if isinstance(encoder, str):
                dropped[column.name] = encoder
            else:
                encoders.append(encoder)
        if not encoders:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:5])
            raise DataError(f"{table.source} has no column to learn from ({reasons})")
        return cls(tuple(encoders), dropped, table.target)

    @property
    def feature_names(self) -> list[str]:
        """The name of every column of the matrix that ``transform`` returns."""
        return [name for encoder in self.encoders for name in encoder.features]

    def transform(self, table: Table, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the features of the given rows (by default all), shape (len(rows), len(feature_names)), all finite.

        Columns are matched by name, in any order; the target and columns that are not used may be absent.
        Raises DataError for absent columns and for cells that do not fit (see the class).
        """
        self._check_columns(table)
        chosen: Any = slice(None) if rows is None else rows
        count = len(table) if rows is None else len(rows)
        features = np.empty((count, len(self.feature_names)), dtype=np.float32)
        start = 0
        for encoder in self.encoders:
            stop = start + len(encoder.features)
            features[:, start:stop] = encoder.transform(table[encoder.column])[chosen]
            start = stop
        return features

    def differences(self, table: Table) -> list[str]:
        """Say, a line each, in what a table differs from the training rows without being unusable.

        Columns that are ignored, categories that were not seen, values missing where none were.
        """
        self._check_columns(table)
        known = {encoder.column for encoder in self.encoders} | set(self.dropped) | {self.target}
        ignored = [name for name in table.names if name not in known]
        said = [f"ignored, not in the training table: {', '.join(ignored)}"] if ignored else []
        found = [encoder.difference(table[encoder.column]) for encoder in self.encoders]
        return said + [line for line in found if line]

    def describe(self) -> list[str]:
        """Say what is done to every column, a line each."""
        return [encoder.describe() for encoder in self.encoders] + [
            f"{name}: left out, {reason}" for name, reason in self.dropped.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, from which ``from_json`` makes an equal preparation."""
        return {
            "encoders": [encoder.to_json() for encoder in self.encoders],
            "dropped": dict(self.dropped),
            "target": self.target,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preparation:
        """Inverse of ``to_json``. Raises ModelFileError for a dictionary that ``to_json`` did not make."""
        try:
            encoders = tuple(
                CategoryEncoder.from_json(item) if item["kind"] == "category" else NumericEncoder.from_json(item)
                for item in data["encoders"]
            )
            dropped, target = {str(name): str(reason) for name, reason in data["dropped"].items()}, data["target"]
            return cls(encoders, dropped, None if target is None else str(target))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"the model's preparation of columns is damaged: {error!r:.300}") from None

    def _check_columns(self, table: Table) -> None:
        wanted = [encoder.column for encoder in self.encoders]
        absent = [name for name in wanted if name not in table]
        if not absent:
            return
        unused = [name for name in table.names if name not in wanted]
        listed = ", ".join(f"{name!r}{did_you_mean(name, unused)}" for name in absent[:10])
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        raise DataError(
            f"{table.source} lacks {len(absent)} of the {len(wanted)} columns that the model reads: {listed}{more}; "
            f"{table.outline()}"
        )


def _fit_encoder(column: Column, rows: NDArray[np.int64]) -> Encoder | str:
    """Return the encoder of a column, or the reason why it is left out."""
    kind = column.kind
    encoder: Encoder
    if kind == "empty" or kind == "identifier":
        example = number_with_signs(column.cells)
        return (
            _DROPPED_KINDS[kind]
            if example is None
            else f"its numbers are written with signs or separators of thousands, such as {example!r}: write 1500, 0.12"
        )
    if kind == "category":
        encoder = CategoryEncoder.fit(column, rows)
    else:
        encoder = NumericEncoder.fit(column, rows, kind)
    return encoder if encoder.features else "its value is the same in every training row"
