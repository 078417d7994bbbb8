"""One training step of a deep network of narrow layers, where each kernel is short."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, jax_scan, torch_loop
from .harness import Benchmark, Faster
from .programs import DEEP

BENCHMARK = Benchmark(
    title="one training step of a dense network of 20 layers of width 128, batch 64, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(DEEP, epochs=5),
        "chainrule loop": chainrule_loop(DEEP),
        "torch eager": torch_loop(DEEP),
        "torch eager, fused Adam": torch_loop(DEEP, fused=True),
        "jax lax.scan": jax_scan(DEEP, epochs=1),
    },
    goals=(Faster("chainrule Trainer.fit", "torch eager, fused Adam", 4),),
)
