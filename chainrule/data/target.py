"""The column to predict: which task it poses, how its cells become targets, and how predictions become labels again."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.data.cells import canonical_label, parse_number
from chainrule.data.encoders import Scale, scale_from_json
from chainrule.data.splits import Rows, train_validation_test_split
from chainrule.data.table import Column, Table
from chainrule.errors import ArgumentError, ModelFileError, TargetError, did_you_mean

Task = Literal["binary", "multiclass", "regression"]

FEWEST_ROWS = 10
# Whole numbers are classes if they are at most so many and each has, on average, at least so many rows.
MOST_NUMERIC_CLASSES = 20
FEWEST_ROWS_PER_NUMERIC_CLASS = 5


def infer_task(table: Table, task: str | None = None) -> Task:
    """Return the task that the table's target poses, or check the one that the user asks for.

    Two different values, or texts, are classes; whole numbers are classes if there are at most 20 of them with five
    rows each on average; all else is regression. ``task`` may be binary, multiclass, classification (either of these)
    or regression. Raises TargetError for a target that cannot be learnt: too few rows, constant, infinite, text for
    regression, texts that nearly all differ, or only one class with more than one row.
    """
    column = table.target_column
    rows = labelled_rows(table)
    if len(rows) < FEWEST_ROWS:
        known = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        raise TargetError(
            f"{table.source} has {known} with a value of the target {column.name!r}: at least {FEWEST_ROWS} are needed "
            "to train on some and to test on others"
        )
    counts = _count_labels(column, rows)
    if len(counts) == 1:
        raise TargetError(
            f"the target {column.name!r} is {column.cells[rows[0]]!r:.80} in every row: there is nothing to learn; "
            "name another target"
        )
    found = _infer(column, counts, len(rows)) if task is None else _check_choice(task, column, counts)
    if found == "regression":
        column.numbers()  # raises for an infinite number and for stray text
    elif counts.most_common(2)[1][1] == 1:
        raise TargetError(
            f"only one class of the target {column.name!r} has more than one row: no class can be both "
            f"learnt and tested; its {len(counts)} labels are {_some(counts)}"
        )
    return found


def _infer(column: Column, counts: Counter[str], count: int) -> Task:
    if column.kind == "date":
        raise TargetError(f"the target {column.name!r} holds dates: give a number (days, years) or a class instead")
    if len(counts) == 2:
        return "binary"
    values = [parse_number(label) for label in counts]
    if column.kind == "number" or None not in values:
        whole = all(value is not None and value.is_integer() for value in values)
        few = len(counts) <= MOST_NUMERIC_CLASSES and len(counts) * FEWEST_ROWS_PER_NUMERIC_CLASS <= count
        return "multiclass" if whole and few else "regression"
    if len(counts) > max(MOST_NUMERIC_CLASSES, count / 2):
        raise TargetError(
            f"the target {column.name!r} has {len(counts)} different texts in {count} rows ({_some(counts)}): "
            "these are no classes; name another target, or ask for task multiclass"
        )
    return "multiclass"


def _check_choice(task: str, column: Column, counts: Counter[str]) -> Task:
    if task == "regression":
        return "regression"
    if task == "classification":
        return "binary" if len(counts) == 2 else "multiclass"
    if task == "binary":
        if len(counts) != 2:
            raise TargetError(
                f"task binary needs 2 classes, but the target {column.name!r} has {len(counts)}: {_some(counts)}"
            )
        return "binary"
    if task == "multiclass":
        return "multiclass"
    known = [*get_args(Task), "classification"]
    raise ArgumentError(f"task must be one of {', '.join(known)}, got {task!r}{did_you_mean(task, known)}")


def labelled_rows(table: Table) -> Rows:
    """Return the rows in which the target has a value, in ascending order."""
    return np.flatnonzero(~table.target_column.missing).astype(np.int64)


def split_table(
    table: Table, task: Task, fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0
) -> tuple[Rows, Rows, Rows]:
    """Split the rows that have a target into training, validation and test rows, by class unless it is regression.

    A function of the seed alone; see ``splits.train_validation_test_split``.

    >>> from chainrule.data.table import read_csv_table
    >>> table = read_csv_table("examples/data/diabetes.csv", target="outcome")
    >>> [len(rows) for rows in split_table(table, "binary")]
    [538, 115, 115]
    """
    rows = labelled_rows(table)
    labels = None
    if task != "regression":
        spelt = _canonical_labels(table.target_column)
        labels = np.array([spelt[row] for row in rows])
    train, validation, test = train_validation_test_split(len(rows), fractions, seed=seed, labels=labels)
    return rows[train], rows[validation], rows[test]


@dataclass(frozen=True)
class TargetPreparation:
    """How the target's cells become what a network is trained on.

    Classes are numbered in sorted order (numbers by value, texts by alphabet), under their label as first written;
    a regression target is standardised with the ``scale`` of the training rows. ``commonest`` is the number of their
    commonest class.

    >>> from chainrule.data.table import read_csv_table
    >>> table = read_csv_table("examples/data/diabetes.csv", target="outcome")
    >>> target = TargetPreparation.fit(table)
    >>> target.task, target.classes, target.transform(table)[:3].tolist()
    ('binary', ('0', '1'), [1, 0, 1])
    """

    name: str
    task: Task
    classes: tuple[str, ...] = ()
    scale: Scale | None = None
    commonest: int | None = None

    @classmethod
    def fit(cls, table: Table, rows: Rows | None = None, task: str | None = None) -> TargetPreparation:
        """Measure the given rows, by default all that have a target; classes are those of the whole table.

        ``task`` and the errors are those of ``infer_task``.
        """
        found = infer_task(table, task)
        column = table.target_column
        everywhere = labelled_rows(table)
        measured = everywhere if rows is None else rows
        if found != "regression":
            labels = _canonical_labels(column)
            written = {labels[row]: column.cells[row] for row in everywhere[::-1]}  # the first one written stays
            order = sorted(written, key=_label_order)
            counts = _count_labels(column, measured)
            commonest = max(range(len(order)), key=lambda number: counts[order[number]])
            return cls(column.name, found, tuple(written[label] for label in order), commonest=commonest)
        values = column.numbers()[measured]
        scale = Scale.fit(values)
        if scale is None:
            raise TargetError(f"the target {column.name!r} is {values[0]:g} in every training row")
        return cls(column.name, found, scale=scale)

    def transform(self, table: Table, rows: Rows | None = None) -> NDArray[np.int64] | NDArray[np.float32]:
        """Return the targets of the given rows (by default all that have one), shape (len(rows),).

        int64 class numbers, or float32 standardised values for regression. The column is found by its name.
        Raises TargetError for a label that is no class of the model, DataError for text among numbers.
        """
        column = table[self.name]
        rows = np.flatnonzero(~column.missing) if rows is None else rows
        if column.missing[rows].any():
            first = rows[np.argmax(column.missing[rows])]
            raise TargetError(f"{column.place(first)}: the target has no value")
        if self.scale is not None:
            return self.scale.apply(column.numbers()[rows]).astype(np.float32)
        numbers = {canonical_label(label): number for number, label in enumerate(self.classes)}
        labels = _canonical_labels(column)
        found = [numbers.get(labels[row], -1) for row in rows]
        if -1 in found:
            row = rows[found.index(-1)]
            label = column.cells[row]
            raise TargetError(
                f"{column.place(row)}: {label!r:.80} is none of the model's classes "
                f"{_some(self.classes)}{did_you_mean(label, self.classes)}"
            )
        return np.array(found, dtype=np.int64)

    def invert(self, predictions: ArrayLike) -> NDArray[Any]:
        """Return class numbers as labels (text), standardised values as float64 in the target's own unit."""
        values = np.asarray(predictions)
        if self.scale is not None:
            return self.scale.invert(values.astype(np.float64))
        return np.array(self.classes)[values]

    def baseline(self) -> float:
        """What to predict without looking at the columns: the number of the commonest class, or the mean.

        Raises ModelFileError where an older model file does not say which class that is.

        >>> TargetPreparation("price", "regression", scale=Scale(mean=20.0, deviation=3.0)).baseline()
        20.0
        """
        if self.scale is not None:
            return self.scale.mean
        if self.commonest is None:
            raise ModelFileError(
                f"the model's file does not say which class of {self.name!r} is the commonest of its training rows, so "
                "there is no baseline to compare with. fix: train and save it again, or save_model(..., "
                "training={'baseline': class number})"
            )
        return float(self.commonest)

    def describe(self, table: Table) -> list[str]:
        """Say which task the target poses and how its values are spread, and which rows are left out."""
        rows = labelled_rows(table)
        column = table[self.name]
        counts = _count_labels(column, rows)
        said = []
        if self.scale is not None:
            said.append(
                f"{self.name} has {len(counts)} different numbers: regression "
                f"(mean {self.scale.mean:.6g}, standard deviation {self.scale.deviation:.6g})"
            )
        else:
            shares = ", ".join(f"{label}: {counts[canonical_label(label)]} rows" for label in self.classes[:10])
            more = ", ..." if len(self.classes) > 10 else ""
            said.append(f"{self.name} has {len(counts)} different values: {self.task} classification ({shares}{more})")
            single = [label for label in self.classes if counts[canonical_label(label)] == 1]
            if single:
                said.append(f"{_some(single)}: classes with a single row, which can be learnt but not tested")
        if len(rows) < len(table):
            said.append(f"{len(table) - len(rows)} of {len(table)} rows have no {self.name} and are left out")
        return said

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, from which ``from_json`` makes an equal preparation."""
        found = {**asdict(self), "classes": list(self.classes)}
        if self.commonest is None:  # of numbers, and of files from before it was kept
            del found["commonest"]
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TargetPreparation:
        """Inverse of ``to_json``. Raises ModelFileError for a dictionary that ``to_json`` did not make."""
        try:
            scale = None if data["scale"] is None else scale_from_json(data["scale"])
            classes, commonest = tuple(map(str, data["classes"])), data.get("commonest")
            found = cls(str(data["name"]), data["task"], classes, scale, commonest)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"the model's preparation of its target is damaged: {error!r:.300}") from None
        if found.task not in get_args(Task) or (found.scale is None) == (found.task == "regression"):
            raise ModelFileError(f"the model's preparation of its target is damaged: task {found.task!r:.80}")
        if commonest is not None and (type(commonest) is not int or not 0 <= commonest < len(classes)):
            raise ModelFileError(f"the model's preparation of its target is damaged: commonest class {commonest!r:.80}")
        return found


def _count_labels(column: Column, rows: Rows) -> Counter[str]:
    labels = _canonical_labels(column)
    return Counter(labels[row] for row in rows)


def _canonical_labels(column: Column) -> list[str]:
    spelt = {cell: canonical_label(cell) for cell in set(column.cells)}
    return [spelt[cell] for cell in column.cells]


def _label_order(label: str) -> tuple[int, float, str]:
    number = parse_number(label)
    return (1, 0.0, label) if number is None else (0, number, label)


def _some(labels: Any) -> str:
    shown = ", ".join(f"{label!r:.80}" for label in list(labels)[:5])
    return shown if len(labels) <= 5 else f"{shown}, ... ({len(labels)} in all)"
