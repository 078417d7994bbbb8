"""The contestants of the benchmarks of image networks: chainrule, and PyTorch in both of its memory layouts.

All of them run the networks of `chainrule.models` with the optimiser and loss of their recipes, on normal numbers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, per_step, thread_count
from .programs import training_step
from .torch_models import in_torch

LOSSES = {"nll": "nll_loss"}
"""Names of losses as functions, where `Trainer` has another."""


@dataclass(frozen=True)
class ImageTask:
    """A network, by its file in `chainrule.models` and its name there, and the images it is given."""

    file: str
    name: str
    batch: int
    size: int
    """height and width of the images"""
    steps: int
    """steps of one measured unit"""
    channels: int = 3
    classes: int = 10

    def images(self) -> np.ndarray:
        shape = (self.steps * self.batch, self.channels, self.size, self.size)
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def labels(self) -> np.ndarray:
        return np.random.default_rng(1).integers(0, self.classes, self.steps * self.batch)


def network(library: Any, task: ImageTask) -> Any:
    """The network, in PyTorch or in chainrule."""
    is_torch = library.__name__ == "torch"
    home = in_torch(task.file) if is_torch else importlib.import_module(f"chainrule.models.{task.file}")
    return getattr(home, task.name)(task.classes)


def prepared(library: Any, task: ImageTask, channels_last: bool) -> tuple[Any, Any]:
    """The network and its images, in the order (N, C, H, W) or with the channels last in memory."""
    library.set_num_threads(thread_count())
    model, images = network(library, task), library.from_numpy(task.images())
    if channels_last:
        return model.to(memory_format=library.channels_last), images.to(memory_format=library.channels_last)
    return model, images


def torch_optimizer(torch: Any, model: Any) -> Any:
    """The recipe's optimiser in PyTorch, in its fastest form: fused, or where it has none over lists of tensors."""
    make = model.recipe.optimizer
    speed = {"foreach": True} if make.func.__name__ == "Adadelta" else {"fused": True}
    return getattr(torch.optim, make.func.__name__)(model.parameters(), **make.keywords, **speed)


def training(
    name: str, task: ImageTask, compile_step: bool = False, channels_last: bool = False
) -> Callable[[], Measure]:
    """An ordinary training loop over batches, run by the library ``name``; optionally with its step in ``compile``."""

    def setup() -> Measure:
        library = importlib.import_module(name)
        model, images = prepared(library, task, channels_last)
        labels, recipe = library.from_numpy(task.labels()), model.recipe
        is_torch = name == "torch"
        optimizer = torch_optimizer(library, model) if is_torch else recipe.optimizer(model.parameters())
        functions = library.nn.functional
        loss = recipe.loss if callable(recipe.loss) else getattr(functions, LOSSES.get(recipe.loss, recipe.loss))
        step = training_step(model.train(), loss, optimizer)
        if compile_step:
            step = library.compile(step)

        def run() -> None:
            for i in range(0, len(images), task.batch):
                value = step(images[i : i + task.batch], labels[i : i + task.batch])
            value.item()

        return per_step(run, task.steps)

    return setup


def inference(
    name: str, task: ImageTask, compile_call: bool = False, channels_last: bool = False
) -> Callable[[], Measure]:
    """Predictions for one batch after another, from tensor to array."""

    def setup() -> Measure:
        library = importlib.import_module(name)
        model, images = prepared(library, task, channels_last)
        model.eval()
        predict = library.compile(model) if compile_call else model

        def run() -> None:
            with library.inference_mode():
                for i in range(0, len(images), task.batch):
                    predict(images[i : i + task.batch]).numpy()

        return per_step(run, task.steps)

    return setup


def against_torch(title: str, task: ImageTask, ratio: float, is_inference: bool = False, **options: Any) -> Benchmark:
    """A benchmark whose goal holds for the faster of PyTorch's two memory layouts."""
    contestant: Callable[..., Callable[[], Measure]] = inference if is_inference else training
    peers = {
        "torch eager, NCHW": contestant("torch", task),
        "torch eager, channels last": contestant("torch", task, channels_last=True),
    }
    compiled = "chainrule, call compiled" if is_inference else "chainrule, step compiled"
    return Benchmark(
        title=title,
        contestants={
            "chainrule": contestant("chainrule", task),
            compiled: contestant("chainrule", task, True),
            **peers,
        },
        goals=tuple(Faster("chainrule", peer, ratio) for peer in peers),
        **options,
    )
