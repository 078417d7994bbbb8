"""The network of norm_step on normal inputs, among which there are no zeros to leave out."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, torch_loop
from .harness import Benchmark, Faster
from .programs import DENSE_NORM

BENCHMARK = Benchmark(
    title="one training step of 784-256-128-10 on normal inputs with batch norm and dropout, batch 64, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(DENSE_NORM, epochs=5),
        "chainrule loop": chainrule_loop(DENSE_NORM),
        "torch eager": torch_loop(DENSE_NORM),
        "torch eager, fused Adam": torch_loop(DENSE_NORM, fused=True),
    },
    goals=(Faster("chainrule Trainer.fit", "torch eager, fused Adam", 5),),
)
