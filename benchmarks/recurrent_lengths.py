"""Training of a recurrent network on batches of many lengths, in a fresh process, as users of PyTorch write it.

Run as ``python -m benchmarks.recurrent_lengths LIBRARY KIND WAY`` it trains once and prints the seconds of all steps.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, fresh_process, thread_count
from .recurrent_networks import CLASSES, SequenceTask, classifier

STEPS, LENGTHS = 120, (5, 51)
"""Steps of a training, and the lengths of its batches: from, up to but not including. There are 44 of them."""

RATIOS = {"LSTM": (0.5, 0.6), "GRU": (0.7, 0.8)}
"""How many times as fast as PyTorch: with an empty and with a filled disk cache."""


def seconds(name: str, kind: str, way: str) -> float:
    """The seconds of all steps; ``way`` is "loop", or "compile" for steps in `chainrule.compile`."""
    library = importlib.import_module(name)
    library.set_num_threads(thread_count())
    generator, task = np.random.default_rng(0), SequenceTask(kind, 32)
    shapes = [(length, task.batch, task.inputs) for length in generator.integers(*LENGTHS, STEPS)]
    inputs = [library.tensor(generator.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    labels = [library.tensor(generator.integers(0, CLASSES, task.batch)) for _ in shapes]
    model = classifier(library, task)
    fused = {"fused": True} if name == "torch" else {}
    optimizer = library.optim.Adam(model.parameters(), **fused)

    def step(x: Any, label: Any) -> Any:
        loss = library.nn.functional.cross_entropy(model(x, None), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    once = library.compile(step) if way == "compile" else step
    start = time.perf_counter()
    for batch in zip(inputs, labels, strict=True):
        once(*batch).item()
    return time.perf_counter() - start


def training(library: str, kind: str, way: str, is_cached: bool = False) -> Callable[[], Measure]:
    """A contestant: the training in a fresh process, with an empty or a filled disk cache."""

    def setup() -> Measure:
        folder = tempfile.TemporaryDirectory(prefix="chainrule-benchmark-")

        def measure() -> float:
            cache = folder.name if is_cached else tempfile.mkdtemp(dir=folder.name)
            arguments = ["-m", "benchmarks.recurrent_lengths", library, kind, way]
            return fresh_process(arguments, {"CHAINRULE_CACHE_DIR": cache})["seconds"]

        return measure

    return setup


BENCHMARK = Benchmark(
    title=f"{STEPS} training steps on batches of 32 sequences of 5 to 50 steps, in a fresh process; 128 units, Adam",
    contestants={
        contestant: setup
        for kind in RATIOS
        for contestant, setup in {
            f"chainrule {kind}, cold": training("chainrule", kind, "loop"),
            f"chainrule {kind}, from disk cache": training("chainrule", kind, "loop", is_cached=True),
            f"chainrule {kind} in compile, cold": training("chainrule", kind, "compile"),
            f"chainrule {kind} in compile, from disk cache": training("chainrule", kind, "compile", is_cached=True),
            f"torch {kind}": training("torch", kind, "loop"),
        }.items()
    },
    goals=tuple(
        Faster(f"chainrule {kind}, {when}", f"torch {kind}", ratio)
        for kind, ratios in RATIOS.items()
        for when, ratio in zip(("cold", "from disk cache"), ratios, strict=True)
    ),
    rounds=3,
    repeats=1,
)

if __name__ == "__main__":
    print(json.dumps({"seconds": seconds(*sys.argv[1:])}))
