"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...tensor import shaping
from ...tensor.gradmode import no_grad
from ...tensor.operands import as_tensor


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All elements of the parameters, one parameter after another; gradients flow through it.

    >>> import chainrule as cr
    >>> cr.nn.utils.parameters_to_vector([cr.ones(2), cr.zeros(1, 1)])
    tensor([1., 1., 0.])
    """
    flat = [parameter.reshape(-1) for parameter in parameters]
    if not flat:
        raise ArgumentError("parameters_to_vector got no parameters. fix: check that the model has some")
    return shaping.cat(flat)


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Write the elements of a vector into the parameters, in order: the inverse of `parameters_to_vector`.

    Errors: `ShapeError` if it is no vector or has another number of elements; nothing is changed then.

    >>> import chainrule as cr
    >>> layer = cr.nn.Linear(1, 1)
    >>> cr.nn.utils.vector_to_parameters(cr.tensor([2.0, 3.0]), layer.parameters())
    >>> layer(cr.tensor([1.0])).item()
    5.0
    """
    members = list(parameters)
    vector = as_tensor(vec).detach()
    needed = sum(parameter.numel() for parameter in members)
    if tuple(vector.shape) != (needed,):
        raise ShapeError(f"the parameters have {needed} elements in all, got a tensor of shape {tuple(vector.shape)}")
    values, start = np.asarray(vector), 0
    with no_grad():
        for parameter in members:
            end = start + parameter.numel()
            parameter.copy_(as_tensor(values[start:end].reshape(tuple(parameter.shape))))
            start = end
