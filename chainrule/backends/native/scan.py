"""Scans: lines along one dimension, each treated as a whole. Cumulative sums, products and maxima; sorting.

A line is walked element by element, so this is scalar code; lines are shared out among threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from chainrule.backends.native.body import Body, Point
from chainrule.backends.native.kernel import KernelInfo, whole_lines, worker_scratch
from chainrule.backends.native.language import BYTES, FLOATS, KERNEL_ARGUMENTS, Function, Module, Type, Value
from chainrule.backends.native.nest import GRAIN, MOST_TASKS, TASK
from chainrule.passes.plan import Nest, Plan, Reduction, Scan

STEP = 1.5  # nanoseconds for an element of a cumulative scan
MERGE_STEP = 3.0  # nanoseconds for an element in one round of merging
MOST_INSERTED = 32
"""So many elements are found by insertion, which in the worst case then takes as long as a sort of a thousand."""
KEYS = {"float32": "int32", "float64": "int64", "int32": "int32", "int64": "int64"}


def emit_scan(module: Module, scan: Scan, plan: Plan, name: str) -> KernelInfo:
    """Write a scan as the kernel function ``name``; a task is a part of the outermost dimension."""
    sorts, length = scan.body[-1].operation == "argsort", scan.domain[-1]
    rounds = math.ceil(math.log2(max(2, length))) if sorts and scan.body[-1].value[0] > MOST_INSERTED else 1
    nanoseconds = scan.size * (MERGE_STEP * rounds if sorts else STEP)
    extent = scan.domain[0] if len(scan.domain) > 1 else 1
    unit = math.ceil(extent / max(1, min(MOST_TASKS, int(nanoseconds / TASK))))
    tasks = math.ceil(extent / unit)
    is_parallel = tasks > 1 and nanoseconds > GRAIN
    scratch_bytes = Sort.scratch_bytes(scan) if sorts else 0
    with module.function(name, KERNEL_ARGUMENTS, exported=False) as f:
        body = Body(f, plan, _reading(scan), range(len(scan.domain)), None, 1, [scan.stores[0].access])
        line = Sort(f, scan, worker_scratch(f, plan, scratch_bytes)).emit if sorts else Cumulative(f, scan).emit
        start, stop = f.index(0), f.index(extent)
        if is_parallel:
            start, stop = f.arguments[1] * unit, (f.arguments[2] * unit).minimum(extent)
        _emit_lines(scan, body.origin(), 0, start, stop, line)
    return KernelInfo(name, tasks if is_parallel else 1, is_parallel, scratch_bytes)


def _reading(scan: Scan) -> Nest:
    """The part of a scan that is evaluated at each point: its body but for the scan, with the place of its result."""
    last = scan.body[-1]
    result = Reduction(last.operation, scan.stores[0].access, last.operands[0], (len(scan.domain) - 1,))
    return Nest(scan.name, scan.domain, scan.body[:-1], (), (result,))


def _emit_lines(
    scan: Scan, point: Point, dimension: int, start: Value, stop: Value, line: Callable[[Point], None]
) -> None:
    """Loops over all dimensions but the last."""
    if dimension == len(scan.domain) - 1:
        line(point)
        return
    f = point.body.f
    with f.loop(start, stop, name=f"d{dimension}") as loop:
        entered = point.enter(dimension, loop.index)
        _emit_lines(scan, entered, dimension + 1, f.index(0), f.index(scan.domain[dimension + 1]), line)


class Cumulative:
    """Scans in which each element joins what came before it."""

    def __init__(self, f: Function, scan: Scan) -> None:
        self.f, self.scan = f, scan
        self.operand, self.access = scan.body[-1].operands[0], scan.stores[0].access
        self.element = scan.body[self.operand].dtype.name

    def emit(self, outside: Point) -> None:
        """One line."""
        f, last = self.f, len(self.scan.domain) - 1
        with f.loop(0, self.scan.domain[-1], carried=self._start(), name="line") as loop:
            point = outside.enter(last, loop.index)
            state = self._join(loop.values, point.value(self.operand), loop.index)
            point.store(state[-1].cast(self.scan.body[-1].dtype.name), self.access)
            loop.next(state)

    def _start(self) -> list[Value]:
        operation = self.scan.body[-1].operation
        if operation == "cumulative_argmax":
            return [self.f.constant(0, Type(self.element)), self.f.index(0)]
        neutral = 1 if operation == "cumulative_product" else -0.0 if self.element in FLOATS else 0
        return [self.f.constant(neutral, Type("float64" if self.element in FLOATS else self.element))]

    def _join(self, state: list[Value], value: Value, index: Value) -> list[Value]:
        operation = self.scan.body[-1].operation
        if operation == "cumulative_argmax":
            best, position = state
            wins = index.equal(0) | (best <= value)
            wins = wins | value.is_nan() if self.element in FLOATS else wins
            return [wins.select(value, best), wins.select(index, position)]
        (total,) = state
        value = value.cast(total.type.element)
        return [total * value if operation == "cumulative_product" else total + value]


class Sort:
    """A stable merge sort, from the bottom up: runs of 1, 2, 4, ... sorted elements, two of them merged to one.

    Elements become integers of the same order (of the opposite one, where the largest come first), NaN the largest of
    them; each is moved together with its position, between two areas of scratch memory. The first few positions are
    found by insertion: each element is put among the best so far, if it belongs there.
    """

    def __init__(self, f: Function, scan: Scan, scratch: Value) -> None:
        self.f, self.scan = f, scan
        self.operand, self.access = scan.body[-1].operands[0], scan.stores[0].access
        self.key = KEYS[scan.body[self.operand].dtype.name]
        self.length = scan.domain[-1]
        self.count, self.is_descending = scan.body[-1].value
        keys, positions = self._area_bytes(scan)
        self.areas = [(scratch.byte(at), scratch.byte(at + keys)) for at in (0, keys + positions)]

    @staticmethod
    def _area_bytes(scan: Scan) -> tuple[int, int]:
        """Bytes of the keys and of the positions in one area; a run that is used up is read one element too far."""
        key = KEYS[scan.body[scan.body[-1].operands[0]].dtype.name]
        return whole_lines(BYTES[key] * (scan.domain[-1] + 1)), whole_lines(4 * (scan.domain[-1] + 1))

    @staticmethod
    def scratch_bytes(scan: Scan) -> int:
        """The scratch memory that a worker needs."""
        return 2 * sum(Sort._area_bytes(scan))

    def emit(self, outside: Point) -> None:
        """One line."""
        f, last = self.f, len(self.scan.domain) - 1
        positions = self._insert(outside) if self.count <= MOST_INSERTED else self._sort(outside)
        with f.loop(0, self.count, name="write") as loop:
            position = f.load(positions.at(loop.index, "int32"), Type("int32"))
            outside.enter(last, loop.index).store(position.cast("int64"), self.access)

    def _key_at(self, outside: Point, index: Value) -> Value:
        point = outside.enter(len(self.scan.domain) - 1, index)
        return self._as_key(point.value(self.operand))

    def _insert(self, outside: Point) -> Value:
        """Keep the first elements so far, in order; return where their positions are."""
        f, count = self.f, self.count
        (keys, positions), _ = self.areas
        if count:
            with f.loop(0, self.length, name="line") as loop:
                index, key = loop.index, self._key_at(outside, loop.index)
                last = f.load(keys.at(f.index(count - 1), self.key), Type(self.key))  # used once it has been written
                with f.when((index < count) | (key < last), name="insert"):
                    self._put(key, index, keys, positions)
        return positions

    def _put(self, key: Value, position: Value, keys: Value, positions: Value) -> None:
        """Move what comes behind ``key`` one place on (what was last is lost), and write it there."""
        f = self.f
        with f.loop(
            0, position.minimum(self.count - 1), carried=[position.minimum(self.count - 1)], name="move"
        ) as loop:
            (place,) = loop.values
            before = place - 1
            other = f.load(keys.at(before, self.key), Type(self.key))
            moves = key < other
            with f.when(moves, name="shift"):
                f.store(other, keys.at(place, self.key))
                f.store(f.load(positions.at(before, "int32"), Type("int32")), positions.at(place, "int32"))
            loop.next([moves.select(before, place)])
        (place,) = loop.results
        f.store(key, keys.at(place, self.key))
        f.store(position.cast("int32"), positions.at(place, "int32"))

    def _sort(self, outside: Point) -> Value:
        """Sort the line; return where the positions are."""
        f = self.f
        (keys, positions), other = self.areas
        with f.loop(0, self.length, name="line") as loop:
            f.store(self._key_at(outside, loop.index), keys.at(loop.index, self.key))
            f.store(loop.index.cast("int32"), positions.at(loop.index, "int32"))
        with f.repeat([f.index(1), keys, positions, *other], name="round") as round:
            width, *areas = round.values
            self._merge_runs(width, areas)
            round.next([width * 2, *areas[2:], *areas[:2]], until=width * 2 >= self.length)
        return round.results[2]

    def _as_key(self, value: Value) -> Value:
        """An integer that is larger if the value is; both zeros become one, all NaN the largest."""
        if value.type.element in FLOATS:
            bits = 31 if self.key == "int32" else 63
            integer = (value + 0.0).bitcast(self.key)
            ordered = integer ^ ((integer >> bits) & (2**bits - 1))
            value = value.is_nan().select(2**bits - 1, ordered)
        return ~value if self.is_descending else value

    def _merge_runs(self, width: Value, areas: list[Value]) -> None:
        """Merge every two neighbouring runs of ``width`` elements of the first area into the second."""
        f, length = self.f, self.length
        with f.repeat([f.index(0)], name="pair") as pair:
            (start,) = pair.values
            middle = (start + width).minimum(length)
            end = (middle + width).minimum(length)
            self._merge(start, middle, end, areas)
            pair.next([end], until=end >= length)

    def _merge(self, start: Value, middle: Value, end: Value, areas: list[Value]) -> None:
        f = self.f
        keys, positions, new_keys, new_positions = areas
        with f.loop(start, end, carried=[start, middle], name="merge") as loop:
            left, right = loop.values
            left_key, right_key = (f.load(keys.at(index, self.key), Type(self.key)) for index in (left, right))
            takes_left = (right >= end) | ((left < middle) & (left_key <= right_key))
            f.store(takes_left.select(left_key, right_key), new_keys.at(loop.index, self.key))
            chosen = f.load(positions.at(takes_left.select(left, right), "int32"), Type("int32"))
            f.store(chosen, new_positions.at(loop.index, "int32"))
            loop.next([left + takes_left.cast("int64"), right + (~takes_left).cast("int64")])
