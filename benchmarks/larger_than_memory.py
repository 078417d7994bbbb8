"""Training on a CSV file of any size at constant memory: ``python -m benchmarks.larger_than_memory --gigabytes 5``.

A file of numbers, categories and missing values is written to a temporary folder (a few blocks of generated rows, one
after another until it has its size), and a fresh process trains one epoch on it as a stream. Printed are its peak of
resident memory, of which the goal is at most 500 MB, the score, and the seconds of the processor that the scan and the
epoch took: so what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .harness import fresh_process

MEGABYTES = 500
BLOCK_ROWS, DIFFERENT_BLOCKS = 20_000, 16
CITIES = ("Amsterdam", "Berlin", "Copenhagen", "Dublin", "Edinburgh", "Florence", "Geneva", "Hamburg")


def block(number: int) -> bytes:
    """Rows of ten numbers, a category and a class that depends on them, a twentieth of the first column missing."""
    generator = np.random.default_rng(number)
    X = generator.standard_normal((BLOCK_ROWS, 10))
    city = generator.integers(0, len(CITIES), BLOCK_ROWS)
    signal = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + 0.5 * (city % 3) - 0.5
    label = signal + 0.3 * generator.standard_normal(BLOCK_ROWS) > 0
    absent = generator.random(BLOCK_ROWS) < 0.05
    lines = [
        ",".join(["" if gap else f"{row[0]:.7f}", *(f"{value:.7f}" for value in row[1:]), CITIES[place], str(int(yes))])
        for row, place, yes, gap in zip(X.tolist(), city.tolist(), label.tolist(), absent.tolist(), strict=True)
    ]
    return ("\n".join(lines) + "\n").encode()


def write(path: Path, size: int) -> None:
    """Write a file of about so many bytes."""
    blocks = [block(number) for number in range(DIFFERENT_BLOCKS)]
    names = [f"x{number}" for number in range(10)]
    with path.open("wb") as file:
        file.write(",".join([*names, "city", "label"]).encode() + b"\n")
        while file.tell() < size:
            file.write(blocks[np.random.default_rng(file.tell()).integers(DIFFERENT_BLOCKS)])


def train(path: Path) -> dict[str, float]:
    """Train one epoch on the stream, and say what it took: seconds of the processor, and memory."""
    import chainrule as cr
    from chainrule import nn

    began = time.process_time()
    table = cr.data.StreamedTable(path, "label", validation_fraction=0.05)
    scanned = time.process_time()
    cr.manual_seed(0)
    network = nn.Sequential(nn.Linear(table.inputs, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    trainer = cr.Trainer(network, loss="bce_with_logits", metrics=("accuracy",), seed=0)
    history = trainer.fit(table.training, epochs=1, batch_size=256, validation_data=table.validation, verbose=0)
    trained = time.process_time()
    return {
        "rows": len(table.training),
        "scan": scanned - began,
        "epoch": trained - scanned,
        "accuracy": history["val_accuracy"][-1],
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Write the file, train in a fresh process, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="size of the file (5)")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(options.train)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.csv"
        write(path, int(options.gigabytes * 1e9))
        size = path.stat().st_size / 1e9
        found = fresh_process(["-m", "benchmarks.larger_than_memory", "--train", str(path)])
    print(
        f"{size:.2f} GB, {found['rows']:.0f} rows for training: {found['scan']:.0f} s of the processor to scan, "
        f"{found['epoch']:.0f} s for one epoch, accuracy {found['accuracy']:.3f}, peak of memory "
        f"{found['megabytes']:.0f} MB"
    )
    if found["megabytes"] > MEGABYTES:
        sys.exit(f"missed: more than {MEGABYTES} MB")


if __name__ == "__main__":
    main()
