"""A counter of changes to modules and optimisers: what was remembered of them is out of date when it has risen."""

from __future__ import annotations


class Structure:
    """``version`` rises with every change that can alter what a built-in module or an optimiser records.

    Such changes are: an attribute of a built-in module is written, a parameter, buffer, child or hook is registered
    anywhere, a module is switched between training and evaluation, a parameter changes ``requires_grad`` or its memory,
    an option of an optimiser other than the learning rate changes. ``switches`` counts those changes that were mere
    switches between training and evaluation.
    """

    __slots__ = ("switches", "version")

    def __init__(self) -> None:
        self.version = 0
        self.switches = 0

    @property
    def version_in_any_mode(self) -> int:
        """A version that does not rise with switches, for what sets the mode itself."""
        return self.version - self.switches


structure = Structure()


def note_change() -> None:
    """Declare everything remembered so far out of date."""
    structure.version += 1


def note_switch() -> None:
    """Declare out of date what was remembered, but for `version_in_any_mode`."""
    structure.version += 1
    structure.switches += 1
