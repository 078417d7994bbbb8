"""One training step of a small network on a table, where other frameworks spend their time between operations."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, jax_scan, sklearn_fit, torch_loop
from .harness import Benchmark, Faster
from .programs import SMALL

BENCHMARK = Benchmark(
    title="one training step of 8-12-8-1, batch 10, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(SMALL, epochs=1000),
        "chainrule loop": chainrule_loop(SMALL),
        "torch eager": torch_loop(SMALL),
        "torch eager, fused Adam": torch_loop(SMALL, fused=True),
        "scikit-learn MLPClassifier": sklearn_fit(SMALL, epochs=10),
        "jax lax.scan": jax_scan(SMALL, epochs=50),
    },
    goals=(
        Faster("chainrule Trainer.fit", "torch eager", 500),
        Faster("chainrule Trainer.fit", "scikit-learn MLPClassifier", 250),
        Faster("chainrule Trainer.fit", "jax lax.scan", 15),
    ),
)
