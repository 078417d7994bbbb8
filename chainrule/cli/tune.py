"""``chainrule tune``: random search, in which settings that do badly are given up early."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import ArgumentError, NonFiniteError
from ..files.atomic import write_atomically
from ..training.callbacks import Callback, EarlyStopping
from ..training.trainer import Trainer
from .network import PATIENCE, build_network, make_trainer
from .preparing import Options, PreparedData, describe_data, prepare
from .train import make_folder, plan_for, say, train_and_save

TRIALS = "trials.csv"
KEPT = 3
"""One of so many trials goes on to so many times as many epochs (successive halving, Jamieson and Talwalkar 2016)."""
FEWEST_EPOCHS = 5

HIDDEN = ((), (16,), (32,), (64,), (128,), (32, 16), (64, 32), (128, 64), (256, 128), (64, 64, 32), (128, 128, 64))
LEARNING_RATES, WEIGHT_DECAYS = (3e-4, 2e-2), (1e-3, 2.0)
DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.5)
BATCH_SIZES = (16, 32, 64, 128, 256)


@dataclass
class Trial:
    """Settings that are tried: how many epochs they have had, and the lowest validation loss in them."""

    number: int
    options: Options
    trainer: Trainer | None = None
    epochs: int = 0
    loss: float = math.inf
    best_epoch: int | None = None
    is_over: bool = field(default=False)


class Deadline(Callback):
    """Stops a training when the time is over."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    @property
    def is_past(self) -> bool:
        return time.monotonic() >= self.moment

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        return self.is_past


def run(options: Options, trials: int, seconds: float | None) -> None:
    """Search, print the trials, and train with the best settings as ``chainrule train`` would."""
    started = time.perf_counter()
    data = prepare(options)
    preparing = time.perf_counter() - started
    make_folder(options.out)
    say(describe_data(data, options.seed))
    deadline = Deadline(time.monotonic() + (math.inf if seconds is None else seconds))
    found = draw(options, data, trials)
    was_cut = not search(found, data, deadline)
    ranked = sorted(found, key=lambda trial: (trial.loss, trial.number))
    if not math.isfinite(ranked[0].loss):
        raise ArgumentError("no trial finished an epoch with a finite loss. fix: more --seconds")
    say(trial_table(ranked))
    write_atomically(options.out / TRIALS, trials_csv(ranked).encode())
    tried = sum(trial.epochs > 0 for trial in found)
    ending = ", ended early" if was_cut else ""
    chosen = f"trial {ranked[0].number} of {tried} by the validation loss (chainrule tune, seed {options.seed}{ending})"
    say([f"Best:  {chosen}. Now trained with these settings, and tested:"])
    train_and_save(ranked[0].options, data, preparing, chosen)


def draw(options: Options, data: PreparedData, trials: int) -> list[Trial]:
    """Draw settings from ``default_rng(seed)``; the first trial has those of ``chainrule train``."""
    random = np.random.default_rng(options.seed)
    sizes = [size for size in BATCH_SIZES if size <= max(len(data.train.y) // 4, BATCH_SIZES[0])]
    found = [Trial(1, options)]
    for number in range(2, trials + 1):
        settings = replace(
            options,
            hidden=HIDDEN[random.integers(len(HIDDEN))],
            learning_rate=_between(random, *LEARNING_RATES),
            weight_decay=_between(random, *WEIGHT_DECAYS),
            dropout=DROPOUTS[random.integers(len(DROPOUTS))],
            batch_size=sizes[random.integers(len(sizes))],
        )
        found.append(Trial(number, settings))
    return found


def rungs(trials: int, epochs: int) -> list[int]:
    """Return after how many epochs trials are compared: the last is ``epochs``, each three times the one before.

    >>> rungs(27, 200), rungs(1, 200)
    ([7, 22, 67, 200], [200])
    """
    levels = max(0, math.ceil(math.log(trials, KEPT) - 1e-9))
    found = [max(1, round(epochs / KEPT**level)) for level in range(levels, 0, -1)]
    return [*(rung for rung in found if rung >= min(FEWEST_EPOCHS, epochs)), epochs]


def search(trials: Sequence[Trial], data: PreparedData, deadline: Deadline) -> bool:
    """Train all trials to the first rung, the best third to the next, and so on; False if time or Ctrl-C ended it."""
    running = list(trials)
    for rung in rungs(len(trials), trials[0].options.epochs):
        for trial in running:
            if deadline.is_past or not advance(trial, rung, data, deadline):
                return False
        running.sort(key=lambda trial: (trial.loss, trial.number))
        best = running[0]
        said = f"{len(running)} trials" if len(running) > 1 else "1 trial"
        say([f"{said} up to epoch {rung}: lowest validation loss {best.loss:.4f} (trial {best.number})"])
        kept = math.ceil(len(running) / KEPT)
        for trial in running[kept:]:
            trial.trainer = None  # its memory is free again
        running = running[:kept]
    return True


def advance(trial: Trial, epochs: int, data: PreparedData, deadline: Deadline) -> bool:
    """Train a trial on to so many epochs, unless it has stopped improving; False if that was interrupted."""
    plan = plan_for(trial.options, data)
    if trial.trainer is None:
        trial.trainer = make_trainer(plan, build_network(plan))
        trial.trainer.callbacks = [EarlyStopping(patience=PATIENCE, restore_best_weights=False), deadline]
    more = epochs - trial.epochs
    if trial.is_over or more < 1:
        return True
    try:
        history = trial.trainer.fit(
            data.train.X, data.train.y, epochs=more, batch_size=plan.batch_size,
            validation_data=(data.validation.X, data.validation.y), verbose=0,
        )  # fmt: skip
    except NonFiniteError:  # a rate that is too high for these settings: they are out
        trial.is_over = True
        return True
    for row in history:
        trial.epochs += 1
        if row["val_loss"] < trial.loss:
            trial.loss, trial.best_epoch = row["val_loss"], trial.epochs
    trial.is_over = len(history) < more
    return not history.interrupted


def trial_table(ranked: Sequence[Trial]) -> list[str]:
    """Return the trials as aligned lines, the best first."""
    heads, rows = _columns(ranked)
    widths = [max(len(line[column]) for line in [heads, *rows]) for column in range(len(heads))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [heads, *rows]]


def trials_csv(ranked: Sequence[Trial]) -> str:
    """Return the same as CSV."""
    text = io.StringIO()
    heads, rows = _columns(ranked)
    csv.writer(text, lineterminator="\n").writerows([heads, *rows])
    return text.getvalue()


def _columns(ranked: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    heads = [
        "trial",
        "hidden",
        "learning rate",
        "weight decay",
        "dropout",
        "batch",
        "epochs",
        "best epoch",
        "validation loss",
    ]
    rows = []
    for trial in ranked:
        given = trial.options
        hidden = ",".join(map(str, given.hidden)) or "0"
        numbers = [given.learning_rate, given.weight_decay, given.dropout, given.batch_size]
        said = ["default" if number is None else f"{number:.3g}" for number in numbers]
        loss = f"{trial.loss:.4f}" if math.isfinite(trial.loss) else "-"
        rows.append([str(trial.number), hidden, *said, str(trial.epochs), str(trial.best_epoch or "-"), loss])
    return heads, rows


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """A number drawn evenly on a logarithmic scale, with two digits: enough, and readable."""
    return float(f"{math.exp(random.uniform(math.log(low), math.log(high))):.2g}")
