"""The contestants of the benchmarks of one training step, for any task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import peers
from .harness import Measure, per_step, thread_count
from .programs import Task, epoch, network


def torch_loop(task: Task, **adam: Any) -> Callable[[], Measure]:
    """PyTorch's eager mode, an ordinary loop over slices; ``fused=True`` chooses its fused Adam."""

    def setup() -> Measure:
        import torch

        torch.set_num_threads(thread_count())
        return per_step(epoch(torch, task, **adam), task.steps)

    return setup


def jax_scan(task: Task, epochs: int) -> Callable[[], Measure]:
    """JAX, one jitted scan per epoch."""

    def setup() -> Measure:
        run = peers.jax_epoch(task)
        return per_step(lambda: [run() for _ in range(epochs)], task.steps * epochs)

    return setup


def sklearn_fit(task: Task, epochs: int) -> Callable[[], Measure]:
    """scikit-learn's ``MLPClassifier.fit``."""

    def setup() -> Measure:
        model = peers.sklearn_classifier(task, epochs)
        inputs, labels = task.data()
        return per_step(lambda: model.fit(inputs, labels.ravel()), task.steps * epochs)

    return setup


def chainrule_fit(task: Task, epochs: int) -> Callable[[], Measure]:
    """``Trainer.fit`` as a user calls it, shuffling included."""

    def setup() -> Measure:
        trainer = chainrule_trainer(task)
        inputs, labels = task.data()

        def run() -> None:
            trainer.fit(inputs, labels, epochs=epochs, batch_size=task.batch, shuffle=True, verbose=0)

        return per_step(run, task.steps * epochs)

    return setup


def chainrule_loop(task: Task, compile_step: bool = False) -> Callable[[], Measure]:
    """The very loop that PyTorch runs, with chainrule in its place; optionally with the step in ``compile``."""

    def setup() -> Measure:
        import chainrule

        run = epoch(chainrule, task, compile_step)
        return per_step(lambda: [run() for _ in range(5)], task.steps * 5)

    return setup


def chainrule_trainer(task: Task) -> Any:
    """A Trainer with a new network for the task."""
    import chainrule

    return chainrule.Trainer(network(chainrule.nn, task), loss=task.loss, optimizer="adam", seed=0)
