"""Group nodes into kernels, so that a value which is used where it is made never goes through memory.

A group shares one domain; each member visits it in its own order of dimensions (``Group.places``). Two groups may
become one if every value that goes from one to the other is used at the very point where it is computed, if it is not
the result of a reduction, and if nothing outside both lies between them. Three steps, none repeated:

1. products take the elementwise nodes behind them as their epilogue, in topological order;
2. nests and epilogues take producers and consumers with which they exchange values;
3. nests that exchange nothing but read the same array, or are very small, are put together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..graph.vertex import Vertex
from ..types import Shape
from .access import core
from .nodes import Node, Read, make_nodes
from .place import Placement
from .storage import choose_stored

MEMBER_LIMIT = 256  # nodes of one kernel: bounds the time that code generation takes
MERGE_TRIALS = 8  # small nests with which another is tried: bounds the time of fusing long programs
SMALL = 64  # points of a nest whose work is about as long as the call of a kernel
_COSTLY = {"exp", "expm1", "floored_log", "log", "log1p", "sin", "cos", "tanh", "erf", "sigmoid", "power"}


class Order(NamedTuple):
    """How reductions go through their points: the reduced dimensions in order, whether the last of all is among them.

    ``rounding`` is what the order matters to: the size of floats (also of extrema: 0.0 may meet -0.0), 0 for integers;
    positions cannot be found in chunks.
    """

    axes: tuple[int, ...]
    is_last: bool
    rounding: int

    def joined(self, other: Order, domain: Shape) -> Order | None:
        """The order of both, None if they differ."""
        if self[:2] != other[:2]:
            return None
        kinds = {self.rounding, other.rounding} - {0}
        if POSITIONS in kinds and math.prod(domain) < LONG:
            kinds.discard(POSITIONS)
        return None if len(kinds) > 1 else self._replace(rounding=max((0, *kinds), key=abs))


POSITIONS = -1
LONG = 1 << 18  # points from which on reductions are done in chunks, or earlier


def _rounding(node: Node) -> int:
    name, dtype = node.vertex.primitive.name, node.vertex.dtype
    if name in ("argmax", "argmin"):
        return POSITIONS
    return dtype.size if dtype.kind == "float" else 0


class Group:
    """Nodes that become one kernel. ``places[node][d]`` is the group's dimension along dimension d of a node's domain.

    ``order`` says how its reductions sum, None without any. ``bits`` marks the members by bits of their
    numbers, ``reaches`` one member or more of each group that depends on this one. Nodes that fill,
    scan or loop, or write in order, stay alone.
    """

    __slots__ = ("bits", "domain", "is_alone", "members", "order", "places", "product", "reaches")

    def __init__(self, node: Node, reaches: int) -> None:
        identity = tuple(range(len(node.domain)))
        self.members = [node]
        self.product = node if node.kind == "product" else None
        self.domain = node.domain
        self.places = {node: identity}
        self.order = Order(node.axes, node.reduces_last, _rounding(node)) if node.kind == "reduction" else None
        self.is_alone = node.kind in ("fill", "scan", "loop") or (node.write is not None and node.write.is_ordered)
        self.bits = 1 << node.number
        self.reaches = reaches

    def core_places(self, node: Node) -> tuple[int, ...]:
        """The group's dimension along each core dimension of a member."""
        places = self.places[node]
        return tuple(places[d] for d in node.core_dimensions)


@dataclass(frozen=True)
class Fused:
    """Groups that together hold every node of a placed graph once, each behind those whose values it needs.

    ``stored`` are the nodes whose values go through memory.
    """

    placement: Placement
    groups: tuple[Group, ...]
    stored: frozenset[Node]


def fuse(placement: Placement) -> Fused:
    """Return the groups of a graph's nodes."""
    nodes, made_by = make_nodes(placement.graph.order())
    fusion = _Fusion(nodes)
    roots = {node for vertex in placement.homes for node in made_by[vertex]}
    fusion.take_epilogues(roots)
    fusion.take_producers(roots)
    fusion.merge_nests()
    fusion.merge_readers()
    fusion.merge_small()
    group_of = dict(zip(nodes, fusion.group_of, strict=True))
    overwritten = {target for target, _ in placement.graph.updates}
    stored = choose_stored(nodes, group_of, roots, overwritten)
    return Fused(placement, tuple(fusion.ordered_groups()), frozenset(stored))


def takes_epilogue(node: Node, only_reduced: set[Node]) -> bool:
    """Whether an elementwise node is better computed in the epilogue of a product than in a nest.

    Values that only reductions use stay with the reductions: then they need not be stored. So do costly ones that a
    reduction uses among others, rather than being computed twice.
    """
    if node in only_reduced:
        return False
    name = node.vertex.primitive.name
    is_reduced = any(consumer.kind == "reduction" or consumer in only_reduced for consumer, _ in node.consumers)
    return not (name in _COSTLY and is_reduced)


def _find_only_reduced(nodes: Sequence[Node]) -> set[Node]:
    """Elementwise nodes whose value goes into reductions and nowhere else, directly or through others like them."""
    found: set[Node] = set()
    for node in reversed(nodes):
        users = [consumer for consumer, _ in node.consumers]
        if node.kind == "elementwise" and users and all(user.kind == "reduction" or user in found for user in users):
            found.add(node)
    return found


class _Fusion:
    """The sweeps, and which group each node is in."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        reaches = [0] * len(nodes)
        for node in reversed(nodes):
            reached = 1 << node.number
            for consumer, _ in node.consumers:
                reached |= reaches[consumer.number]
            reaches[node.number] = reached
        self.group_of = [Group(node, reaches[node.number]) for node in nodes]

    def take_epilogues(self, roots: set[Node]) -> None:
        """Let each elementwise node join the latest product whose result, or epilogue, it continues."""
        only_reduced = _find_only_reduced(self.nodes) - roots
        for node in self.nodes:
            if node.kind not in ("elementwise", "part") or not takes_epilogue(node, only_reduced):
                continue
            for producer, read in sorted(node.sources, key=lambda source: -source[0].number):
                if self.group_of[producer.number].product and self._join(producer, node, read):
                    break

    def take_producers(self, roots: set[Node]) -> None:
        """Let elementwise nodes join the epilogue that alone uses them."""
        for node in reversed(self.nodes):
            users = {self.group_of[consumer.number] for consumer, _ in node.consumers}
            if node.kind != "elementwise" or node in roots or len(users) != 1 or not next(iter(users)).product:
                continue
            consumer, read = node.consumers[0]
            self._join(node, consumer, read)

    def merge_nests(self) -> None:
        """Merge nests that exchange values."""
        for node in self.nodes:
            for producer, read in sorted(node.sources, key=lambda source: -source[0].number):
                if not (self.group_of[producer.number].product or self.group_of[node.number].product):
                    self._join(producer, node, read)

    def merge_small(self) -> None:
        """Merge small nests of one domain that have nothing else in common: each is too short to be worth a kernel."""
        kept: dict[tuple[Shape, bool], list[Group]] = {}
        for group in self._nests():
            if math.prod(group.domain) > SMALL:
                continue
            same = kept.setdefault((group.domain, group.order is None), [])
            identity = {d: d for d in range(len(group.domain))}
            if not any(self._merge(other, group, identity) for other in same[-MERGE_TRIALS:]):
                same.append(group)

    def merge_readers(self) -> None:
        """Merge nests that read the same array in the same order."""
        readers: dict[Vertex, list[tuple[Node, Read]]] = {}
        for node in self.nodes:
            for read in node.reads:
                if read.permutation:
                    readers.setdefault(read.base, []).append((node, read))
        for found in readers.values():
            in_nests = [(node, read) for node, read in found if self.group_of[node.number].product is None]
            for node, read in in_nests[1:]:
                first, first_read = in_nests[0]
                group, other = self.group_of[first.number], self.group_of[node.number]
                if group is other:
                    continue
                places, other_places = group.places[first], other.places[node]
                pairs = zip(first_read.permutation or (), read.permutation or (), strict=True)
                self._merge(group, other, {other_places[b]: places[a] for a, b in pairs})

    def _nests(self) -> list[Group]:
        return [group for group in dict.fromkeys(self.group_of) if group.product is None]

    def _join(self, producer: Node, consumer: Node, read: Read | None) -> bool:
        """Merge the groups of two linked nodes, if allowed; a product keeps its domain."""
        if read is None or read.permutation is None or not producer.gives_value:
            return False
        upper, lower = self.group_of[producer.number], self.group_of[consumer.number]
        if upper is lower:
            return False
        produced = upper.core_places(producer)
        consumed = tuple(lower.places[consumer][dimension] for dimension in read.permutation)
        if lower.product:
            return self._merge(lower, upper, dict(zip(produced, consumed, strict=True)))
        return self._merge(upper, lower, dict(zip(consumed, produced, strict=True)))

    def _merge(self, group: Group, other: Group, mapping: dict[int, int]) -> bool:
        """Put ``other`` into ``group``, its dimension d becoming ``mapping[d]``, if that is legal."""
        if not _are_compatible(group, other, mapping):
            return False
        if self._is_between(group, other) or self._is_between(other, group):
            return False
        moved = {node: tuple(mapping[d] for d in places) for node, places in other.places.items()}
        if not self._exchange_at_points(group, other, {**group.places, **moved}):
            return False
        group.places.update(moved)
        group.members += other.members
        if other.order is not None:
            group.order = _joined(group, other, mapping)
        group.bits |= other.bits
        for node in other.members:
            self.group_of[node.number] = group
        self._extend_reach(group, group.reaches | other.reaches)
        return True

    def _extend_reach(self, group: Group, reached: int) -> None:
        """Note that the group leads to ``reached``, and so does all before it (which leads to a member already)."""
        group.reaches = reached
        outside = reached & ~group.bits
        stack = [group]
        while stack:
            for node in stack.pop().members:
                for producer, _ in node.sources:
                    earlier = self.group_of[producer.number]
                    if outside & ~earlier.reaches:
                        earlier.reaches |= outside
                        stack.append(earlier)

    def ordered_groups(self) -> list[Group]:
        """The groups, each after those that it needs, else by their first nodes; members by their numbers."""
        order: list[Group] = []
        done: set[Group] = set()
        stack = list(dict.fromkeys(self.group_of))[::-1]
        while stack:
            group = stack[-1]
            needed = {self.group_of[producer.number] for node in group.members for producer, _ in node.sources}
            waiting = needed - done - {group}
            if group in done or not waiting:
                stack.pop()
                if group not in done:
                    done.add(group)
                    order.append(group)
                    group.members.sort(key=lambda node: node.number)
            else:
                stack += sorted(waiting, key=lambda group: -group.members[0].number)
        return order

    def _is_between(self, upper: Group, lower: Group) -> bool:
        """Whether a third group needs a value of ``upper`` and leads to ``lower``."""
        for node in upper.members:
            for consumer, _ in node.consumers:
                middle = self.group_of[consumer.number]
                if middle is not upper and middle is not lower and middle.reaches & lower.bits:
                    return True
        return False

    def _exchange_at_points(self, group: Group, other: Group, places: dict[Node, tuple[int, ...]]) -> bool:
        """Whether each value that goes between the groups is used at the point where it is computed."""
        for node in other.members:
            above = [(producer, node, read) for producer, read in node.sources]
            below = [(node, consumer, read) for consumer, read in node.consumers]
            for producer, consumer, read in above + below:
                linked = consumer if producer is node else producer
                if self.group_of[linked.number] is not group:
                    continue
                if read is None or read.permutation is None or not producer.gives_value:
                    return False
                produced = [places[producer][d] for d in producer.core_dimensions]
                if produced != [places[consumer][d] for d in read.permutation]:
                    return False
        return True


def _are_compatible(group: Group, other: Group, mapping: dict[int, int]) -> bool:
    """Whether the loops fit: same extents, reductions over the same dimensions, none in an epilogue, one product."""
    if group.is_alone or other.is_alone or other.product or len(group.members) + len(other.members) > MEMBER_LIMIT:
        return False
    if core(group.domain) != tuple(other.domain[d] for d in sorted(mapping, key=mapping.__getitem__)):
        return False
    return other.order is None or not (group.product or _joined(group, other, mapping) is None)


def _joined(group: Group, other: Group, mapping: dict[int, int]) -> Order | None:
    """The order of the reductions of both groups, of which the other has some; None if they differ."""
    assert other.order is not None
    moved = other.order._replace(axes=tuple(mapping[axis] for axis in other.order.axes))
    return moved if group.order is None else group.order.joined(moved, group.domain)
