"""Matrix products that leave out the zeros of the left operand, for operands of which many elements are exactly 0.

Rectifiers and dropout set half of the activations and of their gradients to 0, images and one-hot columns have more.
An element of the left operand meets a whole row of the right one, so a row of the result is the sum of those rows
whose factors are not 0: the set of them is one word of bits for every `BITS` values of k. Sums add the same terms
in the same order as in the other templates, but for 0 · x, which changes no sum if x is finite (except that it makes a
sum that has underflowed to -0 a 0); so a packed panel of the right operand is checked, and if an element of it is
infinite or NaN, no zero is left out.
"""

from __future__ import annotations

from chainrule.backends.native.kernel import LINE_BYTES, whole_lines, worker_scratch
from chainrule.backends.native.language import BYTES, INDEX, POINTER, Function, Target, Type, Value
from chainrule.backends.native.product_pack import Panel, pack
from chainrule.backends.native.product_site import Site
from chainrule.passes.plan import Product

BITS = 64
"""Values of k that one word of bits describes; so many rows of a panel fit into a first-level cache."""

LEAST_DEPTH = 32
"""Fewer values of k do not repay the words of bits."""

LEAST_VECTORS, MOST_VECTORS = 4, 8
"""Vectors of a panel: independent sums, and multiplications that share the look-up of a factor."""

BLOCK_ROWS = 32
"""Rows of a task whose sums wait for further blocks of k; twice as many where there is one block."""

SAMPLES = 32
"""Vectors of the left operand that are looked at to estimate how many zeros there are."""

MOST_FILLED = 0.6
"""Where more of the elements differ from 0, leaving out the others does not pay."""


class Sparse:
    """The extents of a product's panels and tasks, and their emission."""

    has_whole_rows = False

    def __init__(self, product: Product, f: Function) -> None:
        self.product, self.element = product, product.dtype.name
        self.lanes = f.module.target.lanes(self.element)
        self.vectors = _panel_vectors(product, self.lanes)
        self.width = self.vectors * self.lanes
        self.length = BITS if product.depth >= BITS else LEAST_DEPTH
        self.depth_blocks = -(-product.depth // self.length)
        self.block_rows = min(product.rows, BLOCK_ROWS if self.depth_blocks > 1 else 2 * BLOCK_ROWS)
        row_bytes = self.width * BYTES[self.element]
        self.panel_bytes = whole_lines(self.length * row_bytes)
        self.zeros_bytes = whole_lines(row_bytes)
        sums_bytes = whole_lines((self.block_rows if self.depth_blocks > 1 else 1) * row_bytes)
        self.scratch_bytes = self.panel_bytes + self.zeros_bytes + sums_bytes

    @property
    def blocks(self) -> tuple[int, int]:
        """Numbers of panels and row blocks: a task is one of both.

        Threads share out the panels, so each keeps its columns of the weights in its caches. For gradients of weights,
        whose depth is a batch, they share out the rows: the weights are updated row by row, and what the processor
        fetches in advance beyond a panel would be taken away from the thread that is writing it.
        """
        panels, row_blocks = self.product.columns // self.width, -(-self.product.rows // self.block_rows)
        return (panels, row_blocks) if self.depth_blocks > 1 else (row_blocks, panels)

    def emit(self, site: Site, is_parallel: bool) -> None:
        f, product = site.f, self.product
        self.panel = worker_scratch(f, site.plan, self.scratch_bytes).freeze()
        self.zeros = self.panel.byte(self.panel_bytes).freeze()
        self.sums = self.zeros.byte(self.zeros_bytes).freeze()
        self.words = f.allocate("int64", self.block_rows + self.lanes)
        f.fill(self.zeros, 0, self.zeros_bytes)
        with site.tasks(self.blocks, is_parallel) as numbers:
            panel, row_block = numbers if self.depth_blocks > 1 else reversed(numbers)
            first = row_block * self.block_rows
            stop = (first + self.block_rows).minimum(f.index(product.rows))
            with f.loop(0, self.depth_blocks, name="depth_block") as loop:
                self._multiply_block(site, loop.index, first, stop, panel * self.width)

    def _multiply_block(self, site: Site, number: Value, first: Value, stop: Value, column: Value) -> None:
        """Add to the sums of the rows what one block of k gives; after the last block finish the rows."""
        f, product = site.f, self.product
        # The last block is as long as the others, and forgets what the one before it has done.
        wanted = number * self.length
        start = wanted.minimum(f.index(product.depth - self.length))
        todo = f.constant(-1, INDEX) << (wanted - start)
        row_stride, depth_stride = product.left.strides[-2:]
        panel, everything = self._pack(site, start, column)
        left = site.left(first).at(start * depth_stride, self.element)
        self._find(f, left, stop - first)
        with f.loop(first, stop, name="row") as loop:
            position = loop.index - first
            row = left.at(position * row_stride, self.element)
            self._prefetch_next_block(site, row, start + self.length, position, column)
            site.prefetch(loop.index + 1, column, 1, self.width)
            word = (f.load(self.words.at(position + self.lanes, "int64"), INDEX) | everything) & todo
            sums = self.sums.at(position * self.width, self.element) if self.depth_blocks > 1 else self.sums
            before = number.equal(0).select(self.zeros, sums)
            f.call(self._row_function(f), [row, panel, before, sums, word, f.index(depth_stride)])
            with f.when(number.equal(self.depth_blocks - 1), name="last"):
                self._finish(site, loop.index, column, sums)

    def _prefetch_next_block(self, site: Site, row: Value, start: Value, position: Value, column: Value) -> None:
        """Ask for a row of the left operand, and for a share of the right operand's panel."""
        if self.depth_blocks == 1:
            return
        f, (depth_stride, column_stride) = site.f, self.product.right.strides[-2:]
        if self.product.left.strides[-1] == 1:
            _prefetch_lines(f, row.at(self.length, self.element), self.length * BYTES[self.element])
        if column_stride == 1:
            share = self.length // self.block_rows
            source = site.right(column).at((start + position * share) * depth_stride, self.element)
            for number in range(share):
                _prefetch_lines(f, source.at(number * depth_stride, self.element), self.zeros_bytes)

    def _finish(self, site: Site, row: Value, column: Value, sums: Value) -> None:
        f = site.f
        with f.loop(0, self.width, self.lanes, name="finish") as loop:
            vector = f.load(sums.at(loop.index, self.element), Type(self.element, self.lanes))
            strip = site.point.enter(site.order[-2], column + loop.index, 0, self.lanes)
            strip.enter(site.order[-1], row, given={0: vector})

    def _pack(self, site: Site, start: Value, column: Value) -> tuple[Value, Value]:
        """The panel's rows from ``start`` on; and a word of all bits if one of its elements is not finite, else 0."""
        f, (depth_stride, column_stride) = site.f, self.product.right.strides[-2:]
        source, panel = site.right(column).at(start * depth_stride, self.element), self.panel
        if (depth_stride, column_stride) == (self.width, 1):
            panel = source
        else:
            origin = Panel(self.element, self.width, depth_stride, column_stride)
            pack(f, origin, source, panel, self.width, self.length)
        return panel, f.call(self._check_function(f), [panel], INDEX)

    def _find(self, f: Function, left: Value, count: Value) -> None:
        """Write the word of bits of every row: bit k is set where left[row, k] is not 0."""
        row_stride, depth_stride = self.product.left.strides[-2:]
        if depth_stride == 1:
            f.call(self._find_along_rows(f), [left, f.index(row_stride), count, self.words])
        else:
            f.call(self._find_across_rows(f), [left, f.index(depth_stride), count, self.words])

    # Functions that all products of a module share

    def _check_function(self, f: Function) -> str:
        """A function of a panel: -1 if an element is infinite or NaN, else 0."""
        name, vector = f"check_panel_{self.element}_{self.length}x{self.vectors}", Type(self.element, self.lanes)
        if f.module.defines(name):
            return name
        with f.module.function(name, [("panel", POINTER)], INDEX, exported=False) as f:
            zeros = [f.constant(0.0, vector)] * self.vectors
            with f.loop(0, self.length, carried=[f.arguments[0], *zeros], name="depth") as loop:
                row, *sums = loop.values
                for number, total in enumerate(sums):
                    sums[number] = f.load(row.at(number * self.lanes, self.element), vector).fma(0.0, total)
                loop.next([row.at(self.width, self.element), *sums])
            total = loop.results[1]
            for other in loop.results[2:]:
                total = total + other
            f.return_value(total.is_nan().any().select(f.index(-1), f.index(0)))
        return name

    def _find_along_rows(self, f: Function) -> str:
        """A function that writes words of bits of rows whose elements are consecutive."""
        name, vector = f"find_along_rows_{self.element}_{self.length}", Type(self.element, self.lanes)
        if f.module.defines(name):
            return name
        with f.module.function(name, FIND_ARGUMENTS, exported=False) as f:
            left, distance, count, words = f.arguments
            with f.loop(0, count, carried=[left, words.at(self.lanes, "int64")], name="row") as loop:
                row, target = loop.values
                word = f.index(0)
                for k in range(0, self.length, self.lanes):
                    word = word | f.load(row.at(k, self.element), vector).not_equal(0).bits() << k
                f.store(word, target)
                loop.next([row.at(distance, self.element), target.at(1, "int64")])
        return name

    def _find_across_rows(self, f: Function) -> str:
        """The same for rows that lie beside each other: a vector of rows at a time, the last of which may overlap."""
        name, vector = f"find_across_rows_{self.element}_{self.length}", Type(self.element, self.lanes)
        if f.module.defines(name):
            return name
        with f.module.function(name, FIND_ARGUMENTS, exported=False) as f:
            left, distance, count, words = f.arguments
            none, one = (f.constant(number, Type("int64", self.lanes)) for number in (0, 1))
            with f.loop(0, count, self.lanes, name="rows") as rows:
                first = rows.index.minimum(count - self.lanes)
                carried = [left.at(first, self.element), none, one]
                with f.loop(0, self.length, carried=carried, name="depth") as loop:
                    source, found, bit = loop.values
                    is_filled = f.load(source, vector).not_equal(0)
                    loop.next([source.at(distance, self.element), is_filled.select(found | bit, found), bit << 1])
                f.store(loop.results[1], words.at(first + self.lanes, "int64"))
        return name

    def _row_function(self, f: Function) -> str:
        """A function that adds to sums the panel's rows whose bits are set, each times its element of the left row.

        Arguments: the left row, the panel, the sums before and after, the word of bits, the left row's distance in k.
        """
        name, vector = f"add_rows_{self.element}_{self.vectors}", Type(self.element, self.lanes)
        if f.module.defines(name):
            return name
        pointers = [(argument, POINTER) for argument in ("left", "panel", "before", "after")]
        with f.module.function(name, [*pointers, ("word", INDEX), ("distance", INDEX)], exported=False) as f:
            left, panel, before, after, word, distance = f.arguments
            columns = range(0, self.width, self.lanes)
            sums = [f.load(before.at(column, self.element), vector) for column in columns]
            with f.when(word.not_equal(0), carried=sums, name="some") as some:
                with f.repeat(carried=[word, *sums], name="depth") as loop:
                    rest, *sums = loop.values
                    k = rest.trailing_zeros()
                    factor = f.load(left.at(k * distance, self.element), Type(self.element)).broadcast(self.lanes)
                    row = panel.at(k * self.width, self.element)
                    for number, column in enumerate(columns):
                        sums[number] = factor.fma(f.load(row.at(column, self.element), vector), sums[number])
                    rest = rest & (rest - 1)
                    loop.next([rest, *sums], until=rest.equal(0))
                some.next(loop.results[1:])
            for column, total in zip(columns, some.results, strict=True):
                f.store(total, after.at(column, self.element))
        return name


FIND_ARGUMENTS = [("left", POINTER), ("distance", INDEX), ("count", INDEX), ("words", POINTER)]
"""The first row, the distance between rows (or values of k), the number of rows; the word of row i is word lanes + i,
as the last vector of rows may begin before the first row."""


def _prefetch_lines(f: Function, pointer: Value, bytes: int) -> None:
    for line in range(0, bytes, LINE_BYTES):
        f.prefetch(pointer.byte(line))


def _panel_vectors(product: Product, lanes: int) -> int:
    """The most vectors that divide the columns; 0 if there is no such number."""
    vectors, rest = divmod(product.columns, lanes)
    if rest:
        return 0
    return next((n for n in range(MOST_VECTORS, LEAST_VECTORS - 1, -1) if vectors % n == 0), 0)


def can_be_sparse(product: Product, target: Target) -> bool:
    """Whether the template can compute a product of these extents and strides."""
    lanes = target.lanes(product.dtype.name)
    is_long = product.depth >= LEAST_DEPTH and product.rows >= lanes
    return is_long and 1 in product.left.strides[-2:] and _panel_vectors(product, lanes) > 0


def emit_choice(site: Site) -> None:
    """Return 1 if few enough of some elements of the left operand, spread over its first matrix, are not 0; else 0."""
    f, product, vector = site.f, site.product, Type(site.element, site.lanes)
    row_stride, depth_stride = product.left.strides[-2:]
    along_rows = depth_stride == 1
    rows = product.rows - (0 if along_rows else site.lanes - 1)
    depth = product.depth - (site.lanes - 1 if along_rows else 0)
    left = site.left(f.index(0))
    with f.loop(0, SAMPLES, carried=[f.constant(0, vector.of("int32"))], name="sample") as loop:
        row, k = loop.index * 97 % rows, loop.index * 61 % depth
        values = f.load(left.at(row * row_stride + k * depth_stride, site.element), vector)
        loop.next([loop.values[0] + values.not_equal(0).zero_extend("int32")])
    filled = loop.results[0].sum()
    f.return_value((filled < int(MOST_FILLED * SAMPLES * site.lanes)).zero_extend("int64"))
