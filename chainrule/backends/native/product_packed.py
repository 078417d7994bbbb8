"""Large matrix products: panels of the right operand are packed, and a register tile walks down the rows.

A task is a block of rows and a group of panels. It packs its panels once, and for every tile of rows multiplies with each
of them; the tile of the left operand is packed too where its rows would get in each other's way in the cache. A depth
beyond ``DEPTH_BLOCK`` is done in blocks, with the sums of the whole task in scratch memory between them.
"""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.backends.native.kernel import worker_scratch
from chainrule.backends.native.language import BYTES, INDEX, POINTER, Function, Type, Value
from chainrule.backends.native.product_pack import Panel, pack, packed_width
from chainrule.backends.native.product_site import (
    Site,
    Steps,
    cases,
    even_split,
    multiply,
    only_for,
    sums_in_registers,
    zeros,
)
from chainrule.passes.plan import Product

DEPTH_BLOCK = 4096
"""Most values of k that a panel holds."""

GROUP_BYTES = 256 << 10
"""The panels of a task share the second-level cache with the tiles of the left operand."""

BLOCK_WORK = 1 << 24
"""A task is about so many multiplications: enough to make packing its panels small, few enough to feed many threads."""


class Packed:
    """The extents of a product's tiles, panels and tasks, and their emission."""

    def __init__(self, product: Product, f: Function) -> None:
        self.product, self.element = product, product.dtype.name
        self.size = BYTES[self.element]
        self.lanes = f.module.target.lanes(self.element)
        sums, needed = sums_in_registers(f), -(-product.columns // self.lanes)
        self.vectors = min(2, needed)
        self.width = self.vectors * self.lanes
        self.tile_rows = even_split(product.rows, sums // self.vectors)
        self.depth = min(product.depth, DEPTH_BLOCK)
        self.depth_blocks = -(-product.depth // self.depth)
        self.full_panels, self.rest_columns = divmod(product.columns, self.width)
        panels = self.full_panels + (self.rest_columns > 0)
        panel_work = product.rows * self.width * self.depth
        most = min(GROUP_BYTES // (self.depth * self.width * self.size), BLOCK_WORK // panel_work)
        self.group = even_split(panels, max(1, most))
        self.groups = -(-panels // self.group)
        tiles = product.rows // self.tile_rows
        tile_work = self.tile_rows * self.group * self.width * self.depth
        self.block_rows = self.tile_rows * even_split(tiles, max(1, BLOCK_WORK // tile_work))
        self.whole_rows = tiles * self.tile_rows
        self.row_blocks = -(-self.whole_rows // self.block_rows)
        self.rest_rows = product.rows - self.whole_rows
        self.packs_left = self._should_pack_left()
        self.left_width = packed_width(f, self.element, self.tile_rows)
        self.right_bytes = self.group * self.width * self.depth * self.size
        self.left_bytes = self.packs_left * whole_lines(self.left_width * self.depth * self.size)
        self.kept_rows = self.tile_rows if self.depth_blocks == 1 else self.block_rows + self.rest_rows
        kept_panels = 1 if self.depth_blocks == 1 else self.group
        self.sums_bytes = whole_lines(self.kept_rows * kept_panels * self.width * self.size)
        self.scratch_bytes = self.right_bytes + self.left_bytes + self.sums_bytes

    @property
    def blocks(self) -> tuple[int, int]:
        """Numbers of row blocks and of groups of panels: a task is one of both."""
        return self.row_blocks, self.groups

    def _should_pack_left(self) -> bool:
        """Whether the tile's elements lie so far apart that copying them together for all panels of a task pays."""
        return True

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
        self.tiles: set[str] = set()

    def emit(self, is_parallel: bool) -> None:
        plan, f = self.plan, self.f
        with self.site.tasks(plan.blocks, is_parallel) as (self.row_block, self.group):
            if plan.depth_blocks == 1:
                self._depth_block(f.index(0), plan.depth)
            else:
                f.fill(self.sums, 0, plan.sums_bytes)
                full, rest = divmod(self.product.depth, plan.depth)
                with f.loop(0, plan.depth_blocks, name="depth_block") as loop:
                    for is_rest in cases(f, loop.index, full, rest > 0):
                        self._depth_block(loop.index * plan.depth, rest if is_rest else plan.depth)
                self._finish_block()

    def _panels(self) -> Iterator[tuple[Value, Value, int]]:
        """Code for each panel of the task: its number in the task, its first column, how many columns it has."""
        plan, f = self.plan, self.f
        first, stop = self.group * plan.group, f.index(plan.full_panels)
        if plan.groups > 1:
            stop = (first + plan.group).minimum(stop)
        with f.loop(first, stop, name="panel") as loop:
            yield loop.index - first, loop.index * plan.width, plan.width
        if plan.rest_columns:
            with only_for(f, self.group, plan.groups - 1, plan.groups):
                last = f.index(plan.full_panels)
                yield last - first, last * plan.width, plan.rest_columns

    def _tiles(self) -> Iterator[tuple[Value, int]]:
        """Code for each tile of rows of the task: its first row, how many rows it has."""
        plan, f = self.plan, self.f
        first, stop = self._first_row, f.index(plan.whole_rows)
        if plan.row_blocks > 1:
            stop = (first + plan.block_rows).minimum(stop)
        with f.loop(first, stop, plan.tile_rows, name="tile") as loop:
            yield loop.index, plan.tile_rows
        if plan.rest_rows:
            with only_for(f, self.row_block, plan.row_blocks - 1, plan.row_blocks):
                yield f.index(plan.whole_rows), plan.rest_rows

    @property
    def _first_row(self) -> Value:
        return self.row_block * self.plan.block_rows

    def _depth_block(self, first_depth: Value, depth: int) -> None:
        """Multiply the task's rows and columns for ``depth`` values of k."""
        plan, f = self.plan, self.f
        depth_stride, column_stride = self.product.right.strides[-2:]
        for number, column, columns in self._panels():
            panel = Panel(self.element, columns, depth_stride, column_stride)
            source = self.site.right(column).at(first_depth * depth_stride, self.element)
            pack(f, panel, source, self._panel(number, depth), plan.width, depth)
        for row, rows in self._tiles():
            left, steps = self._left(row, rows, first_depth, depth)
            for number, column, columns in self._panels():
                self._multiply(left, self._panel(number, depth), steps, depth, row, rows, number, column, columns)

    def _panel(self, number: Value, depth: int) -> Value:
        return self.packed_right.at(number * (depth * self.plan.width), self.element)

    def _left(self, row: Value, rows: int, first_depth: Value, depth: int) -> tuple[Value, Steps]:
        """The tile of the left operand, packed or where it is."""
        plan, product = self.plan, self.product
        row_stride, depth_stride = product.left.strides[-2:]
        source = self.site.left(row).at(first_depth * depth_stride, self.element)
        if not plan.packs_left:
            return source, Steps(row_stride, depth_stride, plan.width)
        panel = Panel(self.element, rows, depth_stride, row_stride)
        pack(self.f, panel, source, self.packed_left, plan.left_width, depth)
        return self.packed_left, Steps(1, plan.left_width, plan.width)

    def _multiply(
        self,
        left: Value,
        right: Value,
        steps: Steps,
        depth: int,
        row: Value,
        rows: int,
        number: Value,
        column: Value,
        columns: int,
    ) -> None:
        """One tile times one panel, and what is to be done with the sums."""
        plan, f, site = self.plan, self.f, self.site
        vectors = -(-columns // plan.lanes)
        if plan.depth_blocks > 1:
            sums = self._kept_sums(number).at((row - self._first_row) * plan.width, self.element)
            f.call(self._tile(rows, vectors, depth, steps), [left, right, sums, f.index(plan.width)])
        elif site.is_plain and columns == vectors * plan.lanes:
            target, stride = site.plain_target(row, column)
            f.call(self._tile(rows, vectors, depth, steps), [left, right, target, f.index(stride)])
        else:
            f.call(self._tile(rows, vectors, depth, steps), [left, right, self.sums, f.index(plan.width)])
            site.finish_rows(row, column, self.sums, rows, columns, plan.width)

    def _kept_sums(self, number: Value) -> Value:
        """The sums of a panel's columns between blocks of the depth."""
        return self.sums.at(number * (self.plan.kept_rows * self.plan.width), self.element)

    def _finish_block(self) -> None:
        """Finish the kept sums of all rows and columns of the task."""
        plan, f, first = self.plan, self.f, self._first_row
        rows = f.index(self.product.rows) - first
        if plan.row_blocks > 1:
            is_last = self.row_block.equal(plan.row_blocks - 1)
            rows = is_last.select(rows, f.index(plan.block_rows))
        for number, column, columns in self._panels():
            self.site.finish_rows(first, column, self._kept_sums(number), rows, columns, self.plan.width)

    def _tile(self, rows: int, vectors: int, depth: int, steps: Steps) -> str:
        """A function that multiplies a tile with a panel: (left, right, sums, distance of rows of sums)."""
        name = f"{self.f.name}_{rows}x{vectors}x{depth}"
        if name in self.tiles:
            return name
        self.tiles.add(name)
        plan, element = self.plan, self.element
        arguments = [("left", POINTER), ("right", POINTER), ("sums", POINTER), ("distance", INDEX)]
        with self.f.module.function(name, arguments, exported=False) as f:
            left, right, sums, distance = f.arguments
            columns = vectors * plan.lanes
            places = [
                [sums.at(distance * row + first, element) for first in range(0, columns, plan.lanes)]
                for row in range(rows)
            ]
            tile = zeros(f, element, rows, columns, plan.lanes)
            if plan.depth_blocks > 1:
                tile = [[f.load(place, Type(element, plan.lanes)) for place in line] for line in places]
            tile = multiply(f, left, right, steps, f.index(depth), tile, columns)
            for vectors_of_row, line in zip(tile, places, strict=True):
                for vector, place in zip(vectors_of_row, line, strict=True):
                    f.store(vector, place)
        return name


def whole_lines(bytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-bytes // 64) * 64
