"""One training step of recurrent networks that PyTorch has no fast layer for: lengths, peepholes, simple units."""

from __future__ import annotations

from .harness import Benchmark, Faster
from .recurrent_networks import SequenceTask, contestants, training

RATIOS = {
    SequenceTask("LSTM", 32, has_lengths=True): 3,
    SequenceTask("GRU", 32, has_lengths=True): 3,
    SequenceTask("peephole LSTM", 32): 5,
    SequenceTask("peephole LSTM", 1): 15,
    SequenceTask("SRU", 32): 5,
    SequenceTask("SRU", 1): 15,
}
WIDE = [SequenceTask(kind, 32, inputs=256, features=256) for kind in ("SRU", "LSTM")]

BENCHMARK = Benchmark(
    title="one training step of recurrent networks that PyTorch runs step by step, 50 steps, Adam",
    contestants={name: setup for task in RATIOS for name, setup in contestants(task).items()}
    | {f"chainrule, {task.title}": training("chainrule", task, compile_step=True) for task in WIDE},
    goals=(
        *(Faster(f"chainrule, {task.title}", f"torch eager, {task.title}", ratio) for task, ratio in RATIOS.items()),
        Faster(f"chainrule, {WIDE[0].title}", f"chainrule, {WIDE[1].title}", 2.5),
    ),
)
