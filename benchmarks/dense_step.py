"""The network of mnist_step on normal inputs, among which there are no zeros to leave out."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, jax_scan, torch_loop
from .harness import Benchmark, Faster
from .programs import DENSE

BENCHMARK = Benchmark(
    title="one training step of 784-256-128-10 on normal inputs with dropout, batch 64, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(DENSE, epochs=5),
        "chainrule loop": chainrule_loop(DENSE),
        "torch eager": torch_loop(DENSE),
        "torch eager, fused Adam": torch_loop(DENSE, fused=True),
        "jax lax.scan": jax_scan(DENSE, epochs=1),
    },
    goals=(
        Faster("chainrule Trainer.fit", "torch eager, fused Adam", 4),
        Faster("chainrule loop", "torch eager, fused Adam", 3.5),
    ),
)
