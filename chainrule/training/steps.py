"""The steps that training and evaluation repeat, captured as native programs over data in native memory."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..compiler.capture import Loop
from ..execution.shuffle import shuffle
from ..nn.normalization import BatchNorm1d
from ..ops import indexing
from ..tensor.gradmode import no_grad
from ..tensor.operands import enter_all, from_array
from ..tensor.recording import make_slot, pending, set_stored, stored
from ..tensor.storage import allocate
from ..tensor.structure import structure
from ..types import DType, float64, int64
from .objective import Objective

CALL_SECONDS = 0.05
"""How long one native call may take: Ctrl-C and the progress display wait for it."""

MAX_PASSES = 4
"""Passes of one kind that a trainer keeps; the one unused for longest goes first."""


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
    """One way over all rows, batch by batch: the state that its steps share, and the steps as captured.

    ``loss`` sums the losses of the rows, ``correct`` counts right classes, ``order`` has the row
    number at each position. ``X``, ``y`` and ``weights`` are tensors of its own, which look at the data.
    ``joins_lone_row``: a last batch of one row, which has no variance, joins the one before.
    ``ingredients`` returns the objects that steps are captured with, or None where what they record cannot be foreseen.
    """

    def __init__(
        self, X: Any, y: Any, weights: Any, batch_size: int, ingredients: Callable[[], list[Any] | None]
    ) -> None:
        self.X, self.y = _view(X), _view(y)
        self.weights = None if weights is None else _view(weights)
        self.rows = X.shape[0]
        self.batch_size = min(batch_size, self.rows)
        self.position = Counter(int64)
        self.loss = Counter(float64)
        self.correct = Counter(float64)
        self.order = from_array(np.arange(self.rows, dtype=np.int64))
        self._ingredients = ingredients
        self._captured_with: list[Any] | None = None
        self._version = 0
        self.joins_lone_row = False
        self._loops: dict[int, Loop] = {}
        self._calls = 1
        self._checked_by: tuple[Objective, int] | None = None

    def begin_again(self, X: Any, y: Any, weights: Any) -> None:
        """Go over other data of the same types, in their own order, with the same steps if they would be the same."""
        for mine, data in ((self.X, X), (self.y, y), (self.weights, weights)):
            if data is not None:
                set_stored(mine, data._storage, data._address, data._type, data._strides, False)
        self.order._array()[:] = np.arange(self.rows)
        if self._checked_by is not None:
            objective, classes = self._checked_by
            objective.check(self.y, classes)
        before, now = self._captured_with, self._ingredients()
        if before is None or now is None or len(before) != len(now) or any(map(operator.is_not, before, now)):
            self._loops.clear()

    def shuffle(self, seed: int, epoch: int) -> None:
        """Go over the rows in the random order of this epoch."""
        shuffle(self.order._address, self.rows, seed, epoch)

    def let_go(self) -> None:
        """Keep no data alive: there will be other, or none."""
        for mine in (self.X, self.y, self.weights):
            if mine is not None:
                set_stored(mine, _NOTHING, _NOTHING.address, mine._type, mine._strides, False)

    def check_targets(self, objective: Objective, output: Any) -> None:
        """Refuse targets that do not fit the outputs of the model: now, and whenever the pass begins on other data."""
        self._checked_by = objective, output.shape[1] if output.dim() > 1 else 1
        objective.check(self.y, self._checked_by[1])

    def batch(self, size: int) -> tuple[Any, Any, Any]:
        """Record taking the next ``size`` rows: X, y and weights (None without)."""
        segment, (order, position) = enter_all(self.order, self.position.tensor)
        rows = pending(indexing.dynamic_slice(order, position, 0, size), segment)
        self.position.add(size)
        weights = None if self.weights is None else _take_rows(self.weights, rows)
        return _take_rows(self.X, rows), _take_rows(self.y, rows), weights

    def run(self, step: Callable[[int], Any], advance: Callable[[int], None] = lambda rows: None) -> None:
        """Run ``step(size)``, captured, over all rows; ``advance(rows)`` is called after every native call."""
        for counter in (self.position, self.loss, self.correct):
            counter.reset()
        full, tail = self._batches()
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

    @property
    def steps(self) -> int:
        """How many steps go over all rows."""
        full, tail = self._batches()
        return full + (tail > 0)

    def _batches(self) -> tuple[int, int]:
        """The number of full batches, and the size of the last one (0 if there is none)."""
        full, rest = divmod(self.rows, self.batch_size)
        return (full - 1, self.batch_size + 1) if rest == 1 and full and self.joins_lone_row else (full, rest)

    def run_one(self, step: Callable[[int], Any]) -> float:
        """Run ``step`` on the next full batch, from the first row again where the rows are used up; return its loss."""
        if self.position.value + self.batch_size > self.rows:
            self.position.reset()
        self.loss.reset()
        self._loop(step, self.batch_size).run(1)
        return self.loss.value / self.batch_size

    def _loop(self, step: Callable[[int], Any], size: int) -> Loop:
        """The captured step. Where it is known what it follows from, a change of that captures it again."""
        if self._captured_with is not None and self._version != structure.version_in_any_mode:
            self._loops.clear()
        if size not in self._loops:
            self._loops[size] = Loop(lambda: step(size))
            self._captured_with, self._version = self._ingredients(), structure.version_in_any_mode
        return self._loops[size]

    @property
    def mean_loss(self) -> float:
        """The mean over the rows, weighted if they have weights; NaN if all of those are 0."""
        count = self.rows if self.weights is None else float(self.weights._array().sum(dtype=float))
        return self.loss.value / count if count else math.nan

    @property
    def accuracy(self) -> float:
        return self.correct.value / self.rows


class Passes:
    """The passes that a trainer can use again, because other data have the same types."""

    def __init__(self, ingredients: Callable[[], list[Any] | None]) -> None:
        self._ingredients = ingredients
        self._unused: dict[Any, Pass] = {}

    @contextmanager
    def over(self, X: Any, y: Any, weights: Any, batch_size: int) -> Iterator[Pass]:
        """Lend a pass over these rows."""
        key = batch_size, *(None if data is None else (data._type, data._strides) for data in (X, y, weights))
        found = self._unused.pop(key, None)
        if found is None:
            found = Pass(X, y, weights, batch_size, self._ingredients)
        else:
            found.begin_again(X, y, weights)
        try:
            yield found
        finally:
            found.let_go()
            if len(self._unused) >= MAX_PASSES:
                self._unused.pop(next(iter(self._unused)))
            self._unused[key] = found


_NOTHING = allocate(0)


def _view(tensor: Any) -> Any:
    return stored(tensor._storage, tensor._address, tensor._type, tensor._strides)


def _take_rows(data: Any, rows: Any) -> Any:
    segment, (values, index) = enter_all(data, rows)
    return pending(indexing.take(values, index, 0), segment)


def training_step(
    model: Any,
    objective: Objective,
    optimizer: Any,
    data: Pass,
    before_update: Sequence[Callable[[], Any]] = (),
    after_update: Sequence[Callable[[Any], Any]] = (),
) -> Callable[[int], None]:
    """Return the step: forward, loss and penalties, backward, update, statistics.

    ``before_update`` and ``after_update``, which gets the loss, record more around the update.
    """
    data.joins_lone_row = any(isinstance(part, BatchNorm1d) for part in model.modules())

    def step(size: int) -> None:
        inputs, target, weights = data.batch(size)
        optimizer.zero_grad()
        with _mode(model, is_training=True):
            output = model(inputs)
        data.check_targets(objective, output)
        loss = objective.of(output, target, weights)
        penalty = objective.penalty(model, output)
        (loss if penalty is None else loss + penalty).backward()
        for regularizer in objective.regularizers:
            regularizer.change_gradients(model)
        with no_grad():
            for record in before_update:
                record()
        optimizer.step()
        for regularizer in objective.regularizers:
            regularizer.constrain(model)
        with no_grad():
            for record_after in after_update:
                record_after(loss)
        _count(objective, data, output, target, weights, loss)

    return step


def evaluation_step(model: Any, objective: Objective, data: Pass) -> Callable[[int], None]:
    """Return the step that only measures."""

    def step(size: int) -> None:
        inputs, target, weights = data.batch(size)
        with no_grad(), _mode(model, is_training=False):
            output = model(inputs)
            data.check_targets(objective, output)
            _count(objective, data, output, target, weights, objective.of(output, target, weights))

    return step


def _count(objective: Objective, data: Pass, output: Any, target: Any, weights: Any, loss: Any) -> None:
    with no_grad():
        count = output.shape[0] if weights is None else weights.sum().to(float64)
        data.loss.add(loss.detach().to(float64) * (1 if objective.is_sum else count))
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
