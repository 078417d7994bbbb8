"""A counter of changes to modules and optimisers: what was remembered of them is out of date when it has risen."""

from __future__ import annotations


class Structure:
    """``version`` rises with every change that can alter what a built-in module or an optimiser records.

    Such changes are: an attribute of a built-in module is written, a parameter, buffer, child or hook is registered
    anywhere, a module is switched between training and evaluation, a parameter changes ``requires_grad`` or its memory,
    an option of an optimiser other than the learning rate changes.
    """

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


structure = Structure()


def note_change() -> None:
    """Declare everything remembered so far out of date."""
    structure.version += 1
