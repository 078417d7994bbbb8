"""Matrix products that leave out the zeros of the left operand, for operands of which many elements are exactly 0.

Rectifiers and dropout set half of the activations and of their gradients to 0, images and one-hot columns have more.
An element of the left operand meets a whole row of the right one, so a row of the result is the sum of those rows
whose factors are not 0: the set of them is one word of bits for every `BITS` values of k. Sums add the same terms
in the same order as in the other templates, but for 0 · x, which changes no sum if x is finite (except that it makes a
sum that has underflowed to -0 a 0); so a packed panel of the right operand is checked, and if an element of it is
infinite or NaN, no zero is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from chainrule.backends.native.kernel import LINE_BYTES, KernelInfo, base_pointers, whole_lines, worker_scratch
from chainrule.backends.native.language import (
    BYTES,
    INDEX,
    KERNEL_ARGUMENTS,
    POINTER,
    Function,
    Module,
    Target,
    Type,
    Value,
)
from chainrule.backends.native.product_pack import Panel, pack
from chainrule.backends.native.product_site import Site
from chainrule.passes.plan import Plan, Product

BITS = 64
"""Values of k that one word of bits describes; so many rows of a panel fit into a first-level cache."""

LEAST_DEPTH = 32
"""Fewer values of k do not repay the words of bits."""

LEAST_VECTORS, MOST_VECTORS = 4, 8
"""Vectors of a panel: independent sums, and multiplications that share the look-up of a factor."""

BLOCK_ROWS = 64
"""Rows of a task, which share a packed panel."""

SAMPLES = 32
"""Vectors of the left operand that are looked at to estimate how many zeros there are."""

MOST_FILLED = 0.55
"""Where more of the elements differ from 0, leaving out the others does not pay."""


class Call(NamedTuple):
    """The arguments of the function that does tasks.

    ``scratch`` is for the packed panel and, behind it, sums; ``find``, ``pack`` and ``finish`` are functions. In
    elements: the distances of left's rows and values of k, of right's rows (or columns, where these are not
    consecutive), of right's columns, and of sums that wait for further blocks of k (0 if there is one).
    ``is_in_place``: 1 if the rows of right are a panel where they are, else 0.
    ``inner``: how many tasks share a panel or, where no sums wait, a block of ``block_rows`` rows.
    """

    buffers: Value
    scratch: Value
    find: Value
    pack: Value
    finish: Value
    left: Value
    right: Value
    left_row: Value
    left_depth: Value
    right_line: Value
    right_column: Value
    is_in_place: Value
    waiting_row: Value
    block_rows: Value
    rows: Value
    depth: Value
    inner: Value
    begin: Value
    end: Value

    @classmethod
    def arguments(cls) -> list[tuple[str, Type]]:
        """Names and types of the arguments."""
        return [(name, POINTER if number < 7 else INDEX) for number, name in enumerate(cls._fields)]


class Sparse:
    """The extents of a product's panels and tasks, and their emission.

    All but finishing a row is in functions that the products of a module share: little code, as it comes on top of what
    the other templates need.
    """

    def __init__(self, product: Product, target: Target) -> None:
        self.product, self.element = product, product.dtype.name
        self.lanes = target.lanes(self.element)
        self.vectors = _panel_vectors(product, self.lanes)
        self.width = self.vectors * self.lanes
        self.row_bytes = self.width * BYTES[self.element]
        self.length = BITS if product.depth >= BITS else LEAST_DEPTH
        self.keeps_sums = product.depth > self.length
        # Threads share out the panels of a deep product; of a single one, its rows.
        is_single_panel = self.keeps_sums and product.columns == self.width
        self.block_rows = BLOCK_ROWS // 2 if is_single_panel else BLOCK_ROWS
        self.panel_bytes = whole_lines(self.length * self.row_bytes)
        sums_bytes = whole_lines((self.block_rows if self.keeps_sums else 1) * self.row_bytes)
        self.scratch_bytes = self.panel_bytes + sums_bytes
        self.name = f"{self.element}_{self.length}x{self.vectors}"

    def emit(self, module: Module, plan: Plan, name: str) -> KernelInfo:
        """Add the kernel function ``name`` to the module.

        A task is a panel and a block of rows. Threads share out the panels, so each keeps its columns of the weights in
        its caches. For gradients of weights, whose depth is a batch, they share out the rows: the weights are updated
        row by row, and what the processor fetches in advance beyond a panel would be taken away from the thread that is
        writing it.
        """
        product = self.product
        panels, row_blocks = product.columns // self.width, -(-product.rows // self.block_rows)
        left_row, left_depth = product.left.strides[-2:]
        right_depth, right_column = product.right.strides[-2:]
        line = right_depth if right_column == 1 else right_column
        is_in_place = right_column == 1 and right_depth == self.width
        inner = row_blocks if self.keeps_sums else panels
        with module.function(name, KERNEL_ARGUMENTS) as f:
            buffers, begin, end, _ = f.arguments
            find = self._find_along_rows(f) if left_depth == 1 else self._find_across_rows(f)
            if right_column == 1:
                pack = self._pack_rows(f, is_in_place)
            else:
                pack = self._pack_columns(f, right_depth)
            functions = [f.global_pointer(name) for name in (find, pack, self._finish_function(f, plan))]
            pointers = [buffers, worker_scratch(f, plan, self.scratch_bytes), *functions, *_operands(f, plan, product)]
            waiting = self.width if self.keeps_sums else 0
            extents = (self.block_rows, product.rows, product.depth, inner)
            numbers = (left_row, left_depth, line, right_column, int(is_in_place), waiting, *extents)
            f.call(self._multiply_function(f), [*pointers, *map(f.index, numbers), begin, end])
        return KernelInfo(name, panels * row_blocks, True, self.scratch_bytes)

    def _finish_function(self, f: Function, plan: Plan) -> str:
        """The product's function (buffers, sums, row, column) that does what is to be done with a row of sums."""
        name = f"{f.name}_finish"
        arguments = [("buffers", POINTER), ("sums", POINTER), ("row", INDEX), ("column", INDEX)]
        with f.module.function(name, arguments, exported=False) as f:
            _, sums, row, column = f.arguments
            site = Site(f, plan, self.product, self.lanes, has_whole_rows=False)
            for access in site.far_accesses():
                following = site.operand(access, (row + 1) * access.strides[-2] + column)
                _prefetch_written(f, following, self.width * plan.buffers[access.buffer].dtype.size)
            with f.loop(0, self.width, self.lanes, name="finish") as loop:
                vector = f.load(sums.at(loop.index, self.element), Type(self.element, self.lanes))
                strip = site.point.enter(site.order[-2], column + loop.index, 0, self.lanes)
                strip.enter(site.order[-1], row, given={0: vector})
        return name

    # Functions that all products of a module share

    def _multiply_function(self, f: Function) -> str:
        """A function that does tasks: all blocks of k for some rows and one panel."""
        name = f"multiply_{self.name}"
        if f.module.defines(name):
            return name
        with f.module.function(name, Call.arguments(), exported=False) as f:
            call = Call(*f.arguments)
            words = f.allocate("int64", BLOCK_ROWS + self.lanes)
            with f.loop(call.begin, call.end, name="task") as task:
                outer, inner, waits = task.index // call.inner, task.index % call.inner, call.waiting_row > 0
                first = waits.select(inner, outer) * call.block_rows
                count = (first + call.block_rows).minimum(call.rows) - first
                self._emit_task(f, call, words, first, count, waits.select(outer, inner) * self.width)
        return name

    def _emit_task(self, f: Function, call: Call, words: Value, first: Value, count: Value, column: Value) -> None:
        right = call.right.at(column * call.right_column, self.element)
        with f.loop(0, call.depth, self.length, name="depth_block") as loop:
            # The last block is as long as the others, and forgets what the one before it has done.
            start = loop.index.minimum(call.depth - self.length)
            todo = f.constant(-1, INDEX) << (loop.index - start)
            everything = f.call(call.pack, [right, call.right_line, start, call.scratch], INDEX)
            panel = call.is_in_place.equal(1).select(right.at(start * call.right_line, self.element), call.scratch)
            left = call.left.at(first * call.left_row + start * call.left_depth, self.element)
            # One of left's strides is 1.
            f.call(call.find, [left, call.left_row + call.left_depth - 1, count, words])
            is_last = loop.index + self.length >= call.depth
            before = loop.index.equal(0).select(self._zeros(f), sums := call.scratch.byte(self.panel_bytes))
            before_row = loop.index.equal(0).select(f.index(0), call.waiting_row)
            carried = [left, words.at(self.lanes, "int64"), before, sums]
            with f.loop(0, count, carried=carried, name="row") as row:
                factors, word, before, after = row.values
                bits = (f.load(word, INDEX) | everything) & todo
                f.call(self._add_function(f), [factors, panel, before, after, bits, call.left_depth])
                with f.when(is_last, name="last"):
                    f.call(call.finish, [call.buffers, after, first + row.index, column])
                row.next([
                    factors.at(call.left_row, self.element), word.at(1, "int64"), before.at(before_row, self.element),
                    after.at(call.waiting_row, self.element),
                ])  # fmt: skip

    def _zeros(self, f: Function) -> Value:
        """The address of a row of zeros."""
        name = f"zeros_{self.row_bytes}"
        if not f.module.defines(name):
            f.module.zeros(name, self.row_bytes)
        return f.global_pointer(name)

    def _pack_rows(self, f: Function, is_in_place: bool) -> str:
        """A function that copies a panel's rows; it returns -1 if an element is infinite or NaN, else 0.

        Rows that follow one another without a gap are a panel where they are, and are only looked at.
        """
        name, vector = f"{'check' if is_in_place else 'pack'}_rows_{self.name}", Type(self.element, self.lanes)
        if f.module.defines(name):
            return name
        with f.module.function(name, PACK_ARGUMENTS, INDEX, exported=False) as f:
            right, distance, start, panel = f.arguments
            source, zeros = right.at(start * distance, self.element), [f.constant(0.0, vector)] * self.vectors
            with f.loop(0, self.length, carried=[source, panel, *zeros], name="depth") as loop:
                row, target, *sums = loop.values
                for number, total in enumerate(sums):
                    values = f.load(row.at(number * self.lanes, self.element), vector)
                    if not is_in_place:
                        f.store(values, target.at(number * self.lanes, self.element))
                    sums[number] = values.fma(0.0, total)
                loop.next([row.at(distance, self.element), target.at(self.width, self.element), *sums])
            total = loop.results[2]
            for other in loop.results[3:]:
                total = total + other
            f.return_value(total.is_nan().any().select(f.index(-1), f.index(0)))
        return name

    def _pack_columns(self, f: Function, depth_stride: int) -> str:
        """The same for a right operand whose columns are so far apart."""
        name, check = f"pack_columns_{self.name}_{depth_stride}", self._pack_rows(f, is_in_place=True)
        if f.module.defines(name):
            return name
        with f.module.function(name, PACK_ARGUMENTS, INDEX, exported=False) as f:
            right, distance, start, panel = f.arguments
            origin = Panel(self.element, self.width, depth_stride, distance)
            pack(f, origin, right.at(start * depth_stride, self.element), panel, self.width, self.length)
            f.return_value(f.call(check, [panel, f.index(self.width), f.index(0), panel], INDEX))
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

    def _add_function(self, f: Function) -> str:
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


PACK_ARGUMENTS = [("right", POINTER), ("distance", INDEX), ("start", INDEX), ("panel", POINTER)]
"""The panel's first element for k = 0, the distance between its rows (or columns), the first k, where it is packed."""

FIND_ARGUMENTS = [("left", POINTER), ("distance", INDEX), ("count", INDEX), ("words", POINTER)]
"""The first row, the distance between rows (or values of k), the number of rows; the word of row i is word lanes + i,
as the last vector of rows may begin before the first row."""


def _prefetch_written(f: Function, pointer: Value, bytes: int) -> None:
    """Ask for so many bytes that will be written: they are taken away from other processors."""
    name = f"prefetch_{bytes}"
    if not f.module.defines(name):
        with f.module.function(name, [("pointer", POINTER)], exported=False) as inner:
            for line in range(0, bytes, LINE_BYTES):
                inner.prefetch(inner.arguments[0].byte(line), write=True)
    f.call(name, [pointer])


def _panel_vectors(product: Product, lanes: int) -> int:
    """The most vectors that divide the columns; 0 if there is no such number."""
    vectors, rest = divmod(product.columns, lanes)
    if rest:
        return 0
    return next((n for n in range(MOST_VECTORS, LEAST_VECTORS - 1, -1) if vectors % n == 0), 0)


def can_be_sparse(product: Product, target: Target) -> bool:
    """Whether the template can compute a product of these extents and strides."""
    lanes = target.lanes(product.dtype.name)
    is_large = product.depth >= LEAST_DEPTH and product.rows >= lanes and not product.batch
    return is_large and 1 in product.left.strides[-2:] and _panel_vectors(product, lanes) > 0


def emit_choice(module: Module, plan: Plan, product: Product, name: str) -> str:
    """Add a function that returns 1 if few enough of some elements of the left operand are not 0, else 0."""
    lanes, (row_stride, depth_stride) = module.target.lanes(product.dtype.name), product.left.strides[-2:]
    distance, lines, length = (row_stride, product.rows, product.depth)
    if depth_stride != 1:
        distance, lines, length = depth_stride, product.depth, product.rows
    with module.function(name, [("buffers", POINTER)], INDEX) as f:
        left, _ = _operands(f, plan, product)
        arguments = [f.index(number) for number in (distance, lines, length - lanes + 1)]
        filled = f.call(_sampling_function(f, product.dtype.name, lanes), [left, *arguments], INDEX)
        f.return_value((filled < int(MOST_FILLED * SAMPLES * lanes)).zero_extend("int64"))
    return name


def _operands(f: Function, plan: Plan, product: Product) -> list[Value]:
    """The addresses of the first elements of both operands."""
    pointers = base_pointers(f, plan, replace(product, body=(), stores=()))
    operands = (product.left, product.right)
    return [pointers[access.buffer].at(access.offset, product.dtype.name) for access in operands]


def _sampling_function(f: Function, element: str, lanes: int) -> str:
    """A function that counts what is not 0 in some vectors of a matrix, spread over its lines and along them."""
    name, vector = f"count_filled_{element}", Type(element, lanes)
    if f.module.defines(name):
        return name
    arguments = [("matrix", POINTER), ("distance", INDEX), ("lines", INDEX), ("starts", INDEX)]
    with f.module.function(name, arguments, INDEX, exported=False) as f:
        matrix, distance, lines, starts = f.arguments
        with f.loop(0, SAMPLES, carried=[f.constant(0, vector.of("int32"))], name="sample") as loop:
            position = loop.index * 97 % lines * distance + loop.index * 61 % starts
            is_filled = f.load(matrix.at(position, element), vector).not_equal(0)
            loop.next([loop.values[0] + is_filled.zero_extend("int32")])
        f.return_value(loop.results[0].sum().zero_extend("int64"))
    return name
