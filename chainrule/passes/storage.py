"""Decide which values go through memory. The others stay in registers, or are computed again where they are used.

A value that another kernel uses is computed again there if it is cheap and follows from one array that lies in memory
anyway: the mask of a ReLU from its result, a one-hot row from the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph.vertex import Vertex
from .access import core, is_alias
from .nodes import Node, Read

RECOMPUTE_LIMIT = 4  # operations per element; a store and a load cost about as much
REPEATED_LIMIT = 2  # the same for an element that is used many times (broadcast)
_CHEAP = {
    "add", "subtract", "multiply", "negative", "abs", "sign", "maximum", "minimum", "where", "cast", "equal",
    "not_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not",
}  # fmt: skip


def choose_stored(
    nodes: Sequence[Node], group_of: Mapping[Node, object], roots: set[Node], overwritten: set[Vertex]
) -> set[Node]:
    """Return the nodes with a buffer. Others are used only in their own group, or computed again.

    ``overwritten`` are inputs that the program updates: reading them late would keep updates from happening in place.
    """
    stored: set[Node] = set()
    recipes: dict[Vertex, tuple[int, frozenset[Vertex]]] = {}  # operations and arrays read, where computing again pays
    made_by = {node.vertex: node for node in nodes if node.gives_value}
    for node in nodes:
        abroad = [link for link in node.consumers if group_of[link[0]] is not group_of[node]]
        recipe = _recipe(node, recipes, stored, made_by, overwritten)
        if recipe is not None:
            recipes[node.vertex] = recipe
        must_be_read = abroad and (recipe is None or not all(_can_compute_again(*link, recipe[0]) for link in abroad))
        if must_be_read or node in roots or not node.gives_value:
            stored.add(node)
    return stored


def _can_compute_again(consumer: Node, read: Read | None, operations: int) -> bool:
    """Whether the reader may compute the value itself; where elements are repeated, more operations come of it."""
    if consumer.kind in ("product", "loop") or read is None or is_alias(read.base):
        return False
    if any(read is other and other.position is not None for other in consumer.reads):
        return False  # at a run-time position
    return operations <= (RECOMPUTE_LIMIT if read.permutation is not None else REPEATED_LIMIT)


def _recipe(
    node: Node,
    recipes: Mapping[Vertex, tuple[int, frozenset[Vertex]]],
    stored: set[Node],
    made_by: Mapping[Vertex, Node],
    overwritten: set[Vertex],
) -> tuple[int, frozenset[Vertex]] | None:
    """How many operations compute the node from which arrays; None if it is not worth computing twice."""
    if node.kind != "elementwise" or node.vertex.primitive.name not in _CHEAP:
        return None
    operations, arrays = 1, frozenset[Vertex]()
    for read in node.reads:
        if _is_in_memory(read, stored, made_by, overwritten):
            arrays |= {read.base} if core(read.base.shape) else frozenset()
        elif read.base in recipes:
            operations += recipes[read.base][0]
            arrays |= recipes[read.base][1]
        elif read.base.primitive.name not in ("constant", "iota"):
            return None
    return (operations, arrays) if operations <= RECOMPUTE_LIMIT and len(arrays) <= 1 else None


def _is_in_memory(read: Read, stored: set[Node], made_by: Mapping[Vertex, Node], overwritten: set[Vertex]) -> bool:
    if read.base.primitive.name == "input":
        return read.base not in overwritten
    return read.base in made_by and made_by[read.base] in stored
