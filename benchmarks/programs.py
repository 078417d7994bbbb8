"""Training programs in PyTorch's style, with the library as an argument: PyTorch and chainrule run the same lines."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Task:
    """A dense network and the batches it is trained on; one output means a sigmoid and binary cross-entropy."""

    sizes: tuple[int, ...]
    batch: int
    steps: int
    """steps of one epoch"""
    dropout: float = 0.0
    batch_norm: bool = False
    images: bool = False
    """whether the inputs are MNIST's images, of which four fifths of the pixels are 0, instead of normal numbers"""

    @property
    def is_binary(self) -> bool:
        return self.sizes[-1] == 1

    @property
    def loss(self) -> str:
        """The loss as ``Trainer`` names it."""
        return "bce" if self.is_binary else "cross_entropy"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Normal inputs, and random labels: 0.0 or 1.0 in a column, or class numbers; or images and their digits."""
        rows = self.steps * self.batch
        if self.images:
            return mnist(rows)
        generator = np.random.default_rng(0)
        inputs = generator.standard_normal((rows, self.sizes[0]), dtype=np.float32)
        labels = generator.integers(0, max(2, self.sizes[-1]), rows)
        return inputs, labels.astype(np.float32).reshape(-1, 1) if self.is_binary else labels.astype(np.int64)


def mnist(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of MNIST's training set, pixels from 0 to 1, read without any of the contestants."""
    root = os.environ.get("CHAINRULE_DATA")
    if root is None:
        raise LookupError("MNIST was not found: set CHAINRULE_DATA to a folder that contains mnist/, or run dense_step")
    folder = Path(root) / "mnist"
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(16 + rows * 784), np.uint8, offset=16)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + rows), np.uint8, offset=8)
    return images.reshape(rows, 784).astype(np.float32) / 255, labels.astype(np.int64)


SMALL = Task((8, 12, 8, 1), batch=10, steps=76)
MNIST = Task((784, 256, 128, 10), batch=64, steps=200, dropout=0.2, images=True)
NORM = Task((784, 256, 128, 10), batch=64, steps=200, dropout=0.2, batch_norm=True, images=True)
DENSE = Task((784, 256, 128, 10), batch=64, steps=200, dropout=0.2)
DENSE_NORM = Task((784, 256, 128, 10), batch=64, steps=200, dropout=0.2, batch_norm=True)
DEEP = Task((128,) * 20 + (10,), batch=64, steps=200)
WIDE = Task((784, 1024, 1024, 10), batch=64, steps=60, dropout=0.2)


def network(nn: Any, task: Task) -> Any:
    """Linear layers with ReLU between them; if the task says so, normalised, with dropout."""
    *hidden, output = pairwise(task.sizes)
    layers = []
    for inputs, outputs in hidden:
        layers.append(nn.Linear(inputs, outputs))
        if task.batch_norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.ReLU())
        if task.dropout:
            layers.append(nn.Dropout(task.dropout))
    layers.append(nn.Linear(*output))
    if task.is_binary:
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def training_step(model: Any, loss_fn: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    """One step of the ordinary training loop as a function of a batch."""

    def step(inputs: Any, labels: Any) -> Any:
        loss = loss_fn(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def epoch(torch: Any, task: Task, compile_step: bool = False, **adam: Any) -> Callable[[], None]:
    """An ordinary training loop over one epoch, written with the library given as ``torch``."""
    inputs, labels = (torch.from_numpy(array) for array in task.data())
    model = network(torch.nn, task)
    loss_fn = torch.nn.BCELoss() if task.is_binary else torch.nn.CrossEntropyLoss()
    step = training_step(model, loss_fn, torch.optim.Adam(model.parameters(), **adam))
    if compile_step:
        step = torch.compile(step)

    def run() -> None:
        for i in range(0, len(inputs), task.batch):
            loss = step(inputs[i : i + task.batch], labels[i : i + task.batch])
        loss.item()

    return run
