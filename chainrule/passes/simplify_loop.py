"""Rules for loops."""

from __future__ import annotations

from ..graph.vertex import Vertex
from .rewriting import rule


@rule("loop")
def keep_first_carry(vertex: Vertex) -> Vertex | None:
    """Behind no step a carry is what it was before the first."""
    is_first = vertex.attributes["length"] == 0 and vertex.attributes["result"] == "carry"
    return vertex.inputs[vertex.attributes["number"]] if is_first else None
