"""From a CSV file to rows to train on, to stop by and to test on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.preparation import Preparation
from ..data.splits import Rows
from ..data.table import Table, read_table
from ..data.target import TargetPreparation, split_table
from .program import FRACTIONS

MOST_COLUMN_LINES = 40


@dataclass(frozen=True)
class Options:
    """What the command was given."""

    data: Path
    target: str
    task: str | None = None
    hidden: tuple[int, ...] = (64, 32)
    epochs: int = 200
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    seed: int = 0
    out: Path = Path("chainrule_model")


@dataclass(frozen=True)
class Part:
    """Rows of the table, prepared: features, shape (n, features), and targets, shape (n,)."""

    rows: Rows
    X: NDArray[np.float32]
    y: NDArray[Any]


@dataclass(frozen=True)
class PreparedData:
    """A table split into rows to train on, to stop by and to test on, all prepared by what the training rows say."""

    table: Table
    digest: str
    preparation: Preparation
    target: TargetPreparation
    train: Part
    validation: Part
    test: Part


def prepare(options: Options) -> PreparedData:
    """Read the table and split and prepare its rows.

    Raises DataError, and TargetError among them, for tables that cannot be learnt from.
    """
    table = read_table(options.data, target=options.target)
    # The target first: what is wrong with it is said before anything about columns.
    everything = TargetPreparation.fit(table, task=options.task)
    train, validation, test = split_table(table, everything.task, FRACTIONS, seed=options.seed)
    target = TargetPreparation.fit(table, train, options.task)
    preparation = Preparation.fit(table, train)
    parts = [
        Part(rows, preparation.transform(table, rows), target.transform(table, rows))
        for rows in (train, validation, test)
    ]
    digest = hashlib.sha256(options.data.read_bytes()).hexdigest()
    return PreparedData(table, digest, preparation, target, *parts)


def describe_data(data: PreparedData, seed: int) -> list[str]:
    """Say what the table holds, what is done to its columns, and how its rows are split."""
    table, columns = data.table, data.preparation.describe()
    more = len(columns) - MOST_COLUMN_LINES
    if more > 0:
        columns = [*columns[:MOST_COLUMN_LINES], f"... and {more} more (chainrule inspect lists all)"]
    counts = (
        f"{len(data.train.y)} for training, {len(data.validation.y)} for validation (early stopping), "
        f"{len(data.test.y)} for the test"
    )
    by_class = "" if data.target.task == "regression" else ", each class in proportion"
    return [
        f"{table.source}: {len(table)} rows, {len(table.columns)} columns",
        *(f"note: {note}" for note in table.notes),
        "",
        "target",
        *(f"  {line}" for line in data.target.describe(table)),
        "columns",
        *(f"  {line}" for line in columns),
        "",
        f"rows         {counts}; shuffled with seed {seed}{by_class}",
    ]
