"""What the first fit of a fresh process costs beyond the second: compiling the step, or loading it from the disk cache.

Run as ``python -m benchmarks.compile_time LIBRARY TASK`` it measures one library once, in its own process.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable

from . import peers, programs
from .contestants import chainrule_trainer
from .harness import AtMost, Benchmark, Measure, fresh_process


def chainrule_epoch(task: programs.Task) -> Callable[[], object]:
    """One epoch of ``Trainer.fit``."""
    trainer = chainrule_trainer(task)
    inputs, labels = task.data()
    return lambda: trainer.fit(inputs, labels, epochs=1, batch_size=task.batch, verbose=0)


def compilation(library: str, task: str, is_cached: bool = False) -> Callable[[], Measure]:
    """A contestant: the compile time of ``library`` for the task, with an empty or a filled disk cache."""

    def setup() -> Measure:
        importlib.import_module(library)
        folder = tempfile.TemporaryDirectory(prefix="chainrule-benchmark-")

        def measure() -> float:
            cache = folder.name if is_cached else tempfile.mkdtemp(dir=folder.name)
            arguments = ["-m", "benchmarks.compile_time", library, task]
            return fresh_process(arguments, {"CHAINRULE_CACHE_DIR": cache})["seconds"]

        return measure

    return setup


def main(library: str, task_name: str) -> None:
    """Print the seconds that the first epoch takes longer than the fastest later one."""
    task: programs.Task = getattr(programs, task_name)
    run = peers.jax_epoch(task) if library == "jax" else chainrule_epoch(task)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[0] - min(seconds[1:])}))


BENCHMARK = Benchmark(
    title="compiling a training step in a fresh process",
    contestants={
        "chainrule small step, cold": compilation("chainrule", "SMALL"),
        "chainrule small step, from disk cache": compilation("chainrule", "SMALL", is_cached=True),
        "chainrule mnist step, cold": compilation("chainrule", "DENSE"),
        "chainrule mnist step, from disk cache": compilation("chainrule", "DENSE", is_cached=True),
        "jax small step": compilation("jax", "SMALL"),
        "jax mnist step": compilation("jax", "DENSE"),
    },
    goals=(
        AtMost("chainrule small step, cold", 0.12),
        AtMost("chainrule small step, from disk cache", 0.02),
        AtMost("chainrule mnist step, cold", 0.3),
        AtMost("chainrule mnist step, from disk cache", 0.02),
    ),
    rounds=5,
    repeats=1,
)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
