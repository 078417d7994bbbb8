"""How much memory one training step of an LSTM needs over many steps, with and without computing them again."""

from __future__ import annotations

import importlib
import resource
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, thread_count
from .memory import resident_megabytes
from .recurrent_networks import SequenceTask, classifier

LENGTHS = (500, 1000, 2000)


def peak_megabytes() -> float:
    """The most memory of this process that has been in RAM at a time, in megabytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def training(name: str, length: int, recompute: int = 0, compile_step: bool = False) -> Callable[[], Measure]:
    """What steps over sequences of a length add to the memory of a process that has trained something else."""

    def setup() -> Measure:
        library = importlib.import_module(name)
        library.set_num_threads(thread_count())
        step_of(library, library.nn.Linear(8, 8))(library.ones(8, 8)).item()
        task = SequenceTask("LSTM", 32, length=length)
        model = classifier(library, task)
        if recompute:
            model.layer = library.nn.LSTM(task.inputs, task.features, recompute=recompute)
        step = step_of(library, model, None)
        step = library.compile(step) if compile_step else step
        generator = np.random.default_rng(0)
        x = library.tensor(generator.standard_normal((length, task.batch, task.inputs), dtype=np.float32))
        before = resident_megabytes()

        def measure() -> float:
            step(x).item()
            return peak_megabytes() - before

        return measure

    return setup


def step_of(library: Any, model: Any, *options: Any) -> Callable[[Any], Any]:
    """A training step."""
    optimizer = library.optim.Adam(model.parameters())

    def step(x: Any) -> Any:
        loss = model(x, *options).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


BENCHMARK = Benchmark(
    title="memory that training steps of an LSTM add, 64 inputs, 128 units, batch 32",
    contestants={
        f"{name}, {length} steps": training(library, length, again and round(length**0.5), is_compiled)
        for name, library, again, is_compiled in (
            ("chainrule", "chainrule", False, True),
            ("chainrule uncompiled", "chainrule", False, False),
            ("chainrule, steps computed again", "chainrule", True, True),
            ("torch", "torch", False, False),
        )
        for length in LENGTHS
    },
    unit="MB",
    goals=(
        Faster("chainrule, 2000 steps", "torch, 2000 steps", 1.0),
        Faster("chainrule, steps computed again, 2000 steps", "chainrule, 2000 steps", 3.0),
    ),
    rounds=1,
    repeats=1,
)
