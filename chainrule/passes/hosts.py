"""Values that lie inside what is put together from them: an image in the middle of its padded copy, parts of a
concatenation. Then neither is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..graph.vertex import Vertex
from .fuse import Fused, Group
from .nodes import Node
from .place import row_major_vertices

_HOSTS = {"pad", "concatenate", "interleave"}


def find_hosts(fused: Fused) -> dict[Vertex, Node]:
    """For each stored value that lies inside another the node that would copy it there."""
    placement, group_of = fused.placement, {node: group for group in fused.groups for node in group.members}
    made_by = {node.vertex: node for node in group_of if node.gives_value}
    fixed = row_major_vertices(placement.graph) | set(placement.homes)
    hosts: dict[Vertex, Node] = {}
    for node in group_of:
        is_part = node.kind == "part" and node.vertex.primitive.name in _HOSTS
        if not is_part or node.after or node.vertex in placement.homes:  # zeros would be written over the value
            continue
        (read,) = node.reads
        made = made_by.get(read.base)
        may_move = read.permutation is not None and read.base not in fixed and read.base not in hosts
        if may_move and made in fused.stored and not _meets_itself(node, made, hosts, group_of):
            hosts[read.base] = node
    return hosts


def _meets_itself(part: Node, made: Node, hosts: Mapping[Vertex, Node], group_of: Mapping[Node, Group]) -> bool:
    """Whether a kernel would read one part of the host and write another."""
    host = part.vertex

    def is_written_by(group: Group) -> bool:
        return any(node.vertex is host or _lies_in(node, host, hosts) for node in group.members)

    group = group_of[made]
    if any(_lies_in(source, host, hosts) for member in group.members for source, _ in member.sources):
        return True
    readers = {group_of[consumer] for consumer, _ in made.consumers} - {group}
    if group_of[part].members == [part]:  # nothing is left of it
        readers -= {group_of[part]}
    return any(map(is_written_by, readers))


def _lies_in(node: Node, host: Vertex, hosts: Mapping[Vertex, Node]) -> bool:
    return node.vertex in hosts and hosts[node.vertex].vertex is host
