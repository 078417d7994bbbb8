"""What a network says, on average, if one column had this or that value in all rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.encoders import CategoryEncoder, Encoder
from ..data.table import Column
from .importance import Predict

GRID = 25
MOST_CATEGORIES = 12
LOW, HIGH = 0.05, 0.95
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Grid:
    """Values of a column: as cells, as numbers to draw them at (None for categories), and deciles of its own values."""

    cells: list[str]
    positions: NDArray[np.float64] | None
    deciles: NDArray[np.float64]


def grid_of(encoder: Encoder, column: Column, rows: NDArray[np.int64]) -> Grid:
    """Choose the values to try: evenly from the 5 % to the 95 % quantile of the rows, or the commonest categories."""
    if isinstance(encoder, CategoryEncoder):
        texts, counts = np.unique(column.texts()[rows].astype(str), return_counts=True)
        commonest = [str(text) for text in texts[np.argsort(-counts, kind="stable")] if text in encoder.categories]
        return Grid(sorted(commonest[:MOST_CATEGORIES]), None, np.empty(0))
    if encoder.kind == "boolean":
        return Grid(["false", "true"], None, np.empty(0))
    values = column.numbers(encoder.kind)[rows]
    known = values[np.isfinite(values)]
    deciles = np.quantile(known, np.linspace(0.1, 0.9, 9))
    low, high = np.quantile(known, [LOW, HIGH])
    different = np.unique(known)
    between = different[(different >= low) & (different <= high)]
    positions = between if len(between) <= GRID else np.linspace(low, high, GRID)
    if encoder.kind == "date":
        positions = np.unique(np.floor(positions))
        return Grid(
            [(EPOCH + timedelta(days=float(day))).strftime("%Y-%m-%d") for day in positions], positions, deciles
        )
    return Grid([repr(float(value)) for value in positions], positions, deciles)


def partial_dependence(predict: Predict, X: NDArray[Any], features: slice, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean prediction over the rows of X with the features of one column set to each of ``values``.

    1/n Σᵢ f(values[g], rest of row i) (Friedman 2001); ``values`` has shape (grid, width of the features), the result
    (grid,) or (grid, classes), as ``predict`` gives.

    >>> X = np.array([[0.0, 1.0], [0.0, 3.0]])
    >>> partial_dependence(lambda X: X[:, 0] ** 2 + X[:, 1], X, slice(0, 1), np.array([[1.0], [2.0]])).tolist()
    [3.0, 6.0]
    """
    means = []
    changed = X.copy()
    for value in values:
        changed[:, features] = value
        means.append(np.mean(predict(changed), axis=0, dtype=np.float64))
    return np.array(means)


def encoded(encoder: Encoder, column: Column, grid: Grid) -> NDArray[np.float64]:
    """Return the features of the values of a grid, by the encoder that prepared the column, shape (grid, width)."""
    lines = np.zeros(len(grid.cells), dtype=np.int64)
    return encoder.transform(Column(column.name, grid.cells, lines, column.source))
