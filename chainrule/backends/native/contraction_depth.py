"""The loops over the depth of a contraction, for one register tile.

Where an image ends, products with the zeros around it are left out. A range of the depth that is the same for all rows
of a tile, because it depends on the line of the image, bounds a loop when the program runs. One that differs between
the rows, because they are pixels of one line, is cut into groups of indices at which the same rows have elements, each
with a loop for these rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from chainrule.backends.native.contraction_extents import Extents, Tile
from chainrule.backends.native.language import Function, Type, Value
from chainrule.passes.plan import Range

Count = int | Value


class DepthLoops:
    """How the sums of a tile, which are one vector per row and group of columns, are added up."""

    def __init__(self, f: Function, extents: Extents, tile: Tile, columns: int) -> None:
        self.f, self.extents, self.tile = f, extents, tile
        self.element, self.loops = extents.element, extents.loops
        self.columns, self.vectors = columns, extents.vectors_of(columns)
        self.places = list(itertools.product(*map(range, tile.extent)))

    def run(self, left: Value, right: Value, sums: list[Value]) -> list[Value]:
        """The sums, to which the whole depth is added."""
        return self._all(0, left, right, sums, list(range(len(self.places))))

    def run_chunk(self, left: Value, right: Value, first: Value, count: Value, sums: list[Value]) -> list[Value]:
        """The sums, to which ``count`` indices of the first loop are added; the operands lie at the ``first``."""
        loop, rows = self.loops[0], list(range(len(self.places)))
        if loop.range is not None:
            start, steps = self._bounds(loop.range, loop.extent)
            stop = (start + steps).minimum(first + count)
            start = start.maximum(first)
            left, right = self._advanced(0, left, right, start - first)
            count = (stop - start).maximum(0)
        return self._steps(0, count, left, right, sums, rows)

    def _all(self, level: int, left: Value, right: Value, sums: list[Value], rows: list[int]) -> list[Value]:
        """Add all indices of a loop at which there are elements."""
        loop = self.loops[level]
        if loop.range is None:
            return self._steps(level, loop.extent, left, right, sums, rows)
        if self.extents.box[loop.range.row] == 1:
            start, steps = self._bounds(loop.range, loop.extent)
            return self._steps(level, steps, *self._advanced(level, left, right, start), sums, rows)
        for first, count, valid in self._groups(loop.range):
            met = [row for row in rows if self.places[row][loop.range.row] in valid]
            if met:
                sums = self._steps(level, count, *self._advanced(level, left, right, first), sums, met)
        return sums

    def _advanced(self, level: int, left: Value, right: Value, steps: Count) -> tuple[Value, Value]:
        loop = self.loops[level]
        return left.at(steps * loop.left, self.element), right.at(steps * loop.right, self.element)

    def _steps(
        self, level: int, count: Count, left: Value, right: Value, sums: list[Value], rows: Sequence[int]
    ) -> list[Value]:
        """Add ``count`` indices of a loop, for some rows of the tile."""
        loop, is_last = self.loops[level], level == len(self.loops) - 1
        if not is_last and self.loops[level + 1].range is None and loop.continues(self.loops[level + 1]):
            return self._steps(level + 1, count * self.loops[level + 1].extent, left, right, sums, rows)
        mine = [row * self.vectors + i for row in rows for i in range(self.vectors)]
        carried = [left, right, *(sums[place] for place in mine)]
        with self.f.loop(0, count, carried=carried, name="depth") as steps:
            left, right, *some = steps.values
            if is_last:
                some = self._add_products(left, right, some, rows)
            else:
                inner = self._all(level + 1, left, right, _replaced(sums, mine, some), list(rows))
                some = [inner[place] for place in mine]
            following = (pointer.freeze() for pointer in self._advanced(level, left, right, 1))
            steps.next([*following, *some])
        return _replaced(sums, mine, steps.results[2:])

    def _add_products(self, left: Value, right: Value, sums: list[Value], rows: Sequence[int]) -> list[Value]:
        """The sums of some rows after one more index of the depth."""
        f, lanes, strides = self.f, self.extents.lanes, self.extents.kernel.left.strides
        vector = Type(self.element, lanes)
        columns = [f.load(right.at(number * lanes, self.element), vector) for number in range(self.vectors)]
        result = []
        for number, row in enumerate(rows):
            offset = sum(index * stride for index, stride in zip(self.places[row], strides, strict=False))
            factors = self._left_row(left.at(offset, self.element))
            mine = sums[number * self.vectors : (number + 1) * self.vectors]
            result += [a.fma(b, c) for a, b, c in zip(factors, columns, mine, strict=True)]
        return result

    def _left_row(self, start: Value) -> list[Value]:
        """A row's elements of the left operand: one for all columns, or one for each."""
        stride, lanes = self.extents.kernel.left.strides[-1], self.extents.lanes
        if not stride:
            return [self.f.load(start, Type(self.element)).broadcast(lanes)] * self.vectors
        vector, parts = Type(self.element, lanes), range(0, self.vectors * lanes, lanes)
        places = [start.at(first * stride, self.element) for first in parts]
        return [
            self.f.load_strided(place, vector, stride, self.columns - first)
            for place, first in zip(places, parts, strict=True)
        ]

    def _bounds(self, range: Range, extent: int) -> tuple[Value, Value]:
        """The first index of the depth at which the tile's row has elements, and how many there are from there on."""
        f, step = self.f, range.depth_step
        reached = self.tile.place[range.row] * range.row_step
        start = ((f.index(range.low + step - 1) - reached).maximum(0)) // step
        stop = ((f.index(range.low + range.size + step - 1) - reached).maximum(0) // step).minimum(extent)
        return start, (stop - start).maximum(0)

    def _groups(self, range: Range) -> Iterator[tuple[int, int, frozenset[int]]]:
        """Consecutive indices of the depth at which the same rows have elements: the first, how many, and the rows."""
        number = self.extents.ranges_inside(range.row).index(range)
        start = 0
        for valid, group in itertools.groupby(self.tile.kinds[range.row].valid[number]):
            count = len(list(group))
            yield start, count, valid
            start += count


def _replaced(sums: Sequence[Value], places: Sequence[int], values: Sequence[Value]) -> list[Value]:
    result = list(sums)
    for place, value in zip(places, values, strict=True):
        result[place] = value
    return result
