"""Turn groups of nodes into kernels: scalar instructions with explicit accesses into buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..graph.graph import Graph
from ..graph.vertex import Vertex
from ..ops.loop import Run, stacked_numbers
from ..types import DType, Shape, bool_, contiguous_strides, int64
from .access import IndexMap, alias_origin, compose, identity_map, is_alias, locate
from .fuse import Fused, Group
from .hosts import find_hosts
from .nodes import Node, Read, Write
from .place import Home, Placement
from .plan import (
    Access,
    Buffer,
    Contraction,
    DynamicTerm,
    Factor,
    Instruction,
    Kernel,
    Loop,
    Nest,
    Product,
    Reduction,
    Scan,
    StepSum,
    Store,
    is_narrow,
    summed_steps,
)
from .steps import PlanMaker, plan_loop


@dataclass(frozen=True)
class Draft:
    """A plan before memory is laid out.

    Kernels are in an order that is legal. ``updates`` are pairs (buffer of the new value, buffer of the input that it
    replaces): the new values have temporary buffers of their own here.
    """

    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    updates: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Layout:
    """Where a vertex lies: strides in elements over its own axes, from ``offset`` on."""

    buffer: int
    strides: Shape
    offset: int = 0


def emit(fused: Fused, make_plan: PlanMaker) -> Draft:
    """Return one kernel per group; ``make_plan`` plans a step of a loop."""
    placement, groups = fused.placement, fused.groups
    storage = _Storage(placement, find_hosts(fused), make_plan)
    made_by = {node.vertex: node for group in groups for node in group.members if node.gives_value}
    writers = [_KernelWriter(group, fused.stored, made_by, storage) for group in groups]
    kernels = [writer.kernel(number) for number, writer in enumerate(writer for writer in writers if writer.members)]
    count = len(placement.graph.inputs)
    outputs = tuple(range(count, count + len(placement.graph.outputs)))
    return Draft(tuple(storage.buffers), tuple(kernels), tuple(range(count)), outputs, tuple(storage.updates))


def _span(shape: Shape, strides: Shape) -> int:
    """Elements from the first to the last of an array with these strides."""
    if 0 in shape:
        return 0
    return 1 + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True))


class _Storage:
    """The buffers, and where each stored vertex lies in them; a temporary is made when first asked for."""

    def __init__(self, placement: Placement, hosts: Mapping[Vertex, Node], make_plan: PlanMaker) -> None:
        self.homes, self.hosts, self.make_plan = placement.homes, hosts, make_plan
        self.graph: Graph = placement.graph
        self.buffers: list[Buffer] = []
        self.updates: list[tuple[int, int]] = []
        self._layouts: dict[Vertex, _Layout] = {}
        for number, vertex in enumerate(self.graph.inputs):
            strides = vertex.attributes["strides"] or contiguous_strides(vertex.shape)
            self._layouts[vertex] = _Layout(number, strides)
            self.buffers.append(Buffer(vertex.dtype, _span(vertex.shape, strides), "input", number))
        at_home = {home.number: (vertex, home) for vertex, home in self.homes.items() if not home.is_update}
        for number in range(len(self.graph.outputs)):
            vertex, home = at_home[number]
            slot = len(self.buffers)
            self._layouts[vertex] = _Layout(slot, home.strides)
            self.buffers.append(Buffer(vertex.dtype, _span(vertex.shape, home.strides), "output", slot))

    def layout(self, vertex: Vertex) -> _Layout:
        """Where ``vertex`` lies; an alias lies in the buffer of its origin."""
        found = self._layouts.get(vertex)
        if found is None:
            if is_alias(vertex):
                found = _Layout(self.layout(alias_origin(vertex)).buffer, contiguous_strides(vertex.shape))
            elif vertex in self.hosts:
                found = self._layout_inside(vertex, self.hosts[vertex])
            else:
                found = self._new_layout(vertex, self.homes.get(vertex))
            self._layouts[vertex] = found
        return found

    def _layout_inside(self, vertex: Vertex, part: Node) -> _Layout:
        """Where the part of another vertex lies that ``part`` would copy this one to."""
        assert part.write is not None
        host, (read,) = self.layout(part.write.target), part.reads
        offset, steps = locate(part.write.index, host.strides, host.offset, len(part.domain))
        moved = iter(read.permutation or ())
        strides = tuple(0 if extent == 1 else steps[next(moved)] for extent in vertex.shape)
        return _Layout(host.buffer, strides, offset)

    def _new_layout(self, vertex: Vertex, home: Home | None) -> _Layout:
        strides = contiguous_strides(vertex.shape) if home is None else home.strides
        size = vertex.type.size if home is None else self.buffers[home.number].size
        number = self.temporary(vertex.dtype, size)
        if home is not None:
            self.updates.append((number, home.number))
        return _Layout(number, strides)

    def temporary(self, dtype: DType, size: int) -> int:
        """A new buffer of so many elements; its number."""
        arena_slot = len(self.graph.inputs) + len(self.graph.outputs)
        self.buffers.append(Buffer(dtype, size, "temporary", arena_slot))
        return len(self.buffers) - 1


class _KernelWriter:
    """Writes the body of one group. ``values`` are the instructions that hold the values of members.

    ``members`` are those whose value is stored or used inside the group; none if all are computed again elsewhere.
    """

    def __init__(
        self, group: Group, stored: frozenset[Node], made_by: Mapping[Vertex, Node], storage: _Storage
    ) -> None:
        self.group = group
        self.stored = stored
        self.made_by = made_by
        self.storage = storage
        self.members = self._needed_members()
        self.rank = len(group.domain)
        self.body: list[Instruction] = []
        self.stores: list[Store] = []
        self.reductions: list[Reduction] = []
        self.values: dict[Vertex, int] = {}
        self._known: dict[Any, int] = {}

    def _needed_members(self) -> list[Node]:
        needed: set[Node] = set()
        for node in reversed(self.group.members):
            if node in self.stored or any(consumer in needed for consumer, _ in node.consumers):
                needed.add(node)
        return [node for node in self.group.members if node in needed]

    def kernel(self, number: int) -> Kernel:
        """Return the kernel of the group. It is named after its first operations, for readers of profiles."""
        names = [node.vertex.primitive.name for node in self.members if node.vertex.primitive.name != "stop_gradient"]
        name = f"{'_'.join(list(dict.fromkeys(names))[:3]) or 'copy'}_{number}"
        if self.group.members[0].kind == "loop":
            return self._loop(name, self.group.members[0])
        for node in sorted(self.members, key=lambda node: node is not self.group.product):
            self._write_node(node)
        stores, body, domain = tuple(dict.fromkeys(self.stores)), tuple(self.body), self.group.domain
        if self.group.members[0].kind == "scan":
            return Scan(name, domain, body, stores)
        if self.group.product is None:
            return Nest(name, domain, body, stores, tuple(self.reductions))
        return self._product(name, self.group.product, body, stores)

    def _loop(self, name: str, node: Node) -> Loop:
        """The loop with all of its results; other last carries, and what only its sums read, are in temporaries."""
        run = Run.of(node.vertex)
        results = {(each.attributes["result"], each.attributes["number"]): each for each in node.results}
        numbers = stacked_numbers(node.results)
        loop = plan_loop(run, run.step(numbers), self.storage.make_plan)
        reads = tuple(Access(self.storage.layout(read.base).buffer, ()) for read in node.reads)

        def place(kind: str, number: int, count: int) -> Access:
            result, member = results.get((kind, number)), run.body.members[number]
            if result is None:
                return Access(self.storage.temporary(member.dtype, count * member.type.size), ())
            return Access(self.storage.layout(result).buffer, ())

        products = [each for (kind, _), each in results.items() if kind == "product"]
        rings = [number for number in numbers if number >= run.carries and ("stack", number) not in results]
        length = min(run.length, max((_summed_steps(run, product) for product in products), default=0))
        carries = [place("carry", number, 1) for number in range(run.carries)]
        stacks = {number: place("stack", number, length if number in rings else run.length) for number in numbers}
        sums = tuple(self._step_sums(run, products, dict(enumerate(reads)) | stacks))
        loop = replace(loop, name=name, reads=reads, writes=(*carries, *stacks.values()), sums=sums)
        loop = replace(loop, rings=tuple(run.carries + numbers.index(number) for number in rings))
        return replace(loop, work=Access(self.storage.temporary(bool_, loop.work_bytes), ()))

    def _step_sums(self, run: Run, products: Sequence[Vertex], places: Mapping[int, Access]) -> Iterator[StepSum]:
        """Sums of products of vertices of a body, whose values at all steps are at ``places``."""
        groups: dict[tuple[int, int], list[Factor]] = {}
        for product in products:
            left, right, parts = product.attributes["number"]
            factor = Factor(product.shape[1], places[left], Access(self.storage.layout(product).buffer, ()))
            groups.setdefault((right, parts), []).append(factor)
        for (number, parts), factors in groups.items():
            right = run.body.members[number]
            rows, columns = right.shape
            yield StepSum(right.dtype, parts, rows // parts, columns, places[number], tuple(factors))

    def _product(
        self, name: str, node: Node, body: tuple[Instruction, ...], stores: tuple[Store, ...]
    ) -> Product | Contraction:
        shapes = [operand.shape for operand in node.vertex.inputs]
        domain, dtype, reads = self.group.domain, node.vertex.dtype, node.reads
        if node.vertex.primitive.name == "tensordot":
            depth = shapes[1][:-1]
            left, right = self._operand(reads[0], len(shapes[0])), self._operand(reads[1], len(shapes[1]))
            if not node.vertex.attributes["by_column"]:
                left = replace(left, strides=(*left.strides, 0))
            return Contraction(name, dtype, domain[:-1], domain[-1], depth, left, right, body, stores, node.ranges)
        left, right = (self._operand(read, self.rank) for read in reads)
        depth_size, narrow = shapes[0][-1], is_narrow(*shapes)
        return Product(name, dtype, domain[:-2], domain[-2], domain[-1], depth_size, left, right, body, stores, narrow)

    def _operand(self, read: Read, rank: int) -> Access:
        """Where the operand of a product lies, over ``rank`` dimensions of its own."""
        layout = self.storage.layout(read.base)
        offset, steps = locate(read.index, layout.strides, layout.offset, rank)
        return Access(layout.buffer, steps, offset)

    def _write_node(self, node: Node) -> None:
        vertex, places = node.vertex, self.group.places[node]
        if node.kind == "fill":
            self._store(node.write, places, self._constant(0, vertex.dtype))
        elif node.kind == "part":
            self._store(node.write, places, self._read(node.reads[0], places))
        elif node.kind == "scan":
            operand = self._read(node.reads[0], places)
            options = tuple(value for name, value in vertex.attributes.items() if name != "axis") or None
            scan = Instruction(vertex.primitive.native, vertex.dtype, (operand,), value=options)
            self._store(node.write, places, self._add(scan))
        elif node.kind == "reduction":
            assert node.write is not None
            access = self._access(node.write.index, vertex, places)
            axes = tuple(places[axis] for axis in node.axes)
            value = self._read(node.reads[0], places)
            self.reductions.append(Reduction(vertex.primitive.native, access, value, axes, node.reduces_last))
        else:
            self.values[vertex] = value = self._compute(node, places)
            if node in self.stored:
                self._store(Write(vertex, identity_map(vertex.shape)), self.group.core_places(node), value)

    def _compute(self, node: Node, places: tuple[int, ...]) -> int:
        """The value of an elementwise node or a product at a point."""
        vertex = node.vertex
        if node.kind == "product":
            return self._add(Instruction("accumulator", vertex.dtype))
        operands = tuple(self._read(read, places) for read in node.reads)
        name = vertex.primitive.native
        if name == "random_uniform":
            element = self._index(identity_map(vertex.shape), contiguous_strides(vertex.shape), places)
            return self._add(Instruction(name, vertex.dtype, (*operands, element), value=vertex.attributes["stream"]))
        if vertex.primitive.family != "elementwise" or name == "identity":
            return operands[0]  # take and dynamic_slice are loads; a reduction over nothing is its operand
        return self._add(Instruction(name, vertex.dtype, operands))

    def _read(self, read: Read, places: tuple[int, ...]) -> int:
        """The instruction that holds the operand."""
        base = read.base
        if base in self.values:
            return self.values[base]
        if base.primitive.name == "constant":
            return self._constant(base.attributes["value"], base.dtype)
        if base.primitive.name == "iota":
            strides = tuple(int(axis == base.attributes["axis"]) for axis in range(len(base.shape)))
            index = self._iota(read, strides, places)
            return index if base.dtype is int64 else self._add(Instruction("cast", base.dtype, (index,)))
        made = self.made_by.get(base)
        if made is not None and made not in self.stored:
            return self._recompute(made, read.index, places)
        access = self._access(read.index, base, places, read.position, read.limit)
        return self._once(access, Instruction("load", base.dtype, access=access))

    def _iota(self, read: Read, strides: Shape, places: tuple[int, ...]) -> int:
        """The position along an iota's axis, of which a part may be known only when the program runs."""
        if read.position is None:
            return self._index(read.index, strides, places)
        offset, steps = locate(read.index, strides, 0, len(places) + 1)
        fixed = self._add(Instruction("index", int64, access=Access(-1, self._spread(steps[:-1], places), offset)))
        position = self._read(read.position, places)
        zero, limit, stride = (self._constant(value, int64) for value in (0, read.limit, steps[-1]))
        for name, bound in (("maximum", zero), ("minimum", limit), ("multiply", stride), ("add", fixed)):
            position = self._add(Instruction(name, int64, (position, bound)))
        return position

    def _recompute(self, node: Node, index: IndexMap, places: tuple[int, ...]) -> int:
        """Compute, here too, the cheap value of another group that is read at ``index``."""
        key = (node, index, places)
        if key not in self._known:
            inner = [(read, compose(read.index, node.vertex.shape, index)) for read in node.reads]
            reads = tuple(replace(read, index=composed, permutation=None) for read, composed in inner)
            self._known[key] = self._compute(replace(node, reads=reads), places)
        return self._known[key]

    def _constant(self, value: Any, dtype: DType) -> int:
        return self._once((repr(value), dtype), Instruction("constant", dtype, value=value))

    def _index(self, index: IndexMap, strides: Shape, places: tuple[int, ...]) -> int:
        offset, steps = locate(index, strides, 0, len(places))
        access = Access(-1, self._spread(steps, places), offset)
        return self._once(access, Instruction("index", int64, access=access))

    def _store(self, write: Write | None, places: tuple[int, ...], value: int) -> None:
        assert write is not None
        access = self._access(write.index, write.target, places, write.position, write.limit)
        self.stores.append(Store(access, value, write.accumulate, write.is_ordered))

    def _access(
        self,
        index: IndexMap,
        vertex: Vertex,
        places: tuple[int, ...],
        position: Read | None = None,
        limit: int = 0,
    ) -> Access:
        """The element of ``vertex`` at ``index``."""
        layout = self.storage.layout(vertex)
        offset, steps = locate(index, layout.strides, layout.offset, len(places) + (position is not None))
        if position is None:
            return Access(layout.buffer, self._spread(steps, places), offset)
        term = DynamicTerm(self._read(position, places), steps[-1], limit)
        return Access(layout.buffer, self._spread(steps[:-1], places), offset, (term,))

    def _spread(self, steps: tuple[int, ...], places: tuple[int, ...]) -> tuple[int, ...]:
        """Strides over a node's domain as strides over the group's."""
        result = [0] * self.rank
        for step, place in zip(steps, places, strict=True):
            result[place] = step
        return tuple(result)

    def _once(self, key: Any, instruction: Instruction) -> int:
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = self._add(instruction)
        return number

    def _add(self, instruction: Instruction) -> int:
        self.body.append(instruction)
        return len(self.body) - 1


def _summed_steps(run: Run, product: Vertex) -> int:
    """How many steps are added at a time to the sums of a product."""
    left, _, parts = product.attributes["number"]
    return summed_steps(run.body.members[left].shape[0] // parts)
