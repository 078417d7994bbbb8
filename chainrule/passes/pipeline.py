"""The compiler's passes, in order."""

from __future__ import annotations

from collections.abc import Sequence

from dataclasses import replace

from ..graph.graph import Graph
from ..types import Shape
from .emit import emit
from .fuse import fuse
from .memory import lay_out
from .nodes import make_nodes
from .normalize import normalize
from .place import place
from .plan import Plan


def make_plan(graph: Graph, output_strides: Sequence[Shape | None] | None = None) -> Plan:
    placement = place(graph, output_strides)
    nodes, made_by = make_nodes(placement.graph.order())
    roots = {node for vertex in placement.homes for node in made_by[vertex]}
    groups = fuse(nodes, roots)
    draft = emit(placement, groups)
    kernels = (normalize(kernel) for kernel in draft.kernels)
    return lay_out(replace(draft, kernels=tuple(kernel for kernel in kernels if kernel is not None)))
