"""How long the import takes in a fresh process, with its files already in the system's cache."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from .harness import AtMost, Benchmark, Measure, fresh_process

SCRIPT = """
import importlib, json, sys, time
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print(json.dumps({"seconds": time.perf_counter() - start}))
"""


def importing(module: str) -> Callable[[], Measure]:
    """A contestant that imports ``module``."""

    def setup() -> Measure:
        importlib.import_module(module)
        return lambda: fresh_process(["-c", SCRIPT, module])["seconds"]

    return setup


BENCHMARK = Benchmark(
    title="import in a fresh process",
    contestants={
        "chainrule": importing("chainrule"),
        "torch": importing("torch"),
        "scikit-learn's neural_network": importing("sklearn.neural_network"),
        "jax": importing("jax"),
        "numpy": importing("numpy"),
    },
    goals=(AtMost("chainrule", 0.35),),
    rounds=5,
    repeats=1,
)
