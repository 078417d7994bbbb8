"""Group nodes into kernels, so that a value which is used where it is made never goes through memory.

A group shares one domain; each member visits it in its own order of dimensions (``Group.places``). Two groups may become
one if every value that goes from one to the other is used at the very point where it is computed, if it is not the result
of a reduction, and if nothing outside both lies between them. Three sweeps, each over the nodes once:

1. products take the elementwise nodes behind them as their epilogue, in topological order;
2. nests and epilogues take producers and consumers with which they exchange values;
3. nests that exchange nothing but read the same memory, and all work on single numbers, are put together.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.vertex import Vertex
from .access import core
from .nodes import Node, Read

MEMBER_LIMIT = 256  # nodes of one kernel: bounds the time that code generation takes


class Group:
    """Nodes that become one kernel. ``places[node][d]`` is the group's dimension along dimension d of the node's domain.

    ``axes`` are the dimensions reduced by its reductions, None without any. ``bits`` marks the members and ``reaches`` all
    nodes that depend on the group, members included, as bits of their numbers. Nodes that fill or accumulate stay alone.
    """

    __slots__ = ("axes", "bits", "domain", "is_alone", "members", "places", "product", "reaches")

    def __init__(self, node: Node, reaches: int) -> None:
        identity = tuple(range(len(node.domain)))
        self.members = [node]
        self.product = node if node.kind == "product" else None
        self.domain = node.domain
        self.places = {node: identity}
        self.axes: frozenset[int] | None = frozenset(node.axes) if node.kind == "reduction" else None
        self.is_alone = node.kind == "fill" or (node.write is not None and node.write.accumulate)
        self.bits = 1 << node.number
        self.reaches = reaches


    def core_places(self, node: Node) -> tuple[int, ...]:
        """The group's dimension along each core dimension of a member."""
        places = self.places[node]
        return tuple(places[d] for d in node.core_dimensions)


def fuse(nodes: Sequence[Node], roots: set[Node]) -> list[Group]:
    """Return the groups; every node is in one of them. ``roots`` are nodes whose value must be stored."""
    fusion = _Fusion(nodes)
    fusion.take_epilogues()
    fusion.take_producers(roots)
    fusion.merge_nests()
    fusion.merge_scalars()
    fusion.merge_readers()
    groups = list(dict.fromkeys(fusion.group_of))
    for group in groups:
        group.members.sort(key=lambda node: node.number)
    return groups


def takes_epilogue(product: Node, node: Node) -> bool:
    """Whether an elementwise node is better computed in the product's epilogue than in a nest of its own.

    Values that only reductions use stay with the reductions: then they need not be stored.
    """
    return not node.consumers or any(consumer.kind != "reduction" for consumer, _ in node.consumers)


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
        self.groups = set(self.group_of)

    def take_epilogues(self) -> None:
        """Let each elementwise node join the latest product whose result, or epilogue, it continues."""
        for node in self.nodes:
            if node.kind not in ("elementwise", "part"):
                continue
            for producer, read in sorted(node.sources, key=lambda source: -source[0].number):
                product = self.group_of[producer.number].product
                if product is not None and takes_epilogue(product, node) and self._join(producer, node, read):
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

    def merge_scalars(self) -> None:
        """Merge nests that compute single numbers: each is too short to be worth a kernel."""
        kept: list[Group] = []
        for group in self._nests():
            if group.domain == () and not any(self._merge(other, group, {}) for other in kept):
                kept.append(group)

    def merge_readers(self) -> None:
        """Merge nests that read the same array in the same order."""
        readers: dict[Vertex, list[tuple[Node, Read]]] = {}
        for node in self.nodes:
            for read in node.reads:
                if read.permutation:
                    readers.setdefault(read.base, []).append((node, read))
        for found in readers.values():
            first, first_read = found[0]
            for node, read in found[1:]:
                group, other = self.group_of[first.number], self.group_of[node.number]
                if group is other or group.product or other.product:
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
        if not _are_compatible(group, other, mapping) or self._is_between(group, other) or self._is_between(other, group):
            return False
        moved = {node: tuple(mapping[d] for d in places) for node, places in other.places.items()}
        if not self._exchange_at_points(group, other, {**group.places, **moved}):
            return False
        group.places.update(moved)
        group.members += other.members
        if other.axes is not None:
            group.axes = frozenset(mapping[axis] for axis in other.axes)
        group.bits |= other.bits
        group.reaches |= other.reaches
        self.groups.discard(other)
        for node in other.members:
            self.group_of[node.number] = group
        for earlier in self.groups:
            if earlier.reaches & group.bits:
                earlier.reaches |= group.reaches
        return True

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
        for node in (*group.members, *other.members):
            own = self.group_of[node.number]
            for producer, read in node.sources:
                source = self.group_of[producer.number]
                if source is own or source not in (group, other):
                    continue
                if read is None or read.permutation is None or not producer.gives_value:
                    return False
                produced = (places[producer][d] for d in producer.core_dimensions)
                if any(a != places[node][d] for a, d in zip(produced, read.permutation, strict=True)):
                    return False
        return True


def _are_compatible(group: Group, other: Group, mapping: dict[int, int]) -> bool:
    """Whether the loops fit: same extents, reductions over the same dimensions, none in an epilogue."""
    if group.is_alone or other.is_alone or len(group.members) + len(other.members) > MEMBER_LIMIT:
        return False
    if core(group.domain) != tuple(other.domain[d] for d in sorted(mapping, key=mapping.__getitem__)):
        return False
    if other.axes is None:
        return True
    return not group.product and group.axes in (None, frozenset(mapping[axis] for axis in other.axes))
