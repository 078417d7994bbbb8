"""Resident memory after 100 and after 1,000 fits in one process: ``python -m benchmarks.many_fits``.

`Trainer` and the estimators are each fitted again and again in a fresh process, as services and searches do it: always
new objects, and networks of sixteen widths in turn. Printed is the resident memory after a tenth of the fits and after
all; the goal is that they differ by at most 5 MB.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable

from .contestants import chainrule_trainer
from .harness import fresh_process
from .memory import resident_megabytes
from .programs import Task

MEGABYTES = 5.0


def fit_trainer(task: Task) -> None:
    inputs, labels = task.data()
    chainrule_trainer(task).fit(inputs, labels, epochs=2, batch_size=task.batch, verbose=0)


def fit_classifier(task: Task) -> None:
    from chainrule.estimators import MLPClassifier

    inputs, labels = task.data()
    model = MLPClassifier(hidden_layer_sizes=task.sizes[1:-1], batch_size=task.batch, max_iter=2, random_state=0)
    model.fit(inputs, labels.ravel())


def fit_regressor(task: Task) -> None:
    from chainrule.estimators import MLPRegressor

    inputs, _ = task.data()
    model = MLPRegressor(hidden_layer_sizes=task.sizes[1:-1], batch_size=task.batch, max_iter=2, random_state=0)
    model.fit(inputs, inputs[:, 0])


def fit_neural(task: Task) -> None:
    from chainrule import nn
    from chainrule.estimators import NeuralClassifier

    inputs, labels = task.data()
    network = nn.Sequential(nn.Linear(task.sizes[0], task.sizes[1]), nn.GELU(), nn.Linear(task.sizes[1], 1))
    NeuralClassifier(network, batch_size=task.batch, max_iter=2, random_state=0).fit(inputs, labels.ravel())


FITS: dict[str, Callable[[Task], None]] = {
    "Trainer": fit_trainer,
    "MLPClassifier": fit_classifier,
    "MLPRegressor": fit_regressor,
    "NeuralClassifier": fit_neural,
}


def measure(name: str, count: int) -> dict[str, float]:
    """Resident megabytes after a tenth of so many fits, and after all."""
    warnings.simplefilter("ignore")  # two epochs are not enough to converge
    found = {}
    for number in range(1, count + 1):
        FITS[name](Task((8, 4 + number % 16, 8, 1), batch=10, steps=10))
        if number in (count // 10, count):
            found[str(number)] = resident_megabytes()
    return found


def main() -> None:
    """Measure each in a fresh process, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--measure", choices=FITS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.fits)))
        return
    growths = []
    for name in FITS:
        found = fresh_process(["-m", "benchmarks.many_fits", "--fits", str(options.fits), "--measure", name])
        (early, before), (late, after) = found.items()
        growths.append(after - before)
        print(f"{name:20} {before:6.1f} MB after {early} fits, {after:6.1f} MB after {late}: {after - before:+.1f} MB")
    if max(growths) > MEGABYTES:
        sys.exit(f"missed: more than {MEGABYTES:.0f} MB")


if __name__ == "__main__":
    main()
