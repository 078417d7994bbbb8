"""The graph as loop work: one node per vertex that is computed, its operands read through index maps.

Views disappear into the maps. A vertex that is put together from parts (concatenate, pad, scatter ...) becomes several
nodes that write into one buffer, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..errors import CompilationError
from ..graph.vertex import Vertex
from ..ops.loop import LOOP, Run, find_runs
from ..types import Shape
from .access import (
    VIEWS,
    IndexMap,
    alias_origin,
    as_permutation,
    broadcast_index,
    core,
    find_base,
    full_map,
    identity_map,
    is_alias,
)
from .plan import Range

FRAMED = 1 << 14
"""Elements from which on only what is around an array is filled with zeros: below, one kernel is faster than four."""


@dataclass(eq=False, slots=True)
class Read:
    """An operand: the vertex whose buffer or value is read, at ``index``.

    With ``position``, the last coefficient of ``index`` belongs to a run-time index: the value read there, clamped to
    [0, limit]. ``permutation`` says which dimension of the node's domain runs along each core dimension of ``base``;
    None unless each element is read once, at the point where it would be computed.
    """

    base: Vertex
    index: IndexMap
    permutation: tuple[int, ...] | None = None
    position: Read | None = None
    limit: int = 0


@dataclass(eq=False, slots=True)
class Write:
    """Where a node that writes a part of ``target`` puts its value; ``position`` and ``limit`` as in `Read`.

    ``is_ordered``: several points may write to one place; they do so in the order of the domain.
    """

    target: Vertex
    index: IndexMap
    position: Read | None = None
    limit: int = 0
    accumulate: bool = False
    is_ordered: bool = False


@dataclass(eq=False)
class Node:
    """Work over ``domain``. ``kind``: ``"elementwise"``, ``"reduction"``, ``"product"``, ``"scan"``, ``"part"``,
    ``"fill"`` or ``"loop"``.

    ``axes`` are the reduced dimensions of the domain. A part copies its one operand to ``write``; a fill writes zeros
    there. ``ranges`` are those of a `Contraction`. A loop computes all ``results`` of one run. ``after`` are nodes that
    must run before although none of their values is read. ``sources`` and ``consumers`` link nodes, each with the read
    that makes the link (None for ``after``).
    """

    vertex: Vertex
    kind: str
    domain: Shape
    reads: tuple[Read, ...]
    axes: tuple[int, ...] = ()
    write: Write | None = None
    after: tuple[Node, ...] = ()
    ranges: tuple[Range, ...] = ()
    results: tuple[Vertex, ...] = ()
    number: int = 0
    sources: list[tuple[Node, Read | None]] = field(default_factory=list)
    consumers: list[tuple[Node, Read | None]] = field(default_factory=list)

    @property
    def core_dimensions(self) -> tuple[int, ...]:
        """The dimensions of the domain whose extent is not 1 (only products have others)."""
        return tuple(d for d, extent in enumerate(self.domain) if extent != 1)

    @property
    def reduces_last(self) -> bool:
        """Whether the last dimension is reduced."""
        return len(self.domain) - 1 in self.axes

    @property
    def gives_value(self) -> bool:
        """Whether others may use the value where it is computed: it is complete there, and that of ``vertex``."""
        return self.kind in ("elementwise", "product")


def make_read(operand: Vertex, index: IndexMap, domain: Shape) -> Read:
    """Read ``operand`` at ``index``, looking through its views."""
    # A scalar's map is empty like that of any other scalar, also where it is read in a larger domain.
    is_identity = index is identity_map(operand.shape) and bool(index or not domain)
    if is_identity and operand.primitive.name not in VIEWS:
        return Read(operand, index, _identity_permutation(len(domain)))
    base, index = find_base(operand, index)
    return Read(base, index, None if is_alias(base) else as_permutation(index, base.shape, domain))


@lru_cache(maxsize=64)
def _identity_permutation(rank: int) -> tuple[int, ...]:
    return tuple(range(rank))


def _elementwise(vertex: Vertex) -> list[Node]:
    domain = core(vertex.shape)
    index = identity_map(vertex.shape)
    reads = tuple(
        make_read(operand, broadcast_index(index, vertex.shape, operand.shape), domain) for operand in vertex.inputs
    )
    return [Node(vertex, "elementwise", domain, reads)]


def _reduction(vertex: Vertex) -> list[Node]:
    operand = vertex.inputs[0]
    domain = core(operand.shape)
    places = [axis for axis, extent in enumerate(operand.shape) if extent != 1]
    axes = tuple(i for i, axis in enumerate(places) if axis in vertex.attributes["axes"])
    read = make_read(operand, identity_map(operand.shape), domain)
    if not axes:
        return [Node(vertex, "elementwise", domain, (read,))]
    index = identity_map(operand.shape)
    kept = tuple(place for axis, place in enumerate(index) if axis not in vertex.attributes["axes"])
    return [Node(vertex, "reduction", domain, (read,), axes=axes, write=Write(vertex, kept))]


def _product(vertex: Vertex) -> list[Node]:
    left, right = vertex.inputs
    rank = len(vertex.shape)
    index = full_map(rank)
    left_shape = (*vertex.shape[:-1], left.shape[-1])
    right_shape = (*vertex.shape[:-2], *right.shape[-2:])
    reads = (
        make_read(left, broadcast_index(index, left_shape, left.shape), left_shape),
        make_read(right, broadcast_index(index, right_shape, right.shape), right_shape),
    )
    # Operands come from buffers, so they are never at "the point where they would be computed".
    return [Node(vertex, "product", vertex.shape, tuple(Read(read.base, read.index) for read in reads))]


def _tensordot(vertex: Vertex) -> list[Node]:
    found = (make_read(x, full_map(len(x.shape)), x.shape) for x in vertex.inputs)
    reads = tuple(Read(read.base, read.index) for read in found)
    return [Node(vertex, "product", vertex.shape, reads, ranges=_ranges(vertex))]


def _ranges(vertex: Vertex) -> tuple[Range, ...]:
    """Where windows of the left operand reach into zeros around it: rows and depth of a product that meet."""
    left, rows = vertex.inputs[0], len(vertex.shape) - 1
    order = left.attributes["permutation"] if left.primitive.name == "transpose" else tuple(range(len(left.shape)))
    view = left.inputs[0] if left.primitive.name == "transpose" else left
    if view.primitive.name != "windows":
        _refuse_padding(view)
        return ()
    count = len(view.attributes["window"])
    first, ranges = len(view.shape) - 1 - 2 * count, []
    sizes = zip(*(view.attributes[name] for name in ("strides", "dilation", "low")), strict=True)
    for number, (stride, gap, low) in enumerate(sizes):
        axes = order.index(first + number), order.index(first + count + number)  # of positions and elements of windows
        steps = {axes[0]: stride, axes[1]: gap}
        row, depth = sorted(axes)
        found = Range(row, depth - rows, steps[row], steps[depth], low, view.inputs[0].shape[first + number])
        if not (found.holds(0, 0) and found.holds(left.shape[row] - 1, left.shape[depth] - 1)):
            ranges.append(found)
    return tuple(ranges)


def _refuse_padding(view: Vertex) -> None:
    """Errors: `CompilationError` for windows that reach into zeros under other views, where nobody would notice."""
    while view.primitive.name in VIEWS:
        if view.primitive.name == "windows" and any((*view.attributes["low"], *view.attributes["high"])):
            raise CompilationError(f"{view!r} reaches beyond its operand, and is not read by a product directly")
        view = view.inputs[0]


def _scan(vertex: Vertex) -> list[Node]:
    """The axis becomes the last dimension of the domain, even if there is only one element along it."""
    axis, shape = vertex.attributes["axis"], vertex.inputs[0].shape
    order = [*(d for d, extent in enumerate(shape) if extent != 1 and d != axis), axis]
    index = tuple((0, tuple(int(d == place) for place in order)) for d in range(len(shape)))
    domain = tuple(shape[d] for d in order)
    read = make_read(vertex.inputs[0], index, domain)
    return [Node(vertex, "scan", domain, (Read(read.base, read.index),), write=Write(vertex, index))]


def _loop(results: Sequence[Vertex]) -> list[Node]:
    """The operands come from buffers, whole."""
    first = results[0]
    found = (make_read(x, full_map(len(x.shape)), x.shape) for x in first.inputs)
    reads = tuple(Read(read.base, read.index) for read in found)
    return [Node(first, "loop", (), reads, results=tuple(results))]


def _extended(shape: Shape) -> tuple[IndexMap, tuple[int, ...]]:
    """The identity map with one more dimension, for a run-time index; also the coefficients of that alone."""
    rank = len(core(shape))
    index = tuple((offset, (*coefficients, 0)) for offset, coefficients in identity_map(shape))
    return index, (0,) * rank + (1,)


def _read_at(operand: Vertex, index: IndexMap, position: Read, limit: int) -> Read:
    base, index = find_base(operand, index)
    return Read(base, index, None, position, limit)


def _take(vertex: Vertex) -> list[Node]:
    source, chosen = vertex.inputs
    axis, end = vertex.attributes["axis"], vertex.attributes["axis"] + len(chosen.shape)
    index, run_time = _extended(vertex.shape)
    domain = core(vertex.shape)
    position = make_read(chosen, identity_map(vertex.shape)[axis:end], domain)
    place = (*index[:axis], (0, run_time), *index[end:])
    read = _read_at(source, place, position, source.shape[axis] - 1)
    return [Node(vertex, "elementwise", domain, (read,))]


def _dynamic_slice(vertex: Vertex) -> list[Node]:
    source, start = vertex.inputs
    axis, size = vertex.attributes["axis"], vertex.attributes["size"]
    index, _ = _extended(vertex.shape)
    domain = core(vertex.shape)
    moved = (0, (*index[axis][1][:-1], 1))
    place = (*index[:axis], moved, *index[axis + 1 :])
    read = _read_at(source, place, make_read(start, (), domain), source.shape[axis] - size)
    return [Node(vertex, "elementwise", domain, (read,))]


def _part(vertex: Vertex, operand: Vertex, write: Write, after: tuple[Node, ...] = ()) -> Node:
    domain = core(operand.shape)
    return Node(vertex, "part", domain, (make_read(operand, identity_map(operand.shape), domain),), (), write, after)


def _fill(vertex: Vertex) -> Node:
    return Node(vertex, "fill", core(vertex.shape), (), write=Write(vertex, identity_map(vertex.shape)))


def _frame(vertex: Vertex, low: Shape, high: Shape) -> list[Node]:
    """Zeros before and behind, axis by axis; along the axes seen before only where there are elements."""
    start, region, nodes = [0] * len(low), list(vertex.shape), []
    for axis, (before, after, size) in enumerate(zip(low, high, vertex.shape, strict=True)):
        for first, count in ((0, before), (size - after, after)):
            if count:
                shape = (*region[:axis], count, *region[axis + 1 :])
                places = zip((*start[:axis], first, *start[axis + 1 :]), identity_map(shape), strict=True)
                index = tuple((offset, coefficients) for offset, (_, coefficients) in places)
                nodes.append(Node(vertex, "fill", core(shape), (), write=Write(vertex, index)))
        start[axis], region[axis] = before, size - before - after
    return nodes


def _concatenate(vertex: Vertex) -> list[Node]:
    parts, start, axis = [], 0, vertex.attributes["axis"]
    for operand in vertex.inputs:
        index = list(identity_map(operand.shape))
        index[axis] = (start, index[axis][1])
        parts.append(_part(vertex, operand, Write(vertex, tuple(index))))
        start += operand.shape[axis]
    return parts


def _pad(vertex: Vertex) -> list[Node]:
    operand = vertex.inputs[0]
    low, high, interior = (vertex.attributes[name] for name in ("low", "high", "interior"))
    window = zip(low, interior, identity_map(operand.shape), strict=True)
    index = tuple((start, tuple((gap + 1) * c for c in coefficients)) for start, gap, (_, coefficients) in window)
    if vertex.type.size >= FRAMED and not any(interior):
        return [*_frame(vertex, low, high), _part(vertex, operand, Write(vertex, index))]
    fill = _fill(vertex)
    return [fill, _part(vertex, operand, Write(vertex, index), (fill,))]


def _interleave(vertex: Vertex) -> list[Node]:
    is_complete = sum(operand.type.size for operand in vertex.inputs) == vertex.type.size
    before = () if is_complete else (_fill(vertex),)
    parts = []
    for operand, start in zip(vertex.inputs, vertex.attributes["starts"], strict=True):
        places = zip(start, vertex.attributes["steps"], identity_map(operand.shape), strict=True)
        index = tuple((a, tuple(step * c for c in coefficients)) for a, step, (_, coefficients) in places)
        parts.append(_part(vertex, operand, Write(vertex, index), before))
    return [*before, *parts]


def _dynamic_update(vertex: Vertex) -> list[Node]:
    old, value, start = vertex.inputs
    axis = vertex.attributes["axis"]
    base = _part(vertex, old, Write(vertex, identity_map(old.shape)))
    index = list(_extended(value.shape)[0])
    index[axis] = (0, (*index[axis][1][:-1], 1))
    position = make_read(start, (), core(value.shape))
    write = Write(vertex, tuple(index), position, old.shape[axis] - value.shape[axis])
    return [base, _part(vertex, value, write, (base,))]


def _scatter_add(vertex: Vertex) -> list[Node]:
    values, chosen = vertex.inputs
    axis, end = vertex.attributes["axis"], vertex.attributes["axis"] + len(chosen.shape)
    fill = _fill(vertex)
    index, run_time = _extended(values.shape)
    position = make_read(chosen, identity_map(values.shape)[axis:end], core(values.shape))
    place = (*index[:axis], (0, run_time), *index[end:])
    write = Write(vertex, place, position, vertex.attributes["size"] - 1, accumulate=True, is_ordered=True)
    return [fill, _part(vertex, values, write, (fill,))]


def _scatter(vertex: Vertex) -> list[Node]:
    old, values, chosen = vertex.inputs
    axis, end = vertex.attributes["axis"], vertex.attributes["axis"] + len(chosen.shape)
    base = _part(vertex, old, Write(vertex, identity_map(old.shape)))
    index, run_time = _extended(values.shape)
    position = make_read(chosen, identity_map(values.shape)[axis:end], core(values.shape))
    place = (*index[:axis], (0, run_time), *index[end:])
    write = Write(vertex, place, position, old.shape[axis] - 1, is_ordered=True)
    return [base, _part(vertex, values, write, (base,))]


_MAKERS: dict[str, Callable[[Vertex], list[Node]]] = {
    "tensordot": _tensordot,
    "take": _take,
    "dynamic_slice": _dynamic_slice,
    "concatenate": _concatenate,
    "pad": _pad,
    "interleave": _interleave,
    "dynamic_update": _dynamic_update,
    "scatter_add": _scatter_add,
    "scatter": _scatter,
}
_BY_FAMILY: dict[str, Callable[[Vertex], list[Node]]] = {
    "elementwise": _elementwise,
    "random": _elementwise,
    "reduction": _reduction,
    "matmul": _product,
    "scan": _scan,
}
_INLINE = VIEWS | {"input", "constant", "iota"}


def all_reads(node: Node) -> list[Read]:
    """The operands of a node, and the run-time indices with which it reads or writes."""
    reads = list(node.reads)
    reads += [read.position for read in node.reads if read.position is not None]
    if node.write is not None and node.write.position is not None:
        reads.append(node.write.position)
    return reads


def make_nodes(order: Sequence[Vertex]) -> tuple[list[Node], dict[Vertex, list[Node]]]:
    """Return the nodes of vertices in topological order, linked to their consumers, and the nodes of each vertex."""
    nodes: list[Node] = []
    made_by: dict[Vertex, list[Node]] = {}
    runs = find_runs(order)
    for vertex in order:
        if vertex.primitive.name in _INLINE or vertex in made_by:
            continue
        if vertex.primitive is LOOP:
            results = runs[Run.of(vertex)]
            made_by.update(dict.fromkeys(results, _loop(results)))
        else:
            maker: Any = _MAKERS.get(vertex.primitive.name) or _BY_FAMILY[vertex.primitive.family]
            made_by[vertex] = maker(vertex)
        for node in made_by[vertex]:
            node.number = len(nodes)
            nodes.append(node)
            for read in all_reads(node):
                for producer in made_by.get(alias_origin(read.base), ()):
                    _link(producer, node, read)
            for earlier in node.after:
                _link(earlier, node, None)
    return nodes, made_by


def _link(producer: Node, consumer: Node, read: Read | None) -> None:
    producer.consumers.append((consumer, read))
    consumer.sources.append((producer, read))
