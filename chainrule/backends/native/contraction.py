"""Sums over several dimensions, as convolutions and their gradients have them, without copying what is under windows.

A register tile holds the sums of a box of rows, such as 13 pixels of an image, times a panel of columns. The box lies
at constant distances from one address of the left operand, whose elements are broadcast; the right operand is packed
panel by panel in the order in which the loops over the depth read it, unless it lies so already. A depth whose operands
would not stay in the caches is gone through in chunks of its first or second dimension; in between, sums are kept in
scratch memory. Few sums of many terms, as the gradients of weights are, are made in parts, each by one task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from chainrule.backends.native.body import Body, Piece, Point
from chainrule.backends.native.contraction_depth import DepthLoops
from chainrule.backends.native.contraction_extents import Extents, Kind, Tile
from chainrule.backends.native.kernel import KernelInfo, worker_scratch
from chainrule.backends.native.language import KERNEL_ARGUMENTS, Function, Module, Type, Value
from chainrule.backends.native.product_pack import Panel, pack
from chainrule.backends.native.product_site import UNROLLED_EPILOGUE, cases
from chainrule.backends.native.schedule import code_length
from chainrule.backends.native.winograd import emit_winograd
from chainrule.backends.native.winograd_gradient import emit_winograd_gradient
from chainrule.backends.native.winograd_site import find_convolution, find_gradient
from chainrule.passes.plan import Contraction, Plan

PARALLEL_WORK = 1 << 18
"""Multiplications from which on threads share the work."""


def emit_contraction(module: Module, kernel: Contraction, plan: Plan, name: str) -> KernelInfo:
    """Add the kernel function ``name`` to the module.

    Every sum is made in row-major order of the depth or, where `splits_sums` holds, in parts of it that are then added
    in order. Example: ``emit_contraction(module, kernel, plan, "kernel_3")``.
    """
    convolution, gradient = find_convolution(kernel, module.target), find_gradient(kernel, module.target)
    if convolution is not None:
        return emit_winograd(module, kernel, convolution, plan, name)
    if gradient is not None:
        return emit_winograd_gradient(module, kernel, gradient, plan, name)
    with module.function(name, KERNEL_ARGUMENTS) as f:
        extents = Extents(kernel, f)
        work = math.prod(kernel.domain) * kernel.terms
        is_parallel = extents.tasks > 1 and work >= PARALLEL_WORK
        Emission(extents, f, plan).emit(is_parallel)
    if extents.parts == 1:
        return KernelInfo(name, extents.tasks, is_parallel, extents.scratch_bytes)
    finish = f"{name}_finish"
    with module.function(finish, KERNEL_ARGUMENTS) as f:
        Emission(extents, f, plan).add_parts()
    return KernelInfo(name, extents.tasks, is_parallel, shared_bytes=extents.shared_bytes, finish=finish)


class Emission:
    """The code of one contraction."""

    def __init__(self, extents: Extents, f: Function, plan: Plan) -> None:
        self.extents, self.f, self.kernel, self.element = extents, f, extents.kernel, extents.element
        self.vector = Type(self.element, extents.lanes)
        rank = len(self.kernel.rows)
        self.inside = [d for d in range(rank) if extents.box[d] > 1] or [rank - 1]
        self.outside = [d for d in range(rank) if d not in self.inside]
        self.body = Body(f, plan, self.kernel, (*self.outside, rank, *self.inside), vector=rank, lanes=extents.lanes)
        self.is_unrolled = code_length(self.kernel.body) + len(self.kernel.stores) <= UNROLLED_EPILOGUE
        self._use_scratch(worker_scratch(f, plan, extents.scratch_bytes))
        self.origin = self.body.origin()

    def _use_scratch(self, scratch: Value) -> None:
        self.packed, self.sums = scratch.freeze(), scratch.byte(self.extents.panel_bytes).freeze()

    def emit(self, is_parallel: bool) -> None:
        extents, f = self.extents, self.f
        begin, end = f.arguments[1:3] if is_parallel else (f.index(0), f.index(extents.tasks))
        with f.loop(begin, end, name="task") as task:
            self.first_tile = (task.index % extents.blocks) * extents.block_tiles
            self.first_panel = (task.index // extents.blocks) * extents.group
            if extents.parts > 1:
                self._add_part(task.index)
            elif extents.chunks > 1:
                self._in_chunks()
            else:
                self._at_once()

    def _at_once(self) -> None:
        depth = self.f.index(self.extents.depth[0].extent)
        for panel, columns in self._panels():
            right = self._right(panel, depth, columns)
            for tile in self._tiles():
                sums = self._zeros(tile, columns)
                sums = self._multiply(tile, columns, self._left(tile, panel), right, depth, sums)
                self._finish(tile, panel, columns, sums)

    def _in_chunks(self) -> None:
        """Add all chunks to sums in memory, then do with these what is to be done."""
        self._add_chunks(self.f.index(0), self.f.index(self.extents.depth[0].extent))
        self._finish_all()

    def _add_part(self, number: Value) -> None:
        """Add the chunks of a part of the depth to sums in memory that the task has for itself."""
        extents, f = self.extents, self.f
        self.first_tile = self.first_panel = f.index(0)
        self._use_scratch(self._scratch_of(number))
        first = number * extents.part
        self._add_chunks(first, (first + extents.part).minimum(extents.depth[0].extent))

    def _scratch_of(self, part: Value) -> Value:
        return worker_scratch(self.f, self.body.plan, 0).byte(part * self.extents.task_bytes)

    def add_parts(self) -> None:
        """Add the sums of all parts to those of the first, and do with them what is to be done."""
        extents, f = self.extents, self.f
        self.first_tile = self.first_panel = f.index(0)
        self._use_scratch(self._scratch_of(f.index(0)))
        with f.loop(0, extents.sums_bytes // extents.size, extents.lanes, name="sum") as loop:
            place = self.sums.at(loop.index, self.element)
            total = f.load(place, self.vector)
            for part in range(1, extents.parts):
                total = total + f.load(place.byte(part * extents.task_bytes), self.vector)
            f.store(total, place)
        self._finish_all()

    def _add_chunks(self, begin: Value, end: Value) -> None:
        """Set sums in memory to those over some indices of the first dimension of the depth."""
        extents, f = self.extents, self.f
        f.fill(self.sums, 0, extents.sums_bytes)
        for index, chunk, depth in self._chunks(begin, end):
            for panel, columns in self._panels():
                right = self._right(panel, depth, columns, [*index, chunk])
                for tile in self._tiles():
                    left, kept = self._left(tile, panel, [*index, chunk]), self._kept_sums(panel)
                    sums = self._multiply(tile, columns, left, right, depth, self._load(kept, tile, columns), chunk)
                    self._store(kept, sums, columns)

    def _finish_all(self) -> None:
        for panel, columns in self._panels():
            for tile in self._tiles():
                self._finish_in_memory(tile, panel, columns, self._kept_sums(panel))

    def _chunks(self, begin: Value, end: Value) -> Iterator[tuple[list[Value], Value, Value]]:
        """Code for each chunk from an index of the first dimension to another.

        Gives the index of the depth outside of the chunk, the chunk's first index, and how many it has.
        """
        extents, f, outside = self.extents, self.f, list[Value]()
        with ExitStack() as stack:
            if extents.cut:
                outside.append(stack.enter_context(f.loop(begin, end, name="outside")).index)
                begin, end = f.index(0), f.index(extents.depth[1].extent)
            with f.loop(begin, end, extents.chunk, name="chunk") as chunk:
                yield outside, chunk.index, (end - chunk.index).minimum(extents.chunk)

    def _panels(self) -> Iterator[tuple[Value, int]]:
        """Code for each panel of the task: its number, how many columns it has."""
        extents, f = self.extents, self.f
        stop = (self.first_panel + extents.group).minimum(extents.panels)
        with f.loop(self.first_panel, stop, name="panel") as loop:
            for is_rest in cases(f, loop.index, extents.full_panels, extents.rest_columns > 0):
                yield loop.index, extents.rest_columns if is_rest else extents.width

    def _tiles(self) -> Iterator[Tile]:
        """Code for each tile of the task, once for each kind of tiles."""
        extents, f = self.extents, self.f
        stop = (self.first_tile + extents.block_tiles).minimum(extents.tiles)
        with f.loop(self.first_tile, stop, name="tile") as loop:
            self.tile, number, numbers = loop.index, loop.index, []
            for count in reversed(extents.grid):
                numbers.append(number % count if count > 1 else f.index(0))
                number = number // count if count > 1 else number
            numbers.reverse()
            place = [number * size for number, size in zip(numbers, extents.box, strict=True)]
            for kinds in self._kinds(numbers, 0):
                yield Tile(place, kinds)

    def _kinds(self, numbers: Sequence[Value], dimension: int) -> Iterator[list[Kind]]:
        """Code for each kind of box along the dimensions from this one on."""
        if dimension == len(numbers):
            yield []
            return
        kinds, number = self.extents.kinds[dimension], numbers[dimension]
        for kind in kinds:
            if len(kinds) == 1:
                for others in self._kinds(numbers, dimension + 1):
                    yield [kind, *others]
                continue
            is_here = number.equal(kind.first) if kind.stop == kind.first + 1 else number < kind.stop
            if kind.first and kind.stop > kind.first + 1:
                is_here = is_here & (number >= kind.first)
            with self.f.when(is_here):
                for others in self._kinds(numbers, dimension + 1):
                    yield [kind, *others]

    def _left(self, tile: Tile, panel: Value, index: Sequence[Value] = ()) -> Value:
        """The address of the left operand's first element for a tile, a panel, and an index of the depth."""
        access = self.kernel.left
        position = panel * (self.extents.width * access.strides[-1]) + access.offset
        for place, stride in zip(tile.place, access.strides, strict=False):
            position = position + place * stride
        for place, loop in zip(index, self.extents.depth, strict=False):
            position = position + place * loop.left
        return self.body.pointers[access.buffer].at(position, self.element).freeze()

    def _right(self, panel: Value, depth: Value, columns: int, index: Sequence[Value] = ()) -> Value:
        """The address of a panel of the right operand from an index of the depth on, packed if need be."""
        access, extents = self.kernel.right, self.extents
        position = panel * (extents.width * access.strides[-1]) + access.offset
        for place, loop in zip(index, extents.depth, strict=False):
            position = position + place * loop.right
        source = self.body.pointers[access.buffer].at(position, self.element).freeze()
        if not extents.packs:
            return source
        self._pack(source, self.packed, depth, columns, extents.cut)
        return self.packed

    def _pack(self, source: Value, target: Value, depth: Value, columns: int, level: int) -> None:
        """Pack ``depth`` indices of one dimension of the depth, with all that the dimensions behind it have."""
        f, extents, column_stride = self.f, self.extents, self.kernel.right.strides[-1]
        loops, is_last = extents.depth, level == len(extents.depth) - 1
        if is_last and depth.number is not None:
            panel = Panel(self.element, columns, loops[level].right, column_stride)
            pack(f, panel, source, target, extents.width, int(depth.number))
            return
        with f.loop(0, depth, name="pack") as loop:
            start = source.at(loop.index * loops[level].right, self.element)
            goal = target.at(loop.index * extents.steps[level], self.element)
            if is_last:
                pack(f, Panel(self.element, columns, 1, column_stride), start, goal, extents.width, 1)
            else:
                self._pack(start, goal, f.index(loops[level + 1].extent), columns, level + 1)

    def _zeros(self, tile: Tile, columns: int) -> list[Value]:
        return [self.f.constant(0.0, self.vector)] * (tile.count * self.extents.vectors_of(columns))

    def _multiply(
        self,
        tile: Tile,
        columns: int,
        left: Value,
        right: Value,
        depth: Value,
        sums: list[Value],
        first: Value | None = None,
    ) -> list[Value]:
        """The sums of a tile, to which the whole depth is added, or a chunk of ``depth`` indices from ``first`` on."""
        loops = DepthLoops(self.f, self.extents, tile, columns)
        return loops.run(left, right, sums) if first is None else loops.run_chunk(left, right, first, depth, sums)

    def _kept_sums(self, panel: Value) -> Value:
        """Where the sums of a tile are kept between chunks."""
        extents = self.extents
        number = (panel - self.first_panel) * extents.block_tiles + (self.tile - self.first_tile)
        return self.sums.at(number * (extents.pixels * extents.width), self.element)

    def _places(self, sums: Value, rows: int, columns: int) -> list[Value]:
        """Where in memory the vectors of a tile are."""
        width, lanes, vectors = self.extents.width, self.extents.lanes, self.extents.vectors_of(columns)
        return [sums.at(row * width + i * lanes, self.element) for row in range(rows) for i in range(vectors)]

    def _load(self, kept: Value, tile: Tile, columns: int) -> list[Value]:
        return [self.f.load(place, self.vector) for place in self._places(kept, tile.count, columns)]

    def _store(self, kept: Value, sums: Sequence[Value], columns: int) -> None:
        rows = len(sums) // self.extents.vectors_of(columns)
        for place, vector in zip(self._places(kept, rows, columns), sums, strict=True):
            self.f.store(vector, place)

    def _point(self, tile: Tile) -> Point:
        point = self.origin
        for dimension in self.outside:
            point = point.enter(dimension, tile.place[dimension])
        return point

    def _finish(self, tile: Tile, panel: Value, columns: int, sums: list[Value]) -> None:
        """Run the body and the stores for a tile, of which the first ``columns`` columns count."""
        if not self.is_unrolled:
            self._store(self.sums, sums, columns)
            self._finish_in_memory(tile, panel, columns, self.sums)
            return
        for piece in self.body.pieces(panel * self.extents.width, columns, self.extents.lanes):
            strip = self._point(tile).enter(len(self.kernel.rows), *piece)
            self._finish_rows(tile, strip, self.inside, self._lanes_of(sums, piece, columns))

    def _lanes_of(self, sums: Sequence[Value], piece: Piece, columns: int) -> list[Value]:
        """What a piece of the columns takes of every row's sums."""
        lanes, vectors = self.extents.lanes, self.extents.vectors_of(columns)
        mine, first = sums[piece.offset // lanes :: vectors], piece.offset % lanes
        return [
            vector if piece.lanes == lanes else vector.shuffle(range(first, first + piece.lanes)) for vector in mine
        ]

    def _finish_rows(self, tile: Tile, point: Point, dimensions: Sequence[int], sums: Sequence[Value]) -> None:
        """The rows of a tile along some dimensions, whose sums are in registers."""
        dimension, *others = dimensions
        count = len(sums) // tile.extent[dimension]
        for index in range(tile.extent[dimension]):
            mine = sums[index * count : (index + 1) * count]
            if others:
                self._finish_rows(tile, point.enter(dimension, tile.place[dimension], index), others, mine)
            else:
                point.enter(dimension, tile.place[dimension], index, given={0: mine[0]})

    def _finish_in_memory(self, tile: Tile, panel: Value, columns: int, sums: Value) -> None:
        """The same for sums in memory."""
        point = self._point(tile)
        for piece in self.body.pieces(panel * self.extents.width, columns, self.extents.lanes):
            strip = point.enter(len(self.kernel.rows), *piece)
            start = sums.at(piece.offset, self.element)
            self._finish_stored_rows(tile, strip, self.inside, start, Type(self.element, piece.lanes))

    def _finish_stored_rows(
        self, tile: Tile, point: Point, dimensions: Sequence[int], sums: Value, vector: Type
    ) -> None:
        """The rows of a tile along some dimensions, in loops."""
        dimension, *others = dimensions
        distance = math.prod(tile.extent[other] for other in others) * self.extents.width
        with self.f.loop(0, tile.extent[dimension], name="finish") as loop:
            start, index = sums.at(loop.index * distance, self.element), tile.place[dimension] + loop.index
            if others:
                self._finish_stored_rows(tile, point.enter(dimension, index), others, start, vector)
            else:
                point.enter(dimension, index, given={0: self.f.load(start, vector)})
