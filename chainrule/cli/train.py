"""``chainrule train``: from a CSV file to a tested and saved network."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import click

from ..errors import ArgumentError
from ..files.atomic import prepare_place, write_atomically
from ..training.history import History
from ..training.model_file import save_model
from ..training.trainer import Trainer
from .configuration import write_configuration
from .network import Plan, build_network, describe_plan, make_plan, make_trainer
from .preparing import Options, PreparedData, describe_data, prepare
from .reporting import Training, make_report
from .scores import Score, score, score_table, verdict

MODEL, METRICS, HISTORY = "model.chain", "metrics.json", "history.csv"
CONFIGURATION, REPORT = "config.toml", "report.html"


def run(options: Options) -> None:
    """Read, prepare, train, test, save and report, and say each on standard output."""
    started = time.perf_counter()
    data = prepare(options)
    seconds = time.perf_counter() - started
    make_folder(options.out)
    say(describe_data(data, options.seed))
    train_and_save(options, data, seconds)


def train_and_save(options: Options, data: PreparedData, preparing: float, chosen: str = "") -> None:
    """Train on prepared data as the options say, test, and leave everything in the folder of the options.

    ``preparing`` is how many seconds the data took; ``chosen`` says how the options were found, for the report.
    """
    plan = plan_for(options, data)
    say(describe_plan(plan, data.target))
    trainer = make_trainer(plan, build_network(plan))
    started = time.perf_counter()
    history = fit(trainer, plan, data)
    seconds = time.perf_counter() - started
    constant = data.target.baseline()
    scores = score(data.target, trainer.predict(data.test.X), data.test.y, constant)
    rows = len(data.test.y)
    say(
        [_ending(history, seconds)],
        score_table(scores, f"{rows} test {'row' if rows == 1 else 'rows'}"),
        verdict(data.target, scores, constant),
    )
    training = Training(plan, trainer, history, {"reading and preparing the data": preparing, "training": seconds})
    save(options, data, training, scores, constant)
    write_atomically(options.out / REPORT, make_report(options, data, training, chosen).encode())
    model = options.out / MODEL
    say([
        f"Saved: {model}, {METRICS}, {HISTORY}, {CONFIGURATION}",
        f"Read:  {options.out / REPORT}",
        f"Next:  chainrule predict {model} NEW.csv",
    ])  # fmt: skip


def plan_for(options: Options, data: PreparedData) -> Plan:
    """Return the plan that the options, and the data where they leave something open, make."""
    return make_plan(
        data.target, data.train.X.shape[1], len(data.train.y), hidden=options.hidden, epochs=options.epochs,
        seed=options.seed, batch_size=options.batch_size, learning_rate=options.learning_rate,
        weight_decay=options.weight_decay, dropout=options.dropout,
    )  # fmt: skip


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


def save(options: Options, data: PreparedData, training: Training, scores: list[Score], constant: float) -> None:
    """Write the model, its scores as JSON, its history as CSV and its configuration as TOML into the folder.

    Each file is written whole or not at all.
    """
    plan, history = training.plan, training.history
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    record = {
        **plan.to_json(),
        "data": data.table.source,
        "data_sha256": data.digest,
        "rows": {name: len(part.y) for name, part in parts.items()},
        "best_epoch": history.best_epoch,
        "baseline": constant,
        "test": [asdict(item) for item in scores],
    }
    save_model(
        options.out / MODEL,
        training.trainer.model,
        preparation=data.preparation,
        target=data.target,
        history=history,
        training=record,
    )
    write_atomically(options.out / METRICS, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(options.out / HISTORY, _history_csv(history).encode())
    write_atomically(options.out / CONFIGURATION, write_configuration(decided(options, plan)).encode())


def decided(options: Options, plan: Plan) -> Options:
    """Return the options with what was left open filled in, so that other defaults lead to the same network."""
    return replace(
        options, task=plan.task, batch_size=plan.batch_size, learning_rate=plan.learning_rate,
        weight_decay=plan.weight_decay, dropout=plan.dropout,
    )  # fmt: skip


def make_folder(folder: Path) -> None:
    """Make the folder for the results before training, so that no work is lost where they cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"the folder {folder} for the results cannot be made: {error.strerror}") from None
    for name in (MODEL, METRICS, HISTORY, CONFIGURATION, REPORT):
        prepare_place(folder / name)


def say(*blocks: list[str]) -> None:
    """Print blocks of lines, each with an empty line behind it."""
    for block in blocks:
        click.echo("\n".join(block) + "\n")


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
