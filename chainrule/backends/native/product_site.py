"""A product inside the function that computes it: where operands lie, the register tile, and what is done with sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

from chainrule.backends.native.body import Body, Piece, Point
from chainrule.backends.native.kernel import LINE_BYTES
from chainrule.backends.native.language import Function, Type, Value
from chainrule.backends.native.schedule import code_length
from chainrule.passes.plan import Access, Plan, Product

Tile = list[list[Value]]
"""Sums of a register tile: one list per row, one vector per group of columns."""

UNROLLED_EPILOGUE = 6
"""An epilogue of at most so many instructions and stores is repeated for every vector; a longer one is a loop."""

FAR_BYTES = 1 << 18
"""What has so many bytes may be in none of the processor's own caches."""


@dataclass(frozen=True)
class Steps:
    """Distances in elements: left operand to the next row and next k, right operand to the next k."""

    left_row: int
    left_depth: int
    right_depth: int


@dataclass(frozen=True)
class Ahead:
    """What to prefetch while multiplying, one address for every k, in elements.

    It is ``start`` + (k mod 2^shift) · low_stride + (k div 2^shift) · high_stride.
    """

    start: Value
    shift: int
    low_stride: int
    high_stride: int

    @property
    def period(self) -> int:
        """For so many k, from a multiple of it on, the address is the same.

        It is to be asked for once: a line that is asked for again while it comes occupies more of the few places that
        the processor has for lines on their way, and a product of 1600 x 64 by 64 x 384 took a quarter longer.
        """
        return 1 if self.low_stride else 1 << self.shift

    def prefetch(self, f: Function, k: Value, element: str) -> None:
        high = k.shift_right_logical(self.shift) * self.high_stride
        low = (k & ((1 << self.shift) - 1)) * self.low_stride if self.low_stride else 0
        f.prefetch(self.start.at(high + low, element))


class Site:
    """The state of emitting one product: function, body, and the batch index of the current task."""

    def __init__(self, f: Function, plan: Plan, product: Product, lanes: int, has_whole_rows: bool) -> None:
        self.f, self.plan, self.product, self.lanes = f, plan, product, lanes
        self.element = product.dtype.name
        rank = len(product.batch)
        # Rows last: what depends on the column only, such as a bias, is loaded once for all rows of a tile.
        self.order = (*range(rank), rank + 1, rank)
        self.is_unrolled = code_length(product.body) + len(product.stores) <= UNROLLED_EPILOGUE
        self.is_flat = has_whole_rows and not self.is_unrolled and is_dense(product)
        if self.is_flat:
            product, lanes = flattened(product), f.module.target.lanes(self.element)
        self.body = Body(f, plan, product, self.order, vector=rank + 1, lanes=lanes)
        self.point: Point = self.body.origin()
        self.batch: list[Value] = []

    @contextmanager
    def tasks(self, blocks: Sequence[int], is_parallel: bool) -> Iterator[list[Value]]:
        """Loop over the function's tasks; gives the task's block numbers.

        A task is a point of (batch..., blocks...), counted with the last dimension fastest.
        """
        extents = [*self.product.batch, *blocks]
        begin, end = self.f.arguments[1:3] if is_parallel else (self.f.index(0), self.f.index(math.prod(extents)))
        outside = self.point
        with self.f.loop(begin, end, name="task") as loop:
            rest, indices = loop.index, []
            for extent in reversed(extents):
                indices.append(rest % extent if extent > 1 else self.f.index(0))
                rest = rest // extent
            indices.reverse()
            self.batch, numbers = indices[: len(self.product.batch)], indices[len(self.product.batch) :]
            for dimension, index in enumerate(self.batch):
                self.point = self.point.enter(dimension, index)
            yield numbers
        self.point = outside

    def left(self, row: Value) -> Value:
        """The address of left[batch, row, 0]."""
        access = self.product.left
        return self.operand(access, row * access.strides[-2])

    def right(self, column: Value) -> Value:
        """The address of right[batch, 0, column]."""
        access = self.product.right
        return self.operand(access, column * access.strides[-1])

    def operand(self, access: Access, position: Value) -> Value:
        """The address of an element of the task's matrix, so many elements behind its first."""
        for index, stride in zip(self.batch, access.strides, strict=False):
            position = position + index * stride
        return self.body.pointers[access.buffer].at(position + access.offset, self.element).freeze()

    @property
    def is_plain(self) -> bool:
        """Whether the product only stores its sums, with consecutive columns."""
        body, stores = self.product.body, self.product.stores
        return len(body) == len(stores) == 1 and not stores[0].accumulate and stores[0].access.strides[-1] == 1

    def plain_target(self, row: Value, column: Value) -> tuple[Value, int]:
        """Where a plain product stores the sum of an element, and the distance to the next row."""
        access = self.product.stores[0].access
        return self.operand(access, row * access.strides[-2] + column), access.strides[-2]

    def far_accesses(self) -> list[Access]:
        """What ``finish`` reads and writes row by row, if it is so much that it may be far away."""
        read = [item.access for item in self.product.body if item.operation == "load" and item.access is not None]
        accesses = dict.fromkeys([*(store.access for store in self.product.stores), *read])

        def is_far(access: Access) -> bool:
            in_rows = access.strides[-2] != 0 and access.strides[-1] == 1 and not access.dynamic
            return in_rows and self.plan.buffers[access.buffer].nbytes >= FAR_BYTES

        return [access for access in accesses if is_far(access)]

    def prefetch(self, row: Value, column: Value, rows: int, columns: int) -> None:
        """Ask for the memory that ``finish`` will read and write, if it may be far away."""
        f, written = self.f, {store.access for store in self.product.stores}
        for access in self.far_accesses():
            row_stride, buffer = access.strides[-2], self.plan.buffers[access.buffer]
            start = self.operand(access, row * row_stride + column)
            with f.loop(0, rows, carried=[start], name="prefetch") as loop:
                for line in range(0, columns * buffer.dtype.size, LINE_BYTES):
                    f.prefetch(loop.values[0].byte(line), write=access in written)
                loop.next([loop.values[0].at(row_stride, buffer.dtype.name)])

    def finish(self, row: Value, column: Value, tile: Tile, columns: int) -> None:
        """Run the body and the stores for a register tile, of which the first ``columns`` columns count."""
        f, lanes = self.f, tile[0][0].lanes
        if self.is_flat:
            self._finish_flat(row, tile)
            return
        if len(tile) == 1 or self.is_unrolled:
            for piece in self.body.pieces(column, columns, lanes):
                strip = self.point.enter(self.order[-2], *piece)
                first = piece.offset % lanes
                for number, sums in enumerate(tile):
                    vector = sums[piece.offset // lanes]
                    if piece.lanes < lanes:
                        vector = vector.shuffle(range(first, first + piece.lanes))
                    strip.enter(self.order[-1], row, number, given={0: vector})
            return
        width = len(tile[0]) * lanes
        stack = f.allocate(self.element, len(tile) * width)
        for number, sums in enumerate(tile):
            for position, vector in enumerate(sums):
                f.store(vector, stack.at(number * width + position * lanes, self.element))
        self.finish_rows(row, column, stack, len(tile), columns, width)

    def _finish_flat(self, row: Value, tile: Tile) -> None:
        """The same for a tile of whole rows, as one row of all their elements."""
        f, width, lanes = self.f, self.product.columns, self.body.lanes
        count = len(tile) * width
        stack = f.allocate(self.element, count + tile[0][0].lanes)
        for number, sums in enumerate(tile):
            for position, vector in enumerate(sums):  # what is written behind a row, the next one overwrites
                f.store(vector, stack.at(number * width + position * vector.lanes, self.element))

        def finish_vector(position: Value, piece: Piece) -> None:
            strip = self.point.enter(self.order[-2], *piece)
            given = {0: f.load(stack.at(position, self.element), Type(self.element, piece.lanes))}
            strip.enter(self.order[-1], f.index(0), given=given)

        whole = count - count % lanes
        with f.loop(0, whole, lanes, name="finish") as loop:
            finish_vector(loop.index, Piece(row * width + loop.index, 0, lanes, None))
        for piece in self.body.pieces(row * width + whole, count - whole, lanes):
            finish_vector(f.index(whole + piece.offset), piece)

    def finish_rows(self, row: Value, column: Value, sums: Value, rows: int | Value, columns: int, width: int) -> None:
        """The same for ``rows`` rows of sums in memory, ``width`` elements apart."""
        for piece in self.body.pieces(column, columns, self.lanes):
            strip = self.point.enter(self.order[-2], *piece)
            with self.f.loop(0, rows, carried=[sums.at(piece.offset, self.element)], name="finish") as loop:
                given = {0: self.f.load(loop.values[0], Type(self.element, piece.lanes))}
                strip.enter(self.order[-1], row + loop.index, given=given)
                loop.next([loop.values[0].at(width, self.element)])


def is_dense(product: Product) -> bool:
    """Whether the epilogue may see the rows of each result as one long row: all it accesses has that form too."""
    own = [item.access for item in product.body if item.access is not None]
    own += [store.access for store in product.stores]
    return all(access.strides[-2] == access.strides[-1] * product.columns for access in own)


def flattened(product: Product) -> Product:
    """A dense product with all its elements in one row, for its epilogue alone."""

    def flat(access: Access) -> Access:
        return replace(access, strides=(*access.strides[:-2], 0, access.strides[-1]))

    body = tuple(replace(item, access=flat(item.access)) if item.access else item for item in product.body)
    stores = tuple(replace(store, access=flat(store.access)) for store in product.stores)
    return replace(product, rows=1, columns=product.rows * product.columns, body=body, stores=stores)


def multiply(
    f: Function,
    left: Value,
    right: Value,
    steps: Steps,
    depth: int | Value,
    tile: Tile,
    columns: int,
    ahead: Ahead | None = None,
    chains: int = 1,
) -> Tile:
    """The tile plus Σₖ left[i, k] · right[k, j] over k < ``depth``; columns from ``columns`` on do not exist.

    Sums may be split into ``chains`` of every so many values of k, which are added at the end, neighbours first; then
    ``depth`` is a number.
    """
    sums = [vector for row in tile for vector in row]
    count = len(sums)
    if ahead is not None and ahead.period > 1:
        return _multiply_by_lines(f, left, right, steps, depth, tile, columns, ahead)
    chains = min(chains, max(1, depth)) if isinstance(depth, int) else 1
    rest = depth % chains if isinstance(depth, int) else 0
    sums += [f.constant(0.0, sums[0].type)] * ((chains - 1) * count)
    with f.loop(0, depth if rest == 0 else depth - rest, chains, carried=[left, right, *sums], name="depth") as loop:
        if ahead is not None:
            ahead.prefetch(f, loop.index, sums[0].type.element)
        loop.next(add_products(f, loop.values, steps, chains, len(tile), columns))
    sums = add_products(f, loop.results, steps, rest, len(tile), columns)[2:]
    while len(sums) > count:
        pairs = [sums[start : start + 2 * count] for start in range(0, len(sums), 2 * count)]
        sums = [pair[i] + pair[count + i] if len(pair) > count else pair[i] for pair in pairs for i in range(count)]
    return in_rows(sums[:count], len(tile[0]))


def _multiply_by_lines(
    f: Function, left: Value, right: Value, steps: Steps, depth: int | Value, tile: Tile, columns: int, ahead: Ahead
) -> Tile:
    """The same, in parts of the depth, before each of which one line is prefetched."""
    sums = [vector for row in tile for vector in row]
    with f.loop(0, depth, ahead.period, carried=[left, right, *sums], name="line") as line:
        ahead.prefetch(f, line.index, sums[0].type.element)
        stop = (line.index + ahead.period).minimum(depth)
        with f.loop(line.index, stop, carried=line.values, name="depth") as loop:
            loop.next(add_products(f, loop.values, steps, 1, len(tile), columns))
        line.next(loop.results)
    return in_rows(line.results[2:], len(tile[0]))


def add_products(
    f: Function, carried: Sequence[Value], steps: Steps, depth: int, rows: int, columns: int
) -> list[Value]:
    """The pointers and sums after ``depth`` values of k, each for sums of its own."""
    left, right, *sums = carried
    vector = sums[0].type
    vectors = -(-columns // vector.lanes)
    for k in range(depth):
        start = right.at(k * steps.right_depth, vector.element)
        right_row = [
            f.load(start.at(first, vector.element), vector, columns - first)
            for first in range(0, columns, vector.lanes)
        ]
        for row in range(rows):
            position = left.at(row * steps.left_row + k * steps.left_depth, vector.element)
            factor = f.load(position, Type(vector.element)).broadcast(vector.lanes)
            for number, factors in enumerate(right_row, (k * rows + row) * vectors):
                sums[number] = factor.fma(factors, sums[number])
    return [
        left.at(depth * steps.left_depth, vector.element),
        right.at(depth * steps.right_depth, vector.element),
        *sums,
    ]


def zeros(f: Function, element: str, rows: int, columns: int, lanes: int) -> Tile:
    """An empty register tile wide enough for ``columns`` columns."""
    return [[f.constant(0.0, Type(element, lanes))] * -(-columns // lanes) for _ in range(rows)]


def in_rows(vectors: Sequence[Value], width: int) -> Tile:
    """The vectors of a register tile, ``width`` in a row, as a tile."""
    return [list(vectors[start : start + width]) for start in range(0, len(vectors), width)]


def cases(f: Function, number: Value, full: int, has_rest: bool) -> Iterator[bool]:
    """Code for block ``number`` of ``full`` equal blocks and perhaps a smaller last: ``for is_rest in cases(...)``."""
    if not has_rest or full == 0:
        yield has_rest
    else:
        with f.when(number < full):
            yield False
        with f.when(number.equal(full)):
            yield True


def only_for(f: Function, number: Value, wanted: int, count: int) -> AbstractContextManager[object]:
    """Code for block ``wanted`` only, of ``count`` blocks: ``with only_for(...):``."""
    return nullcontext() if count == 1 else f.when(number.equal(wanted))


def sums_in_registers(f: Function) -> int:
    """How many vectors of sums a register tile may hold: three quarters of the registers, or less."""
    target = f.module.target
    return 24 if target.vector_bits == 512 or target.triple.startswith(("aarch64", "arm64")) else 12


def has_short_steps(f: Function) -> bool:
    """Whether a step of k takes so few cycles, half a dozen, that only the first-level cache is fast enough for it."""
    return f.module.target.vector_bits < 512


def even_split(count: int, most: int) -> int:
    """The largest part of at most ``most`` that divides ``count``, or if that is small, parts of nearly equal size."""
    parts = -(-count // most)
    divisor = next(part for part in range(min(most, count), 0, -1) if count % part == 0)
    return divisor if 2 * divisor > most or divisor == count else -(-count // parts)
