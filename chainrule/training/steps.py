"""The steps that training and evaluation repeat, captured as native programs over data in native memory."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import nn
from ..compiler.capture import Loop
from ..errors import ShapeError
from ..ops import indexing
from ..tensor import operations
from ..tensor.gradmode import no_grad
from ..tensor.operands import enter_all, from_array
from ..tensor.recording import make_slot, pending
from ..types import DType, float64, int64

CALL_SECONDS = 0.05
"""How long one native call may take: Ctrl-C and the progress display wait for it."""


class Counter:
    """A number in native memory that a program counts up and Python reads."""

    def __init__(self, dtype: DType) -> None:
        self.tensor = from_array(np.zeros((), dtype.numpy))
        make_slot(self.tensor)
        self._value = self.tensor._array()

    @property
    def value(self) -> float:
        return float(self._value)

    def reset(self) -> None:
        """Set it to 0."""
        self._value[...] = 0

    def add(self, amount: Any) -> None:
        """Record adding ``amount``, a number or a scalar tensor."""
        self.tensor.add_(amount)


class Pass:
    """One way over all rows, batch by batch: the state that its steps share.

    ``loss`` sums the batch losses times the number of rows, ``correct`` counts right classes, ``order`` is the row
    number at each position.
    """

    def __init__(self, X: Any, y: Any, weights: Any, batch_size: int) -> None:
        self.X, self.y, self.weights = X, y, weights
        self.rows = X.shape[0]
        self.batch_size = min(batch_size, self.rows)
        self.position = Counter(int64)
        self.loss = Counter(float64)
        self.correct = Counter(float64)
        self.order_tensor = from_array(np.arange(self.rows, dtype=np.int64))
        self.order = self.order_tensor._array()
        self._loops: dict[int, Loop] = {}
        self._calls = 1

    def batch(self, size: int) -> tuple[Any, Any, Any]:
        """Record taking the next ``size`` rows: X, y and weights (None without)."""
        segment, (order, position) = enter_all(self.order_tensor, self.position.tensor)
        rows = pending(indexing.dynamic_slice(order, position, 0, size), segment)
        self.position.add(size)
        weights = None if self.weights is None else _take_rows(self.weights, rows)
        return _take_rows(self.X, rows), _take_rows(self.y, rows), weights

    def run(self, step: Callable[[int], Any], advance: Callable[[int], None] = lambda rows: None) -> None:
        """Run ``step(size)``, captured, over all rows; ``advance(rows)`` is called after every native call."""
        for counter in (self.position, self.loss, self.correct):
            counter.reset()
        full, tail = divmod(self.rows, self.batch_size)
        done = 0
        while done < full:
            calls = min(self._calls, full - done)
            loop = self._loop(step, self.batch_size)
            started = time.perf_counter()
            loop.run(calls)
            seconds = time.perf_counter() - started
            done += calls
            advance(calls * self.batch_size)
            self._calls = max(1, min(16 * calls, int(calls * CALL_SECONDS / max(seconds, 1e-9))))
        if tail:
            self._loop(step, tail).run(1)
            advance(tail)

    def _loop(self, step: Callable[[int], Any], size: int) -> Loop:
        if size not in self._loops:
            self._loops[size] = Loop(lambda: step(size))
        return self._loops[size]

    @property
    def mean_loss(self) -> float:
        return self.loss.value / self.rows

    @property
    def accuracy(self) -> float:
        return self.correct.value / self.rows


def _take_rows(data: Any, rows: Any) -> Any:
    segment, (values, index) = enter_all(data, rows)
    return pending(indexing.take(values, index, 0), segment)


class Objective:
    """The loss of a batch, with targets brought into the form that the loss expects."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        self.wants_classes = isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss)
        self.is_binary = isinstance(loss, nn.BCELoss | nn.BCEWithLogitsLoss)

    def of(self, output: Any, target: Any, weights: Any) -> Any:
        """The mean loss of a batch; with weights, Σ wᵢ·lossᵢ / n."""
        if not self.wants_classes and tuple(output.shape) != tuple(target.shape):
            target = self._aligned(output, target)
        if weights is None:
            return self.loss(output, target)
        each = copy.copy(self.loss)
        each.reduction = "none"
        losses = each(output, target)
        if losses.dim() > 1:
            losses = losses.flatten(1).mean(1)
        return (losses * weights).mean()

    def _aligned(self, output: Any, target: Any) -> Any:
        if output.numel() != target.numel():
            raise ShapeError(
                f"the model gives outputs of shape {tuple(output.shape)[1:]} per row, the targets have shape "
                f"{tuple(target.shape)[1:]}. fix: make the last layer give {int(np.prod(target.shape[1:]))} value(s), "
                "or choose a loss for class numbers ('cross_entropy')"
            )
        return target.reshape(tuple(output.shape))

    def scores(self, output: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return outputs as what metrics compare with targets: probabilities for classes, else the outputs."""
        if isinstance(self.loss, nn.BCEWithLogitsLoss):
            return np.asarray(1 / (1 + np.exp(-output.astype(float))))
        if isinstance(self.loss, nn.CrossEntropyLoss):
            exponentials = np.exp(output.astype(float) - output.max(1, keepdims=True))
            return np.asarray(exponentials / exponentials.sum(1, keepdims=True))
        return np.exp(output) if isinstance(self.loss, nn.NLLLoss) else output

    def correct(self, output: Any, target: Any) -> Any:
        """How many rows of a batch are classified right; None where that means nothing."""
        if self.wants_classes:
            return operations.eq(output.argmax(1), target).sum()
        if self.is_binary:
            threshold = 0.5 if isinstance(self.loss, nn.BCELoss) else 0.0
            target = target.reshape(tuple(output.shape))
            return operations.eq(operations.gt(output, threshold), operations.gt(target, 0.5)).sum()
        return None


def training_step(model: Any, objective: Objective, optimizer: Any, data: Pass) -> Callable[[int], None]:
    """Return the step: forward, loss, backward, update, statistics."""

    def step(size: int) -> None:
        inputs, target, weights = data.batch(size)
        optimizer.zero_grad()
        with _mode(model, is_training=True):
            output = model(inputs)
        loss = objective.of(output, target, weights)
        loss.backward()
        optimizer.step()
        _count(objective, data, output, target, loss, size)

    return step


def evaluation_step(model: Any, objective: Objective, data: Pass) -> Callable[[int], None]:
    """Return the step that only measures."""

    def step(size: int) -> None:
        inputs, target, weights = data.batch(size)
        with no_grad(), _mode(model, is_training=False):
            output = model(inputs)
            _count(objective, data, output, target, objective.of(output, target, weights), size)

    return step


def _count(objective: Objective, data: Pass, output: Any, target: Any, loss: Any, size: int) -> None:
    with no_grad():
        data.loss.add(loss.detach().to(float64) * size)
        correct = objective.correct(output.detach(), target)
        if correct is not None:
            data.correct.add(correct.to(float64))


@contextmanager
def _mode(model: Any, is_training: bool) -> Iterator[None]:
    """Put a model in training or evaluation mode while a step is captured."""
    before = model.training
    model.train(is_training)
    try:
        yield
    finally:
        model.train(before)
