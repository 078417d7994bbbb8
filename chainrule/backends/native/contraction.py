"""Sums over several dimensions, as convolutions and their gradients have them, without copying what is under windows.

A register tile holds the sums of a box of rows, such as 13 pixels of an image, times a panel of columns. The box lies at
constant distances from one address of the left operand, whose elements are broadcast; the right operand is packed panel
by panel in the order in which the loops over the depth read it, unless it lies so already. A depth whose operands would
not stay in the caches is gone through in chunks of its first dimension; in between, sums are kept in scratch memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chainrule.backends.native.body import Body, Point
from chainrule.backends.native.kernel import KernelInfo, whole_lines, worker_scratch
from chainrule.backends.native.language import BYTES, KERNEL_ARGUMENTS, Function, Module, Type, Value
from chainrule.backends.native.product_pack import Panel, pack, vector_lanes
from chainrule.backends.native.product_site import UNROLLED_EPILOGUE, cases, even_split
from chainrule.backends.native.schedule import code_length
from chainrule.passes.plan import Contraction, Plan
from chainrule.types import Shape

NEAR_BYTES = 1 << 20
"""What is read of both operands for one panel, at most, before the depth is cut into chunks: a second-level cache."""

CHUNK_BYTES = 1 << 19
"""About so many bytes of both operands are in a chunk."""

NEAR_ROW_BYTES = 1 << 10
"""Rows of the right operand that are no farther apart are read where they are."""

MOST_VECTORS = 3
"""Columns of at most so many vectors are one panel; of more, panels of two leave the most registers to the rows."""

LEAST_BLOCK_ROWS = 64
"""Fewer rows do not repay the packing of a panel."""

LEAST_CHUNKED_ROWS = 288
"""Fewer rows do not repay that each task reads all of both operands."""

TASK_WORK = 1 << 22
"""Multiplications of a task, about; and about how many tasks there are of smaller or larger contractions."""
LEAST_TASKS, MOST_TASKS = 4, 64

PARALLEL_WORK = 1 << 18
"""Multiplications from which on threads share the work."""


def emit_contraction(module: Module, kernel: Contraction, plan: Plan, name: str) -> KernelInfo:
    """Add the kernel function ``name`` to the module.

    Every sum is made in row-major order of the depth. Example: ``emit_contraction(module, kernel, plan, "kernel_3")``.
    """
    with module.function(name, KERNEL_ARGUMENTS) as f:
        extents = Extents(kernel, f)
        work = math.prod(kernel.domain) * kernel.terms
        is_parallel = extents.tasks > 1 and work >= PARALLEL_WORK
        Emission(extents, f, plan).emit(is_parallel)
    return KernelInfo(name, extents.tasks, is_parallel, extents.scratch_bytes)


class Loop(NamedTuple):
    """A loop over the depth: how often, and how far its step goes in the left operand and in the panel, in elements."""

    extent: int
    left: int
    right: int


class Extents:
    """The extents of a contraction's tiles, panels, chunks and tasks.

    ``box`` is a register tile's extent along each dimension of the rows, ``grid`` the number of whole boxes, ``rest``
    what is left of the last dimension.
    """

    def __init__(self, kernel: Contraction, f: Function) -> None:
        self.kernel, self.element = kernel, kernel.dtype.name
        self.size, self.lanes = BYTES[self.element], panel_lanes(f, self.element, kernel.columns)
        vectors = -(-kernel.columns // self.lanes)
        self.vectors = vectors if vectors <= MOST_VECTORS else 2
        self.width = self.vectors * self.lanes
        self.full_panels, self.rest_columns = divmod(kernel.columns, self.width)
        self.panels = self.full_panels + (self.rest_columns > 0)
        self._choose_box(most_sums(f) // self.vectors)
        self._split_depth()
        self._split_into_tasks()
        self._share_out_scratch()

    def _choose_box(self, most: int) -> None:
        """As many rows as registers allow: of the last dimension first, whole boxes of the others."""
        *others, last = self.kernel.rows
        box = [even_split(last, most)]
        for extent in reversed(others):
            room = most // math.prod(box)
            is_whole = box[0] == ([*others, last][-len(box)])
            box.insert(0, max(n for n in range(1, room + 1) if extent % n == 0) if is_whole and room > 1 else 1)
        self.box = tuple(box)
        self.grid = tuple(-(-n // size) for n, size in zip(self.kernel.rows, box, strict=True))
        self.rest = last % box[-1]
        self.tiles, self.pixels = math.prod(self.grid), math.prod(box)

    def _split_depth(self) -> None:
        """Chunks of the first dimension of the depth; the panel lies ready if its rows are no wider than itself."""
        kernel, depth = self.kernel, self.kernel.depth
        *distances, column_stride = kernel.right.strides
        has_near_rows = column_stride == 1 and abs(distances[-1]) * self.size <= NEAR_ROW_BYTES
        self.packs = not (has_near_rows and kernel.columns % self.width == 0)
        inner = math.prod(depth[1:])
        touched = inner * self.width + abs(kernel.left.strides[len(kernel.rows)])
        self.chunk = depth[0]
        if depth[0] * touched * self.size > NEAR_BYTES:
            most = max(1, CHUNK_BYTES // (touched * self.size))
            self.chunk = -(-depth[0] // -(-depth[0] // most))
        self.chunks = -(-depth[0] // self.chunk)
        packed = (math.prod(depth[d + 1 :]) * self.width for d in range(len(depth)))
        self.steps = tuple(packed) if self.packs else tuple(distances)
        self.loops = self._merged_loops()

    def _merged_loops(self) -> list[Loop]:
        """The loops over the depth; two that both operands walk as one are one, but the first may be cut into chunks."""
        kernel = self.kernel
        loops: list[Loop] = []
        for loop in map(Loop, kernel.depth, kernel.left.strides[len(kernel.rows) :], self.steps):
            outer = loops[-1] if loops else None
            may_merge = outer is not None and (len(loops) > 1 or self.chunks == 1)
            if may_merge and outer.left == loop.left * loop.extent and outer.right == loop.right * loop.extent:
                loops[-1] = loop._replace(extent=outer.extent * loop.extent)
            else:
                loops.append(loop)
        return loops

    def _split_into_tasks(self) -> None:
        kernel = self.kernel
        work = math.prod(kernel.domain) * kernel.terms
        wanted = min(max(work // TASK_WORK, LEAST_TASKS), MOST_TASKS)
        if self.chunks > 1:
            groups, rows = min(self.panels, wanted), LEAST_CHUNKED_ROWS
            most = max(self.tiles * self.pixels // rows, LEAST_TASKS // groups)
        else:
            most = self.tiles * self.pixels // LEAST_BLOCK_ROWS
        blocks = max(1, min(wanted, most, self.tiles))
        even = next(count for count in range(blocks, self.tiles + 1) if self.tiles % count == 0)
        self.block_tiles = -(-self.tiles // (even if even <= 2 * blocks else blocks))
        self.blocks = -(-self.tiles // self.block_tiles)
        groups = min(self.panels, -(-wanted // self.blocks))
        self.group = -(-self.panels // groups)
        self.groups = -(-self.panels // self.group)
        self.tasks = self.blocks * self.groups

    def _share_out_scratch(self) -> None:
        self.panel_bytes = whole_lines(self.chunk * self.steps[0] * self.size) if self.packs else 0
        kept = self.block_tiles * self.group if self.chunks > 1 else 1
        self.sums_bytes = whole_lines(kept * self.pixels * self.width * self.size)
        self.scratch_bytes = self.panel_bytes + self.sums_bytes


def panel_lanes(f: Function, element: str, columns: int) -> int:
    """Lanes of the vectors of a panel: fewer than a register has, where fewer would be idle.

    Two multiplications of 256 bits take no longer than one of 512.
    """
    target = f.module.target
    full = target.lanes(element)
    half = full // 2 if target.vector_bits == 512 else full
    wasted = -columns % full - -columns % half
    lanes = half if wasted > 0 and columns <= MOST_VECTORS * half else full
    return min(lanes, vector_lanes(f, element, columns))


def most_sums(f: Function) -> int:
    """How many vectors of sums a tile may hold; the left operand comes from memory, the right one in two registers."""
    target = f.module.target
    return 28 if target.vector_bits == 512 or target.triple.startswith(("aarch64", "arm64")) else 12


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
        scratch = worker_scratch(f, plan, extents.scratch_bytes)
        self.packed, self.sums = scratch.freeze(), scratch.byte(extents.panel_bytes).freeze()
        self.origin = self.body.origin()

    def emit(self, is_parallel: bool) -> None:
        extents, f = self.extents, self.f
        begin, end = f.arguments[1:3] if is_parallel else (f.index(0), f.index(extents.tasks))
        with f.loop(begin, end, name="task") as task:
            self.first_tile = (task.index % extents.blocks) * extents.block_tiles
            self.first_panel = (task.index // extents.blocks) * extents.group
            if extents.chunks > 1:
                self._in_chunks()
            else:
                self._at_once()

    def _at_once(self) -> None:
        depth = self.f.index(self.kernel.depth[0])
        for panel, columns in self._panels():
            right = self._right(panel, self.f.index(0), depth, columns)
            for place, extent in self._tiles():
                tile = self._zeros(extent, columns)
                tile = self._multiply(self._left(place), right, depth, tile, extent, columns)
                self._finish(place, extent, panel, columns, tile)

    def _in_chunks(self) -> None:
        """Add all chunks to sums in memory, then do with these what is to be done."""
        extents, f = self.extents, self.f
        f.fill(self.sums, 0, extents.sums_bytes)
        with f.loop(0, self.kernel.depth[0], extents.chunk, name="chunk") as chunk:
            depth = (f.index(self.kernel.depth[0]) - chunk.index).minimum(extents.chunk)
            for panel, columns in self._panels():
                right = self._right(panel, chunk.index, depth, columns)
                for place, extent in self._tiles():
                    start = self._left(place).at(chunk.index * extents.loops[0].left, self.element)
                    sums = self._kept_sums(panel)
                    tile = self._multiply(start, right, depth, self._load(sums, extent, columns), extent, columns)
                    self._store(sums, tile, columns)
        for panel, columns in self._panels():
            for place, extent in self._tiles():
                self._finish_in_memory(place, extent, panel, columns, self._kept_sums(panel))

    def _panels(self) -> Iterator[tuple[Value, int]]:
        """Code for each panel of the task: its number, how many columns it has."""
        extents, f = self.extents, self.f
        stop = (self.first_panel + extents.group).minimum(extents.panels)
        with f.loop(self.first_panel, stop, name="panel") as loop:
            for is_rest in cases(f, loop.index, extents.full_panels, extents.rest_columns > 0):
                yield loop.index, extents.rest_columns if is_rest else extents.width

    def _tiles(self) -> Iterator[tuple[list[Value], Shape]]:
        """Code for each tile of the task: its place in the rows, and its extents."""
        extents, f = self.extents, self.f
        stop = (self.first_tile + extents.block_tiles).minimum(extents.tiles)
        with f.loop(self.first_tile, stop, name="tile") as loop:
            self.tile, number, place = loop.index, loop.index, []
            for count, size in zip(reversed(extents.grid), reversed(extents.box), strict=True):
                place.append((number % count if count > 1 else f.index(0)) * size)
                number = number // count if count > 1 else number
            place.reverse()
            whole = self.kernel.rows[-1] - extents.rest
            for is_rest in cases(f, place[-1], whole, extents.rest > 0):
                yield place, (*extents.box[:-1], extents.rest if is_rest else extents.box[-1])

    def _left(self, place: Sequence[Value]) -> Value:
        """The address of the left operand's first element for a tile."""
        access, position = self.kernel.left, self.f.index(self.kernel.left.offset)
        for index, stride in zip(place, access.strides, strict=False):
            position = position + index * stride
        return self.body.pointers[access.buffer].at(position, self.element).freeze()

    def _right(self, panel: Value, first: Value, depth: Value, columns: int) -> Value:
        """The address of a panel of the right operand from ``first`` on, packed if need be."""
        access, extents = self.kernel.right, self.extents
        position = first * access.strides[0] + panel * (extents.width * access.strides[-1]) + access.offset
        source = self.body.pointers[access.buffer].at(position, self.element).freeze()
        if not extents.packs:
            return source
        self._pack(source, self.packed, depth, columns, 0)
        return self.packed

    def _pack(self, source: Value, target: Value, depth: Value, columns: int, level: int) -> None:
        """Pack ``depth`` indices of one dimension of the depth, with all that the dimensions behind it have."""
        f, access, steps = self.f, self.kernel.right, self.extents.steps
        is_last = level == len(self.kernel.depth) - 1
        if is_last and depth.number is not None:
            panel = Panel(self.element, columns, access.strides[level], access.strides[-1])
            pack(f, panel, source, target, self.extents.width, int(depth.number))
            return
        with f.loop(0, depth, name="pack") as loop:
            start = source.at(loop.index * access.strides[level], self.element)
            goal = target.at(loop.index * steps[level], self.element)
            if is_last:
                pack(f, Panel(self.element, columns, 1, access.strides[-1]), start, goal, self.extents.width, 1)
            else:
                self._pack(start, goal, f.index(self.kernel.depth[level + 1]), columns, level + 1)

    def _offsets(self, extent: Shape) -> list[int]:
        """How far each row of a tile lies from the first in the left operand, in elements."""
        strides = self.kernel.left.strides
        return [sum(map(int.__mul__, place, strides)) for place in itertools.product(*map(range, extent))]

    def _vectors(self, columns: int) -> int:
        return -(-columns // self.extents.lanes)

    def _zeros(self, extent: Shape, columns: int) -> list[Value]:
        return [self.f.constant(0.0, self.vector)] * (math.prod(extent) * self._vectors(columns))

    def _multiply(
        self, left: Value, right: Value, depth: Value, tile: list[Value], extent: Shape, columns: int
    ) -> list[Value]:
        """The sums of a tile, to which ``depth`` indices of the first dimension of the depth are added."""
        offsets, loops = self._offsets(extent), self.extents.loops

        def add(level: int, count: int | Value, carried: Sequence[Value]) -> list[Value]:
            with self.f.loop(0, count, carried=carried, name="depth") as loop:
                left, right, *sums = loop.values
                if level == len(loops) - 1:
                    sums = self._add_products(left, right, sums, offsets, self._vectors(columns))
                else:
                    sums = add(level + 1, loops[level + 1].extent, loop.values)[2:]
                following = left.at(loops[level].left, self.element).freeze()
                loop.next([following, right.at(loops[level].right, self.element).freeze(), *sums])
            return loop.results

        return add(0, loops[0].extent if self.extents.chunks == 1 else depth, [left, right, *tile])[2:]

    def _add_products(
        self, left: Value, right: Value, sums: list[Value], offsets: Sequence[int], vectors: int
    ) -> list[Value]:
        """The sums after one more index of the depth."""
        f, lanes = self.f, self.extents.lanes
        columns = [f.load(right.at(number * lanes, self.element), self.vector) for number in range(vectors)]
        result = []
        for row, offset in enumerate(offsets):
            factor = f.load(left.at(offset, self.element), Type(self.element)).broadcast(lanes)
            result += [factor.fma(column, sums[row * vectors + i]) for i, column in enumerate(columns)]
        return result

    def _kept_sums(self, panel: Value) -> Value:
        """Where the sums of a tile are kept between chunks."""
        extents = self.extents
        number = (panel - self.first_panel) * extents.block_tiles + (self.tile - self.first_tile)
        return self.sums.at(number * (extents.pixels * extents.width), self.element)

    def _places(self, sums: Value, rows: int, columns: int) -> list[Value]:
        """Where in memory the vectors of a tile are."""
        width, lanes, vectors = self.extents.width, self.extents.lanes, self._vectors(columns)
        return [sums.at(row * width + i * lanes, self.element) for row in range(rows) for i in range(vectors)]

    def _load(self, sums: Value, extent: Shape, columns: int) -> list[Value]:
        return [self.f.load(place, self.vector) for place in self._places(sums, math.prod(extent), columns)]

    def _store(self, sums: Value, tile: Sequence[Value], columns: int) -> None:
        rows = len(tile) // self._vectors(columns)
        for place, vector in zip(self._places(sums, rows, columns), tile, strict=True):
            self.f.store(vector, place)

    def _point(self, place: Sequence[Value]) -> Point:
        point = self.origin
        for dimension in self.outside:
            point = point.enter(dimension, place[dimension])
        return point

    def _finish(self, place: Sequence[Value], extent: Shape, panel: Value, columns: int, tile: list[Value]) -> None:
        """Run the body and the stores for a tile, of which the first ``columns`` columns count."""
        if not self.is_unrolled:
            self._store(self.sums, tile, columns)
            self._finish_in_memory(place, extent, panel, columns, self.sums)
            return
        lanes, width, point = self.extents.lanes, self.extents.width, self._point(place)
        for piece in self.body.pieces(panel * width, columns, lanes):
            strip = point.enter(len(self.kernel.rows), *piece)
            first = piece.offset % lanes

            def enter(point: Point, dimensions: Sequence[int], row: int) -> None:
                dimension, *others = dimensions
                for index in range(extent[dimension]):
                    number = row * extent[dimension] + index
                    if others:
                        enter(point.enter(dimension, place[dimension], index), others, number)
                        continue
                    vector = tile[number * self._vectors(columns) + piece.offset // lanes]
                    if piece.lanes < lanes:
                        vector = vector.shuffle(range(first, first + piece.lanes))
                    point.enter(dimension, place[dimension], index, given={0: vector})

            enter(strip, self.inside, 0)

    def _finish_in_memory(self, place: Sequence[Value], extent: Shape, panel: Value, columns: int, sums: Value) -> None:
        """The same for sums in memory."""
        f, width, point = self.f, self.extents.width, self._point(place)
        for piece in self.body.pieces(panel * width, columns, self.extents.lanes):
            strip = point.enter(len(self.kernel.rows), *piece)

            def enter(point: Point, dimensions: Sequence[int], row: Value) -> None:
                dimension, *others = dimensions
                with f.loop(0, extent[dimension], name="finish") as loop:
                    number = row * extent[dimension] + loop.index
                    at = place[dimension] + loop.index
                    if others:
                        enter(point.enter(dimension, at), others, number)
                    else:
                        start = sums.at(number * width + piece.offset, self.element)
                        given = {0: f.load(start, Type(self.element, piece.lanes))}
                        point.enter(dimension, at, given=given)

            enter(strip, self.inside, f.index(0))
