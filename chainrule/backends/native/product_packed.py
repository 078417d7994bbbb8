"""Large matrix products: the right operand is packed in the order in which a register tile reads it.

A task is a block of rows and a group of panels, each two vectors of columns wide; the tasks that a thread does may be
done as one. It goes through the depth in blocks so short that the packed panels stay in the caches while all tiles of
rows are multiplied with them; in between, the sums are kept in scratch memory. Meanwhile what will be packed next is
prefetched. The left operand is read where it is, but packed, too, for many panels and where its elements lie apart in
k. The epilogue runs on a tile right after the last block or, if it is long and there is just one block, while the next
tile is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chainrule.backends.native.cpu import Target
from chainrule.backends.native.kernel import LINE_BYTES, whole_lines, worker_scratch
from chainrule.backends.native.language import BYTES, INDEX, POINTER, Function, Type, Value
from chainrule.backends.native.product_interleaved import interleave
from chainrule.backends.native.product_pack import Panel, pack, packed_width
from chainrule.backends.native.product_site import (
    FAR_BYTES,
    Ahead,
    Site,
    Steps,
    even_split,
    has_short_steps,
    multiply,
    only_for,
    sums_in_registers,
    zeros,
)
from chainrule.passes.plan import Product

PANEL_BYTES, NEAR_PANEL_BYTES = 32 << 10, 24 << 10
"""A group of packed panels fits into a second-level cache. A panel that one tile of rows after another reads, and a
tile of the left operand, fit into a first-level cache of 32 KB."""

BLOCK_ROWS = 512
"""Most rows of a task, about; so many share the cost of packing a panel."""

GROUP = 16
"""Most panels of a task; what is packed at a time has long rows, which memory delivers faster."""

PACKED_LEFT_GROUP, SHORT_STEP_GROUP = 8, 4
"""From so many panels on, packing the left operand can pay: in general, and with short steps."""

CROWDED, NEAR_LEFT = 512, 1 << 18
"""Lines at multiples of a larger power of two, in bytes, have few places in a cache, and drive each other out. A block
of the left operand of at most so many bytes stays in a second-level cache beside the panels."""

PACKED_ROWS = 8
"""Values of k that are packed for one panel before the next."""

LEFT_LINES = 32
"""Most cache lines of the left operand to ask for at a time; a processor has few places for lines on their way."""

LEAST_SUMS = 10
"""Fewer vectors of sums in a tile wait for themselves: a rest of fewer rows is better than tiles that are too small."""

LEAST_BLOCK_ROWS = 64
"""Fewer rows do not repay the packing."""

TASK_WORK = 1 << 23
"""Multiplications of a task, 100 microseconds: smaller ones pack less well, larger ones feed few threads."""

LEAST_TASKS, MOST_TASKS = 4, 16
"""A product that is too small, or far too large for tasks of that size has about so many: each reads operands again."""

LEAST_MERGED, MOST_MERGED = 8, 32
"""Panels of a product whose tasks are merged: fewer would feed few threads, more need much memory for sums."""

SHORT_STEP_OPERANDS = 6 << 20
"""Operands of so many bytes are worth merging tasks where steps are short: the sums of all panels are far away."""


def rows_of_tile(f: Function, rows: int, vectors: int) -> int:
    """How many of so many rows a register tile of this width has."""
    most = sums_in_registers(f) // vectors
    even = even_split(rows, most)
    return most if even * vectors < LEAST_SUMS and rows > 2 * most else even


class Packed:
    """The extents of a product's tiles, panels and tasks, and their emission."""

    has_whole_rows = False

    def __init__(self, product: Product, f: Function) -> None:
        self.product, self.size = product, BYTES[product.dtype.name]
        self.lanes = f.module.target.lanes(product.dtype.name)
        self.vectors = min(2, -(-product.columns // self.lanes))
        self.width = self.vectors * self.lanes
        self.full_panels, self.rest_columns = divmod(product.columns, self.width)
        self.tile_rows = rows_of_tile(f, product.rows, self.vectors)
        self.tiles, self.rest_rows = divmod(product.rows, self.tile_rows)
        is_short = has_short_steps(f)
        self.merges_tasks = self._merges_tasks(is_short)
        self._split_depth()
        self._split_rows()
        is_far_in_depth = product.left.strides[-1] != 1 and self.depth_blocks > 1
        packs_left = is_far_in_depth and not self.merges_tasks and not (is_short and self._has_near_left())
        self.has_panels_outside = is_far_in_depth and not packs_left
        enough_panels = SHORT_STEP_GROUP if is_short else PACKED_LEFT_GROUP
        self._split_panels(enough_panels if packs_left and is_short else 1)
        self.packs_left = packs_left and self.group >= enough_panels
        self.left_width = packed_width(f, product.dtype.name, self.tile_rows)
        self._share_out_scratch()

    def _split_depth(self) -> None:
        depth, is_along_depth = self.product.depth, self.product.left.strides[-1] == 1
        longest = (PANEL_BYTES if is_along_depth else NEAR_PANEL_BYTES) // (self.width * self.size)
        if self.merges_tasks:
            longest = min(longest, NEAR_LEFT // (self.product.rows * self.size))
        even = -(-depth // -(-depth // longest))
        self.depth = min(depth, -(-even // self.lanes) * self.lanes)  # whole vectors, for packing by transposing
        self.depth_blocks = -(-depth // self.depth)
        self.last_depth = depth - (self.depth_blocks - 1) * self.depth

    @property
    def _task_work(self) -> int:
        work = math.prod(self.product.domain) * self.product.depth
        return max(min(TASK_WORK, work // LEAST_TASKS), work // MOST_TASKS)

    def _merges_tasks(self, is_short: bool) -> bool:
        """Whether the tasks that a thread does, of a panel each, are one: it reads an operand once, however deep it is.

        For weight gradients: the left operand's elements of one k are neighbours, and near for a block of the depth.
        """
        product = self.product
        row_stride, depth_stride = product.left.strides[-2:]
        is_deep = product.depth * self.width * self.size > NEAR_PANEL_BYTES
        bytes = (product.rows + product.columns) * product.depth * self.size
        if row_stride != 1 or depth_stride == 1 or product.batch or (is_short and bytes < SHORT_STEP_OPERANDS):
            return False
        return is_deep and product.rows <= BLOCK_ROWS and LEAST_MERGED <= self.panels <= MOST_MERGED

    def _split_rows(self) -> None:
        rows = max(LEAST_BLOCK_ROWS, min(BLOCK_ROWS, self._task_work // (self.width * self.product.depth)))
        most_tiles = self.tiles if self.merges_tasks else max(1, rows // self.tile_rows)
        self.block_tiles = even_split(self.tiles, most_tiles)
        self.block_rows = self.block_tiles * self.tile_rows
        self.row_blocks = -(-self.tiles // self.block_tiles)

    def _has_near_left(self) -> bool:
        """Whether left elements of one k are neighbours, and those of a block stay in the second-level cache."""
        row_stride, depth_stride = self.product.left.strides[-2:]
        distance = depth_stride * self.size
        is_crowded = distance & -distance > CROWDED
        return row_stride == 1 and not is_crowded and self.block_rows * self.depth * self.size <= NEAR_LEFT

    def _split_panels(self, least_group: int) -> None:
        if self.merges_tasks:
            self.group, self.groups = self.panels, 1
            return
        panel_work = self.block_rows * self.width * self.product.depth
        self.group = even_split(self.panels, max(least_group, min(GROUP, self._task_work // panel_work)))
        self.groups = -(-self.panels // self.group)

    def _share_out_scratch(self) -> None:
        """Bytes of the packed panels, the packed left operand and the sums; the sums of all tiles, or of one."""
        packed = 0 if self.product.panel else self.group * self.depth * self.width * self.size
        self.right_bytes = whole_lines(packed)
        self.left_bytes = 0
        if self.packs_left:
            tiles = self.block_tiles + (self.rest_rows > 0)
            self.left_bytes = whole_lines(tiles * self.depth * self.left_width * self.size)
        self.kept_rows = self.block_rows + self.rest_rows
        rows = self.group * self.kept_rows if self.depth_blocks > 1 else self.tile_rows
        self.sums_bytes = whole_lines(rows * self.width * self.size)
        self.scratch_bytes = self.right_bytes + self.left_bytes + self.sums_bytes

    @property
    def left_rows(self) -> int:
        """Rows of a tile's left elements that are asked for with each panel of the tile before."""
        return -(-self.tile_rows // self.group)

    @property
    def left_lines(self) -> int:
        """Cache lines of these rows; 0 if they are not worth asking for, or would be too many at a time."""
        product = self.product
        is_far = product.rows * product.depth * self.size >= FAR_BYTES
        lines = self.left_rows * -(-self.depth * self.size // LINE_BYTES)
        is_read_along = product.left.strides[-1] == 1 and not self.packs_left
        return lines if is_far and is_read_along and lines <= LEFT_LINES else 0

    @property
    def panels(self) -> int:
        """How many panels there are."""
        return self.full_panels + (self.rest_columns > 0)

    @property
    def blocks(self) -> tuple[int, int]:
        """Numbers of groups of panels and of row blocks: a task is one of both, and threads share out the columns."""
        return (self.panels, 1) if self.merges_tasks else (self.groups, self.row_blocks)

    def emit(self, site: Site, is_parallel: bool) -> None:
        Emission(self, site).emit(is_parallel)


PACKED_AHEAD = 16 << 10
"""A right operand of more bytes is packed before a loop that multiplies by it at each step."""


def is_packed_ahead(product: Product, target: Target) -> bool:
    """Whether the panels of a product's right operand are worth making where many products read them."""
    lanes, bytes = target.lanes(product.dtype.name), product.columns * product.depth * BYTES[product.dtype.name]
    return not product.batch and not product.is_narrow and product.columns >= lanes and bytes > PACKED_AHEAD


def pack_panels(
    f: Function, product: Product, packed: Packed, right: Value, target: Value, part: Value, parts: int
) -> None:
    """Pack one of so many parts of a right operand, from its buffer, in panels for `Product.panel`."""
    element, width = product.dtype.name, packed.width
    depth_stride, column_stride = product.right.strides
    source = right.at(product.right.offset, element)

    def pack_panel(number: Value, columns: int) -> None:
        panel = Panel(element, columns, depth_stride, column_stride)
        place = target.at(number * (product.depth * width), element)
        pack(f, panel, source.at(number * (width * column_stride), element), place, width, product.depth)

    first, stop = ((number * packed.full_panels) // parts for number in (part, part + 1))
    with f.loop(first, stop, name="panel") as loop:
        pack_panel(loop.index, width)
    if packed.rest_columns:
        with only_for(f, part, parts - 1, parts):
            pack_panel(f.index(packed.full_panels), packed.rest_columns)


class Emission:
    """The code of one packed product."""

    def __init__(self, extents: Packed, site: Site) -> None:
        self.extents, self.site, self.f, self.product = extents, site, site.f, site.product
        self.element = site.element
        scratch = worker_scratch(self.f, site.plan, extents.scratch_bytes)
        self.packed_right = scratch.freeze()
        self.packed_left = scratch.byte(extents.right_bytes).freeze()
        self.sums = scratch.byte(extents.right_bytes + extents.left_bytes).freeze()
        self.tile_functions: set[str] = set()
        self.interleaved = None
        if extents.depth_blocks == 1:
            self.interleaved = interleave(site, extents.tile_rows, extents.vectors, extents.lanes, self._steps())

    def emit(self, is_parallel: bool) -> None:
        extents, f = self.extents, self.f
        with self._tasks(is_parallel):
            self.first_row = self.row_block * extents.block_rows
            if extents.depth_blocks > 1:
                f.fill(self.sums, 0, extents.sums_bytes)
            if self.interleaved:
                self.interleaved.start()
            last = (extents.depth_blocks - 1) * extents.depth
            with f.loop(0, last, extents.depth, name="depth_block") as loop:
                self._depth_block(loop.index, extents.depth, is_last=False)
            self._depth_block(f.index(last), extents.last_depth, is_last=True)
            if self.interleaved:
                self.interleaved.finish()

    @contextmanager
    def _tasks(self, is_parallel: bool) -> Iterator[None]:
        """Code for each task, or for all together: its block of rows, its panels."""
        extents, f = self.extents, self.f
        panels = f.index(extents.panels)
        if extents.merges_tasks:
            self.row_block = f.index(0)
            self.first_panel, self.stop_panel = f.arguments[1:3] if is_parallel else (f.index(0), panels)
            yield
            return
        with self.site.tasks(extents.blocks, is_parallel) as (group, self.row_block):
            self.first_panel, self.stop_panel = group * extents.group, panels
            if extents.groups > 1:
                self.stop_panel = (self.first_panel + extents.group).minimum(panels)
            yield

    def _panels(self) -> Iterator[tuple[Value, int]]:
        """Code for each panel of the task: its number, how many columns it has."""
        extents, f = self.extents, self.f
        full = f.index(extents.full_panels)
        with f.loop(self.first_panel, self.stop_panel.minimum(full), name="panel") as loop:
            yield loop.index, extents.width
        if extents.rest_columns:
            with f.when(self.stop_panel > full, name="rest"):
                yield full, extents.rest_columns

    def _tiles(self) -> Iterator[tuple[Value, int]]:
        """Code for each tile of rows of the task: its number, how many rows it has."""
        extents, f = self.extents, self.f
        first, stop = self.row_block * extents.block_tiles, f.index(extents.tiles)
        if extents.row_blocks > 1:
            stop = (first + extents.block_tiles).minimum(stop)
        with f.loop(first, stop, name="tile") as loop:
            yield loop.index, extents.tile_rows
        if extents.rest_rows:
            with only_for(f, self.row_block, extents.row_blocks - 1, extents.row_blocks):
                yield f.index(extents.tiles), extents.rest_rows

    def _depth_block(self, first: Value, depth: int, is_last: bool) -> None:
        """Multiply the task's rows and columns for ``depth`` values of k from ``first`` on."""
        if self.extents.packs_left:
            self._pack_left(first, depth)
        if not self.product.panel:
            self._pack_right(first, depth)
        if self.extents.has_panels_outside:
            for panel, columns in self._panels():
                for tile, rows in self._tiles():
                    self._multiply(first, depth, tile, rows, panel, columns, is_last)
            return
        # Panels inside: a row of the result is written in one go, which memory likes, and the left tile is reused.
        for tile, rows in self._tiles():
            for panel, columns in self._panels():
                self._multiply(first, depth, tile, rows, panel, columns, is_last)

    def _pack_left(self, first: Value, depth: int) -> None:
        """Pack all tiles of rows, whose elements of one k are consecutive: a few k of each at a time."""
        row_stride, depth_stride = self.product.left.strides[-2:]
        width = self.extents.left_width

        def pack_part(start: Value, depth: int) -> None:
            for tile, rows in self._tiles():
                panel = Panel(self.element, rows, depth_stride, row_stride)
                target = self._packed_tile(tile).at(start * width, self.element)
                pack(self.f, panel, self._left(tile, first + start), target, width, depth)

        self._in_parts(depth, PACKED_ROWS, pack_part)

    def _pack_right(self, first: Value, depth: int) -> None:
        """Pack all panels: a few rows of each at a time, or, by transposing, all of a column that is consecutive."""
        width = self.extents.width
        depth_stride, column_stride = self.product.right.strides[-2:]

        def pack_part(start: Value, depth: int) -> None:
            for number, columns in self._panels():
                panel = Panel(self.element, columns, depth_stride, column_stride)
                target = self._packed_panel(number, first).at(start * width, self.element)
                pack(self.f, panel, self._right(number, first + start), target, width, depth)

        self._in_parts(depth, PACKED_ROWS if column_stride == 1 else depth, pack_part)

    def _in_parts(self, depth: int, part: int, pack_part: Callable[[Value, int], None]) -> None:
        """Code for every ``part`` values of k, and for those that are left."""
        f, part = self.f, min(depth, part)
        whole = depth - depth % part
        with f.loop(0, whole, part, name="part") as loop:
            pack_part(loop.index, part)
        if depth > whole:
            pack_part(f.index(whole), depth - whole)

    def _left(self, tile: Value, first: Value) -> Value:
        source = self.site.left(tile * self.extents.tile_rows)
        return source.at(first * self.product.left.strides[-1], self.element)

    def _right(self, panel: Value, first: Value) -> Value:
        source = self.site.right(panel * self.extents.width)
        return source.at(first * self.product.right.strides[-2], self.element)

    def _packed_tile(self, tile: Value) -> Value:
        distance = self.extents.depth * self.extents.left_width
        return self.packed_left.at((tile - self.row_block * self.extents.block_tiles) * distance, self.element)

    def _packed_panel(self, panel: Value, first: Value) -> Value:
        """Where a panel is packed, from the value ``first`` of k on."""
        width = self.extents.width
        if self.product.panel:
            return self.site.operand(self.product.right, (panel * self.product.depth + first) * width)
        distance = self.extents.depth * width
        return self.packed_right.at((panel - self.first_panel) * distance, self.element)

    def _sums(self, row: Value, panel: Value) -> Value:
        """Where the sums of a tile are kept."""
        if self.extents.depth_blocks == 1:
            return self.sums
        kept_row = (panel - self.first_panel) * self.extents.kept_rows + (row - self.first_row)
        return self.sums.at(kept_row * self.extents.width, self.element)

    def _multiply(
        self, first: Value, depth: int, tile: Value, rows: int, panel: Value, columns: int, is_last: bool
    ) -> None:
        """One tile times one panel, added to the sums; after the last block, what is to be done with them."""
        extents, f, site = self.extents, self.f, self.site
        row, column = tile * extents.tile_rows, panel * extents.width
        vectors = -(-columns // extents.lanes)
        left = self._packed_tile(tile) if extents.packs_left else self._left(tile, first)
        if extents.left_lines:
            self._prefetch_left(first, tile + 1, panel - self.first_panel)
        ahead = self._ahead(first, tile, panel, is_last)
        if self.interleaved and rows == extents.tile_rows and columns == extents.width:
            self.interleaved.multiply(left, self._packed_panel(panel, first), row, column, self._prefetching(ahead))
            return
        if is_last:
            site.prefetch(row, column, rows, columns)
        target = sums = self._sums(row, panel)
        distance = extents.width
        stores_sums = is_last and site.is_plain and columns == vectors * extents.lanes
        if stores_sums:
            target, distance = site.plain_target(row, column)
        pointers = [left, self._packed_panel(panel, first), sums, target, ahead]
        f.call(self._tile_function(rows, vectors), [*pointers, f.index(depth), f.index(distance)])
        if is_last and not stores_sums:
            site.finish_rows(row, column, sums, rows, columns, extents.width)

    def _prefetch_left(self, first: Value, tile: Value, number: Value) -> None:
        """Ask for those rows of a tile's left elements that are the share of a panel, ``number`` in its group."""
        extents, rows = self.extents, self.extents.left_rows
        for row in range(rows):
            row_of_tile = (number * rows + row).minimum(extents.tile_rows - 1)
            start = self.site.left(tile * extents.tile_rows + row_of_tile).at(first, self.element)
            for line in range(extents.left_lines // rows):
                self.f.prefetch(start.byte(line * LINE_BYTES))

    def _ahead(self, first: Value, tile: Value, panel: Value, is_last: bool) -> Value:
        """Where a tile begins to prefetch the panel's next block or, after the last, the panel of the next group."""
        number = tile - self.row_block * self.extents.block_tiles
        if self.product.panel:
            return self.packed_right
        if is_last:
            start = self._right(panel + self.extents.group, self.f.index(0))
        else:
            start = self._right(panel, first + self.extents.depth)
        depth_stride, column_stride = self.product.right.strides[-2:]
        if column_stride != 1:
            return start.at(number * (column_stride << self._ahead_shift), self.element)
        part = number // self._panel_lines * -(-self.extents.depth >> self._ahead_shift)
        return start.at(part * depth_stride, self.element).byte(number % self._panel_lines * LINE_BYTES)

    @property
    def _panel_lines(self) -> int:
        """Cache lines in a row of a panel."""
        return max(1, self.extents.width * self.extents.size // LINE_BYTES)

    @property
    def _ahead_shift(self) -> int:
        """log₂ of how many tiles share a line of all rows or, for a panel to be transposed, of a tile's columns."""
        if self.product.right.strides[-1] != 1:
            return (-(-self.extents.width // self.extents.block_tiles) - 1).bit_length()
        return (-(-self.extents.block_tiles // self._panel_lines) - 1).bit_length()

    def _prefetching(self, start: Value) -> Ahead | None:
        """What a tile prefetches: a line of some rows of the right operand, or all of some columns. None of panels."""
        if self.product.panel:
            return None
        depth_stride, column_stride = self.product.right.strides[-2:]
        if column_stride == 1:
            return Ahead(start, self._ahead_shift, 0, depth_stride)
        return Ahead(start, self._ahead_shift, column_stride, depth_stride << self._ahead_shift)

    def _tile_function(self, rows: int, vectors: int) -> str:
        """A function that multiplies a tile with a packed panel, adds the kept sums and stores the result.

        Arguments: left, right, sums, target, what to prefetch, depth, and the distance of the target's rows.
        """
        name = f"{self.f.name}_{rows}x{vectors}"
        if name in self.tile_functions:
            return name
        self.tile_functions.add(name)
        extents, element = self.extents, self.element
        vector, columns = Type(element, extents.lanes), range(0, vectors * extents.lanes, extents.lanes)
        pointers = [(argument, POINTER) for argument in ("left", "right", "sums", "target", "ahead")]
        with self.f.module.function(name, [*pointers, ("depth", INDEX), ("distance", INDEX)], exported=False) as f:
            left, right, sums, target, ahead, depth, distance = f.arguments
            tile = zeros(f, element, rows, len(columns) * extents.lanes, extents.lanes)
            if extents.depth_blocks > 1:
                starts = [sums.at(row * extents.width, element) for row in range(rows)]
                tile = [[f.load(start.at(column, element), vector) for column in columns] for start in starts]
            tile = multiply(
                f, left, right, self._steps(), depth, tile, vectors * extents.lanes, self._prefetching(ahead)
            )
            for row, sums_of_row in enumerate(tile):
                for column, value in zip(columns, sums_of_row, strict=True):
                    f.store(value, target.at(distance * row + column, element))
        return name

    def _steps(self) -> Steps:
        row_stride, depth_stride = self.product.left.strides[-2:]
        if self.extents.packs_left:
            row_stride, depth_stride = 1, self.extents.left_width
        return Steps(row_stride, depth_stride, self.extents.width)
