"""A random sample of the rows of a table that comes in blocks."""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from chainrule.data.splits import Rows
from chainrule.data.table import Block, Column, Table

MOST_LABELS = 1000
"""Different cells of the target up to which they may be classes, of which the sample needs a row each."""


class RowSample:
    """At most ``size`` rows, each with the same probability: those with the smallest random numbers.

    Beside them the first row of every label of the target is kept, so that no class stays unknown.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._numbers = np.random.default_rng(seed)
        self._keys: NDArray[np.float64] = np.empty(0)
        self._drawn: list[Table] = []
        self._limit = 1.0
        self._labels: set[str] = set()
        self._first: list[Table] = []

    def add(self, block: Block, rows: Rows) -> None:
        """Let these rows of a block take part, and all of it say which labels there are."""
        self._keep_new_labels(block)
        keys = self._numbers.random(len(rows))
        is_chosen = keys < self._limit
        if is_chosen.any():
            self._drawn.append(block.take(rows[is_chosen]))
            self._keys = np.concatenate([self._keys, keys[is_chosen]])
        if len(self._keys) > 2 * self.size:
            self._shrink()

    def table(self) -> tuple[Table, Rows]:
        """A table of the first rows of all labels and of the sample, and which of its rows are the sample."""
        self._shrink()
        whole = _joined([*self._first, *self._drawn])
        return whole, np.arange(len(whole) - len(self._keys), len(whole))

    def _keep_new_labels(self, block: Block) -> None:
        """Where labels are too many for classes, the target is a number, and none of them matters."""
        if len(self._labels) > MOST_LABELS:
            return
        cells = block.target_column.cells
        new = set(cells) - self._labels
        self._labels |= new
        if len(self._labels) > MOST_LABELS:
            self._first = []
        elif new:
            self._first.append(block.take(np.array(sorted(map(cells.index, new)))))

    def _shrink(self) -> None:
        if len(self._keys) > self.size:
            kept = np.sort(np.argpartition(self._keys, self.size)[: self.size])
            self._limit = float(self._keys[kept].max())
            self._keys, self._drawn = self._keys[kept], [_joined(self._drawn).take(kept)]


def _joined(tables: list[Table]) -> Table:
    columns = tuple(
        Column(
            parts[0].name,
            list(chain.from_iterable(part.cells for part in parts)),
            np.concatenate([part.lines for part in parts]),
            parts[0].source,
        )
        for parts in zip(*(table.columns for table in tables), strict=True)
    )
    return Table(columns, tables[0].source, tables[0].target, tables[0].has_header)
