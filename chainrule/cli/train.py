"""``chainrule train``: from a CSV file to a tested and saved network."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ..data.preparation import Preparation
from ..data.table import Table, read_table
from ..data.target import TargetPreparation, split_table
from ..errors import ArgumentError
from ..files.atomic import write_atomically
from ..training.history import History
from ..training.model_file import save_model
from ..training.trainer import Trainer
from .network import Plan, build_network, describe_plan, make_plan, make_trainer
from .scores import Score, baseline, score, score_table, verdict

FRACTIONS = (0.7, 0.15, 0.15)
MODEL, METRICS, HISTORY = "model.chain", "metrics.json", "history.csv"
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
    dropout: float | None = None
    seed: int = 0
    out: Path = Path("chainrule_model")


@dataclass(frozen=True)
class Part:
    """Prepared rows: features, shape (n, features), and targets, shape (n,)."""

    X: NDArray[np.float32]
    y: NDArray[Any]


@dataclass(frozen=True)
class PreparedData:
    """A table split into rows to train on, to stop by and to test on, all prepared by what the training rows say."""

    table: Table
    preparation: Preparation
    target: TargetPreparation
    train: Part
    validation: Part
    test: Part


def run(options: Options) -> None:
    """Read, prepare, train, test and save, and say each on standard output."""
    data = prepare(options)
    plan = make_plan(
        data.target, data.train.X.shape[1], len(data.train.y), hidden=options.hidden, epochs=options.epochs,
        seed=options.seed, batch_size=options.batch_size, learning_rate=options.learning_rate, dropout=options.dropout,
    )  # fmt: skip
    _make_folder(options.out)
    _say(describe_data(data, options.seed), describe_plan(plan, data.target))
    trainer = make_trainer(plan, build_network(plan))
    started = time.perf_counter()
    history = fit(trainer, plan, data)
    seconds = time.perf_counter() - started
    constant = baseline(data.target, data.train.y)
    scores = score(data.target, trainer.predict(data.test.X), data.test.y, constant)
    rows = len(data.test.y)
    _say(
        [_ending(history, seconds)],
        score_table(scores, f"{rows} test {'row' if rows == 1 else 'rows'}"),
        verdict(data.target, scores, constant),
    )
    save(options, data, plan, trainer, history, scores, constant)
    model = options.out / MODEL
    _say([f"Saved: {model}, {METRICS}, {HISTORY}", f"Next:  chainrule predict {model} NEW.csv"])


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
        Part(preparation.transform(table, rows), target.transform(table, rows)) for rows in (train, validation, test)
    ]
    return PreparedData(table, preparation, target, *parts)


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


def fit(trainer: Trainer, plan: Plan, data: PreparedData) -> History:
    """Train; Ctrl-C ends it early, with the best weights so far.

    Raises KeyboardInterrupt where not even one epoch was finished: there is nothing to keep.
    """
    history = trainer.fit(
        data.train.X,
        data.train.y,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        validation_data=(data.validation.X, data.validation.y),
        verbose="auto",
    )
    if history.interrupted and not len(history):
        raise KeyboardInterrupt
    return history


def save(
    options: Options,
    data: PreparedData,
    plan: Plan,
    trainer: Trainer,
    history: History,
    scores: list[Score],
    constant: float,
) -> None:
    """Write the model, its scores as JSON and its history as CSV into the folder, each file whole or not at all."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    record = {
        **plan.to_json(),
        "data": data.table.source,
        "data_sha256": hashlib.sha256(options.data.read_bytes()).hexdigest(),
        "rows": {name: len(part.y) for name, part in parts.items()},
        "best_epoch": history.best_epoch,
        "baseline": constant,
        "test": [asdict(item) for item in scores],
    }
    save_model(
        options.out / MODEL,
        trainer.model,
        preparation=data.preparation,
        target=data.target,
        history=history,
        training=record,
    )
    write_atomically(options.out / METRICS, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(options.out / HISTORY, _history_csv(history).encode())


def _history_csv(history: History) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, history.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history.epochs)
    return text.getvalue()


def _ending(history: History, seconds: float) -> str:
    how = "Interrupted" if history.interrupted else "Trained"
    kept = f"the weights of epoch {history.best_epoch}, the best, are kept"
    return f"{how}: {len(history)} epochs in {seconds:.2f} s; {kept}"


def _make_folder(folder: Path) -> None:
    """Make the folder for the results before training, so that no work is lost where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"the folder {folder} for the results cannot be made: {error.strerror}") from None


def _say(*blocks: list[str]) -> None:
    for block in blocks:
        click.echo("\n".join(block) + "\n")
