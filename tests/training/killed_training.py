"""A training that may be killed at any moment and is started again: ``python -m tests.training.killed_training``.

Arguments: its name in `TRAININGS`, a folder, and perhaps a moment at which it kills itself with SIGKILL (``during``,
``before`` or ``after``) and a number n: halfway through the n-th file that it writes, before that file is renamed, or
after. A line is printed after every native call, and before every checkpoint. At the end ``result.npz`` in the folder
has the weights and the history. `kills.py` runs it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.data import DataLoader, Dataset, StreamedTable, csv_blocks
from chainrule.files import atomic
from chainrule.training import EMA, Callback, EarlyStopping, LRSchedule, ModelCheckpoint, ReduceLROnPlateau
from chainrule.vision import transforms

EPOCHS = 12
DIABETES = Path(__file__).parents[2] / "examples" / "data" / "diabetes.csv"


def arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 10)).astype(np.float32)
    return X, (X[:, 0] + random.normal(size=600) > 0).astype(int) + (X[:, 1] > 1)


def classifier() -> nn.Module:
    cr.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))


def average(checkpoint: ModelCheckpoint) -> cr.Trainer:
    """Momentum, a schedule that changes the rate in every step, and an average of the weights."""
    callbacks = [LRSchedule(cr.optim.lr_scheduler.OneCycleLR, max_lr=0.1, per="step"), EMA(0.99), checkpoint]
    optimizer = lambda p: cr.optim.SGD(p, lr=0.05, momentum=0.9)
    trainer = cr.Trainer(classifier(), "cross_entropy", optimizer, callbacks=callbacks, seed=1)
    fit(trainer, *arrays(), batch_size=32, validation_split=0.2)
    return trainer


def patience(checkpoint: ModelCheckpoint) -> cr.Trainer:
    """Adam, rates that fall on plateaus, and early stopping, which puts the best weights back."""
    callbacks = [ReduceLROnPlateau(patience=0, factor=0.5), EarlyStopping(patience=3), checkpoint]
    optimizer = lambda p: cr.optim.Adam(p, lr=0.02)
    trainer = cr.Trainer(classifier(), "cross_entropy", optimizer, callbacks=callbacks, seed=1)
    fit(trainer, *arrays(), batch_size=32, validation_split=0.2)
    return trainer


class Pictures(Dataset[Any]):
    """Small random pictures, cut and mirrored anew in every epoch."""

    transform = transforms.Compose(
        [transforms.RandomCrop(8, padding=2), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    )

    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int) -> Any:
        picture = np.random.default_rng(index).integers(0, 255, (8, 8), dtype=np.uint8)
        return self.transform(picture), index % 3


def pictures(checkpoint: ModelCheckpoint) -> cr.Trainer:
    """A loader with threads, a generator of its own and random transforms."""
    cr.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    trainer = cr.Trainer(nn.Sequential(*layers), "cross_entropy", callbacks=[checkpoint], seed=1)
    generator = cr.Generator().manual_seed(3)
    fit(trainer, DataLoader(Pictures(), 20, shuffle=True, num_workers=2, generator=generator))
    return trainer


def stream(checkpoint: ModelCheckpoint) -> cr.Trainer:
    """A table that is read from the disk in blocks, and shuffled in a buffer."""
    csv_blocks.MOST_BLOCK_ROWS = 50
    table = StreamedTable(DIABETES, "outcome", validation_fraction=0.2, buffer_rows=100)
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(table.inputs, 16), nn.ReLU(), nn.Linear(16, 1))
    trainer = cr.Trainer(model, "bce_with_logits", callbacks=[checkpoint], seed=1)
    fit(trainer, table.training, batch_size=32, validation_data=table.validation)
    return trainer


TRAININGS: dict[str, Callable[[ModelCheckpoint], cr.Trainer]] = {
    "average": average,
    "patience": patience,
    "pictures": pictures,
    "stream": stream,
}


class Say(Callback):
    """Says how far a training is to whoever may kill it."""

    def on_rows(self, trainer: cr.Trainer, rows: int) -> None:
        print("trained on", rows, flush=True)

    def on_epoch_end(self, trainer: cr.Trainer, row: dict[str, float]) -> bool:
        print("epoch", row["epoch"], flush=True)
        return False


def fit(trainer: cr.Trainer, *rows: Any, **options: Any) -> None:
    """Train from the last checkpoint on, or from the beginning."""
    (path,) = [callback.path for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)]
    trainer.callbacks.append(Say())
    trainer.fit(*rows, epochs=EPOCHS, verbose=0, resume_from=path, **options)


def die_while_writing(moment: str, number: int) -> None:
    """Let this process kill itself at the file of this number."""
    written = 0
    write, rename = atomic._write_and_flush, os.replace

    def die(at: str) -> None:
        if at == moment and written == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_and_die(path: Path, content: bytes) -> None:
        nonlocal written
        written += 1
        if moment == "during" and written == number:
            path.write_bytes(content[: len(content) // 2])
        die("during")
        write(path, content)

    def rename_and_die(old: Path, new: Path) -> None:
        die("before")
        rename(old, new)
        die("after")

    atomic._write_and_flush, atomic.os.replace = write_and_die, rename_and_die


def main(name: str, folder: Path, *death: str) -> None:
    """Train, or go on training, and write the result."""
    if death:
        die_while_writing(death[0], int(death[1]))
    trainer = TRAININGS[name](ModelCheckpoint(folder / "model.chain", keep=2))
    history = [[value for column, value in row.items() if column != "seconds"] for row in trainer.history]
    weights = {f"weight {number}": array for number, array in enumerate(trainer.copy_weights())}
    np.savez(folder / "result.npz", history=np.array(history), **weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
