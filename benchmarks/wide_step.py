"""One training step of a wider dense network, where most of the time is arithmetic."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, jax_scan, torch_loop
from .harness import Benchmark, Faster
from .programs import WIDE

BENCHMARK = Benchmark(
    title="one training step of 784-1024-1024-10 with dropout, batch 64, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(WIDE, epochs=2),
        "chainrule loop": chainrule_loop(WIDE),
        "torch eager": torch_loop(WIDE),
        "torch eager, fused Adam": torch_loop(WIDE, fused=True),
        "jax lax.scan": jax_scan(WIDE, epochs=1),
    },
    goals=(Faster("chainrule Trainer.fit", "torch eager, fused Adam", 2),),
)
