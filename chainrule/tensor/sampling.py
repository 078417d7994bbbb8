"""Random choices whose probabilities are tensors, recorded like any operation, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError, ShapeError
from . import cumulative, operations, partition, sorting
from .generator import Generator, default_generator
from .keywords import pytorch_keywords
from .operands import as_tensor

METHODS = ("bernoulli", "multinomial")


def _uniform(shape: tuple[int, ...], generator: Generator | None) -> Any:
    return (generator or default_generator).draw_uniform(shape)


@pytorch_keywords
def bernoulli(input: Any, p: float | None = None, *, generator: Generator | None = None) -> Any:
    """1 with the probability that the element (or ``p``) says, else 0; of the input's type.

    >>> import chainrule as cr
    >>> cr.bernoulli(cr.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    x = as_tensor(input)
    chance = x.detach() if p is None else p
    return operations.convert(operations.lt(_uniform(tuple(x.shape), generator), chance), x.dtype)


@pytorch_keywords
def multinomial(input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Any:
    """``num_samples`` positions for each row of weights, drawn in proportion to them; without replacement by default.

    With replacement by the inverse of the cumulative weights. Without, the smallest of exponential times whose rates
    are the weights: see Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir".

    Errors: `ArgumentError` for more samples than weights without replacement.

    >>> import chainrule as cr
    >>> cr.multinomial(cr.tensor([0.0, 3.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    weights = as_tensor(input).detach()
    if weights.dim() not in (1, 2) or not weights.dtype.is_floating_point:
        raise ShapeError(
            f"multinomial expects a vector or matrix of floats, got {weights.dtype} of shape {tuple(weights.shape)}"
        )
    count = weights.shape[-1]
    if num_samples < 1 or (num_samples > count and not replacement):
        raise ArgumentError(
            f"cannot sample n_sample = {num_samples} of {count} categories without replacement, or less than 1"
        )
    if not replacement:
        waits = operations.neg(operations.log1p(operations.neg(_uniform(tuple(weights.shape), generator))))
        is_possible = operations.gt(weights, 0)
        times = operations.where(is_possible, operations.div(waits, weights), math.inf)
        return sorting.topk(times, num_samples, -1, largest=False).indices
    ends = cumulative.cumsum(weights, -1)
    drawn = _uniform((*weights.shape[:-1], num_samples), generator)
    total = partition.narrow(ends, -1, count - 1, 1)
    found = sorting.searchsorted(ends, operations.mul(operations.convert(drawn, weights.dtype), total), right=True)
    last = sorting.searchsorted(ends, total)  # the first place where all weight is reached
    return operations.minimum(found, last)
