"""One training step of a dense network on images of MNIST, with batch normalisation and dropout."""

from __future__ import annotations

from .contestants import chainrule_fit, chainrule_loop, torch_loop
from .harness import Benchmark, Faster
from .programs import NORM

BENCHMARK = Benchmark(
    title="one training step of 784-256-128-10 on MNIST with batch normalisation and dropout, batch 64, Adam",
    contestants={
        "chainrule Trainer.fit": chainrule_fit(NORM, epochs=5),
        "chainrule loop": chainrule_loop(NORM),
        "torch eager": torch_loop(NORM),
        "torch eager, fused Adam": torch_loop(NORM, fused=True),
    },
    goals=(Faster("chainrule Trainer.fit", "torch eager, fused Adam", 5),),
)
