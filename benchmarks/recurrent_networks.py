"""Recurrent networks in chainrule and in PyTorch, there as loops in Python where it has no such layer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .harness import Measure, per_step, thread_count

CLASSES, STEPS = 10, 20
"""STEPS: of one measured unit."""


@dataclass(frozen=True)
class SequenceTask:
    """A layer, "LSTM", "GRU", "RNN", "peephole LSTM" or "SRU", and the sequences it is trained on."""

    kind: str
    batch: int
    inputs: int = 64
    features: int = 128
    length: int = 50
    has_lengths: bool = False
    """whether rows have lengths, uniform from 1 to ``length``, others in each step"""

    @property
    def title(self) -> str:
        size = "" if self.features == 128 else f" of {self.features}"
        return f"{self.kind}{size}, batch {self.batch}{', lengths' if self.has_lengths else ''}"

    def batches(self) -> list[np.ndarray]:
        """Inputs (STEPS, length, batch, inputs), labels (STEPS, batch), and lengths (STEPS, batch)."""
        generator = np.random.default_rng(0)
        shape = (STEPS, self.length, self.batch, self.inputs)
        lengths = generator.integers(1, self.length + 1, (STEPS, self.batch))
        lengths[:, 0] = self.length  # all programs see the same longest row
        labels = generator.integers(0, CLASSES, (STEPS, self.batch))
        return [generator.standard_normal(shape, dtype=np.float32), labels, lengths]


def in_python(nn: Any, kind: str, inputs: int, features: int) -> Any:
    """A layer written as a loop over steps; what needs no state is done for all steps at once."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            gates = 4
            self.of_x = nn.Linear(inputs, gates * features)
            self.of_state = nn.Linear(features, gates * features, bias=False) if kind != "SRU" else None
            peepholes = ("forget", "output") if kind == "SRU" else ("input", "forget", "output")
            for name in peepholes:
                self.register_parameter(name, nn.Parameter(self.of_x.weight.new_zeros(features)))

        def forward(self, x: Any) -> Any:
            return self.simple(x) if kind == "SRU" else self.long(x)

        def long(self, x: Any) -> Any:
            h = c = x.new_zeros(x.shape[1], features)
            for of_x in self.of_x(x).unbind(0):
                i, f, g, o = (of_x + self.of_state(h)).chunk(4, -1)  # type: ignore[misc]
                c = (f + self.forget * c).sigmoid() * c + (i + self.input * c).sigmoid() * g.tanh()
                h = (o + self.output * c).sigmoid() * c.tanh()
            return h

        def simple(self, x: Any) -> Any:
            c = x.new_zeros(x.shape[1], features)
            for of_x in self.of_x(x).unbind(0):
                value, f, r, skip = of_x.chunk(4, -1)
                f, r = (f + self.forget * c).sigmoid(), (r + self.output * c).sigmoid()
                c = f * c + (1 - f) * value
                h = r * c + (1 - r) * skip
            return h

    return Layer()


def layer(library: Any, task: SequenceTask) -> Any:
    """The recurrent layer."""
    if hasattr(library.nn, task.kind):
        return getattr(library.nn, task.kind)(task.inputs, task.features)
    if library.__name__ == "torch":
        return in_python(library.nn, task.kind, task.inputs, task.features)
    return library.nn.LSTM(task.inputs, task.features, peephole=True)


def classifier(library: Any, task: SequenceTask) -> Any:
    """The layer, and a linear layer on its last state."""
    is_torch = library.__name__ == "torch"

    class Classifier(library.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer(library, task)
            self.output = library.nn.Linear(task.features, CLASSES)

        def forward(self, x: Any, lengths: Any) -> Any:
            if not task.has_lengths:
                result = self.layer(x)
            elif is_torch:
                packed = library.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
                result = self.layer(packed)
            else:
                result = self.layer(x, lengths=lengths)
            if not isinstance(result, tuple):
                return self.output(result)
            outputs, states = result
            if task.kind == "SRU":  # whose state is not its output
                return self.output(outputs[-1])
            return self.output((states[0] if isinstance(states, tuple) else states)[0])

    return Classifier()


def training(name: str, task: SequenceTask, compile_step: bool = False) -> Callable[[], Measure]:
    """An ordinary training loop over batches, run by the library ``name``; optionally with its step in ``compile``."""

    def setup() -> Measure:
        library = importlib.import_module(name)
        library.set_num_threads(thread_count())
        data = [library.tensor(array) for array in task.batches()]
        model = classifier(library, task)
        fused = {"fused": True} if name == "torch" else {}
        optimizer = library.optim.Adam(model.parameters(), **fused)

        def step(x: Any, label: Any, lengths: Any) -> Any:
            loss = library.nn.functional.cross_entropy(model(x, lengths), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        once = library.compile(step) if compile_step else step

        def run() -> None:
            for batch in zip(*data, strict=True):
                loss = once(*batch)
            loss.item()

        return per_step(run, STEPS)

    return setup


def contestants(task: SequenceTask) -> dict[str, Callable[[], Measure]]:
    """The library as its users would use it, compiled and not, and PyTorch."""
    return {
        f"chainrule, {task.title}": training("chainrule", task, compile_step=True),
        f"chainrule uncompiled, {task.title}": training("chainrule", task),
        f"torch eager, {task.title}": training("torch", task),
    }
