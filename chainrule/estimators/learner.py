"""A network with its optimiser and its captured steps, which one fit after another uses; kept by what it computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..compiler.capture import Loop
from ..nn.dropout import DroppingLayer
from ..nn.memo import has_only_builtin_parts
from ..nn.modes import mode
from ..nn.piecewise import RReLU
from ..optim.state import memory_of, state_tensor
from ..settings import settings
from ..tensor.gradmode import enable_grad, no_grad
from ..tensor.inplace import write
from ..tensor.operands import from_array
from ..training.steps import ArrayPass, TrainingStep, look_at
from ..types import DType, as_dtype
from .objective import PenalisedObjective, activated

Array = np.ndarray[Any, Any]

MAX_IDLE = 16
"""Learners kept for fits to come; the one unused for longest goes first."""

MAX_PASSES = 8
"""Passes that a learner keeps."""

PADDED_ROWS = 1 << 16
"""Data of fewer rows are filled up, so that the folds of a cross-validation, which differ by a row, share a program."""

PREDICTION_ROWS = 1024
"""Rows of one call when predicting; fewer are filled up to a power of two."""


DRAWING = (DroppingLayer, RReLU)
"""Layers that draw random numbers in training."""


class Data(NamedTuple):
    """Rows to learn from: features, targets, and weights or None."""

    X: Any
    y: Any
    weights: Any = None

    def each(self, function: Callable[[Any], Any]) -> Data:
        """``function`` of every part that there is."""
        return Data(*(None if part is None else function(part) for part in self))


class Rows(ArrayPass):
    """A pass over the rows of a fit. Its steps are captured once: nothing but the learner can change what they record.

    The data of the next fit may have another number of rows, up to the number that the program was made for.
    """

    step: Callable[[int], None]

    def __init__(self, data: Data, batch_size: int) -> None:
        super().__init__(*data, batch_size, lambda: None)

    def hold(self, data: Data, rows: int) -> None:
        """Look at the first ``rows`` of these data."""
        for mine, new in zip((self.X, self.y, self.weights), data, strict=True):
            if new is not None:
                look_at(mine, new)
        self.rows = rows
        self.set_order(np.arange(rows))

    def set_order(self, order: Array) -> None:
        """Go over the rows in this order from now on."""
        self.order._array()[: self.rows] = order

    def capture(self) -> None:
        """Capture a step over a full batch, if that has not been done, without running it."""
        self.loop(self.step, self.batch_size)

    def train(self) -> float:
        """Go over all rows once and return the mean loss."""
        with enable_grad():
            self.run(self.step)
        return self.mean_loss


class Learner:
    """A network that is trained and asked, with all its programs.

    ``network`` gives the output that ``loss`` takes; ``make_optimizer`` is given the parameters that are trained;
    ``penalised`` are those whose squares are penalised; ``outputs`` is the number of values that the network gives.
    """

    def __init__(
        self,
        network: Any,
        loss: Any,
        make_optimizer: Callable[[list[Any]], Any],
        penalised: Sequence[Any],
        outputs: int,
        dtype: DType,
    ) -> None:
        self.network = network
        self.objective = PenalisedObjective(loss, penalised, outputs)
        self.optimizer = make_optimizer([p for p in network.parameters() if p.requires_grad])
        self.dtype = dtype
        self.draws = not has_only_builtin_parts(network) or any(isinstance(part, DRAWING) for part in network.modules())
        self.lock = threading.RLock()
        self._passes: dict[Any, Rows] = {}
        self._first_state: list[Array] | None = None
        self._predictions: dict[Any, tuple[Loop, Any, Any]] = {}

    # Training -------------------------------------------------------------------------------------------------------

    @contextmanager
    def over(self, data: Data, batch_size: int) -> Iterator[Rows]:
        """Lend a pass over these rows."""
        count = len(data.X)
        size = _capacity(count)
        weights = None if data.weights is None else self._tensor(data.weights, size, rest=0)
        held = Data(self._tensor(data.X, size), self._tensor(data.y, size), weights)
        key = batch_size, *(None if tensor is None else tensor._type for tensor in held)
        if key not in self._passes:
            if len(self._passes) >= MAX_PASSES:
                self._passes.pop(next(iter(self._passes)))
            self._passes[key] = Rows(held, batch_size)
            self._passes[key].step = TrainingStep(self.network, self.objective, self.optimizer, self._passes[key])
        rows = self._passes[key]
        rows.hold(held, count)
        with enable_grad():
            rows.capture()
        if self._first_state is None:
            self._first_state = self.optimizer_state()
        try:
            yield rows
        finally:
            rows.let_go()

    def set_options(self, rate: float | None, alpha: float, momentum: float | None = None) -> None:
        """Set what is a number of the programs: the learning rate, the strength of the penalty, the momentum.

        Where the rate or the momentum is None, the optimiser keeps its own.
        """
        self.objective.set_alpha(alpha)
        for group in self.optimizer.param_groups:
            if rate is not None:
                group["lr"] = rate
            if momentum is not None:
                memory_of(group.variable("momentum"))[...] = momentum

    def optimizer_state(self) -> list[Array]:
        """Copies of everything that the optimiser keeps from step to step."""
        return [np.array(memory_of(tensor)) for tensor in self.optimizer.state_tensors()]

    def set_optimizer_state(self, state: Sequence[Array] | None) -> None:
        """Go on with a state, or begin anew (None)."""
        for tensor, value in zip(self.optimizer.state_tensors(), state or self._first_state or (), strict=True):
            memory_of(tensor)[...] = value

    def gradients(self, parameters: Sequence[Any]) -> list[Array]:
        """What the last step of a `GradientReader` left of each parameter."""
        return [memory_of(self.optimizer.state[parameter]["gradient"]) for parameter in parameters]

    # Weights --------------------------------------------------------------------------------------------------------

    def weights(self) -> list[Array]:
        """Copies of all parameters and buffers."""
        return [tensor._array().copy() for tensor in self._tensors()]

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Put back what `weights` returned."""
        for tensor, value in zip(self._tensors(), weights, strict=True):
            tensor._array()[...] = value

    def _tensors(self) -> list[Any]:
        return [*self.network.parameters(), *self.network.buffers()]

    # Prediction -----------------------------------------------------------------------------------------------------

    def predict(self, X: Array) -> Array:
        """What the network says of each row: numbers, or probabilities."""
        blocks = [
            self._predict_block(X[start : start + PREDICTION_ROWS]) for start in range(0, len(X), PREDICTION_ROWS)
        ]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _predict_block(self, block: Array) -> Array:
        rows = len(block)
        size = 1 << (rows - 1).bit_length()
        key = size, block.shape[1:], block.dtype.kind
        if key not in self._predictions:
            self._predictions[key] = self._capture_prediction(size, block)
        loop, given, result = self._predictions[key]
        memory = memory_of(given)
        memory[:rows] = block
        memory[rows:] = 0
        loop.run(1)
        return np.array(memory_of(result)[:rows])

    def _capture_prediction(self, size: int, block: Array) -> tuple[Loop, Any, Any]:
        given = state_tensor((size, *block.shape[1:]), self._dtype_of(block))
        kept: list[Any] = []

        def step() -> None:
            with no_grad(), mode(self.network, lambda part: False):
                output = activated(self.objective, self.network(given))
            result = state_tensor(tuple(output.shape), output.dtype)
            write(result, output)
            kept.append(result)

        return Loop(step), given, kept[0]

    # Data -----------------------------------------------------------------------------------------------------------

    def _dtype_of(self, data: Array) -> DType:
        """Numbers have the type of the network; whole ones, which it may look up, stay whole."""
        return as_dtype(np.dtype(np.int64)) if data.dtype.kind in "iu" else self.dtype

    def _tensor(self, data: Array, size: int, rest: Any = None) -> Any:
        """The data as a tensor of so many rows; those behind the end are like the last, or ``rest``."""
        dtype = self._dtype_of(data)
        if len(data) == size:
            return from_array(data, dtype, shares_memory=True)
        filled = np.empty((size, *data.shape[1:]), dtype.numpy)
        filled[: len(data)] = data
        filled[len(data) :] = data[-1] if rest is None else rest
        return from_array(filled, dtype, shares_memory=True)


def _capacity(rows: int) -> int:
    """For how many rows a program is made: a few more, so that it serves others too."""
    if rows > PADDED_ROWS:
        return rows
    step = max(16, 1 << max(rows.bit_length() - 4, 0))
    return -(-rows // step) * step


_idle: list[tuple[Any, Learner]] = []
_lock = threading.Lock()


@contextmanager
def borrowed(key: Any, make: Callable[[], Learner]) -> Iterator[Learner]:
    """Lend the learner of a key to one thread; it is made if none is idle, and kept if nothing went wrong."""
    key = key, settings.backend, settings.cpu_features
    with _lock:
        found = next((number for number in range(len(_idle) - 1, -1, -1) if _idle[number][0] == key), None)
        learner = None if found is None else _idle.pop(found)[1]
    if learner is None:
        learner = make()
    yield learner
    with _lock:
        _idle.append((key, learner))
        del _idle[:-MAX_IDLE]
