"""Loop nests: a fused body over a domain, with stores and reductions, as vector code.

`schedule` decides which loops there are; here they are written. The vector dimension is walked in blocks of a few
vectors and ends in a rest of fixed size, so that trip counts and masks are constants. Reductions keep several
accumulators, in the order that `order` lays down. Loads across the vectors are turned in registers, a square of
elements at a time. Small nests become straight code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from chainrule.backends.native.body import Body, Piece, Point, place
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import KERNEL_ARGUMENTS, Function, Module, Type, Value
from chainrule.backends.native.order import chunk_length, part_length
from chainrule.backends.native.reduction import Accumulators, accumulation, across_lanes
from chainrule.backends.native.schedule import (
    Schedule,
    code_length,
    make_schedule,
    of_empty,
    power_of_two,
    reduces_last,
    simplify,
    split_reduction,
    sum_lanes,
    turned_dimension,
)
from chainrule.backends.native.transposition import transpose
from chainrule.passes.plan import Instruction, Nest, Plan

STRAIGHT_CODE = 48  # instructions up to which a loop is written out
LONG_CODE = 128  # instructions for all accumulators above which they take turns in one loop
GRAIN = 5_000.0  # nanoseconds of work that are worth sharing with other threads
TASK = 1_000.0  # nanoseconds of work in a task
MOST_TASKS = 256


def emit_nest(module: Module, nest: Nest, plan: Plan, name: str) -> KernelInfo:
    """Write a nest as the kernel function ``name`` (and ``name_finish`` where partial results must be combined)."""
    if 0 in nest.domain:
        nest = of_empty(nest)
    if 0 in nest.domain or not (nest.stores or nest.reductions):
        with module.function(name, KERNEL_ARGUMENTS, exported=False):
            return KernelInfo(name, 1, is_parallel=False)
    schedule = make_schedule(simplify(nest), module.target)
    unit, tasks = _tasks(schedule, module)
    chunk = _chunk(schedule, module)
    if chunk:
        return _emit_chunked(module, schedule, plan, name, chunk)
    is_parallel = schedule.parallel and tasks > 1 and schedule.nanoseconds > GRAIN
    _emit_function(module, schedule, plan, name, unit if is_parallel else 0)
    return KernelInfo(name, tasks if is_parallel else 1, is_parallel)


def _tasks(schedule: Schedule, module: Module) -> tuple[int, int]:
    """Indices of the outermost dimension in one task, and the number of tasks."""
    if not schedule.parallel:
        return 0, 1
    extent = schedule.nest.domain[schedule.order[0]]
    step = Unrolling(schedule, module).block(0)
    wanted = max(1, min(MOST_TASKS, int(schedule.nanoseconds / TASK)))
    unit = math.ceil(math.ceil(extent / wanted) / step) * step
    return unit, math.ceil(extent / unit)


class Chunk(NamedTuple):
    """How much of a reduced dimension, at a position in the order, is reduced in one task."""

    position: int
    length: int


def _chunk(schedule: Schedule, module: Module) -> Chunk | None:
    """The chunks of a reduction that has much to do but few results; None if there is no need to cut it."""
    nest, kept, order = schedule.nest, schedule.kept, schedule.order
    if kept == len(order) or any(r.operation in ("argmax", "argmin") for r in nest.reductions):
        return None
    extents = tuple(nest.domain[axis] for axis in order[kept:])
    results = math.prod(nest.domain) // math.prod(extents)
    position, length = chunk_length(extents, results, reduces_last(nest), sum_lanes(nest, module.target))
    return Chunk(kept + position, length) if length else None


def _emit_chunked(module: Module, schedule: Schedule, plan: Plan, name: str, chunk: Chunk) -> KernelInfo:
    """Reduce chunks of a dimension to partial results in shared scratch memory, then those to the result."""
    chunks = math.ceil(schedule.nest.domain[schedule.order[chunk.position]] / chunk.length)
    first, second, extended, shared = split_reduction(schedule.nest, plan, chunks)
    partial = replace(
        schedule,
        nest=first,
        order=(0, *(d + 1 for d in schedule.order)),
        kept=schedule.kept + 1,
        vector=None if schedule.vector is None else schedule.vector + 1,
        parallel=True,
    )
    _emit_function(module, partial, extended, name, 1, Chunk(chunk.position + 1, chunk.length))
    finish = f"{name}_finish"
    _emit_function(module, make_schedule(simplify(second), module.target), extended, finish, 0)
    return KernelInfo(name, chunks, is_parallel=True, shared_bytes=shared, finish=finish)


def _emit_function(
    module: Module, schedule: Schedule, plan: Plan, name: str, unit: int, chunk: Chunk | None = None
) -> None:
    """Write the function; ``unit`` is the length of its tasks on the outermost dimension, 0 for a single task."""
    with module.function(name, KERNEL_ARGUMENTS, exported=False) as f:
        emitter = NestEmitter(f, plan, schedule, chunk)
        if unit:
            extent = schedule.nest.domain[schedule.order[0]]
            stop = (f.arguments[2] * unit).minimum(extent)
            emitter.run(Span(f.arguments[1] * unit, stop, stop.equal(extent)))
        else:
            emitter.run(emitter.whole(0))


class Span(NamedTuple):
    """Indices of a dimension. ``reaches_end``: whether the last index of the dimension is among them."""

    start: Value
    stop: Value
    reaches_end: bool | Value


class Unrolling:
    """How many vectors or rows a loop takes at a time, and which loops are written out, by position in the order."""

    def __init__(self, schedule: Schedule, module: Module) -> None:
        self.schedule = schedule
        nest = schedule.nest
        self.length = code_length(nest.body) + len(nest.stores) + len(nest.reductions)
        # Limited by registers (32 with AVX-512), and by the code: long bodies overlap well enough.
        registers = 16 if module.target.vector_bits == 512 else 8
        self.vectors = max(1, min(4, registers // (schedule.period * max(1, len(nest.reductions))), 16 // self.length))
        copies = self.length
        self.straight: list[bool] = []
        for position in reversed(range(len(schedule.order))):
            copies *= math.ceil(nest.domain[schedule.order[position]] / self.lanes(position))
            self.straight.insert(0, copies <= STRAIGHT_CODE)

    def lanes(self, position: int) -> int:
        return self.schedule.lanes if self.schedule.order[position] == self.schedule.vector else 1

    def copies(self, position: int) -> int:
        """Vectors or rows in a block."""
        schedule = self.schedule
        vectors = schedule.nest.domain[schedule.order[position]] // self.lanes(position)
        is_vector, is_last = schedule.order[position] == schedule.vector, position == len(schedule.order) - 1
        if schedule.nest.reductions and position >= schedule.kept:
            return schedule.period // self.lanes(position) if is_last else 1
        if schedule.nest.reductions:
            wanted = self.vectors if is_vector else 1
        else:
            wanted = {True: 4 if self.length <= 4 else 2 if self.length <= 12 else 1, False: 1}[is_vector]
        return max(1, min(wanted, power_of_two(vectors + 1) // 2))

    def block(self, position: int) -> int:
        """Indices in a block."""
        schedule = self.schedule
        if schedule.turned is not None and schedule.order[position] in (schedule.turned, schedule.vector):
            return schedule.lanes
        return self.lanes(position) * self.copies(position)


class NestEmitter:
    """Writes the loops of one schedule into one function."""

    def __init__(self, f: Function, plan: Plan, schedule: Schedule, chunk: Chunk | None) -> None:
        self.f, self.plan, self.schedule, self.chunk, self.nest = f, plan, schedule, chunk, schedule.nest
        nest = schedule.nest
        others = [reduction.access for reduction in nest.reductions]
        self.body = Body(f, plan, nest, schedule.order, schedule.vector, schedule.lanes, others)
        self.kinds = [accumulation(r.operation, nest.body[r.instruction].dtype.name) for r in nest.reductions]
        self.unrolling = Unrolling(schedule, f.module)

    def extent(self, position: int) -> int:
        return self.nest.domain[self.schedule.order[position]]

    def whole(self, position: int) -> Span:
        """All indices of the loop at a position."""
        extent = self.extent(position) if position < len(self.schedule.order) else 0
        return Span(self.f.index(0), self.f.index(extent), True)

    def run(self, outermost: Span) -> None:
        """Write everything, for some indices of the outermost dimension."""
        self._kept(self.body.origin(), 0, outermost)

    # Loops over kept dimensions

    def _kept(self, point: Point, position: int, span: Span) -> None:
        if position == self.schedule.kept:
            self._reduced([point])
            return
        dimension = self.schedule.order[position]
        if dimension == self.schedule.turned:
            self._squares(point, position, span)
        elif dimension == self.schedule.vector:
            self._blocks(
                position, span, None, lambda pieces: self._reduced([point.enter(dimension, *piece) for piece in pieces])
            )
        else:
            self._rows(point, position, span)

    def _rows(self, point: Point, position: int, span: Span) -> None:
        """The points of a dimension one by one."""
        dimension, whole = self.schedule.order[position], self.whole(position + 1)
        self._loop(
            position, span, 1, None, lambda index: self._kept(point.enter(dimension, index), position + 1, whole)
        )

    # Loops over squares that are turned

    def _squares(self, point: Point, position: int, span: Span) -> None:
        """Squares of both dimensions, then the columns and the rows that are left."""
        f, lanes = self.f, self.schedule.lanes
        height, width = (self.extent(position + i) // lanes * lanes for i in range(2))
        dimension, vector = self.schedule.order[position : position + 2]

        def rows(index: Value) -> None:
            squares = Span(f.index(0), f.index(width), False)
            self._loop(position + 1, squares, lanes, None, lambda column: self._square(point, index, column))
            if width < self.extent(position + 1):
                for row in range(lanes):
                    inner = point.enter(dimension, index, row)
                    for piece in self.body.pieces(f.index(width), self.extent(position + 1) - width, lanes):
                        inner.enter(vector, *piece)

        self._loop(position, Span(span.start, span.stop.minimum(height), False), lanes, None, rows)
        rest = Span(f.index(height), f.index(self.extent(position)), True)
        if height < self.extent(position) and span.reaches_end is True:
            self._rows(point, position, rest)
        elif height < self.extent(position) and isinstance(span.reaches_end, Value):
            with f.when(span.reaches_end, name="rest"):
                self._rows(point, position, rest)

    def _square(self, point: Point, row: Value, column: Value) -> None:
        """A square of points, from a row and a column on."""
        turned, vector, lanes = self.schedule.turned, self.schedule.vector, self.schedule.lanes
        assert turned is not None and vector is not None
        items = {i: item for i, item in enumerate(self.nest.body) if turned_dimension(item, vector) == turned}
        loaded = {number: self._turned(point, item, row, column) for number, item in items.items()}
        for offset in range(lanes):
            given = {number: vectors[offset] for number, vectors in loaded.items()}
            point.enter(turned, row, offset).enter(vector, column, given=given)

    def _turned(self, point: Point, item: Instruction, row: Value, column: Value) -> list[Value]:
        """What an instruction loads at a square: a vector along the columns for every row."""
        access, element, lanes = item.access, item.dtype.name, self.schedule.lanes
        assert access is not None and self.schedule.vector is not None
        stride = access.strides[self.schedule.vector]
        start = point.pointers[place(access)].at(column * stride + row + access.offset, element).freeze()
        vectors = [self.f.load(start.at(i * stride, element), Type(element, lanes)) for i in range(lanes)]
        return transpose(vectors, lanes)

    # Loops over reduced dimensions

    def _reduced(self, points: list[Point]) -> None:
        if not self.nest.reductions:
            return
        loops = len(self.schedule.order)
        slots = self.unrolling.copies(loops - 1) if self.schedule.kept < loops else 1
        across = self.schedule.vector in self.nest.reductions[0].axes
        lanes = [self.schedule.lanes if across else point.lanes for point in points]
        sums = Accumulators(self.f, self.kinds, lanes, slots)
        if self.schedule.kept < loops:
            self._reduce(points, self.schedule.kept, sums)
        else:
            self._contribute(points, 0, sums)
        for number, reduction in enumerate(self.nest.reductions):
            element = self.plan.buffers[reduction.access.buffer].dtype.name
            for i, point in enumerate(points):
                state = sums.total(i, number)
                if across:
                    state = across_lanes(self.kinds[number], state)
                point.store(state[-1].cast(element), reduction.access)

    def _reduced_span(self, position: int, point: Point) -> Span:
        """What to reduce of a dimension: all or, if a task is a chunk of it, that chunk."""
        if self.chunk is None or self.chunk.position != position:
            return self.whole(position)
        start, extent = point.indices[0] * self.chunk.length, self.extent(position)
        stop = (start + self.chunk.length).minimum(extent)
        return Span(start, stop, stop.equal(extent))

    def _reduce(self, points: list[Point], position: int, sums: Accumulators) -> None:
        """Add the points of the loops from a position on to the accumulators."""
        span, step, extent = (
            self._reduced_span(position, points[0]),
            self.unrolling.block(position),
            self.extent(position),
        )
        if self.chunk is not None and self.chunk.position == position:
            extent = self.chunk.length
        rows = math.ceil(extent / step)
        if part_length(rows) < rows:
            self._reduce_in_parts(points, position, span, part_length(rows) * step, sums)
        else:
            self._reduce_directly(points, position, span, sums)

    def _reduce_in_parts(self, points: list[Point], position: int, span: Span, size: int, sums: Accumulators) -> None:
        def part(index: Value) -> None:
            partial = sums.fresh()
            stop = (index + size).minimum(span.stop)
            self._reduce_directly(points, position, Span(index, stop, stop.equal(self.extent(position))), partial)
            sums.merge(partial)

        self._loop(position, span, size, sums, part)

    def _reduce_directly(self, points: list[Point], position: int, span: Span, sums: Accumulators) -> None:
        dimension = self.schedule.order[position]
        if position + 1 < len(self.schedule.order):

            def inner(index: Value) -> None:
                partial = sums.fresh()
                self._reduce([point.enter(dimension, index) for point in points], position + 1, partial)
                sums.merge(partial)

            self._loop(position, span, 1, sums, inner)
            return

        def block(pieces: list[Piece], first: int = 0) -> None:
            for slot, piece in enumerate(pieces, first):
                self._contribute([point.enter(dimension, *piece) for point in points], slot, sums)

        if sums.slots * self.unrolling.length > LONG_CODE and span.stop.number is not None:
            self._take_turns(position, span, sums, block)
        else:
            self._blocks(position, span, sums, block)

    def _take_turns(
        self, position: int, span: Span, sums: Accumulators, block: Callable[[list[Piece], int], None]
    ) -> None:
        """All points of a dimension, where code for each accumulator would be long: they take turns in a loop."""
        lanes, extent = self.unrolling.lanes(position), self.extent(position)
        rounds = extent // lanes

        def turn(index: Value) -> None:
            block([Piece(index, 0, lanes, None)], 0)
            sums.turn(1)

        self._loop(position, Span(span.start, self.f.index(rounds * lanes), True), lanes, sums, turn)
        sums.turn(-rounds)
        if extent % lanes:
            block([Piece(self.f.index(rounds * lanes), 0, lanes, extent % lanes)], rounds % sums.slots)

    def _contribute(self, points: Sequence[Point], slot: int, sums: Accumulators) -> None:
        for i, point in enumerate(points):
            for number, (kind, reduction) in enumerate(zip(self.kinds, self.nest.reductions, strict=True)):
                state = [point.value(reduction.instruction, point.lanes)]
                if kind.has_position:
                    state.append(self._position(point, reduction.axes[0]))
                mask = point.mask() if self.schedule.vector in reduction.axes else None
                if mask is not None:
                    none = kind.identity(self.f, point.lanes)
                    state = [mask.select(value, other) for value, other in zip(state, none, strict=True)]
                sums.join((slot, i, number), state)

    def _position(self, point: Point, axis: int) -> Value:
        """Where on the reduced axis each lane is."""
        index = point.indices[axis].broadcast(point.lanes)
        return self.f.iota(point.lanes) + index if axis == self.schedule.vector else index

    # Loops

    def _loop(
        self, position: int, span: Span, step: int, sums: Accumulators | None, body: Callable[[Value], None]
    ) -> None:
        """Steps through a range; ``sums`` are carried from round to round."""
        start, stop = span.start.number, span.stop.number
        if self.unrolling.straight[position] and start is not None and stop is not None:
            index = int(start)
            while index < int(stop):
                body(self.f.index(index))
                index += step
            return
        carried = sums.values() if sums else []
        with self.f.loop(span.start, span.stop, step, carried, name=f"d{self.schedule.order[position]}") as loop:
            if sums:
                sums.load(loop.values)
            body(loop.index)
            if sums:
                loop.next(sums.values())
        if sums:
            sums.load(loop.results)

    def _blocks(
        self, position: int, span: Span, sums: Accumulators | None, body: Callable[[list[Piece]], None]
    ) -> None:
        """Steps through a range in blocks of several vectors (or rows), then does the rest that fills no block."""
        unrolling, f = self.unrolling, self.f
        extent, lanes, block = self.extent(position), unrolling.lanes(position), unrolling.block(position)
        full = extent // block * block
        if full:
            stop = span.stop if full == extent else span.stop.minimum(full)
            offsets = range(0, block, lanes)
            main = Span(span.start, stop, False)
            self._loop(position, main, block, sums, lambda index: body([Piece(index, o, lanes, None) for o in offsets]))
        if full == extent:
            return
        rest = self.body.pieces(f.index(full), extent - full, lanes, always_whole=position >= self.schedule.kept)
        if span.reaches_end is True:
            body(rest)
        elif isinstance(span.reaches_end, Value):
            with f.when(span.reaches_end, sums.values() if sums else [], name="rest") as end:
                body(rest)
                if sums:
                    end.next(sums.values())
            if sums:
                sums.load(end.results)
