"""The steps that training and evaluation repeat, captured as native programs over data in native memory."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..compiler.capture import Loop
from ..execution.shuffle import shuffle
from ..files.provenance import fingerprint
from ..nn.normalization import BatchNorm1d
from ..ops import indexing
from ..tensor.generator import Generator
from ..tensor.gradmode import no_grad
from ..tensor.operands import enter_all, from_array
from ..tensor.recording import make_slot, pending, set_stored, stored
from ..tensor.storage import allocate
from ..tensor.structure import structure
from ..types import DType, float64, int64
from .objective import Objective

Array = np.ndarray[Any, Any]

CALL_SECONDS = 0.05
"""How long one native call may take: Ctrl-C and the progress display wait for it."""

MAX_PASSES = 4
"""Passes of one kind that a trainer keeps; the one unused for longest goes first."""

CHECKED_BYTES = 1 << 26
"""How much of data is read to tell them from others."""


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


class Group(NamedTuple):
    """Batches that make one update together: how many, and what is done after them."""

    batches: int
    end: Callable[[], None]


class Pass:
    """One way over all rows, batch by batch: the state that its steps share, and the steps as captured.

    ``loss`` sums the losses of the rows, ``correct`` counts right classes. Where the rows come from, a subclass says
    with ``batch(size)``, which records taking the rows of a step, and ``run(step, advance)``; ``rows`` is their number,
    ``weights`` None or one per row, and ``X`` what `update_bn` goes over.
    ``ingredients`` returns the objects that steps are captured with, or None where what they record cannot be foreseen.
    """

    X: Any
    y: Any
    weights: Any = None
    rows: int
    batch_size: int
    joins_lone_row = False
    """A last batch of one row, which has no variance, joins the one before."""

    def __init__(self, ingredients: Callable[[], list[Any] | None]) -> None:
        self.loss = Counter(float64)
        self.correct = Counter(float64)
        self._ingredients = ingredients
        self._captured_with: list[Any] | None = None
        self._version = 0
        self._loops: dict[Any, Loop] = {}
        self._checked_by: tuple[Objective, int] | None = None

    def batch(self, size: int) -> tuple[Any, Any, Any]:
        """Record taking the next ``size`` rows: X, y and weights (None without)."""
        raise NotImplementedError

    def run(
        self,
        step: Callable[[int], Any],
        advance: Callable[[int], None] = lambda rows: None,
        group: Group | None = None,
    ) -> None:
        """Run ``step(size)``, captured, over all rows; ``advance(rows)`` is called after every native call.

        With a ``group``, its ``end()`` is called after every so many batches, and after the last.
        """
        raise NotImplementedError

    def shuffle(self, seed: int, epoch: int) -> None:
        """Go over the rows in the random order of this epoch."""
        raise NotImplementedError

    def outputs(self, predict: Callable[[Any], Array]) -> tuple[Array, Array]:
        """What a model predicts for all rows, and their targets."""
        raise NotImplementedError

    def description(self) -> dict[str, Any]:
        """What tells these data from others, in JSON types."""
        raise NotImplementedError

    def generators(self) -> list[Generator]:
        """The sources of random numbers that these data have of their own."""
        return []

    @property
    def steps(self) -> int:
        """How many steps go over all rows."""
        raise NotImplementedError

    def check_targets(self, objective: Objective, output: Any) -> None:
        """Refuse targets that do not fit the outputs of the model: now, and whenever the pass begins on other data."""
        self._checked_by = objective, output.shape[1] if output.dim() > 1 else 1
        self._check(self.y)

    def _check(self, y: Any) -> None:
        if self._checked_by is not None:
            objective, classes = self._checked_by
            objective.check(y, classes)

    def loop(self, step: Callable[[int], Any], size: int, key: Any = None) -> Loop:
        """The captured step. Where it is known what it follows from, a change of that captures it again."""
        if self._captured_with is not None and self._version != structure.version_in_any_mode:
            self._loops.clear()
        key = size if key is None else key
        if key not in self._loops:
            self._loops[key] = Loop(lambda: step(size))
            self._captured_with, self._version = self._ingredients(), structure.version_in_any_mode
        return self._loops[key]

    @property
    def mean_loss(self) -> float:
        """The mean over the rows, weighted if they have weights; NaN if all of those are 0."""
        count = self.rows if self.weights is None else float(self.weights._array().sum(dtype=float))
        return self.loss.value / count if count else math.nan

    @property
    def accuracy(self) -> float:
        return self.correct.value / self.rows


class ArrayPass(Pass):
    """A pass over data in native memory, many steps per native call.

    ``order`` has the row number at each position. ``X``, ``y`` and ``weights`` are tensors of its own, which look at
    the data.
    """

    def __init__(
        self, X: Any, y: Any, weights: Any, batch_size: int, ingredients: Callable[[], list[Any] | None]
    ) -> None:
        super().__init__(ingredients)
        self.X, self.y = view_of(X), view_of(y)
        self.weights = None if weights is None else view_of(weights)
        self.rows = X.shape[0]
        self.batch_size = min(batch_size, self.rows)
        self.position = Counter(int64)
        self.order = from_array(np.arange(self.rows, dtype=np.int64))
        self._calls = 1

    def begin_again(self, X: Any, y: Any, weights: Any) -> None:
        """Go over other data of the same types, in their own order, with the same steps if they would be the same."""
        for mine, data in ((self.X, X), (self.y, y), (self.weights, weights)):
            if data is not None:
                look_at(mine, data)
        self.order._array()[:] = np.arange(self.rows)
        self._check(self.y)
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

    def batch(self, size: int) -> tuple[Any, Any, Any]:
        """Record taking the next ``size`` rows: X, y and weights (None without)."""
        segment, (order, position) = enter_all(self.order, self.position.tensor)
        rows = pending(indexing.dynamic_slice(order, position, 0, size), segment)
        self.position.add(size)
        weights = None if self.weights is None else _take_rows(self.weights, rows)
        return _take_rows(self.X, rows), _take_rows(self.y, rows), weights

    def run(
        self,
        step: Callable[[int], Any],
        advance: Callable[[int], None] = lambda rows: None,
        group: Group | None = None,
    ) -> None:
        """As `Pass.run`, many steps per native call."""
        for counter in (self.position, self.loss, self.correct):
            counter.reset()
        full, tail = self._batches()
        done = 0
        while done < full:
            calls = min(self._calls, full - done)
            if group is not None:
                calls = min(calls, group.batches - done % group.batches)
            loop = self.loop(step, self.batch_size)
            started = time.perf_counter()
            loop.run(calls)
            seconds = time.perf_counter() - started
            done += calls
            advance(calls * self.batch_size)
            self._calls = max(1, min(16 * calls, int(calls * CALL_SECONDS / max(seconds, 1e-9))))
            if group is not None and done % group.batches == 0:
                group.end()
        if tail:
            self.loop(step, tail).run(1)
            advance(tail)
        if group is not None and (tail or done % group.batches):
            group.end()

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
        self.loop(step, self.batch_size).run(1)
        return self.loss.value / self.batch_size

    def outputs(self, predict: Callable[[Any], Array]) -> tuple[Array, Array]:
        """What a model predicts for all rows, and their targets."""
        return predict(self.X), self.y._array()

    def description(self) -> dict[str, Any]:
        """What tells these data from others: the number of rows, and a checksum of all, or of many, of them."""
        parts = {"X": self.X, "y": self.y, "weights": self.weights}
        sums = {f"checksum of {name}": checksum(data._array()) for name, data in parts.items() if data is not None}
        return {"number of rows": self.rows, **sums}


class Passes:
    """The passes that a trainer can use again, because other data have the same types."""

    def __init__(self, ingredients: Callable[[], list[Any] | None]) -> None:
        self._ingredients = ingredients
        self._unused: dict[Any, ArrayPass] = {}

    @contextmanager
    def over(self, X: Any, y: Any, weights: Any, batch_size: int) -> Iterator[ArrayPass]:
        """Lend a pass over these rows."""
        key = batch_size, *(None if data is None else (data._type, data._strides) for data in (X, y, weights))
        found = self._unused.pop(key, None)
        if found is None:
            found = ArrayPass(X, y, weights, batch_size, self._ingredients)
        else:
            found.begin_again(X, y, weights)
        try:
            yield found
        finally:
            found.let_go()
            if len(self._unused) >= MAX_PASSES:
                self._unused.pop(next(iter(self._unused)))
            self._unused[key] = found


def checksum(array: Array) -> str:
    """The fingerprint of an array, of evenly spaced rows if there are more than `CHECKED_BYTES`."""
    stride = -(-array.nbytes // CHECKED_BYTES) or 1
    return fingerprint([array[::stride]])[:16]


_NOTHING = allocate(0)


def view_of(data: Any) -> Any:
    """A tensor that looks at the same memory, for programs to read from."""
    return stored(data._storage, data._address, data._type, data._strides)


def look_at(view: Any, data: Any) -> None:
    """Let a view look at other data of its type."""
    set_stored(view, data._storage, data._address, data._type, data._strides, False)


def _take_rows(data: Any, rows: Any) -> Any:
    segment, (values, index) = enter_all(data, rows)
    return pending(indexing.take(values, index, 0), segment)


class Batch(NamedTuple):
    """A batch that went forward: what the network gives, what it should give, and how far they are apart."""

    output: Any
    target: Any
    weights: Any
    loss: Any
    penalty: Any


class TrainingStep:
    """The step that training repeats: forward, loss and penalties, backward, update, statistics.

    ``before_update`` and ``after_update``, which gets the loss, record more around the update.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        optimizer: Any,
        data: Pass,
        before_update: Sequence[Callable[[], Any]] = (),
        after_update: Sequence[Callable[[Any], Any]] = (),
    ) -> None:
        data.joins_lone_row = any(isinstance(part, BatchNorm1d) for part in model.modules())
        self.model, self.objective, self.optimizer, self.data = model, objective, optimizer, data
        self._before_update, self._after_update = before_update, after_update

    def run(self, advance: Callable[[int], None]) -> None:
        """Train on all rows once; ``advance(rows)`` is called after every native call."""
        self.data.run(self, advance)

    def __call__(self, size: int) -> None:
        """Record the step over the next ``size`` rows."""
        batch = self._forward(size)
        (batch.loss if batch.penalty is None else batch.loss + batch.penalty).backward()
        self._update(batch.loss)
        count_batch(self.objective, self.data, batch)

    def _forward(self, size: int) -> Batch:
        inputs, target, weights = self.data.batch(size)
        self.optimizer.zero_grad()
        with _mode(self.model, is_training=True):
            output = self.model(inputs)
        self.data.check_targets(self.objective, output)
        target = self.objective.matched(output, target)
        loss = self.objective.of(output, target, weights)
        return Batch(output, target, weights, loss, self.objective.penalty(self.model, output))

    def _update(self, loss: Any) -> None:
        """Record what becomes of the gradients."""
        for regularizer in self.objective.regularizers:
            regularizer.change_gradients(self.model)
        with no_grad():
            for record in self._before_update:
                record()
        self.optimizer.step()
        for regularizer in self.objective.regularizers:
            regularizer.constrain(self.model)
        with no_grad():
            for record_after in self._after_update:
                record_after(loss)


def evaluation_step(model: Any, objective: Objective, data: Pass) -> Callable[[int], None]:
    """Return the step that only measures."""

    def step(size: int) -> None:
        inputs, target, weights = data.batch(size)
        with no_grad(), _mode(model, is_training=False):
            output = model(inputs)
            data.check_targets(objective, output)
            target = objective.matched(output, target)
            loss = objective.of(output, target, weights)
            count_batch(objective, data, Batch(output, target, weights, loss, None))

    return step


def count_batch(objective: Objective, data: Pass, batch: Batch) -> None:
    """Record the figures of an epoch: the losses of all rows, and how many are classified right."""
    with no_grad():
        count = batch.output.shape[0] if batch.weights is None else batch.weights.sum().to(float64)
        data.loss.add(batch.loss.detach().to(float64) * (1 if objective.is_sum else count))
        correct = objective.correct(batch.output.detach(), batch.target)
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
