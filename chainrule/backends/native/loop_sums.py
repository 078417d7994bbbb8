"""Sums of products that a loop adds to: what a few steps have of the operands is packed and multiplied at once.

It is in the caches then, as the steps have just written or read it. A register tile of sums is loaded, added to in the
order of the steps, and stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chainrule.backends.native.language import INDEX, POINTER, Function, Type, Value
from chainrule.backends.native.product_pack import Panel, pack, packed_width
from chainrule.backends.native.product_packed import rows_of_tile
from chainrule.backends.native.product_site import Steps, in_rows, multiply
from chainrule.passes.plan import Access, Loop, StepSum

VECTORS = 2
"""Vectors of columns of a register tile."""


class LoopSums:
    """The sums of one `StepSum` of a loop, inside its function; ``bases`` are the addresses of buffers."""

    def __init__(self, f: Function, loop: Loop, step_sum: StepSum, bases: dict[int, Value], name: str) -> None:
        self.f, self.loop, self.step_sum, self.name = f, loop, step_sum, name
        self.element, self.size = step_sum.dtype.name, step_sum.dtype.size
        self.rings = {loop.writes[number].buffer for number in loop.rings}
        self.bases = bases
        right = self._operand(step_sum.right, step_sum.columns)
        _emit_addition(f, step_sum, right, [self._operand(each.left, each.rows) for each in step_sum.factors], name)

    def _operand(self, access: Access, columns: int) -> _Operand:
        """What is known of an operand: in a ring, blocks are in the order of steps."""
        each = self.step_sum
        is_backwards = self.loop.is_reversed and access.buffer not in self.rings
        return _Operand(self.element, each.depth, columns, each.parts * (-1 if is_backwards else 1))

    def start(self, task: Value) -> None:
        """Set the sums of a task to 0."""
        first, count = self._parts_of(task)
        for factor in self.step_sum.factors:
            size = factor.rows * self.step_sum.columns * self.size
            self.f.fill(self.bases[factor.sums.buffer].byte(first * size), 0, count * size)

    def add(self, task: Value, step: Value, length: Value, work: Value) -> None:
        """Add the last steps, if they are enough or no more will follow."""
        f, each = self.f, self.step_sum
        count = step % each.steps + 1
        with f.when(count.equal(each.steps) | step.equal(length - 1), name="sum"):
            first = step + 1 - count
            block = length - 1 - first if self.loop.is_reversed else first
            start, parts = self._parts_of(task)
            with f.loop(start, start + parts, name="part") as part:

                def rows(access: Access, columns: int) -> Value:
                    before = part.index if access.buffer in self.rings else block * each.parts + part.index
                    return self.bases[access.buffer].at(before * (each.depth * columns), self.element)

                lefts = [rows(factor.left, factor.rows) for factor in each.factors]
                sums = [
                    self.bases[factor.sums.buffer].at(part.index * (factor.rows * each.columns), self.element)
                    for factor in each.factors
                ]
                f.call(self.name, [rows(each.right, each.columns), work, count, *lefts, *sums])

    def _parts_of(self, task: Value) -> tuple[Value, int]:
        """The first of a task's parts of the rows, and how many it has: one, or all of them if there is one task."""
        count = self.step_sum.parts // self.loop.tasks
        return task * count, count


class _Operand(NamedTuple):
    """A matrix of ``depth`` rows at each step; from one step to the next go ``blocks`` of that size."""

    element: str
    depth: int
    columns: int
    blocks: int

    def pack(self, f: Function, count: int, source: Value, target: Value, width: int, steps: Value) -> None:
        """Pack ``count`` columns, from ``source`` on, of the rows of so many steps."""
        panel, size = Panel(self.element, count, self.columns, 1), self.depth * self.columns
        with f.loop(0, steps, carried=[source, target], name="step") as loop:
            source, target = loop.values
            pack(f, panel, source, target, width, self.depth)
            loop.next([source.at(self.blocks * size, self.element), target.at(self.depth * width, self.element)])


def _emit_addition(f: Function, step_sum: StepSum, right: _Operand, lefts: list[_Operand], name: str) -> None:
    """Write the function that adds steps: ``void(ptr right, ptr work, i64 steps, ptr left..., ptr sums...)``.

    The operands lie at the first of these steps.
    """
    pointers = [(f"{kind}{number}", POINTER) for kind in ("left", "sums") for number in range(len(lefts))]
    arguments = [("right", POINTER), ("work", POINTER), ("steps", INDEX), *pointers]
    with f.module.function(name, arguments, exported=False) as inner:
        source, work, steps, *operands = inner.arguments
        packed = []
        for left, start in zip(lefts, operands, strict=False):
            packed.append(_Packed(inner, left, step_sum, work))
            packed[-1].pack(start, steps)
            work = packed[-1].end
        width = VECTORS * inner.module.target.lanes(right.element)
        with inner.loop(0, right.columns, width, name="panel") as loop:
            right.pack(inner, width, source.at(loop.index, right.element), work, width, steps)
            for each, sums in zip(packed, operands[len(lefts) :], strict=True):
                each.multiply(work, sums.at(loop.index, right.element), steps * right.depth)


class _Packed:
    """A left operand packed into tiles of its columns, from ``work`` to ``end``, and its products with panels."""

    def __init__(self, f: Function, left: _Operand, step_sum: StepSum, work: Value) -> None:
        self.f, self.left, self.element, self.columns, self.work = f, left, left.element, step_sum.columns, work
        self.lanes = f.module.target.lanes(self.element)
        self.width = VECTORS * self.lanes
        self.tile_rows = rows_of_tile(f, left.columns, VECTORS)
        self.tiles, self.rest_rows = divmod(left.columns, self.tile_rows)
        self.tile_width = packed_width(f, self.element, self.tile_rows)
        self.tile_size = step_sum.steps * left.depth * self.tile_width
        self.end = work.at((self.tiles + (self.rest_rows > 0)) * self.tile_size, self.element).freeze()

    def _each_tile(self, do: Callable[[Value, int], None]) -> None:
        """Code for every tile: its number, how many rows it has."""
        with self.f.loop(0, self.tiles, name="tile") as loop:
            do(loop.index, self.tile_rows)
        if self.rest_rows:
            do(self.f.index(self.tiles), self.rest_rows)

    def _tile(self, number: Value) -> Value:
        return self.work.at(number * self.tile_size, self.element)

    def pack(self, source: Value, steps: Value) -> None:
        """Pack so many steps."""

        def pack_tile(number: Value, rows: int) -> None:
            start = source.at(number * self.tile_rows, self.element)
            self.left.pack(self.f, rows, start, self._tile(number), self.tile_width, steps)

        self._each_tile(pack_tile)

    def multiply(self, panel: Value, sums: Value, depth: Value) -> None:
        """Add the product with a packed panel to sums."""
        f, vector = self.f, Type(self.element, self.lanes)

        def multiply_tile(number: Value, rows: int) -> None:
            start = sums.at(number * (self.tile_rows * self.columns), self.element)
            firsts = [row * self.columns + first for row in range(rows) for first in range(0, self.width, self.lanes)]
            places = [start.at(first, self.element) for first in firsts]
            tile = in_rows([f.load(place, vector) for place in places], VECTORS)
            steps = Steps(1, self.tile_width, self.width)
            tile = multiply(f, self._tile(number), panel, steps, depth, tile, self.width)
            for place, value in zip(places, (value for row in tile for value in row), strict=True):
                f.store(value, place)

        self._each_tile(multiply_tile)
