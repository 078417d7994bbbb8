"""Code that runs once: a notebook's operations in a fresh process, and a loop whose graph differs at every iteration.

Run as ``python -m benchmarks.one_off LIBRARY`` it runs the notebook once and prints the seconds.
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

from .harness import AtMost, Benchmark, Faster, Measure, fresh_process, thread_count

OPERATIONS = 300
STEPS = 20
INPUTS, CLASSES, MOST_ROWS = 32, 10, 256
LIMITS = ((2, 7), (64, 257), (32, MOST_ROWS + 1))
"""Depth, width and rows: from, up to but not including."""

CELLS: tuple[Callable[[Any, Any, Any], Any], ...] = (
    lambda m, x, y: x + y,
    lambda m, x, y: x * 2 - y / 3,
    lambda m, x, y: m.exp(-x),
    lambda m, x, y: m.log(x.abs() + 1),
    lambda m, x, y: x.tanh(),
    lambda m, x, y: m.sigmoid(x) * y,
    lambda m, x, y: x.sum(),
    lambda m, x, y: x.mean(0),
    lambda m, x, y: x.max(),
    lambda m, x, y: x.std(),
    lambda m, x, y: (x - x.mean(1, keepdim=True)) ** 2,
    lambda m, x, y: x @ y.T,
    lambda m, x, y: x.T @ y,
    lambda m, x, y: x @ y[0],
    lambda m, x, y: m.softmax(x, 1),
    lambda m, x, y: m.where(x > 0, x, y),
    lambda m, x, y: x[1:, ::2],
    lambda m, x, y: x[y[:, 0] > 0],
    lambda m, x, y: x.reshape(-1)[:7],
    lambda m, x, y: m.cat([x, y], 1),
    lambda m, x, y: x.clamp(0, 1),
    lambda m, x, y: x.argmax(1),
    lambda m, x, y: x.cumsum(0),
    lambda m, x, y: (x - y).norm(),
    lambda m, x, y: m.sqrt((x * x).sum(1)),
)
"""What is done with two matrices of one shape; each result is looked at."""


def run_notebook(m: Any) -> float:
    """Do 300 operations with matrices of 300 shapes, 32 to 228 rows and 64 to 224 columns; return the seconds."""
    generator = np.random.default_rng(0)
    arrays = [
        [generator.standard_normal((32 + number % 50 * 4, 64 + number // 50 * 32), dtype=np.float32) for _ in range(2)]
        for number in range(OPERATIONS)
    ]
    start = time.perf_counter()
    for number, (x, y) in enumerate(arrays):
        CELLS[number % len(CELLS)](m, m.tensor(x), m.tensor(y)).numpy()
    return time.perf_counter() - start


def notebook(library: str, is_cached: bool = False) -> Callable[[], Measure]:
    """A contestant: the notebook in a fresh process, with an empty or a filled disk cache."""

    def setup() -> Measure:
        importlib.import_module(library)
        folder = tempfile.TemporaryDirectory(prefix="chainrule-benchmark-")

        def measure() -> float:
            cache = folder.name if is_cached else tempfile.mkdtemp(dir=folder.name)
            return fresh_process(["-m", "benchmarks.one_off", library], {"CHAINRULE_CACHE_DIR": cache})["seconds"]

        return measure

    return setup


def network(nn: Any, depth: int, width: int) -> Any:
    """``depth`` hidden layers with ReLU."""
    sizes = [INPUTS] + [width] * depth
    hidden = [layer for size in sizes[:-1] for layer in (nn.Linear(size, width), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, CLASSES))


def changing_loop(name: str) -> Callable[[], Measure]:
    """A step of a new network on a new batch: 2 to 6 layers of 64 to 256 units, 32 to 256 rows; none comes twice."""

    def setup() -> Measure:
        torch = importlib.import_module(name)
        torch.set_num_threads(thread_count())
        generator = np.random.default_rng(0)
        inputs = torch.tensor(generator.standard_normal((MOST_ROWS, INPUTS), dtype=np.float32))
        labels = torch.tensor(generator.integers(0, CLASSES, MOST_ROWS))
        seen = set()

        def draw() -> tuple[int, int, int]:
            while True:
                depth, width, rows = (int(generator.integers(*limits)) for limits in LIMITS)
                sizes = (depth, width, rows)
                if sizes not in seen:
                    seen.add(sizes)
                    return sizes

        def measure() -> float:
            plan = [draw() for _ in range(STEPS)]
            start = time.perf_counter()
            for depth, width, rows in plan:
                model = network(torch.nn, depth, width)
                optimizer = torch.optim.Adam(model.parameters())
                loss = torch.nn.functional.cross_entropy(model(inputs[:rows]), labels[:rows])
                loss.backward()
                optimizer.step()
                loss.item()
            return (time.perf_counter() - start) / STEPS

        return measure

    return setup


def main(library: str) -> None:
    """Print the seconds that the notebook takes, the import apart."""
    m = importlib.import_module(library)
    m.set_num_threads(thread_count())
    print(json.dumps({"seconds": run_notebook(m)}))


BENCHMARK = Benchmark(
    title=f"{OPERATIONS} operations of {OPERATIONS} shapes in a fresh process; one step of a loop whose graph changes",
    contestants={
        "chainrule notebook, cold": notebook("chainrule"),
        "chainrule notebook, from disk cache": notebook("chainrule", is_cached=True),
        "torch notebook": notebook("torch"),
        "chainrule changing loop": changing_loop("chainrule"),
        "torch changing loop": changing_loop("torch"),
    },
    goals=(
        AtMost("chainrule notebook, cold", 3.0),
        Faster("chainrule notebook, from disk cache", "torch notebook", 1 / 3),
        Faster("chainrule changing loop", "torch changing loop", 1 / 2),
    ),
    rounds=5,
    repeats=1,
)

if __name__ == "__main__":
    main(sys.argv[1])
