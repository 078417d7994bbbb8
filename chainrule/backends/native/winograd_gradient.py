"""Gradients of 3 × 3 weights by the minimal filtering F(3 × 3, 2 × 2): the transpose of that of convolutions.

The gradient is Gᵀ [Σ (Bᵀ d B) ⊙ (A y Aᵀ)] G, summed over all tiles d of 4 × 4 pixels and the 2 × 2 gradients y of the
results that they give. The sums ⊙ are one matrix product for each of the 16 positions, over the tiles. They are made in
parts, each by one task; then one thread adds the parts, transforms the sums, and does with the gradients what is to be
done. Gradients that are not finite are summed once more over all pixels: see `winograd`.
"""

from __future__ import annotations

from chainrule.backends.native.body import Body
from chainrule.backends.native.kernel import KernelInfo, whole_lines
from chainrule.backends.native.language import BYTES, KERNEL_ARGUMENTS, Function, Module, Type, Value
from chainrule.backends.native.product_site import Steps, multiply
from chainrule.backends.native.winograd_site import ELEMENT, POSITIONS, RESULTS, TAPS, TILE, Site
from chainrule.backends.native.winograd_tiles import (
    Tiles,
    on_both_sides,
    transformed_products,
    transformed_results,
)
from chainrule.passes.plan import Contraction, Plan

PARTS, LARGE_PARTS = 8, 4
"""Tasks; fewer where each has large sums, as one thread adds them."""

LARGE_SUMS = 1 << 10
"""Sums of a position from which on they are large."""


def emit_winograd_gradient(module: Module, kernel: Contraction, site: Site, plan: Plan, name: str) -> KernelInfo:
    """Add the kernel function ``name``, and the one that finishes.

    Example: ``emit_winograd_gradient(module, kernel, find_gradient(kernel, module.target), plan, "kernel_3")``.
    """
    wanted = LARGE_PARTS if site.channels * site.columns > LARGE_SUMS else PARTS
    part = -(-site.blocks // wanted)
    parts, zeros, finish = -(-site.blocks // part), f"{name}_zeros", f"{name}_finish"
    module.zeros(zeros, max(site.channels, site.columns) * BYTES[ELEMENT])
    with module.function(name, KERNEL_ARGUMENTS) as f:
        emission = _Gradient(f, kernel, site, plan, f.global_pointer(zeros))
        begin, end = f.arguments[1:3] if parts > 1 else (f.index(0), f.index(1))
        with f.loop(begin, end, name="part") as loop:
            emission.add_part(loop.index, part)
    with module.function(finish, KERNEL_ARGUMENTS) as f:
        _Gradient(f, kernel, site, plan, f.global_pointer(zeros)).finish(parts)
    return KernelInfo(name, parts, parts > 1, shared_bytes=parts * _part_bytes(site), finish=finish)


def _part_bytes(site: Site) -> int:
    return whole_lines((site.weights + POSITIONS * (site.tile_step + site.sum_step)) * BYTES[ELEMENT])


class _Gradient:
    """What parts and the end share.

    In the scratch memory of each part lie, after one another: sums [position, channel, column], tiles [position, tile,
    channel], and results [position, tile, column]. The gradients take the place of the sums of the first part.
    """

    def __init__(self, f: Function, kernel: Contraction, site: Site, plan: Plan, zeros: Value) -> None:
        self.f, self.kernel, self.site, self.vector = f, kernel, site, Type(ELEMENT, site.lanes)
        rank = len(kernel.rows)
        self.body = Body(f, plan, kernel, range(rank + 1), vector=rank, lanes=site.lanes)
        images, results = (
            self.body.pointers[access.buffer].at(access.offset, ELEMENT).freeze()
            for access in (kernel.left, kernel.right)
        )
        self.tiles, self.results, self.zeros = Tiles(f, site, images, zeros), results, zeros
        self.scratch = f.load_pointer(f.arguments[0], plan.scratch_slot).freeze()
        self.size = site.channels * site.columns

    def add_part(self, number: Value, part: int) -> None:
        """The sums over ``part`` blocks."""
        f, site = self.f, self.site
        sums = self.scratch.byte(number * _part_bytes(site)).freeze()
        tiles = sums.at(site.weights, ELEMENT).freeze()
        results = tiles.at(POSITIONS * site.tile_step, ELEMENT).freeze()
        f.fill(sums, 0, site.weights * BYTES[ELEMENT])
        first = number * part
        with f.loop(first, (first + part).minimum(site.blocks), name="block") as block:
            image, row = block.index // site.bands, block.index % site.bands * site.tile_rows
            self.tiles.enter(image)
            self.tiles.transform(row, tiles)
            self._transform_results(image, row, results)
            self._multiply(tiles, results, sums)

    def _transform_results(self, image: Value, first: Value, target: Value) -> None:
        f, site = self.f, self.site
        with f.loop(0, site.tile_rows, name="y") as y, f.loop(0, site.x.tiles, name="x") as x:
            row, column = (first + y.index) * RESULTS, x.index * RESULTS
            places = [self._result(image, row + i, column + j) for i in range(RESULTS) for j in range(RESULTS)]
            place = target.at((y.index * site.x.tiles + x.index) * site.columns, ELEMENT).freeze()
            with f.loop(0, site.columns, site.lanes, name="column") as loop:
                values = [f.load(each.at(loop.index, ELEMENT), self.vector) for each in places]
                for position, value in enumerate(on_both_sides(transformed_results, values, RESULTS)):
                    f.store(value, place.at(loop.index + position * site.sum_step, ELEMENT))

    def _result(self, image: Value, row: Value, column: Value) -> Value:
        """The address of a result's gradients, that of zeros where there is no such result."""
        y, x = self.site.y, self.site.x
        down, right, across, _ = self.site.taps
        place = self.results.at(image * down, ELEMENT).at(row * right + column * across, ELEMENT)
        if not (y.extent % RESULTS or x.extent % RESULTS):
            return place.freeze()
        return ((row < y.extent) & (column < x.extent)).select(place, self.zeros)

    def _multiply(self, tiles: Value, results: Value, sums: Value) -> None:
        """Add the products of a block to the sums."""
        f, site = self.f, self.site
        with f.loop(0, POSITIONS, name="position") as position:
            left = tiles.at(position.index * site.tile_step, ELEMENT)
            right = results.at(position.index * site.sum_step, ELEMENT)
            target = sums.at(position.index * self.size, ELEMENT)
            whole, rest = divmod(site.channels, site.rows)
            with f.loop(0, whole, name="row") as row, f.loop(0, site.panels, name="panel") as panel:
                self._add_products(left, right, target, row.index * site.rows, panel.index * site.width, site.rows)
            if rest:
                with f.loop(0, site.panels, name="panel") as panel:
                    first = f.index(whole * site.rows)
                    self._add_products(left, right, target, first, panel.index * site.width, rest)

    def _add_products(self, left: Value, right: Value, target: Value, channel: Value, column: Value, rows: int) -> None:
        """A register tile: some channels times a panel, over all tiles."""
        f, site = self.f, self.site
        start = target.at(channel * site.columns + column, ELEMENT).freeze()
        places = [
            [start.at(row * site.columns + vector * site.lanes, ELEMENT) for vector in range(site.vectors)]
            for row in range(rows)
        ]
        sums = [[f.load(place, self.vector) for place in line] for line in places]
        steps = Steps(1, site.channels, site.columns)
        mine = left.at(channel, ELEMENT).freeze(), right.at(column, ELEMENT).freeze()
        sums = multiply(f, *mine, steps, site.tiles, sums, site.width)
        for line, vectors in zip(places, sums, strict=True):
            for place, value in zip(line, vectors, strict=True):
                f.store(value, place)

    def finish(self, parts: int) -> None:
        """Add the parts, transform the sums, and run the body and the stores for all gradients."""
        f, site = self.f, self.site
        with (
            f.loop(0, site.channels, name="channel") as channel,
            f.loop(0, site.columns, site.lanes, name="column") as column,
        ):
            place = self.scratch.at(channel.index * site.columns + column.index, ELEMENT).freeze()
            sums = [self._total(place.at(position * self.size, ELEMENT), parts) for position in range(POSITIONS)]
            gradients = on_both_sides(transformed_products, sums, TILE)
            probe = f.constant(0.0, self.vector)
            for tap, gradient in enumerate(gradients):
                f.store(gradient, place.at(tap * self.size, ELEMENT))
                probe = gradient.fma(0.0, probe)
            with f.when(~probe.equal(0).all(), name="ordinary"):
                self._sum_pixels(channel.index, column.index, place)
        self._run_body()

    def _total(self, place: Value, parts: int) -> Value:
        """The sum of all parts at a place of the first."""
        total = self.f.load(place, self.vector)
        for part in range(1, parts):
            total = total + self.f.load(place.byte(part * _part_bytes(self.site)), self.vector)
        return total

    def _sum_pixels(self, channel: Value, column: Value, place: Value) -> None:
        """The gradients of one channel's weights for a vector of columns, as sums over all pixels."""
        f, site = self.f, self.site
        down, right, across, _ = site.taps
        start = self.results.at(column, ELEMENT).freeze()
        sums = [f.constant(0.0, self.vector)] * (TAPS * TAPS)
        with f.loop(0, site.images, carried=sums, name="image") as image:
            self.tiles.enter(image.index)
            with f.loop(0, site.y.extent, carried=image.values, name="y") as y:
                with f.loop(0, site.x.extent, carried=y.values, name="x") as x:
                    here = image.index * down + y.index * right + x.index * across
                    result = f.load(start.at(here, ELEMENT), self.vector)
                    x.next(
                        [
                            self._add_pixel(y.index, x.index, channel, tap, result, x.values[tap])
                            for tap in range(TAPS * TAPS)
                        ]
                    )
                y.next(x.results)
            image.next(y.results)
        for tap, sum in enumerate(image.results):
            f.store(sum, place.at(tap * self.size, ELEMENT))

    def _add_pixel(self, y: Value, x: Value, channel: Value, tap: int, result: Value, sum: Value) -> Value:
        """A sum, to which a pixel times the gradients of a result is added if it is in the image."""
        row, column = y + tap // TAPS, x + tap % TAPS
        is_there = self.tiles.has(row, column)
        pixel = is_there.select(self.tiles.pixel(row, column), self.zeros).at(channel, ELEMENT)
        factor = self.f.load(pixel, Type(ELEMENT)).broadcast(self.site.lanes)
        return is_there.select(factor.fma(result, sum), sum)

    def _run_body(self) -> None:
        f, site = self.f, self.site
        rank, origin = len(self.kernel.rows), self.body.origin()
        with (
            f.loop(0, TAPS, name="dy") as dy,
            f.loop(0, TAPS, name="dx") as dx,
            f.loop(0, site.channels, name="channel") as channel,
        ):
            point, place = origin.enter(0, dy.index), dx.index * site.channels + channel.index
            point = point.enter(1, place) if rank == 2 else point.enter(1, dx.index).enter(2, channel.index)
            row = (dy.index * TAPS + dx.index) * site.channels + channel.index
            gradients = self.scratch.at(row * site.columns, ELEMENT).freeze()
            with f.loop(0, site.panels, name="panel") as panel:
                start = panel.index * site.width
                for piece in self.body.pieces(start, site.width, site.lanes):
                    value = f.load(gradients.at(start + piece.offset, ELEMENT), self.vector)
                    point.enter(rank, *piece, given={0: value})
