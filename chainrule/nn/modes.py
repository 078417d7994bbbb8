"""Putting a network in training or evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..tensor.structure import note_change


@contextmanager
def mode(model: Any, is_training: Callable[[Any], bool]) -> Iterator[None]:
    """Give each module of a network the mode that ``is_training`` says; afterwards each has its own again."""
    before = {part: part.training for part in model.modules()}
    _switch({part: is_training(part) for part in before})
    try:
        yield
    finally:
        _switch(before)


def _switch(modes: dict[Any, bool]) -> None:
    for part, is_training in modes.items():
        part.__dict__["training"] = is_training
    note_change()
