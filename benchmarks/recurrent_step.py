"""One training step of recurrent networks: LSTM, GRU and tanh RNN over 50 steps, Adam."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, per_step, thread_count
from .programs import training_step

INPUTS, HIDDEN, LENGTH, CLASSES, STEPS = 64, 128, 50, 10, 20

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def lstm_cell(p: Any, state: Any, x: Any) -> Any:
    h, c = state
    i, f, g, o = (x @ p.weight_ih.T + p.bias_ih + h @ p.weight_hh.T + p.bias_hh).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return (o.sigmoid() * c.tanh(), c), None


def gru_cell(p: Any, state: Any, x: Any) -> Any:
    (h,) = state
    of_x = (x @ p.weight_ih.T + p.bias_ih).chunk(3, -1)
    of_h = (h @ p.weight_hh.T + p.bias_hh).chunk(3, -1)
    r, z = ((of_x[k] + of_h[k]).sigmoid() for k in (0, 1))
    n = (of_x[2] + r * of_h[2]).tanh()
    return ((1 - z) * n + z * h,), None


def rnn_cell(p: Any, state: Any, x: Any) -> Any:
    (h,) = state
    return ((x @ p.weight_ih.T + p.bias_ih + h @ p.weight_hh.T + p.bias_hh).tanh(),), None


CELLS = {"LSTM": lstm_cell, "GRU": gru_cell, "RNN": rnn_cell}


def classifier(library: Any, kind: str, batch: int) -> Any:
    """A recurrent layer over (time, batch, inputs), and a linear layer on its last state."""
    module: type[Any] = library.nn.Module

    class Recurrent(module):
        """PyTorch's formulas and parameters, by `chainrule.scan`."""

        def __init__(self) -> None:
            super().__init__()
            rows, bound = GATES[kind] * HIDDEN, HIDDEN**-0.5
            shapes = {"weight_ih": (rows, INPUTS), "weight_hh": (rows, HIDDEN), "bias_ih": (rows,), "bias_hh": (rows,)}
            for name, shape in shapes.items():
                start = np.random.default_rng(0).uniform(-bound, bound, shape).astype("float32")
                setattr(self, name, library.nn.Parameter(library.tensor(start)))

        def forward(self, x: Any) -> Any:
            start = (library.zeros(batch, HIDDEN),) * (2 if kind == "LSTM" else 1)
            return library.scan(lambda state, x: CELLS[kind](self, state, x), start, x)[0][0]

    class Classifier(module):
        def __init__(self) -> None:
            super().__init__()
            self.is_torch = library.__name__ == "torch"
            self.layer = getattr(library.nn, kind)(INPUTS, HIDDEN) if self.is_torch else Recurrent()
            self.output = library.nn.Linear(HIDDEN, CLASSES)

        def forward(self, x: Any) -> Any:
            last = self.layer(x)
            if self.is_torch:
                last = (last[1][0] if kind == "LSTM" else last[1])[0]
            return self.output(last)

    return Classifier()


def training(name: str, kind: str, batch: int, compile_step: bool = False, **adam: Any) -> Callable[[], Measure]:
    """An ordinary training loop over batches, run by the library ``name``; optionally with its step in ``compile``."""

    def setup() -> Measure:
        library = importlib.import_module(name)
        library.set_num_threads(thread_count())
        generator = np.random.default_rng(0)
        inputs = library.tensor(generator.standard_normal((STEPS, LENGTH, batch, INPUTS), dtype=np.float32))
        labels = library.tensor(generator.integers(0, CLASSES, (STEPS, batch)))
        model = classifier(library, kind, batch)
        optimizer = library.optim.Adam(model.parameters(), **adam)
        step = training_step(model, library.nn.CrossEntropyLoss(), optimizer)
        if compile_step:
            step = library.compile(step)

        def run() -> None:
            for x, label in zip(inputs, labels, strict=True):
                loss = step(x, label)
            loss.item()

        return per_step(run, STEPS)

    return setup


def contestants(kind: str, batch: int) -> dict[str, Callable[[], Measure]]:
    what = f"{kind}, batch {batch}"
    return {
        f"chainrule, {what}": training("chainrule", kind, batch, compile_step=True),
        f"chainrule uncompiled, {what}": training("chainrule", kind, batch),
        f"torch eager, {what}": training("torch", kind, batch, fused=True),
    }


RATIOS = {
    ("LSTM", 32): 1.3, ("GRU", 32): 4, ("RNN", 32): 2.5,
    ("LSTM", 1): 2.5, ("GRU", 1): 8, ("RNN", 1): 8,
}  # fmt: skip

BENCHMARK = Benchmark(
    title=f"one training step of recurrent networks, {INPUTS} inputs, {HIDDEN} units, {LENGTH} steps, Adam",
    contestants={name: setup for task in RATIOS for name, setup in contestants(*task).items()},
    goals=tuple(
        Faster(f"chainrule, {kind}, batch {batch}", f"torch eager, {kind}, batch {batch}", ratio)
        for (kind, batch), ratio in RATIOS.items()
    ),
)
