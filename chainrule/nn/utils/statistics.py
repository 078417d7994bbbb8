"""Running statistics anew, over all batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...tensor.gradmode import no_grad
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle
from ...tensor.segment import flush
from ..modes import mode
from ..normalization import BatchNorm1d


def update_bn(loader: Any, model: Any, device: Any = None, *, batch_size: int = 128) -> None:
    """Set the running statistics of all batch normalisations to their averages over the batches of ``loader``.

    That is the population's mean E[μ_B] and variance m/(m-1) · E[σ²_B], which moving averages only follow; needed after
    training, and after averaging weights. A batch is an input, or a tuple or list that starts with it; an array or
    tensor is taken ``batch_size`` rows at a time. ``device`` is accepted for compatibility. The model keeps its mode.
    Source: Ioffe & Szegedy 2015, Algorithm 2, lines 7 to 10.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.BatchNorm1d(1))
    >>> cr.nn.utils.update_bn([cr.tensor([[1.0], [3.0]]), cr.tensor([[5.0], [7.0]])], model)
    >>> model[0].running_mean, model[0].running_var
    (tensor([4.]), tensor([2.]))
    """
    layers = [part for part in model.modules() if isinstance(part, BatchNorm1d) and part.track_running_stats]
    if not layers:
        return
    if isinstance(loader, Handle | np.ndarray):
        loader = _slices(as_tensor(loader), batch_size)
    momenta = [layer.momentum for layer in layers]
    batches = 0
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    try:
        with no_grad(), mode(model, lambda part: True):
            for batch in loader:
                model(as_tensor(batch[0] if isinstance(batch, tuple | list) else batch))
                flush()
                batches += 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not batches:
        raise ArgumentError("update_bn: the loader gave no batches, so there are no statistics")


def _slices(rows: Any, batch_size: int) -> Iterator[Any]:
    """Batches of at most ``batch_size`` rows, of nearly equal size: a last one of a single row has no variance."""
    count = max(1, -(-len(rows) // batch_size))
    edges = [len(rows) * number // count for number in range(count + 1)]
    return (rows[start:end] for start, end in itertools.pairwise(edges) if end > start)
