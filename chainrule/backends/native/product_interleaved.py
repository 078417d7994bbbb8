"""Finishing one register tile while the next is multiplied: divisions and memory keep other units busy than products.

An epilogue after each tile would let the multipliers wait, as a processor looks only some hundred instructions ahead.
So one function does both: between parts of the depth it finishes a vector of the tile before, whose sums lie in memory.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.backends.native.language import INDEX, POINTER, Function, Type, Value
from chainrule.backends.native.product_site import Ahead, Site, Steps, Tile, add_products, in_rows, multiply, zeros

LEAST_VECTORS = 8
"""A tile of fewer vectors has too few independent sums to keep the multipliers busy."""

UNROLLED = 4
"""Up to so many values of k between two vectors are written out; more are a loop."""


def interleave(site: Site, rows: int, vectors: int, lanes: int, steps: Steps) -> Interleaved | None:
    """The means of interleaving for a product whose tiles have so many rows and vectors; None if it would not pay."""
    count, product = rows * vectors, site.product
    is_short = site.is_unrolled or site.is_flat
    if is_short or product.batch or rows == product.rows or product.depth < count or count < LEAST_VECTORS:
        return None
    return Interleaved(site, rows, vectors, lanes, steps)


class Interleaved:
    """Multiplies tiles of ``rows`` rows and ``vectors`` vectors; each is finished with the next one or by `finish`.

    To be made at the start of the function.
    """

    def __init__(self, site: Site, rows: int, vectors: int, lanes: int, steps: Steps) -> None:
        self.site, self.f, self.rows, self.vectors, self.lanes = site, site.f, rows, vectors, lanes
        self.depth, self.steps = site.product.depth, steps
        self.width = vectors * lanes
        self.sums = site.f.allocate(site.element, rows * self.width)
        self.position = site.f.allocate("int64", 2)  # row and column of the unfinished tile, or -1
        self.name = f"{site.f.name}_multiply_and_finish"
        self.is_emitted = False

    def start(self) -> None:
        """Forget what was left unfinished."""
        self.f.store(self.f.index(-1), self.position)

    def multiply(self, left: Value, right: Value, row: Value, column: Value, ahead: Ahead | None = None) -> None:
        """Multiply the tile at a row and a column, and finish the one before."""
        if not self.is_emitted:
            self.is_emitted = True
            self._emit(ahead)
        f, start = self.f, ahead.start if ahead else left
        unfinished = self._unfinished()
        with f.when(unfinished[0] < 0, name="first"):
            tile = zeros(f, self.site.element, self.rows, self.width, self.lanes)
            self._keep(f, self.sums, multiply(f, left, right, self.steps, self.depth, tile, self.width, ahead))
        with f.when(unfinished[0] >= 0, name="next"):
            f.call(self.name, [f.arguments[0], left, right, self.sums, start, *unfinished])
        self.f.store(row, self.position)
        self.f.store(column, self.position.at(1, "int64"))

    def finish(self) -> None:
        """Finish the last tile, if any."""
        row, column = self._unfinished()
        with self.f.when(row >= 0, name="unfinished"):
            self.site.finish_rows(row, column, self.sums, self.rows, self.width, self.width)

    def _unfinished(self) -> tuple[Value, Value]:
        return self.f.load(self.position, INDEX), self.f.load(self.position.at(1, "int64"), INDEX)

    def _emit(self, ahead: Ahead | None) -> None:
        """The function: a loop over the rows of the unfinished tile; then the new sums replace its own."""
        element = self.site.element
        pointers = [(argument, POINTER) for argument in ("buffers", "left", "right", "sums", "ahead")]
        with self.f.module.function(self.name, [*pointers, ("row", INDEX), ("column", INDEX)], exported=False) as f:
            _, left, right, sums, start, row, column = f.arguments
            site = Site(f, self.site.plan, self.site.product, self.lanes, has_whole_rows=False)
            count, ahead = self.rows * self.vectors, ahead and replace(ahead, start=start)
            part, rest = divmod(self.depth, count)
            vector = Type(element, self.lanes)
            with f.loop(0, self.rows, carried=[left, right, *[f.constant(0.0, vector)] * count], name="row") as loop:
                carried = loop.values
                for number in range(self.vectors):
                    first = (loop.index * self.vectors + number) * part
                    carried = self._multiply_part(f, carried, first, part, ahead)
                    offset = number * self.lanes
                    unfinished = f.load(sums.at(loop.index * self.width + offset, element), vector)
                    strip = site.point.enter(site.order[-2], column + offset)
                    strip.enter(site.order[-1], row + loop.index, given={0: unfinished})
                loop.next(carried)
            carried = self._multiply_part(f, loop.results, f.index(part * count), rest, ahead)
            self._keep(f, sums, in_rows(carried[2:], self.vectors))

    def _multiply_part(
        self, f: Function, carried: list[Value], first: Value, length: int, ahead: Ahead | None
    ) -> list[Value]:
        """The pointers to left and right and the sums, ``length`` values of k after the ``first``."""

        def step(carried: list[Value], k: Value) -> list[Value]:
            if ahead and ahead.period == 1:
                ahead.prefetch(f, k, self.site.element)
            return add_products(f, carried, self.steps, 1, self.rows, self.width)

        if ahead and ahead.period > 1:
            for k in range(0, length, ahead.period):
                ahead.prefetch(f, first + k, self.site.element)
        if length > UNROLLED:
            with f.loop(first, first + length, carried=carried, name="depth") as loop:
                loop.next(step(loop.values, loop.index))
            return loop.results
        for k in range(length):
            carried = step(carried, first + k)
        return carried

    def _keep(self, f: Function, sums: Value, tile: Tile) -> None:
        for number, vector in enumerate(vector for vectors in tile for vector in vectors):
            f.store(vector, sums.at(number * self.lanes, self.site.element))
