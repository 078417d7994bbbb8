"""``chainrule predict`` and ``chainrule evaluate``: use a saved model on a new table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ..data.preparation import Preparation
from ..data.table import Table, read_table
from ..data.target import TargetPreparation, labelled_rows
from ..errors import DataError, ModelFileError
from ..files.atomic import write_atomically
from ..training.model_file import LoadedModel, load_model
from ..training.trainer import Trainer
from .scores import probabilities, score, score_table, verdict


@dataclass(frozen=True)
class TableModel:
    """A loaded network with the preparation that makes tables fit it."""

    module: Any
    preparation: Preparation
    target: TargetPreparation
    training: dict[str, Any]

    def output(self, table: Table, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Return the network's output for rows of a table, by default all."""
        return Trainer(self.module).predict(self.preparation.transform(table, rows))


def run_predict(model: Path, data: Path, out: Path | None) -> None:
    """Write the predictions for a table as CSV, to a file or to standard output."""
    loaded = load_table_model(model)
    table = read_table(data)
    _warn(loaded.preparation.differences(table))
    text = predictions_csv(loaded.target, loaded.output(table))
    if out is None:
        click.echo(text, nl=False)
        return
    write_atomically(out, text.encode())
    click.echo(f"{len(table)} predictions of {loaded.target.name} written to {out}")


def run_evaluate(model: Path, data: Path) -> None:
    """Print the scores of a model on the rows of a table that have a target."""
    loaded = load_table_model(model)
    table = read_table(data, target=loaded.target.name)
    rows = labelled_rows(table)
    if not len(rows):
        raise DataError(f"{table.source} has no row with a value of the target {loaded.target.name!r} to compare with")
    _warn(loaded.preparation.differences(table))
    y = loaded.target.transform(table, rows)
    constant = float(loaded.training["baseline"]) if "baseline" in loaded.training else loaded.target.baseline()
    scores = score(loaded.target, loaded.output(table, rows), y, constant)
    left_out = len(table) - len(rows)
    title = f"{len(rows)} rows of {table.source}" + (f" ({left_out} without {loaded.target.name})" if left_out else "")
    click.echo("\n".join([*score_table(scores, title), "", *verdict(loaded.target, scores, constant)]))


def load_table_model(path: Path) -> TableModel:
    """Load a model that ``chainrule train`` saved.

    Raises ModelFileError for a file that holds a network without the preparation of a table.
    """
    loaded: LoadedModel = load_model(path)
    training = loaded.metadata.get("training", {})
    if loaded.preparation is None or loaded.target is None:
        raise ModelFileError(
            f"{path} holds a network without the preparation of a table, so it cannot read one; "
            "use a file that chainrule train saved, or load it in Python with chainrule.load"
        )
    return TableModel(loaded.module, loaded.preparation, loaded.target, training)


def predictions_csv(target: TargetPreparation, output: NDArray[Any]) -> str:
    """Return a network's output as CSV with a row per row of the table.

    Columns: ``prediction`` (the most probable class as the training table wrote it, or the number in the target's
    unit), then, for classes, ``probability of <label>`` each.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if target.task == "regression":
        writer.writerow(["prediction"])
        writer.writerows([f"{value:.9g}"] for value in target.invert(output.reshape(-1)))
        return text.getvalue()
    found = probabilities(target, output)
    writer.writerow(["prediction", *(f"probability of {label}" for label in target.classes)])
    labels = target.invert(found.argmax(axis=1))
    for label, row in zip(labels, found, strict=True):
        writer.writerow([label, *(f"{value:.6f}" for value in row)])
    return text.getvalue()


def _warn(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"note: {line}", err=True)
