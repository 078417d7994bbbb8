"""Choosing what runs programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ArgumentError, did_you_mean
from ..settings import settings
from ..tensor.segment import flush, forget_recorded
from ..tensor.structure import note_change
from .launch import forget_launches

BACKENDS = ("native", "reference")


def _switch(name: str) -> None:
    """From here on nothing remembered is used: programs are of one backend, and vertices name the line of the first."""
    settings.backend = name
    forget_launches()
    forget_recorded()
    note_change()


@contextmanager
def _running_on(name: str) -> Iterator[None]:
    before = settings.backend
    flush()
    _switch(name)
    try:
        yield
        flush()
    finally:
        _switch(before)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run programs on ``"native"`` (machine code) or ``"reference"`` (NumPy, vertex by vertex) within the context.

    >>> import chainrule as cr
    >>> with cr.backend("reference"):
    ...     print(cr.ones(2) + 1)
    tensor([2., 2.])
    """
    if name not in BACKENDS:
        raise ArgumentError(f"unknown backend {name!r}{did_you_mean(name, BACKENDS)}; expected one of {BACKENDS}")
    with _running_on(name):
        yield


@contextmanager
def debug() -> Iterator[None]:
    """Run vertex by vertex and stop at the first NaN or infinity, with the line of the program that made it.

    Errors: `NonFiniteError`.

    >>> import chainrule as cr
    >>> with cr.debug():
    ...     (cr.zeros(2) - 1).log().sum().item()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.NonFiniteError: log (natural logarithm) of float32[2] gave nan at index (0,)...
    """
    with _running_on("debug"):
        yield
