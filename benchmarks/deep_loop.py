"""An ordinary loop over a deep network with a forward that the user wrote, uncompiled."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, per_step, thread_count
from .programs import training_step

LAYERS, WIDTH, INPUTS, CLASSES, BATCH, STEPS = 20, 32, 16, 3, 10, 50


def deep_network(nn: Any, is_normalised: bool) -> Any:
    """Twenty dense layers, called one by one in a Python loop; between them ReLU or the block with normalisation."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [INPUTS] + [WIDTH] * (LAYERS - 1)
            self.layers = nn.ModuleList([nn.Linear(size, WIDTH) for size in sizes[:-1]])
            self.output = nn.Linear(WIDTH, CLASSES)
            if is_normalised:
                self.norms = nn.ModuleList([nn.BatchNorm1d(WIDTH) for _ in self.layers])
                self.dropout = nn.Dropout(0.1)

        def forward(self, x: Any) -> Any:
            for number, layer in enumerate(self.layers):
                x = layer(x)
                if is_normalised:
                    x = self.norms[number](x)
                x = nn.functional.relu(x)
                if is_normalised:
                    x = self.dropout(x)
            return self.output(x)

    return Deep()


def contestant(name: str, is_normalised: bool) -> Callable[[], Measure]:
    """The loop, run by the library ``name``."""

    def setup() -> Measure:
        torch = importlib.import_module(name)
        torch.set_num_threads(thread_count())
        generator = np.random.default_rng(0)
        inputs = torch.tensor(generator.standard_normal((STEPS * BATCH, INPUTS), dtype=np.float32))
        labels = torch.tensor(generator.integers(0, CLASSES, STEPS * BATCH))
        model = deep_network(torch.nn, is_normalised)
        step = training_step(model, torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))

        def run() -> None:
            for i in range(0, len(inputs), BATCH):
                loss = step(inputs[i : i + BATCH], labels[i : i + BATCH])
            loss.item()

        return per_step(run, STEPS)

    return setup


BENCHMARK = Benchmark(
    title=f"one step of an uncompiled loop over {LAYERS} dense layers of width {WIDTH}, batch {BATCH}, Adam",
    contestants={
        "chainrule": contestant("chainrule", is_normalised=False),
        "torch eager": contestant("torch", is_normalised=False),
        "chainrule, batch norm and dropout": contestant("chainrule", is_normalised=True),
        "torch eager, batch norm and dropout": contestant("torch", is_normalised=True),
    },
    goals=(
        Faster("chainrule", "torch eager", 15),
        Faster("chainrule, batch norm and dropout", "torch eager, batch norm and dropout", 12),
    ),
)
