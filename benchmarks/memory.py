"""How much memory 500 fits of small networks leave behind, after 500 others have warmed up all caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import peers
from .contestants import chainrule_trainer
from .harness import AtMost, Benchmark, Measure
from .programs import Task, epoch

FITS = 500


def resident_megabytes() -> float:
    """Memory of this process that is in RAM now (Linux, counted page by page), or was at its peak (elsewhere)."""
    mappings = Path("/proc/self/smaps_rollup")
    if mappings.exists():
        return int(mappings.read_text().partition("Rss:")[2].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def tasks() -> list[Task]:
    """Networks of sixteen widths, each trained again and again."""
    return [Task((8, 4 + number % 16, 8, 1), batch=10, steps=10) for number in range(FITS)]


def growth(fit: Callable[[Task], object]) -> Measure:
    """A measure of what the fits of all tasks add to the resident memory."""

    def measure() -> float:
        before = resident_megabytes()
        for task in tasks():
            fit(task)
        return resident_megabytes() - before

    return measure


def chainrule_fits() -> Measure:
    def fit(task: Task) -> None:
        inputs, labels = task.data()
        chainrule_trainer(task).fit(inputs, labels, epochs=2, batch_size=task.batch, verbose=0)

    return growth(fit)


def torch_fits() -> Measure:
    import torch

    return growth(lambda task: epoch(torch, task)())


def sklearn_fits() -> Measure:
    def fit(task: Task) -> None:
        inputs, labels = task.data()
        peers.sklearn_classifier(task, 2).fit(inputs, labels.ravel())

    return growth(fit)


BENCHMARK = Benchmark(
    title=f"resident memory added by {FITS} fits of small networks, after as many before",
    contestants={
        "chainrule Trainer.fit": chainrule_fits,
        "torch eager": torch_fits,
        "scikit-learn MLPClassifier": sklearn_fits,
    },
    unit="MB",
    goals=(AtMost("chainrule Trainer.fit", 5.0),),
    rounds=2,
    repeats=1,
)
