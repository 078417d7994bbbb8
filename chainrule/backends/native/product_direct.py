"""Matrix products that read their operands where they are: if those are small, near each other, or few rows.

Vectors run along the columns, elements of the left operand are broadcast, and a loop over k adds to a register tile. A
small right operand whose columns are not consecutive is first copied to the stack.
"""

from __future__ import annotations

from chainrule.backends.native.language import Function, Type, Value
from chainrule.backends.native.product_interleaved import interleave
from chainrule.backends.native.product_pack import Panel, pack, packed_width, vector_lanes
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

TASK_WORK = 1 << 18
"""A task of a product with many rows is about so many multiplications."""


WIDE_TILE = 8
"""Vectors of a long row that are multiplied together: long pieces of the right operand's rows."""


class Direct:
    """The extents of a product's tiles and tasks, and their emission."""

    scratch_bytes = 0

    def __init__(self, product: Product, f: Function) -> None:
        self.product = product
        self.lanes = vector_lanes(f, product.dtype.name, product.columns)
        self.chains = f.module.target.lanes(product.dtype.name) if product.is_narrow else 1
        self.is_long = product.is_narrow and product.columns > self.lanes
        sums = WIDE_TILE if self.is_long else sums_in_registers(f) // self.chains
        widest = 8 if product.rows == 1 else 4
        vectors = min(-(-product.columns // self.lanes), widest, sums // min(product.rows, max(1, sums // 2)))
        self.tile_columns = vectors * self.lanes
        self.tile_rows = 1 if self.is_long else even_split(product.rows, sums // vectors)
        self.has_whole_rows = self.tile_columns >= product.columns and self.tile_rows > 1
        tile_work = self.tile_rows * self.tile_columns * max(product.depth, 1)
        self.block_rows = self.tile_rows * min(product.rows // self.tile_rows, max(1, TASK_WORK // tile_work))
        self.whole_rows = product.rows - product.rows % self.tile_rows
        self.row_blocks = -(-self.whole_rows // self.block_rows)
        self.full_tiles, self.rest_columns = divmod(product.columns, self.tile_columns)

    @property
    def blocks(self) -> tuple[int, int]:
        """Numbers of column tiles and of row blocks: a task is one of both.

        Threads get neighbouring tasks, so each has columns of its own: those of weights stay in its cache for a step.
        """
        return self.full_tiles + (self.rest_columns > 0), self.row_blocks

    def emit(self, site: Site, is_parallel: bool) -> None:
        self.interleaved = None
        if self.product.right.strides[-1] == 1 and self.full_tiles and not self.product.is_narrow:
            left_row, left_depth = self.product.left.strides[-2:]
            steps = Steps(left_row, left_depth, self.product.right.strides[-2])
            self.interleaved = interleave(site, self.tile_rows, self.tile_columns // self.lanes, self.lanes, steps)
        with site.tasks(self.blocks, is_parallel) as (column_tile, row_block):
            for is_rest in cases(site.f, column_tile, self.full_tiles, self.rest_columns > 0):
                columns = self.rest_columns if is_rest else self.tile_columns
                self._emit_columns(site, row_block, column_tile * self.tile_columns, columns)

    def _emit_columns(self, site: Site, row_block: Value, column: Value, columns: int) -> None:
        f, rest_rows = site.f, self.product.rows - self.whole_rows
        right, right_depth = self._right(site, column, columns)

        def emit_tile(row: Value, rows: int) -> None:
            left_row, left_depth = self.product.left.strides[-2:]
            steps = Steps(left_row, left_depth, right_depth)
            site.prefetch(row, column, rows, columns)
            tile = zeros(f, site.element, rows, columns, self.lanes)
            depth = self.product.depth
            if self.is_long:
                tile = [_multiply_by_chains(f, site.left(row), right, steps, depth, tile[0], columns, self.chains)]
            else:
                tile = multiply(f, site.left(row), right, steps, depth, tile, columns, chains=self.chains)
            site.finish(row, column, tile, columns)

        start, stop = row_block * self.block_rows, f.index(self.whole_rows)
        if self.row_blocks > 1:
            stop = (start + self.block_rows).minimum(stop)
        interleaved = self.interleaved if columns == self.tile_columns else None
        if interleaved:
            interleaved.start()
        with f.loop(start, stop, self.tile_rows, name="row") as loop:
            if interleaved:
                interleaved.multiply(site.left(loop.index), right, loop.index, column)
            else:
                emit_tile(loop.index, self.tile_rows)
        if interleaved:
            interleaved.finish()
        if rest_rows:
            with only_for(f, row_block, self.row_blocks - 1, self.row_blocks):
                emit_tile(f.index(self.whole_rows), rest_rows)

    def _right(self, site: Site, column: Value, columns: int) -> tuple[Value, int]:
        """The right operand's columns and their distance in k: in place, or copied so that columns are consecutive."""
        f, depth = site.f, self.product.depth
        depth_stride, column_stride = self.product.right.strides[-2:]
        if column_stride == 1 or columns == 1 or depth == 0:
            return site.right(column), depth_stride
        width = packed_width(f, site.element, columns)
        copy = f.allocate(site.element, depth * width)
        pack(f, Panel(site.element, columns, depth_stride, column_stride), site.right(column), copy, width, depth)
        return copy, width


def _multiply_by_chains(
    f: Function, left: Value, right: Value, steps: Steps, depth: int, row: list[Value], columns: int, chains: int
) -> list[Value]:
    """A row as `multiply` computes it with ``chains``, one after another: all their sums would not fit in registers."""
    vector, width = row[0].type, len(row) * row[0].lanes
    element, firsts = vector.element, range(0, width, vector.lanes)
    sums = f.allocate(element, chains * width)
    least, longer = divmod(depth, chains)
    with f.loop(0, chains, carried=[left, right, sums], name="chain") as chain:
        factors, values, place = chain.values
        count = least + (chain.index < longer).select(f.index(1), f.index(0))
        with f.loop(0, count, carried=[factors, values, *row], name="depth") as loop:
            factors, values, *totals = loop.values
            factor = f.load(factors, Type(element)).broadcast(vector.lanes)
            parts = [f.load(values.at(first, element), vector, columns - first) for first in firsts]
            totals = [factor.fma(part, total) for part, total in zip(parts, totals, strict=True)]
            moved = (factors.at(chains * steps.left_depth, element), values.at(chains * steps.right_depth, element))
            loop.next([*moved, *totals])
        for first, total in zip(firsts, loop.results[2:], strict=True):
            f.store(total, place.at(first, element))
        left, right, place = chain.values
        chain.next([left.at(steps.left_depth, element), right.at(steps.right_depth, element), place.at(width, element)])
    result = []
    for first in firsts:
        states = [f.load(sums.at(number * width + first, element), vector) for number in range(chains)]
        while len(states) > 1:
            states = [a + b for a, b in zip(states[::2], states[1::2], strict=True)]
        result += states
    return result
