"""3 × 3 convolutions with four ninths of the multiplications: the minimal filtering F(2 × 2, 3 × 3) of Winograd.

A tile d of 4 × 4 pixels gives 2 × 2 results Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, where g are the 3 × 3 weights; the products ⊙ are
summed over the channels, which makes one matrix product for each of the 16 positions. A task goes through its images in
blocks of some tiles, which stay in the caches: transform the tiles, multiply, transform the sums, and do with the
results what is to be done. Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.1.

A number that is not finite would reach all results of its tile. So a block with a result that is not finite is computed
once more in the ordinary way, and NaN and infinity are exactly where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.backends.native.body import Body
from chainrule.backends.native.kernel import KernelInfo, base_pointers, whole_lines
from chainrule.backends.native.language import BYTES, KERNEL_ARGUMENTS, POINTER, Function, Module, Type, Value
from chainrule.backends.native.product_pack import Panel, pack
from chainrule.backends.native.winograd_site import POSITIONS, RESULTS, TAPS, TILE, Site
from chainrule.passes.plan import Plan

ELEMENT = "float32"


def emit_winograd(module: Module, site: Site, plan: Plan, name: str) -> KernelInfo:
    """Add the kernel function ``name``, and one that transforms the weights before.

    Example: ``emit_winograd(module, find_site(kernel, module.target), plan, "kernel_3")``.
    """
    start = f"{name}_weights"
    with module.function(start, [("buffers", POINTER)], exported=False) as f:
        _Weights(f, site, plan).emit()
    module.zeros(f"{name}_zeros", site.channels * BYTES[ELEMENT])
    with module.function(name, KERNEL_ARGUMENTS) as f:
        _Blocks(f, site, plan).emit(f.global_pointer(f"{name}_zeros"))
    return KernelInfo(name, site.tasks, site.tasks > 1, _scratch_bytes(site), start=start)


def _scratch_bytes(site: Site) -> int:
    """Of each worker; the weights, which all read, lie in that of the first."""
    tiles, sums = POSITIONS * site.tile_step, POSITIONS * site.sum_step
    return whole_lines((site.weight_elements + max(tiles, _results(site)) + sums) * BYTES[ELEMENT])


def _results(site: Site) -> int:
    """Elements of the results of a block, which take the place of its transformed tiles."""
    return site.tiles * RESULTS**2 * site.kernel.columns


def _transformed_tile(lines: Sequence[Value]) -> list[Value]:
    """Bᵀ d of one column of a tile."""
    a, b, c, d = lines
    return [a - c, b + c, c - b, b - d]


def _transformed_weights(lines: Sequence[Value]) -> list[Value]:
    """G g of one column of the weights."""
    a, b, c = lines
    outer = (a + c) * 0.5
    return [a, b.fma(0.5, outer), b.fma(-0.5, outer), c]


def _transformed_sums(lines: Sequence[Value]) -> list[Value]:
    """Aᵀ m of one column of the sums."""
    a, b, c, d = lines
    return [a + b + c, b - c - d]


class _Weights:
    """The transform of all weights, panel by panel, into the scratch memory of the first worker."""

    def __init__(self, f: Function, site: Site, plan: Plan) -> None:
        self.f, self.site, self.vector = f, site, Type(ELEMENT, site.lanes)
        access = site.kernel.right
        self.source = base_pointers(f, plan, site.kernel)[access.buffer].at(access.offset, ELEMENT)
        self.target = f.load_pointer(f.arguments[0], plan.scratch_slot).freeze()
        self.packed = self.target.at(site.weight_elements, ELEMENT).freeze()

    def emit(self) -> None:
        f, site = self.f, self.site
        down, right, channel, column = site.taps
        panel_elements, size = POSITIONS * site.channels * site.width, site.channels * site.width
        source = Panel(ELEMENT, site.width, channel, column)
        with f.loop(0, site.panels, name="panel") as panel:
            first = self.source.at(panel.index * (site.width * column), ELEMENT).freeze()
            with f.loop(0, TAPS, name="dy") as dy, f.loop(0, TAPS, name="dx") as dx:
                tap = first.at(dy.index * down, ELEMENT).at(dx.index * right, ELEMENT)
                packed = self.packed.at((dy.index * TAPS + dx.index) * size, ELEMENT)
                pack(f, source, tap.freeze(), packed.freeze(), site.width, site.channels)
            target = self.target.at(panel.index * panel_elements, ELEMENT).freeze()
            with f.loop(0, size, site.lanes, name="weight") as weight:
                self._transform(self.packed.at(weight.index, ELEMENT), target.at(weight.index, ELEMENT), size)

    def _transform(self, taps: Value, target: Value, step: int) -> None:
        """A vector of weights; taps and positions are ``step`` elements apart."""
        f = self.f
        lines = [
            [f.load(taps.at((dy * TAPS + dx) * step, ELEMENT), self.vector) for dy in range(TAPS)]
            for dx in range(TAPS)
        ]
        for number, line in enumerate(zip(*map(_transformed_weights, lines), strict=True)):
            for other, value in enumerate(_transformed_weights(line)):
                f.store(value, target.at((number * TILE + other) * step, ELEMENT))


class _Blocks:
    """The tasks: blocks of tiles through all steps."""

    def __init__(self, f: Function, site: Site, plan: Plan) -> None:
        self.f, self.site, self.kernel, self.vector = f, site, site.kernel, Type(ELEMENT, site.lanes)
        rank = len(site.kernel.rows)
        self.body = Body(f, plan, site.kernel, range(rank + 1), vector=rank, lanes=site.lanes)
        self.left = self.body.pointers[site.kernel.left.buffer].at(site.kernel.left.offset, ELEMENT).freeze()
        self.weights = f.load_pointer(f.arguments[0], plan.scratch_slot).freeze()
        mine = self.weights.byte(f.arguments[3] * _scratch_bytes(site)).at(site.weight_elements, ELEMENT)
        self.sums = mine.freeze()
        self.tiles = self.sums.at(POSITIONS * site.sum_step, ELEMENT).freeze()
        self.results = self.tiles
        self.origin = self.body.origin()

    def emit(self, zeros: Value) -> None:
        f, site = self.f, self.site
        begin, end = f.arguments[1:3] if site.tasks > 1 else (f.index(0), f.index(1))
        stop = (end * site.task_blocks).minimum(site.blocks)
        with f.loop(begin * site.task_blocks, stop, name="block") as block:
            self.image, self.row = block.index // site.bands, block.index % site.bands * site.tile_rows
            stride = self.kernel.left.strides[0] if len(self.kernel.rows) > 2 else 0
            self.pixels = self.left.at(self.image * stride, ELEMENT).freeze()
            self._transform_tiles(zeros)
            self._multiply()
            with f.when(~self._transform_sums(), name="ordinary"):
                self._convolve(zeros)
            self._finish()

    # Transformed tiles: [position][tile][channel]

    def _transform_tiles(self, zeros: Value) -> None:
        f, site = self.f, self.site
        with f.loop(0, site.tile_rows, name="y") as y, f.loop(0, site.x.tiles, name="x") as x:
            row, column = (self.row + y.index) * RESULTS, x.index * RESULTS
            target = self.tiles.at((y.index * site.x.tiles + x.index) * site.channels, ELEMENT).freeze()
            pixel = self._pixel(row, column).freeze()
            if site.has_border:
                self._transform_near_border(row, column, pixel, target, zeros)
            else:
                self._transform_tile(self._whole(pixel), target)

    def _transform_near_border(self, row: Value, column: Value, pixel: Value, target: Value, zeros: Value) -> None:
        """A tile that may reach beyond the image, at this row and column."""
        f, y, x = self.f, self.site.y, self.site.x
        is_inside = (row >= y.low) & (row + TILE <= y.low + y.size)
        is_inside = is_inside & (column >= x.low) & (column + TILE <= x.low + x.size)
        with f.when(is_inside, name="inside"):
            self._transform_tile(self._whole(pixel), target)
        with f.when(~is_inside, name="border"):
            places = [self._place(row + i, column + j, zeros) for i in range(TILE) for j in range(TILE)]
            self._transform_tile(places, target)

    def _pixel(self, row: Value, column: Value) -> Value:
        """The address of a pixel of this image, by its row and column as windows count them."""
        site = self.site
        return self.pixels.at(row * site.y.stride, ELEMENT).at(column * site.x.stride, ELEMENT)

    def _whole(self, pixel: Value) -> list[Value]:
        """The addresses of a tile that begins at a pixel."""
        y, x = self.site.y.stride, self.site.x.stride
        return [pixel.at(i * y + j * x, ELEMENT) for i in range(TILE) for j in range(TILE)]

    def _place(self, row: Value, column: Value, zeros: Value) -> Value:
        """The address of a pixel, that of zeros outside of the image."""
        return self._is_there(row, column).select(self._pixel(row, column), zeros)

    def _is_there(self, row: Value, column: Value) -> Value:
        y, x = self.site.y, self.site.x
        is_there = (row >= y.low) & (row < y.low + y.size)
        return is_there & (column >= x.low) & (column < x.low + x.size)

    def _transform_tile(self, places: Sequence[Value], target: Value) -> None:
        f, site = self.f, self.site
        with f.loop(0, site.channels, site.lanes, name="channel") as channel:
            pixels = [f.load(place.at(channel.index, ELEMENT), self.vector) for place in places]
            lines = zip(*(_transformed_tile(pixels[j::TILE]) for j in range(TILE)), strict=True)
            for number, line in enumerate(lines):
                for other, value in enumerate(_transformed_tile(line)):
                    position = (number * TILE + other) * site.tile_step
                    f.store(value, target.at(position, ELEMENT).at(channel.index, ELEMENT))

    # Sums: [position][tile][column]

    def _multiply(self) -> None:
        f, site = self.f, self.site
        size = site.channels * site.width
        with f.loop(0, POSITIONS, name="position") as position, f.loop(0, site.panels, name="panel") as panel:
            right = self.weights.at((panel.index * POSITIONS + position.index) * size, ELEMENT).freeze()
            left = self.tiles.at(position.index * site.tile_step, ELEMENT)
            sums = self.sums.at(position.index * site.sum_step, ELEMENT).at(panel.index * site.width, ELEMENT)
            with f.loop(0, site.padded_tiles // site.sums, name="tile") as tile:
                mine = left.at(tile.index * (site.sums * site.channels), ELEMENT).freeze()
                target = sums.at(tile.index * (site.sums * self.kernel.columns), ELEMENT)
                for number, value in enumerate(self._products(mine, right)):
                    row, vector = divmod(number, site.vectors)
                    f.store(value, target.at(row * self.kernel.columns + vector * site.lanes, ELEMENT))

    def _products(self, left: Value, right: Value) -> list[Value]:
        """Some tiles times a panel."""
        f, site = self.f, self.site
        zeros = [f.constant(0.0, self.vector)] * (site.sums * site.vectors)
        with f.loop(0, site.channels, carried=[left, right, *zeros], name="channel") as channel:
            left, right, *sums = channel.values
            columns = [f.load(right.at(i * site.lanes, ELEMENT), self.vector) for i in range(site.vectors)]
            following = []
            for row in range(site.sums):
                factor = f.load(left.at(row * site.channels, ELEMENT), Type(ELEMENT)).broadcast(site.lanes)
                mine = sums[row * site.vectors : (row + 1) * site.vectors]
                following += [factor.fma(column, sum) for column, sum in zip(columns, mine, strict=True)]
            channel.next([left.at(1, ELEMENT).freeze(), right.at(site.width, ELEMENT).freeze(), *following])
        return channel.results[2:]

    # Results: [row][column of the image][column]

    def _result(self, y: Value, x: Value) -> Value:
        return self.results.at((y * (self.site.x.tiles * RESULTS) + x) * self.kernel.columns, ELEMENT)

    def _transform_sums(self) -> Value:
        """Whether all results are finite."""
        f, site = self.f, self.site
        probe = f.constant(0.0, self.vector)
        with f.loop(0, site.tile_rows, carried=[probe], name="y") as y:
            with f.loop(0, site.x.tiles, carried=y.values, name="x") as x:
                source = self.sums.at((y.index * site.x.tiles + x.index) * self.kernel.columns, ELEMENT).freeze()
                target = self._result(y.index * RESULTS, x.index * RESULTS).freeze()
                x.next([self._transform_sum(source, target, x.values[0])])
            y.next(x.results)
        return y.results[0].equal(0).all()

    def _transform_sum(self, source: Value, target: Value, probe: Value) -> Value:
        """The results of one tile, times 0 added to the probe: only those that are finite leave it as it is."""
        f, site = self.f, self.site
        with f.loop(0, self.kernel.columns, site.lanes, carried=[probe], name="column") as column:
            start, probe = source.at(column.index, ELEMENT), column.values[0]
            places = [start.at(position * site.sum_step, ELEMENT) for position in range(POSITIONS)]
            sums = [f.load(place, self.vector) for place in places]
            lines = zip(*(_transformed_sums(sums[j::TILE]) for j in range(TILE)), strict=True)
            for number, line in enumerate(lines):
                for other, value in enumerate(_transformed_sums(line)):
                    place = number * site.x.tiles * RESULTS + other
                    f.store(value, target.at(column.index + place * self.kernel.columns, ELEMENT))
                    probe = value.fma(0.0, probe)
            column.next([probe])
        return column.results[0]

    def _convolve(self, zeros: Value) -> None:
        """The results of the block as sums over the windows."""
        f, site = self.f, self.site
        rows, columns = site.tile_rows * RESULTS, site.x.tiles * RESULTS
        with f.loop(0, rows, name="y") as y, f.loop(0, columns, name="x") as x:
            row = self.row * RESULTS + y.index
            with f.loop(0, self.kernel.columns, site.lanes, name="column") as column:
                self._sum_window(row, x.index, column.index, self._result(y.index, x.index).at(column.index, ELEMENT))

    def _sum_window(self, row: Value, column: Value, result: Value, target: Value) -> None:
        """A vector of results: ordinary sums over the pixels of a window that are in the image."""
        f, site = self.f, self.site
        access = self.kernel.right
        down, right, channel_step, step = site.taps
        weights = self.body.pointers[access.buffer].at(access.offset, ELEMENT).at(result * step, ELEMENT)
        f.store(f.constant(0.0, self.vector), target)
        with f.loop(0, TAPS, name="dy") as dy, f.loop(0, TAPS, name="dx") as dx:
            place = row + dy.index, column + dx.index
            with f.when(self._is_there(*place), name="there"):
                pixel = self._pixel(*place).freeze()
                tap = weights.at(dy.index * down + dx.index * right, ELEMENT).freeze()
                with f.loop(0, site.channels, carried=[f.load(target, self.vector)], name="channel") as channel:
                    factor = f.load(pixel.at(channel.index, ELEMENT), Type(ELEMENT)).broadcast(site.lanes)
                    weight = f.load_strided(tap.at(channel.index * channel_step, ELEMENT), self.vector, step)
                    channel.next([factor.fma(weight, channel.values[0])])
                f.store(channel.results[0], target)

    def _finish(self) -> None:
        """Run the body and the stores for all results."""
        f, site = self.f, self.site
        rank = len(self.kernel.rows)
        first = self.row * RESULTS
        point = self.origin.enter(0, self.image) if rank > 2 else self.origin
        rows = (f.index(site.y.extent) - first).minimum(site.tile_rows * RESULTS)
        with f.loop(0, rows, name="y") as y:
            line = point.enter(rank - 2, first + y.index)
            with f.loop(0, site.x.extent, name="x") as x:
                pixel, results = line.enter(rank - 1, x.index), self._result(y.index, x.index).freeze()
                with f.loop(0, site.panels, name="panel") as panel:
                    start = panel.index * site.width
                    for piece in self.body.pieces(start, site.width, site.lanes):
                        value = f.load(results.at(start + piece.offset, ELEMENT), self.vector)
                        pixel.enter(rank, *piece, given={0: value})
