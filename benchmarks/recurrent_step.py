"""One training step of recurrent networks: LSTM, GRU and tanh RNN over 50 steps, Adam."""

from __future__ import annotations

from .harness import Benchmark, Faster
from .recurrent_networks import SequenceTask, contestants

RATIOS = {
    SequenceTask("LSTM", 32): 1.3, SequenceTask("GRU", 32): 4, SequenceTask("RNN", 32): 2.5,
    SequenceTask("LSTM", 1): 2.5, SequenceTask("GRU", 1): 8, SequenceTask("RNN", 1): 8,
}  # fmt: skip

BENCHMARK = Benchmark(
    title="one training step of recurrent networks, 64 inputs, 128 units, 50 steps, Adam",
    contestants={name: setup for task in RATIOS for name, setup in contestants(task).items()},
    goals=tuple(
        Faster(f"chainrule, {task.title}", f"torch eager, {task.title}", ratio) for task, ratio in RATIOS.items()
    ),
)
