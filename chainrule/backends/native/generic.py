"""Kernels that are generic in shape: one machine code for every size, with extents and addresses as arguments.

A graph that is met once runs on them, vertex by vertex. They use the formulas of the kernels of compiled programs, and
accumulate in their order (see `order`), so the bits agree. Memory is contiguous unless strides (in elements) are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chainrule.backends.native.cpu import Target
from chainrule.backends.native.language import (
    BYTES,
    INDEX,
    KERNEL_ARGUMENTS,
    POINTER,
    Function,
    Module,
    Type,
    Value,
)
from chainrule.backends.native.order import ACCUMULATORS
from chainrule.backends.native.philox import WORDS, philox
from chainrule.backends.native.product_dot import sum_each
from chainrule.backends.native.product_site import sums_in_registers
from chainrule.backends.native.reduction import Accumulation, accumulation, across_lanes
from chainrule.backends.native.transposition import transpose
from chainrule.backends.native.vector_math import ELEMENTWISE

MOST_TILE_ROWS, TILE_VECTORS = 8, 2
"""The register tile of a product, if there are registers for so many rows."""

DRAWN = 1 << 12
"""The random numbers that a task draws."""

PANEL_BYTES = 32 << 10
"""What is packed of the right operand at a time stays in the nearest cache."""


def _vectors(f: Function, count: Value, lanes: int) -> Iterator[tuple[Value, int | Value]]:
    """Code for each vector of ``count`` elements: where it starts, and which lanes are active.

    Only the code of the last one has a mask: with AVX2 a masked store takes a dozen times as long.
    """
    whole = count // lanes * lanes
    with f.loop(0, whole, lanes, name="vector") as loop:
        yield loop.index, lanes
    with f.when(whole < count):
        yield whole, f.first_lanes(count - whole, lanes)


def elementwise(f: Function, given: list[Value], operation: str, *elements: str) -> None:
    """``result[i] = operation(operands[i · step]...)`` for i < count; an operand of step 0 is one vector, repeated.

    ``elements``: those of the operands, and the result's.
    """
    *operands, result = elements
    arity = len(operands)
    sources, target, count, steps = given[:arity], *given[arity : arity + 2], given[arity + 2 :]
    lanes = f.module.target.lanes(max((*operands, result), key=lambda element: Type(element).bytes))
    for first, active in _vectors(f, count, lanes):
        triples = zip(sources, steps, operands, strict=True)
        values = [f.load(x.at(first * step, e), Type(e, lanes), active) for x, step, e in triples]
        value = values[0].cast(result) if operation == "cast" else ELEMENTWISE[operation](*values)
        f.store(value, target.at(first, result), active)


def chain(f: Function, given: list[Value], vectors: str, numbers: str, operations: str, results: str) -> None:
    """Elementwise operations one after another on vectors and single numbers; some vectors get new values.

    ``operations`` are like ``multiply:float32:0,5;...``: name, element of the result, and places of the operands.
    Places count the vectors, then the numbers, then the operations; ``results`` are pairs of places like ``0=9,...``.
    """
    *pointers, count = given
    elements, scalars = vectors.split(","), [element for element in numbers.split(",") if element]
    steps = [step.split(":") for step in operations.split(";")]
    widest = max((*elements, *scalars, *(step[1] for step in steps)), key=lambda element: Type(element).bytes)
    lanes = f.module.target.lanes(widest)
    pairs = zip(pointers[len(elements) :], scalars, strict=True)
    singles = [f.load(pointer, Type(element)).broadcast(lanes) for pointer, element in pairs]
    for first, active in _vectors(f, count, lanes):
        places = [pointer.at(first, element) for pointer, element in zip(pointers, elements, strict=False)]
        values = [f.load(x, Type(element, lanes), active) for x, element in zip(places, elements, strict=True)]
        values += singles
        for name, element, operands in steps:
            factors = [values[int(place)] for place in operands.split(",")]
            values.append(factors[0].cast(element) if name == "cast" else ELEMENTWISE[name](*factors))
        for pair in results.split(","):
            target, value = map(int, pair.split("="))
            f.store(values[value], places[target], active)


def fold(f: Function, given: list[Value], operation: str, element: str) -> None:
    """Fold each of ``count`` lines of ``length`` elements to ``period`` sums: of every ``period``-th element, in order.

    After ``part`` elements a sum starts afresh; what it was is added to those before. Then the upper half of the sums
    is added to the lower, ``halvings`` times. Lines along the last dimension, if long enough, need no memory for that.
    """
    source, target, count, length, period, part, halvings = given
    kind, lanes = accumulation(operation, element), f.module.target.lanes(element)
    (neutral,) = kind.identity(f, lanes)
    rows, rest = length // period, length % period
    parts = (rows + part) // part
    places = ACCUMULATORS * lanes
    is_whole, is_one = halvings.equal(0), halvings.equal(places.bit_length() - 1)
    is_quick = period.equal(places) & parts.equal(1) & (is_whole | is_one)
    with f.loop(0, is_quick.select(count, f.index(0)), name="quick") as line:
        first, sums = source.at(line.index * length, element), target.at(line.index * places, element)
        totals = _sum_in_registers(f, kind, first, rows, rest, element)
        with f.when(is_whole):
            for number, total in enumerate(totals):
                f.store(total, sums.at(number * lanes, element))
        with f.when(is_one):
            while len(totals) > 1:
                middle = len(totals) // 2
                totals = _merged(kind, totals[:middle], totals[middle:])
            f.store(across_lanes(kind, totals)[0], sums)
    with f.loop(0, is_quick.select(f.index(0), count), name="line") as line:
        first, sums = source.at(line.index * length, element), target.at(line.index * period, element)
        with f.loop(0, parts, name="part") as block:
            start = block.index * part
            stop = (start + part).minimum(rows)
            for place, active in _vectors(f, period, lanes):
                begin = first.at(start * period + place, element)
                with f.loop(start, stop, carried=[begin, neutral], name="row") as row:
                    value = f.load(row.values[0], Type(element, lanes), active)
                    row.next([row.values[0].at(period, element), *kind.merge([row.values[1]], [value])])
                left = f.first_lanes((start + part > rows).select(rest - place, f.index(0)), lanes)
                last = left.select(f.load(row.results[0], Type(element, lanes), left), neutral)
                (total,) = kind.merge([row.results[1]], [last])
                here = sums.at(place, element)
                before = f.load(here, Type(element, lanes), active)
                (both,) = kind.merge([before], [total])
                f.store(block.index.equal(0).broadcast(lanes).select(total, both), here, active)
        with f.loop(0, halvings, carried=[period], name="halving") as halving:
            half = halving.values[0].shift_right_logical(1)
            for place, active in _vectors(f, half, lanes):
                here = sums.at(place, element)
                lower, upper = (f.load(x, Type(element, lanes), active) for x in (here, here.at(half, element)))
                (half_sum,) = kind.merge([lower], [upper])
                f.store(half_sum, here, active)
            halving.next([half])


def _sum_in_registers(
    f: Function, kind: Accumulation, first: Value, rows: Value, rest: Value, element: str
) -> list[Value]:
    """The interleaved sums of a line, which has ``rows`` elements for each of them and a ``rest``."""
    lanes = f.module.target.lanes(element)
    (neutral,) = kind.identity(f, lanes)
    with f.loop(0, rows, carried=[first, *[neutral] * ACCUMULATORS], name="row") as row:
        start, *sums = row.values
        starts = [start.at(number * lanes, element) for number in range(ACCUMULATORS + 1)]
        row.next([starts[-1], *_merged(kind, sums, [f.load(each, Type(element, lanes)) for each in starts[:-1]])])
    start, *sums = row.results
    lasts = []
    for number in range(ACCUMULATORS):
        mask = f.first_lanes(rest - number * lanes, lanes)
        lasts.append(mask.select(f.load(start.at(number * lanes, element), Type(element, lanes), mask), neutral))
    return _merged(kind, sums, lasts)


def _merged(kind: Accumulation, sums: Sequence[Value], values: Sequence[Value]) -> list[Value]:
    return [kind.merge([one], [other])[0] for one, other in zip(sums, values, strict=True)]


def scan(f: Function, given: list[Value], operation: str, element: str) -> None:
    """Of (outer, length, inner): each element and those before it along the middle dimension, floats in float64."""
    source, target, outer, length, inner = given
    wide = "float64" if Type(element).is_float else element
    kind, lanes = accumulation(operation, wide), f.module.target.lanes(wide)
    with f.loop(0, outer, name="line") as line:
        first = line.index * length * inner
        for place, active in _vectors(f, inner, lanes):
            with f.loop(0, length, carried=[first + place, *kind.identity(f, lanes)], name="row") as row:
                position, before = row.values
                value = f.load(source.at(position, element), Type(element, lanes), active)
                (total,) = kind.merge([before], [value.cast(wide)])
                f.store(total.cast(element), target.at(position, element), active)
                row.next([position + inner, total])


def turn(f: Function, given: list[Value], element: str) -> None:
    """``out[i, j] = x[j, i]`` for i < rows, j < columns; both row-major. Squares are turned in registers."""
    source, target, rows, columns = given
    lanes = f.module.target.lanes(element)
    whole_rows, whole_columns = rows // lanes * lanes, columns // lanes * lanes
    with f.loop(0, whole_rows, lanes, name="row") as row, f.loop(0, whole_columns, lanes, name="column") as column:
        places = [source.at((column.index + k) * rows + row.index, element) for k in range(lanes)]
        for k, vector in enumerate(transpose([f.load(place, Type(element, lanes)) for place in places], lanes)):
            f.store(vector, target.at((row.index + k) * columns + column.index, element))
    with f.loop(0, rows, name="row") as row:
        start = (row.index < whole_rows).select(whole_columns, f.index(0))
        with f.loop(start, columns, name="column") as column:
            value = f.load(source.at(column.index * rows + row.index, element), Type(element))
            f.store(value, target.at(row.index * columns + column.index, element))


def dot(f: Function, given: list[Value], element: str) -> None:
    """``out[i] = Σₖ left[k] · right[i, k]`` for i < count, in as many interleaved sums as a vector has lanes."""
    left, right, target, count, depth = given
    lanes = f.module.target.lanes(element)
    vector = Type(element, lanes)
    with f.loop(0, count, name="row") as row:
        line = right.at(row.index * depth, element)
        with f.loop(0, depth, lanes, carried=[f.constant(0.0, vector)], name="depth") as loop:
            active = f.first_lanes(depth - loop.index, lanes)
            factors = [f.load(pointer.at(loop.index, element), vector, active) for pointer in (left, line)]
            loop.next([factors[0].fma(factors[1], loop.values[0])])
        f.store(sum_each(loop.results), target.at(row.index, element))


def product(f: Function, element: str) -> None:
    """``out[i, j] = Σₖ left[i, k] · right[k, j]``, each sum in the order of k.

    ``buffers`` holds the addresses of left, right and out, the numbers of rows, columns and k, the distances left to
    the next row and next k, and right to the next k and next column, of which one is 1; last the rows of a task, which
    computes as many of a panel of columns.
    """
    buffers, begin, end, _ = f.arguments
    left, right, target = (f.load_pointer(buffers, place) for place in range(3))
    rows, columns, depth, *steps, part = (f.load(buffers.at(place, "int64"), INDEX) for place in range(3, 11))
    lanes = f.module.target.lanes(element)
    width = TILE_VECTORS * lanes
    most = PANEL_BYTES // (width * BYTES[element])
    panel = f.allocate(element, most * width)
    panels = (columns + (width - 1)) // width
    with f.loop(begin, end, name="task") as task:
        row, column = task.index // panels * part, task.index % panels * width
        start, here = left.at(row * steps[0], element), target.at(row * columns + column, element)
        source, extents = right.at(column * steps[3], element), (part.minimum(rows - row), columns - column, columns)
        tile = _Tile(f, element, panel, here, extents, (steps[0], steps[1]))
        with f.loop(0, depth, most, name="block") as block:
            length, k = (depth - block.index).minimum(most), block.index
            _pack(f, element, source.at(k * steps[2], element), panel, length, columns - column, (steps[2], steps[3]))
            tile.multiply_all(start.at(k * steps[1], element), length, k.equal(0))


def _pack(
    f: Function, element: str, source: Value, panel: Value, depth: Value, columns: Value, steps: tuple[Value, Value]
) -> None:
    """Copy the next columns of the right operand, which become consecutive. What follows the last one is not read."""
    lanes = f.module.target.lanes(element)
    vector, width = Type(element, lanes), TILE_VECTORS * lanes
    has_rows = steps[1].equal(1)
    with f.when(has_rows), f.loop(0, depth, name="k") as k:
        for first in range(0, width, lanes):
            active = f.first_lanes(columns - first, lanes)
            values = f.load(source.at(k.index * steps[0] + first, element), vector, active)
            f.store(values, panel.at(k.index * width + first, element))
    with f.when(~has_rows), f.loop(0, depth, lanes, name="k") as k:  # squares are turned in registers
        active = f.first_lanes(depth - k.index, lanes)
        for first in range(0, width, lanes):
            numbers = [f.index(number).minimum(columns - 1) for number in range(first, first + lanes)]
            lines = [f.load(source.at(number * steps[1] + k.index, element), vector, active) for number in numbers]
            for number, values in enumerate(transpose(lines, lanes)):
                f.store(values, panel.at((k.index + number) * width + first, element))


def uniform(f: Function) -> None:
    """Draw what ``numpy.random.Philox(key)`` gives: floats in [-bound, bound), of 24 bits each, two of every word.

    ``buffers`` holds the address of the result, the count of elements, the key, and two floats, 2 bound · 2⁻²⁴ and the
    bound. A task draws `DRAWN` elements.
    """
    buffers, begin, end, _ = f.arguments
    target, vector = f.load_pointer(buffers, 0), Type("float32", f.module.target.lanes("float32"))
    count, key = (f.load(buffers.at(place, "int64"), INDEX) for place in (1, 2))
    scale, bound = (f.load(buffers.at(place, "int64"), Type("float32")).broadcast(vector.lanes) for place in (3, 4))
    words = f.allocate("int64", DRAWN // 2)
    with f.loop(begin, end, name="task") as task:
        start = task.index * DRAWN
        drawn = (count - start).minimum(DRAWN)
        with f.loop(0, drawn, 2 * WORDS, name="block") as loop:
            for place, word in enumerate(philox(f, key, (start + loop.index) // (2 * WORDS))):
                f.store(word, words.at(loop.index // 2 + place, "int64"))
        for first, active in _vectors(f, drawn, vector.lanes):
            bits = f.load(words.at(first, "int32"), Type("int32", vector.lanes))
            value = bits.shift_right_logical(8).cast("float32") * scale - bound
            f.store(value, target.at(start + first, "float32"), active)


class _Tile:
    """Multiplies tiles of rows with the packed panel and adds them to the result."""

    def __init__(
        self,
        f: Function,
        element: str,
        panel: Value,
        target: Value,
        extents: tuple[Value, Value, Value],
        steps: tuple[Value, Value],
    ) -> None:
        """``extents``: how many rows and columns there are to be written, and how long a row of the result is."""
        self.f, self.element, self.lanes = f, element, f.module.target.lanes(element)
        self.panel, self.target, self.steps = panel, target, steps
        self.rows, self.columns, self.row_length = extents
        self.height = min(MOST_TILE_ROWS, sums_in_registers(f) // TILE_VECTORS)

    def multiply_all(self, left: Value, depth: Value, is_first: Value) -> None:
        """All rows, for ``depth`` values of k; the sums so far lie in the result."""
        with self.f.loop(0, self.rows, self.height, name="tile") as row:
            self._multiply(left, row.index, depth, is_first)

    def _multiply(self, left: Value, row: Value, depth: Value, is_first: Value) -> None:
        """The rows from ``row`` on. In place of rows behind the last one it is computed again, and not stored."""
        f, element, vector = self.f, self.element, Type(self.element, self.lanes)
        firsts = range(0, TILE_VECTORS * self.lanes, self.lanes)
        within = [f.first_lanes(self.columns - first, self.lanes) for first in firsts]
        rows = [row + number for number in range(self.height)]
        actives = [(number < self.rows).broadcast(self.lanes) & mask for number in rows for mask in within]
        places = [self.target.at(number * self.row_length + first, element) for number in rows for first in firsts]
        continued = ~is_first.broadcast(self.lanes)
        sums = [f.load(place, vector, active & continued) for place, active in zip(places, actives, strict=True)]
        starts = [left.at(number.minimum(self.rows - 1) * self.steps[0], element).freeze() for number in rows]
        with f.loop(0, depth, carried=[self.panel, f.index(0), *sums], name="depth") as loop:
            packed, distance, *sums = loop.values
            factors = [f.load(packed.at(first, element), vector) for first in firsts]
            for number, start in enumerate(starts):
                value = f.load(start.at(distance, element), Type(element)).broadcast(self.lanes)
                for position, factor in enumerate(factors, number * TILE_VECTORS):
                    sums[position] = value.fma(factor, sums[position])
            loop.next([packed.at(TILE_VECTORS * self.lanes, element), distance + self.steps[1], *sums])
        is_whole = (rows[-1] < self.rows) & (self.columns >= TILE_VECTORS * self.lanes)
        with f.when(is_whole):  # as in `_vectors`
            for place, value in zip(places, loop.results[2:], strict=True):
                f.store(value, place)
        with f.when(~is_whole):
            for place, value, active in zip(places, loop.results[2:], actives, strict=True):
                f.store(value, place, active)


WITH_TASKS: dict[str, Callable[..., None]] = {"product": product, "uniform": uniform}
"""The kinds of kernels whose work threads can share."""


def kernel_text(target: Target, name: str, kind: str, *parameters: str) -> str:
    """The LLVM module of one kernel, the function ``name`` of the address of its arguments: pointers and then numbers.

    ``kind`` is the name of a function above, which takes the parameters. The numbers of an elementwise kernel are the
    count and the operands' steps; of a chain the count; of a fold count, length, period, part and halvings; of a scan
    the extents; of a turn those of the result; of a dot count and depth. Kernels with tasks take what those of programs
    take.
    """
    module = Module(target)
    if kind in WITH_TASKS:
        with module.function(name, KERNEL_ARGUMENTS) as f:
            WITH_TASKS[kind](f, *parameters)
        return str(module)
    pointers, numbers = _argument_counts(kind, parameters)
    emit: Any = {
        "elementwise": elementwise, "chain": chain, "fold": fold, "scan": scan, "turn": turn, "dot": dot,
    }[kind]  # fmt: skip
    with module.function(name, [("arguments", POINTER)]) as f:
        (arguments,) = f.arguments
        given = [f.load_pointer(arguments, place) for place in range(pointers)]
        given += [f.load(arguments.at(pointers + place, "int64"), INDEX) for place in range(numbers)]
        emit(f, given, *parameters)
    return str(module)


def _argument_counts(kind: str, parameters: Sequence[str]) -> tuple[int, int]:
    """How many pointers, and then numbers, a kernel takes."""
    if kind == "elementwise":
        return len(parameters) - 1, len(parameters) - 1
    if kind == "chain":
        return sum(len(elements.split(",")) for elements in parameters[:2] if elements), 1
    return {"fold": (2, 5), "scan": (2, 3), "turn": (2, 2), "dot": (3, 2)}[kind]
