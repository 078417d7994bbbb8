"""What a sequence of built-in layers recorded, remembered: calling it again records one handle, however deep it is."""

from __future__ import annotations

from typing import Any

from ..graph.vertex import Vertex
from ..tensor.generator import default_generator
from ..tensor.operands import enter_all
from ..tensor.segment import Segment
from .structure import structure

MAX_ENTRIES = 256
"""Inputs remembered per sequence; then it starts afresh, so that a chain of ever new inputs does not grow it."""


class Memo:
    """For one sequence at one version of the structure: input vertex → output vertex, with and without gradients.

    ``is_usable``: the sequence holds built-in modules without hooks only. ``draws``: it draws random numbers; what it
    records then depends on the random state of the segment too, which `random_key` names.
    """

    __slots__ = ("draws", "found", "is_usable", "version")

    def __init__(self, sequence: Any, forward: Any) -> None:
        self.version = structure.version
        modules = list(sequence.modules())
        self.is_usable = type(sequence).forward is forward and all(
            (module.is_builtin or module is sequence) and not module._has_hooks and "forward" not in module.__dict__
            for module in modules
        )
        self.draws = any(getattr(module, "draws_random_numbers", False) for module in modules)
        self.found: dict[Any, tuple[Vertex, int]] = {}

    def random_key(self, segment: Segment) -> tuple[Any, ...]:
        """Names the random numbers that come next in this segment."""
        if segment.generator is None:
            segment.generator = default_generator._begin(segment)
        _, (seed, counter) = enter_all(*segment.generator)
        return seed, counter, segment.draws

    def record(self, sequence: Any, input: Any, key: Any, segment: Segment) -> Any:
        """Call the layers, and remember the result if it follows from ``key`` alone."""
        leaves, draws = len(segment.leaves), segment.draws
        output = sequence.forward(input)
        if output._segment is segment and len(segment.leaves) == leaves and not segment.updates:
            if len(self.found) >= MAX_ENTRIES:
                self.found.clear()
            self.found[key] = (output._vertex, segment.draws - draws)
        return output
