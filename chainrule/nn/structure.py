"""A counter of changes to modules, by which everything that was remembered about their structure knows it is out of date."""

from __future__ import annotations


class Structure:
    """``version`` rises with every change that can alter what a module built into chainrule records.

    Such changes are: an attribute of a built-in module is written, a parameter, buffer, child or hook is registered
    anywhere, a module is switched between training and evaluation, a parameter changes ``requires_grad`` or its memory.
    """

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


structure = Structure()


def note_change() -> None:
    """Declare everything remembered so far out of date."""
    structure.version += 1
