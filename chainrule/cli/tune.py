"""``chainrule tune``: random search, in which settings that do badly are given up early."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import NonFiniteError
from ..files.atomic import write_atomically
from ..training.callbacks import Callback
from ..training.trainer import Trainer
from .configuration import as_toml
from .network import PATIENCE, build_network, make_trainer
from .preparing import Options, PreparedData, describe_data, prepare
from .train import make_folder, plan_for, say, train_and_save

TRIALS, SEARCH = "trials.csv", "search.toml"
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
    best_epoch: int = 0
    is_over: bool = False


@dataclass
class Watch(Callback):
    """Notes how a trial does over all its fits; stops it where `chainrule train` would, or when the time is over."""

    trial: Trial
    end: float

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        trial = self.trial
        trial.epochs += 1
        if row["val_loss"] < trial.loss:
            trial.loss, trial.best_epoch = row["val_loss"], trial.epochs
        trial.is_over = trial.epochs - trial.best_epoch >= PATIENCE
        return trial.is_over or time.monotonic() >= self.end


def run(options: Options, trials: int, seconds: float | None) -> None:
    """Search, print the trials, and train with the best settings as ``chainrule train`` would."""
    started = time.perf_counter()
    data = prepare(options)
    preparing = time.perf_counter() - started
    make_folder(options.out)
    say(describe_data(data, options.seed))
    drawn = draw(options, data, trials)
    is_whole = search(drawn, data, math.inf if seconds is None else time.monotonic() + seconds)
    ranked = sorted((trial for trial in drawn if trial.epochs), key=_rank)
    if not ranked and not is_whole:
        raise KeyboardInterrupt
    if not ranked or not math.isfinite(ranked[0].loss):
        raise NonFiniteError("the loss of no trial stayed finite. fix: look for extreme values in the table")
    say(trial_table(ranked))
    write_atomically(options.out / TRIALS, trials_csv(ranked).encode())
    write_atomically(options.out / SEARCH, search_configuration(options, data, trials, seconds).encode())
    ending = "" if is_whole else ", ended early"
    how = f"by the validation loss (chainrule tune, seed {options.seed}{ending})"
    chosen = f"trial {ranked[0].number} of {len(ranked)} {how}"
    say([
        f"All:   {options.out / TRIALS}, {SEARCH}",
        f"Best:  {chosen}. Now trained with these settings, and tested:",
    ])  # fmt: skip
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
    found = [round(epochs / KEPT**level) for level in range(levels, 0, -1)]
    return [*(rung for rung in found if rung >= FEWEST_EPOCHS), epochs]


def search(trials: Sequence[Trial], data: PreparedData, end: float) -> bool:
    """Train all trials to the first rung, the best third to the next, and so on; False if time or Ctrl-C ended it."""
    running = list(trials)
    for rung in rungs(len(trials), trials[0].options.epochs):
        for trial in running:
            if not advance(trial, rung, data, end) or time.monotonic() >= end:
                return False
        running.sort(key=_rank)
        said = f"{len(running)} trials" if len(running) > 1 else "1 trial"
        say([f"{said} up to epoch {rung}: lowest validation loss {running[0].loss:.4f} (trial {running[0].number})"])
        kept = math.ceil(len(running) / KEPT)
        for trial in running[kept:]:
            trial.trainer = None  # its memory is free again
        running = running[:kept]
    return True


def advance(trial: Trial, epochs: int, data: PreparedData, end: float) -> bool:
    """Train a trial on to so many epochs, unless it has stopped improving; False if that was interrupted."""
    if trial.is_over or trial.epochs >= epochs:
        return True
    plan = plan_for(trial.options, data)
    if trial.trainer is None:
        trial.trainer = make_trainer(plan, build_network(plan))
        trial.trainer.callbacks = [Watch(trial, end)]
    try:
        history = trial.trainer.fit(
            data.train.X,
            data.train.y,
            epochs=epochs - trial.epochs,
            batch_size=plan.batch_size,
            validation_data=(data.validation.X, data.validation.y),
            verbose=0,
        )
    except NonFiniteError:  # such as by a rate that is too high
        trial.loss, trial.is_over = math.inf, True
        return True
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


def search_configuration(options: Options, data: PreparedData, trials: int, seconds: float | None) -> str:
    """Return the options of the search as TOML, with the task that was found."""
    values = {
        "data": options.data,
        "target": options.target,
        "task": data.target.task,
        "trials": trials,
        "seconds": seconds,
        "epochs": options.epochs,
        "seed": options.seed,
    }
    return as_toml("Searches the same way again: chainrule tune --config search.toml", values)


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
        rows.append([str(trial.number), hidden, *said, str(trial.epochs), str(trial.best_epoch), loss])
    return heads, rows


def _rank(trial: Trial) -> tuple[float, int]:
    return trial.loss, trial.number


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """A number drawn evenly on a logarithmic scale, with two digits: enough, and readable."""
    return float(f"{math.exp(random.uniform(math.log(low), math.log(high))):.2g}")
