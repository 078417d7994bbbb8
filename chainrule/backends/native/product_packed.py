"""Large matrix products: operands are packed in the order in which a register tile reads them.

A task is a block of rows and a group of panels, which are two vectors of columns wide. It goes through the depth in blocks
that keep a packed panel of the right operand in the first-level cache while all tiles of rows are multiplied with it; in
between, the sums are kept in scratch memory. The left operand is packed too where that pays; it then lies in the
second-level cache. The epilogue runs on a tile's sums right after the last block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from chainrule.backends.native.kernel import worker_scratch
from chainrule.backends.native.language import BYTES, INDEX, POINTER, Function, Type, Value
from chainrule.backends.native.product_pack import Panel, pack, packed_width
from chainrule.backends.native.product_site import (
    Site,
    Steps,
    even_split,
    multiply,
    only_for,
    sums_in_registers,
    zeros,
)
from chainrule.passes.plan import Product

PANEL_BYTES = 24 << 10
"""A packed panel fits into a first-level cache of 32 KB, with room for the tile of the left operand."""

BLOCK_ROWS = 256
"""Most rows of a task: their packed block of the left operand fits into half of a second-level cache of 512 KB."""

AHEAD_LINES = 2
TARGETPF = True
SPREAD = True
CHUNK = 16
GROUP = 8
"""Most panels of a task, all multiplied with the same rows."""

TASK_WORK = 1 << 22
"""A task is at least about so many multiplications: 50 microseconds."""

TASKS = 64
"""Of a very large product, so many tasks are enough."""


class Packed:
    """The extents of a product's tiles, panels and tasks, and their emission."""

    def __init__(self, product: Product, f: Function) -> None:
        self.product, self.element = product, product.dtype.name
        self.lanes = f.module.target.lanes(self.element)
        self.vectors = min(2, -(-product.columns // self.lanes))
        self.width = self.vectors * self.lanes
        self.full_panels, self.rest_columns = divmod(product.columns, self.width)
        self.tile_rows = even_split(product.rows, sums_in_registers(f) // self.vectors)
        self.rest_rows = product.rows % self.tile_rows
        self._split_depth()
        self._split_into_tasks()
        self.packs_left = self._should_pack_left()
        self.left_width = packed_width(f, self.element, self.tile_rows)
        self._share_out_scratch()

    def _split_depth(self) -> None:
        most = PANEL_BYTES // (self.width * BYTES[self.element])
        self.depth_blocks = -(-self.product.depth // most)
        even = -(-self.product.depth // self.depth_blocks)
        self.depth = min(self.product.depth, -(-even // self.lanes) * self.lanes)  # whole vectors for the packing
        self.depth_blocks = -(-self.product.depth // self.depth)
        self.last_depth = self.product.depth - (self.depth_blocks - 1) * self.depth

    def _split_into_tasks(self) -> None:
        product = self.product
        work = math.prod(product.domain) * product.depth
        task_work = max(TASK_WORK, work // TASKS)
        tiles, panels = product.rows // self.tile_rows, self.full_panels + (self.rest_columns > 0)
        block_tiles = min(tiles, even_split(tiles, max(1, BLOCK_ROWS // self.tile_rows)))
        panel_work = block_tiles * self.tile_rows * self.width * product.depth
        self.group = even_split(panels, max(1, min(GROUP, task_work // panel_work)))
        self.groups = -(-panels // self.group)
        self.block_rows = block_tiles * self.tile_rows
        self.whole_rows = tiles * self.tile_rows
        self.row_blocks = -(-self.whole_rows // self.block_rows)

    def _should_pack_left(self) -> bool:
        """Whether enough panels of a task use the left operand, and its rows lie far enough apart, to copy it."""
        return self.group >= 4

    def _share_out_scratch(self) -> None:
        size = BYTES[self.element]
        rows = self.block_rows + self.rest_rows
        self.right_bytes = whole_lines(self.group * self.depth * self.width * size)
        tiles = self.block_rows // self.tile_rows + (self.rest_rows > 0)
        self.left_bytes = whole_lines(tiles * self.depth * self.left_width * size) if self.packs_left else 0
        kept = self.group * rows if self.depth_blocks > 1 else self.tile_rows
        self.kept_rows = rows
        self.scratch_bytes = self.right_bytes + self.left_bytes + whole_lines(kept * self.width * size)

    @property
    def blocks(self) -> tuple[int, int]:
        """Numbers of row blocks and of groups of panels: a task is one of both."""
        return self.row_blocks, self.groups

    def emit(self, site: Site, is_parallel: bool) -> None:
        Emission(self, site).emit(is_parallel)


class Emission:
    """The code of one packed product."""

    def __init__(self, plan: Packed, site: Site) -> None:
        self.plan, self.site, self.f, self.product = plan, site, site.f, site.product
        self.element = site.element
        scratch = worker_scratch(self.f, site.plan, plan.scratch_bytes)
        self.packed_right = scratch.freeze()
        self.packed_left = scratch.byte(plan.right_bytes).freeze()
        self.sums = scratch.byte(plan.right_bytes + plan.left_bytes).freeze()
        self.tile_functions: set[str] = set()

    def emit(self, is_parallel: bool) -> None:
        plan, f = self.plan, self.f
        with self.site.tasks(plan.blocks, is_parallel) as (self.row_block, self.group):
            self.first_row, self.first_panel = self.row_block * plan.block_rows, self.group * plan.group
            self.stop_panel = f.index(plan.full_panels)
            if plan.groups > 1:
                self.stop_panel = (self.first_panel + plan.group).minimum(self.stop_panel)
            if plan.depth_blocks > 1:
                size = BYTES[self.element]
                f.fill(self.sums, 0, plan.group * plan.kept_rows * plan.width * size)
            last = (plan.depth_blocks - 1) * plan.depth
            with f.loop(0, last, plan.depth, name="depth_block") as loop:
                self._depth_block(loop.index, plan.depth, is_last=False)
            self._depth_block(f.index(last), plan.last_depth, is_last=True)

    def _panels(self) -> Iterator[tuple[Value, int]]:
        """Code for each panel of the task: its number, how many columns it has."""
        plan, f = self.plan, self.f
        with f.loop(self.first_panel, self.stop_panel, name="panel") as loop:
            yield loop.index, plan.width
        if plan.rest_columns:
            with only_for(f, self.group, plan.groups - 1, plan.groups):
                yield f.index(plan.full_panels), plan.rest_columns

    def _tiles(self) -> Iterator[tuple[Value, int]]:
        """Code for each tile of rows of the task: its first row, how many rows it has."""
        plan, f = self.plan, self.f
        stop = f.index(plan.whole_rows)
        if plan.row_blocks > 1:
            stop = (self.first_row + plan.block_rows).minimum(stop)
        with f.loop(self.first_row, stop, plan.tile_rows, name="tile") as loop:
            yield loop.index, plan.tile_rows
        if plan.rest_rows:
            with only_for(f, self.row_block, plan.row_blocks - 1, plan.row_blocks):
                yield f.index(plan.whole_rows), plan.rest_rows

    def _depth_block(self, first: Value, depth: int, is_last: bool) -> None:
        """Multiply the task's rows and columns for ``depth`` values of k from ``first`` on."""
        plan, f, product = self.plan, self.f, self.product
        row_stride, left_stride = product.left.strides[-2:]
        right_stride, column_stride = product.right.strides[-2:]
        if plan.packs_left:
            for row, rows in self._tiles():
                source = self.site.left(row).at(first * left_stride, self.element)
                panel = Panel(self.element, rows, left_stride, row_stride)
                pack(f, panel, source, self._packed_tile(row), plan.left_width, depth)
        chunk = min(depth, CHUNK) if column_stride == 1 else depth
        def pk(start, dd):
            for number, columns in self._panels():
                source = self.site.right(number * plan.width).at((first + start) * right_stride, self.element)
                panel = Panel(self.element, columns, right_stride, column_stride)
                pack(f, panel, source, self._rp(number).at(start * plan.width, self.element), plan.width, dd)
        with f.loop(0, depth - depth % chunk, chunk) as loop:
            pk(loop.index, chunk)
        if depth % chunk:
            pk(f.index(depth - depth % chunk), depth % chunk)
        for number, columns in self._panels():
            ahead = self._ahead(first, number, columns, is_last)
            for row, rows in self._tiles():
                left = self.site.left(row).at(first * left_stride, self.element)
                left = self._packed_tile(row) if plan.packs_left else left
                self._multiply(left, depth, row, rows, number, columns, is_last, ahead)

    def _ahead(self, first: Value, panel: Value, columns: int, is_last: bool) -> Value:
        """The address of what will be packed after this block of a panel."""
        plan, f = self.plan, self.f
        right_stride = self.product.right.strides[-2]
        if is_last:
            return self.site.right((panel + plan.group) * plan.width)
        return self.site.right(panel * plan.width).at((first + plan.depth) * right_stride, self.element)

    def shift(self):
        tiles = self.plan.block_rows // self.plan.tile_rows
        return max(0, (tiles // 2).bit_length() - 1) if SPREAD else 0

    def _rp(self, number):
        return self.packed_right.at((number - self.first_panel) * (self.plan.depth * self.plan.width), self.element)

    def _packed_tile(self, row: Value) -> Value:
        tile = (row - self.first_row) // self.plan.tile_rows
        return self.packed_left.at(tile * (self.plan.depth * self.plan.left_width), self.element)

    def _sums(self, row: Value, panel: Value) -> Value:
        """Where the sums of a tile are kept."""
        if self.plan.depth_blocks == 1:
            return self.sums
        kept_row = (panel - self.first_panel) * self.plan.kept_rows + (row - self.first_row)
        return self.sums.at(kept_row * self.plan.width, self.element)

    def _multiply(
        self, left: Value, depth: int, row: Value, rows: int, panel: Value, columns: int, is_last: bool, ahead: Value
    ) -> None:
        """One tile times one panel, added to the sums; after the last block, what is to be done with them."""
        plan, f, site = self.plan, self.f, self.site
        vectors = -(-columns // plan.lanes)
        column = panel * plan.width
        sums = self._sums(row, panel)
        function = self._tile_function(rows, vectors)
        tile = (row - self.first_row) // plan.tile_rows
        shift = self.shift()
        rows_each = -(-plan.depth >> shift)
        stride = self.product.right.strides[-2]
        part = tile // AHEAD_LINES if AHEAD_LINES else tile
        useful = tile < (AHEAD_LINES << shift)
        ahead = useful.select(ahead.byte((tile % max(AHEAD_LINES,1))*64).at(part * (rows_each * stride), self.element), ahead)
        stride = useful.select(f.index(stride), f.index(0))
        if is_last and site.is_plain and columns == vectors * plan.lanes:
            target, distance = site.plain_target(row, column)
            f.call(function, [left, self._rp(panel), sums, target, f.index(depth), f.index(distance), ahead, stride])
            return
        f.call(function, [left, self._rp(panel), sums, sums, f.index(depth), f.index(plan.width), ahead, stride])
        if is_last:
            site.finish_rows(row, column, sums, rows, columns, plan.width)

    def _tile_function(self, rows: int, vectors: int) -> str:
        """A function that multiplies a tile with the packed panel, adds the kept sums and stores the result.

        Arguments: left, right, depth, sums, target, and the distance of the target's rows.
        """
        name = f"{self.f.name}_{rows}x{vectors}"
        if name in self.tile_functions:
            return name
        self.tile_functions.add(name)
        plan, element = self.plan, self.element
        row_stride, depth_stride = self.product.left.strides[-2:]
        steps = Steps(1, plan.left_width, plan.width) if plan.packs_left else Steps(row_stride, depth_stride, plan.width)
        pointers = [(argument, POINTER) for argument in ("left", "right", "sums", "target")]
        with self.f.module.function(name, [*pointers, ("depth", INDEX), ("distance", INDEX), ("ahead", POINTER), ("astride", INDEX)], exported=False) as f:
            left, right, sums, target, depth, distance, ahead, astride = f.arguments
            tile = zeros(f, element, rows, vectors * plan.lanes, plan.lanes)
            vector = Type(element, plan.lanes)
            places = [(row, column) for row in range(rows) for column in range(vectors)]
            if plan.depth_blocks > 1:
                for row, column in places:
                    tile[row][column] = f.load(sums.at(row * plan.width + column * plan.lanes, element), vector)
            if TARGETPF:
                for row, column in places:
                    f.prefetch(target.at(distance * row + column * plan.lanes, element), write=True)
            tile = multiply(f, left, right, steps, depth, tile, vectors * plan.lanes, (ahead, astride, self.shift()) if AHEAD_LINES else None)
            for row, column in places:
                f.store(tile[row][column], target.at(distance * row + column * plan.lanes, element))
        return name


def whole_lines(bytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-bytes // 64) * 64
