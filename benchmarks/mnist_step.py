"""One training step of a dense network on images of MNIST, with dropout."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, jax_scan, torch_loop
from .harness import Benchmark, Faster
from .programs import MNIST

BENCHMARK = Benchmark(
    title="one training step of 784-256-128-10 on MNIST with dropout, batch 64, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(MNIST, epochs=5),
        "chainrule loop": chainrule_loop(MNIST),
        "torch eager": torch_loop(MNIST),
        "torch eager, fused Adam": torch_loop(MNIST, fused=True),
        "jax lax.scan": jax_scan(MNIST, epochs=1),
    },
    goals=(
        Faster("chainrule Trainer.fit", "torch eager, fused Adam", 4),
        Faster("chainrule loop", "torch eager, fused Adam", 3.5),
    ),
)
