"""Parameters and their gradients as one long vector, for methods that think in vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor.recording import note_write
from ..tensor.segment import flush
from .state import memory_of

Vector = np.ndarray[Any, np.dtype[np.float64]]


class FlatParameters:
    """Parameters one after another as a vector, float64 whatever they are themselves.

    It looks into their memory, so it is made anew whenever somebody may have given them another.
    """

    def __init__(self, parameters: Sequence[Any]) -> None:
        flush()  # what is pending belongs to no evaluation
        self._parameters = parameters
        self._views = [memory_of(parameter) for parameter in parameters]
        self._buffer: Vector = np.concatenate(self._views, axis=None, dtype=np.float64)
        ends = np.cumsum([view.size for view in self._views])[:-1]
        pieces = np.split(self._buffer, ends)
        self._pieces = [piece.reshape(view.shape) for piece, view in zip(pieces, self._views, strict=True)]
        self._gradients: list[Any] = [None] * len(parameters)
        self._slopes = [np.zeros(view.shape) for view in self._views]  # the memory of the gradients

    def position(self) -> Vector:
        """The parameters."""
        position: Vector = np.concatenate(self._views, axis=None, dtype=np.float64)
        return position

    def gradient(self) -> Vector:
        """Their gradients; zeros where there is none."""
        flush()  # the closure may have limited the gradients
        for number, parameter in enumerate(self._parameters):
            gradient = parameter._grad  # not `grad`, which gives its memory away for good
            if gradient is not self._gradients[number]:
                self._gradients[number] = gradient
                self._slopes[number] = np.zeros(parameter.shape) if gradient is None else gradient._array()
        flat: Vector = np.concatenate(self._slopes, axis=None, dtype=np.float64)
        return flat

    def move_to(self, position: Vector) -> None:
        """Change the parameters."""
        flush()
        self._buffer[...] = position
        for view, piece, parameter in zip(self._views, self._pieces, self._parameters, strict=True):
            view[...] = piece
            note_write(parameter)
