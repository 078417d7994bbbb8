"""A PyTorch program as a beginner writes it, run with its imports changed and nothing else."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import ROOT, Benchmark, Faster, Measure, per_step, thread_count
from .programs import training_step

EPOCHS, BATCH = 10, 10


STEPS = EPOCHS * -(-768 // BATCH)


def prepare(torch: Any, compile_step: bool) -> Callable[[], None]:
    """The program up to its loop; returns the loop, as it is or with its step in ``compile``."""
    dataset = np.loadtxt(ROOT / "examples" / "data" / "diabetes.csv", delimiter=",", skiprows=1)
    X = torch.tensor(dataset[:, 0:8], dtype=torch.float32)
    y = torch.tensor(dataset[:, 8], dtype=torch.float32).reshape(-1, 1)

    nn = torch.nn
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    loss_fn = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

    def loop() -> None:
        for epoch in range(EPOCHS):
            for i in range(0, len(X), BATCH):
                Xbatch = X[i : i + BATCH]
                y_pred = model(Xbatch)
                ybatch = y[i : i + BATCH]
                loss = loss_fn(y_pred, ybatch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(f"Finished epoch {epoch}, latest loss {loss}")

    if not compile_step:
        return loop
    step = torch.compile(training_step(model, loss_fn, optimizer))

    def compiled_loop() -> None:
        for epoch in range(EPOCHS):
            for i in range(0, len(X), BATCH):
                loss = step(X[i : i + BATCH], y[i : i + BATCH])
            print(f"Finished epoch {epoch}, latest loss {loss}")

    return compiled_loop


def contestant(name: str, compile_step: bool = False) -> Callable[[], Measure]:
    """The program, run by the library ``name``."""

    def setup() -> Measure:
        torch = importlib.import_module(name)
        torch.set_num_threads(thread_count())
        loop = prepare(torch, compile_step)

        def run() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                loop()

        return per_step(run, STEPS)

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
