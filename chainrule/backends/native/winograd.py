"""3 × 3 convolutions with four ninths of the multiplications: the minimal filtering F(2 × 2, 3 × 3) of Winograd.

A tile d of 4 × 4 pixels gives 2 × 2 results Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, where g are the 3 × 3 weights. The products ⊙
are summed over the channels, which makes one matrix product for each of the 16 positions. A task goes through its
images in blocks of some tiles, which stay in the caches: transform the tiles, multiply, transform the sums, and do with
the results what is to be done. Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks".

A number that is not finite would reach all results of its tile. So a block with a result that is not finite is computed
once more in the ordinary way, and NaN and infinity are exactly where they belong.
"""

from __future__ import annotations

from chainrule.backends.native.body import Body
from chainrule.backends.native.kernel import KernelInfo, base_pointers, whole_lines
from chainrule.backends.native.language import BYTES, KERNEL_ARGUMENTS, Function, Module, Type, Value
from chainrule.backends.native.product_pack import Panel, pack
from chainrule.backends.native.product_site import Steps, multiply, zeros
from chainrule.backends.native.winograd_site import ELEMENT, MOST_TASKS, POSITIONS, RESULTS, TAPS, TILE, Site
from chainrule.backends.native.winograd_tiles import Tiles, on_both_sides, transformed_sums, transformed_weights
from chainrule.passes.plan import Contraction, Plan


def emit_winograd(module: Module, kernel: Contraction, site: Site, plan: Plan, name: str) -> KernelInfo:
    """Add the kernel function ``name``, and one that transforms the weights before.

    Example: ``emit_winograd(module, kernel, find_convolution(kernel, module.target), plan, "kernel_3")``.
    """
    start, zeros = f"{name}_weights", f"{name}_zeros"
    with module.function(start, KERNEL_ARGUMENTS) as f:
        _Weights(f, kernel, site, plan).emit(site.panels > 1)
    module.zeros(zeros, site.channels * BYTES[ELEMENT])
    task_blocks = -(-site.blocks // MOST_TASKS)
    tasks = -(-site.blocks // task_blocks)
    with module.function(name, KERNEL_ARGUMENTS) as f:
        blocks = _Blocks(f, kernel, site, plan, f.global_pointer(zeros))
        begin, end = f.arguments[1:3] if tasks > 1 else (f.index(0), f.index(1))
        blocks.emit(begin * task_blocks, (end * task_blocks).minimum(site.blocks))
    weights = KernelInfo(start, site.panels, site.panels > 1)
    return KernelInfo(name, tasks, tasks > 1, _scratch_bytes(site), start=weights)


def _scratch_bytes(site: Site) -> int:
    """Of each worker. The weights, which all read, lie in that of the first: transformed, and as they are."""
    return whole_lines((_weights(site) + _tiles(site) + POSITIONS * site.sum_step) * BYTES[ELEMENT])


def _weights(site: Site) -> int:
    return (POSITIONS + TAPS * TAPS) * site.channels * site.columns


def _tiles(site: Site) -> int:
    """Elements of the transformed tiles, or of the results, which take their place."""
    return max(POSITIONS * site.tile_step, site.tiles * RESULTS**2 * site.columns)


class _Weights:
    """Packs all weights, panel by panel, and transforms them; see `_Blocks`."""

    def __init__(self, f: Function, kernel: Contraction, site: Site, plan: Plan) -> None:
        self.f, self.site, self.vector = f, site, Type(ELEMENT, site.lanes)
        self.source = base_pointers(f, plan, kernel)[kernel.right.buffer].at(kernel.right.offset, ELEMENT)
        self.weights = f.load_pointer(f.arguments[0], plan.scratch_slot).freeze()

    def emit(self, is_parallel: bool) -> None:
        f, site = self.f, self.site
        down, right, channel, column = site.taps
        size = site.channels * site.width
        source = Panel(ELEMENT, site.width, channel, column)
        begin, end = f.arguments[1:3] if is_parallel else (f.index(0), f.index(1))
        with f.loop(begin, end, name="panel") as panel:
            first = self.source.at(panel.index * (site.width * column), ELEMENT).freeze()
            target = self.weights.at(panel.index * (POSITIONS * size), ELEMENT).freeze()
            taps = self.weights.at(site.weights + panel.index * (TAPS * TAPS * size), ELEMENT).freeze()
            with f.loop(0, TAPS, name="dy") as dy, f.loop(0, TAPS, name="dx") as dx:
                tap = first.at(dy.index * down, ELEMENT).at(dx.index * right, ELEMENT).freeze()
                packed = taps.at((dy.index * TAPS + dx.index) * size, ELEMENT).freeze()
                pack(f, source, tap, packed, site.width, site.channels)
            with f.loop(0, size, site.lanes, name="weight") as weight:
                self._transform(taps.at(weight.index, ELEMENT), target.at(weight.index, ELEMENT), size)

    def _transform(self, taps: Value, target: Value, step: int) -> None:
        """A vector of weights; taps and positions are ``step`` elements apart."""
        f = self.f
        weights = [f.load(taps.at(tap * step, ELEMENT), self.vector) for tap in range(TAPS * TAPS)]
        for position, value in enumerate(on_both_sides(transformed_weights, weights, TAPS)):
            f.store(value, target.at(position * step, ELEMENT))


class _Blocks:
    """Blocks of tiles through all steps.

    In scratch memory lie, after one another: weights [panel, position, channel, column of the panel], the same for
    taps in place of positions, tiles [position, tile, channel], and sums [position, tile, column]. Results [y, x,
    column] take the place of the tiles.
    """

    def __init__(self, f: Function, kernel: Contraction, site: Site, plan: Plan, zeros: Value) -> None:
        self.f, self.kernel, self.site, self.vector = f, kernel, site, Type(ELEMENT, site.lanes)
        rank = len(kernel.rows)
        self.body = Body(f, plan, kernel, range(rank + 1), vector=rank, lanes=site.lanes)
        images = self.body.pointers[kernel.left.buffer].at(kernel.left.offset, ELEMENT).freeze()
        self.tiles = Tiles(f, site, images, zeros)
        self.weights = f.load_pointer(f.arguments[0], plan.scratch_slot).freeze()
        mine = self.weights.byte(f.arguments[3] * _scratch_bytes(site))
        self.transformed = self.results = mine.at(_weights(site), ELEMENT).freeze()
        self.sums = self.transformed.at(_tiles(site), ELEMENT).freeze()
        self.origin = self.body.origin()

    def emit(self, begin: Value, end: Value) -> None:
        """The blocks from one to another."""
        f, site = self.f, self.site
        with f.loop(begin, end, name="block") as block:
            image, row = block.index // site.bands, block.index % site.bands * site.tile_rows
            self.tiles.enter(image)
            self.tiles.transform(row, self.transformed)
            self._multiply()
            with f.when(~self._transform_sums(), name="ordinary"):
                self._convolve(row)
            self._finish(image, row)

    def _multiply(self) -> None:
        f, site = self.f, self.site
        size, steps = site.channels * site.width, Steps(site.channels, 1, site.width)
        with f.loop(0, POSITIONS, name="position") as position, f.loop(0, site.panels, name="panel") as panel:
            right = self.weights.at((panel.index * POSITIONS + position.index) * size, ELEMENT).freeze()
            left = self.transformed.at(position.index * site.tile_step, ELEMENT)
            sums = self.sums.at(position.index * site.sum_step + panel.index * site.width, ELEMENT)
            with f.loop(0, site.kept_tiles // site.rows, name="tile") as tile:
                mine = left.at(tile.index * (site.rows * site.channels), ELEMENT).freeze()
                target = sums.at(tile.index * (site.rows * site.columns), ELEMENT)
                tile_sums = zeros(f, ELEMENT, site.rows, site.width, site.lanes)
                for row, vectors in enumerate(multiply(f, mine, right, steps, site.channels, tile_sums, site.width)):
                    for vector, value in enumerate(vectors):
                        f.store(value, target.at(row * site.columns + vector * site.lanes, ELEMENT))

    def _result(self, y: Value, x: Value) -> Value:
        return self.results.at((y * (self.site.x.tiles * RESULTS) + x) * self.site.columns, ELEMENT)

    def _transform_sums(self) -> Value:
        """Turn sums into results; whether all of them are finite."""
        f, site = self.f, self.site
        probe = f.constant(0.0, self.vector)
        with f.loop(0, site.tile_rows, carried=[probe], name="y") as y:
            with f.loop(0, site.x.tiles, carried=y.values, name="x") as x:
                source = self.sums.at((y.index * site.x.tiles + x.index) * site.columns, ELEMENT).freeze()
                target = self._result(y.index * RESULTS, x.index * RESULTS).freeze()
                x.next([self._transform_sum(source, target, x.values[0])])
            y.next(x.results)
        return y.results[0].equal(0).all()

    def _transform_sum(self, source: Value, target: Value, probe: Value) -> Value:
        """The results of one tile; times 0 they are added to the probe, which only finite ones leave as it is."""
        f, site = self.f, self.site
        with f.loop(0, site.columns, site.lanes, carried=[probe], name="column") as column:
            start, probe = source.at(column.index, ELEMENT), column.values[0]
            sums = [f.load(start.at(i * site.sum_step, ELEMENT), self.vector) for i in range(POSITIONS)]
            for number, value in enumerate(on_both_sides(transformed_sums, sums, TILE)):
                y, x = divmod(number, RESULTS)
                place = (y * site.x.tiles * RESULTS + x) * site.columns
                f.store(value, target.at(column.index + place, ELEMENT))
                probe = value.fma(0.0, probe)
            column.next([probe])
        return column.results[0]

    def _convolve(self, row: Value) -> None:
        """The results of the block as sums over the pixels under their windows."""
        f, site = self.f, self.site
        with (
            f.loop(0, site.tile_rows * RESULTS, name="y") as y,
            f.loop(0, site.x.tiles * RESULTS, name="x") as x,
            f.loop(0, site.panels, name="panel") as panel,
        ):
            result = self._result(y.index, x.index).at(panel.index * site.width, ELEMENT)
            places = [result.at(i * site.lanes, ELEMENT) for i in range(site.vectors)]
            for place in places:
                f.store(f.constant(0.0, self.vector), place)
            with f.loop(0, TAPS, name="dy") as dy, f.loop(0, TAPS, name="dx") as dx:
                pixel = row * RESULTS + y.index + dy.index, x.index + dx.index
                number = panel.index * (TAPS * TAPS) + dy.index * TAPS + dx.index
                with f.when(self.tiles.has(*pixel), name="there"):
                    self._add_pixel(self.tiles.pixel(*pixel), number, places)

    def _add_pixel(self, pixel: Value, number: Value, places: list[Value]) -> None:
        """Add a pixel times the weights of one tap to the results at some places."""
        f, site = self.f, self.site
        tap = self.weights.at(site.weights + number * (site.channels * site.width), ELEMENT).freeze()
        steps, sums = Steps(0, 1, site.width), [[f.load(place, self.vector) for place in places]]
        (row,) = multiply(f, pixel, tap, steps, site.channels, sums, site.width)
        for place, sum in zip(places, row, strict=True):
            f.store(sum, place)

    def _finish(self, image: Value, row: Value) -> None:
        """Run the body and the stores for all results."""
        f, site = self.f, self.site
        rank, first = len(self.kernel.rows), row * RESULTS
        point = self.origin.enter(0, image) if rank > 2 else self.origin
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
