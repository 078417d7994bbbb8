"""Prediction with dropout left on: the average over masks, and how far they differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler.capture import Loop
from ..errors import ArgumentError
from ..nn.dropout import DroppingLayer
from ..nn.modes import mode
from ..tensor.gradmode import no_grad
from ..tensor.inplace import write
from ..tensor.operands import from_array
from ..tensor.recording import make_slot
from ..types import DType, float32, float64
from .arrays import check_features

BLOCK_ROWS = 1024
"""Rows that go through the network together."""

Array = np.ndarray[Any, Any]


class Spread(NamedTuple):
    """Mean and standard deviation of the outputs over the masks, in the shape of the outputs."""

    mean: Array
    spread: Array


def predict_with_spread(model: Any, X: Any, samples: int = 100) -> Spread:
    """Run the rows of X through a network ``samples`` times, each time with other dropout masks.

    The mean approximates that of the 2^n thinned networks (which one pass without dropout only scales for); the spread,
    the standard deviation with samples - 1 in the denominator, says how sure the network is. Only dropout layers are in
    training mode; the model keeps its own. The outputs are those of the model: end it with Softmax to average
    probabilities. Errors: `ArgumentError` for fewer than 2 samples, or a model without dropout.
    Source: Gal & Ghahramani 2016; Srivastava et al. 2014, section 7.5.

    >>> import numpy as np, chainrule as cr
    >>> _ = cr.manual_seed(0)
    >>> model = cr.nn.Sequential(cr.nn.Linear(1, 50), cr.nn.ReLU(), cr.nn.Dropout(0.2), cr.nn.Linear(50, 1))
    >>> mean, spread = predict_with_spread(model, np.array([[0.1], [10.0]]), samples=200)
    >>> bool(spread[1] > 10 * spread[0])
    True
    """
    if samples < 2:
        raise ArgumentError(f"samples must be at least 2, got {samples}: one sample has no spread")
    layers = [part for part in model.modules() if isinstance(part, DroppingLayer)]
    if not any(layer.p > 0 for layer in layers):
        raise ArgumentError("the model has no dropout layer, so all samples are equal. fix: nn.Dropout, or predict(X)")
    array = check_features(X)
    dtype = next((parameter.dtype for parameter in model.parameters()), float32)
    with no_grad(), mode(model, lambda part: isinstance(part, DroppingLayer)):
        blocks = [
            _sample(model, array[start : start + BLOCK_ROWS], samples, dtype)
            for start in range(0, len(array), BLOCK_ROWS)
        ]
    return Spread(np.concatenate([block.mean for block in blocks]), np.concatenate([block.spread for block in blocks]))


def _sample(model: Any, block: Array, samples: int, dtype: DType) -> Spread:
    """Mean and spread by Welford's update, whose state a native loop carries from sample to sample."""
    inputs = from_array(block, dtype)
    state: list[Any] = []

    def step() -> None:
        output = model(inputs).to(float64)
        state.extend(_zeros(shape) for shape in ((), output.shape, output.shape))
        count, mean, squares = state
        write(count, count + 1)
        deviation = output - mean
        write(mean, mean + deviation / count)
        write(squares, squares + deviation * (output - mean))

    Loop(step).run(samples)
    _, mean, squares = (tensor.numpy() for tensor in state)
    result = dtype.numpy
    return Spread(mean.astype(result), np.sqrt(squares / (samples - 1)).astype(result))


def _zeros(shape: Any) -> Any:
    zeros = from_array(np.zeros(tuple(shape)))
    make_slot(zeros)
    return zeros
