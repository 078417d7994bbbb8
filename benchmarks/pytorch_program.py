"""A PyTorch program as a beginner writes it, run with its imports changed and nothing else."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import ROOT, Benchmark, Faster, Measure, per_step, thread_count
from .programs import training_step

EPOCHS, BATCH = 10, 10


def prepare(torch: Any, compile_step: bool = False) -> tuple[Callable[[], None], int]:
    """The program up to its loop; returns the loop over ten epochs, and the number of its steps."""
    dataset = np.loadtxt(ROOT / "examples" / "data" / "diabetes.csv", delimiter=",", skiprows=1)
    X = torch.tensor(dataset[:, 0:8], dtype=torch.float32)
    y = torch.tensor(dataset[:, 8], dtype=torch.float32).reshape(-1, 1)

    nn = torch.nn
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    loss_fn = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    step = torch.compile(training_step(model, loss_fn, optimizer)) if compile_step else None

    def loop() -> None:
        for number in range(EPOCHS):
            for i in range(0, len(X), BATCH):
                Xbatch = X[i:i + BATCH]
                ybatch = y[i:i + BATCH]
                if step is not None:
                    loss = step(Xbatch, ybatch)
                    continue
                y_pred = model(Xbatch)
                loss = loss_fn(y_pred, ybatch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(f"Finished epoch {number}, latest loss {loss}")

    return loop, EPOCHS * -(-len(X) // BATCH)


def contestant(name: str, compile_step: bool = False) -> Callable[[], Measure]:
    """The program, run by the library ``name``."""

    def setup() -> Measure:
        torch = __import__(name)
        torch.set_num_threads(thread_count())
        loop, steps = prepare(torch, compile_step)

        def run() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                loop()

        return per_step(run, steps)

    return setup


BENCHMARK = Benchmark(
    title="one step of an unchanged PyTorch program: 8-12-8-1, batches of 10 by slicing, loss printed each epoch",
    contestants={
        "chainrule": contestant("chainrule"),
        "chainrule, step compiled": contestant("chainrule", compile_step=True),
        "torch eager": contestant("torch"),
    },
    goals=(
        Faster("chainrule", "torch eager", 20),
        Faster("chainrule, step compiled", "torch eager", 40),
    ),
)
