"""How reductions accumulate: the state of an accumulator, and how values and other accumulators join it.

A state is a list of vectors or scalars; None is the state before the first value, so that short unrolled reductions
start with that value. Inactive lanes of a vector keep the identity, which never wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from chainrule.backends.native.language import FLOATS, Function, Type, Value

State = list[Value]

LARGEST = {"float32": math.inf, "float64": math.inf, "int32": 2**31 - 1, "int64": 2**63 - 1}
SMALLEST = {"float32": -math.inf, "float64": -math.inf, "int32": -(2**31), "int64": -(2**63)}


class Accumulation(Protocol):
    """One kind of reduction of elements of one type. With ``has_position`` a state is [value, position on the axis]."""

    has_position: bool

    def identity(self, f: Function, lanes: int) -> State:
        """The state that changes nothing when merged."""

    def merge(self, left: State, right: State) -> State:
        """Two states as one, lane by lane; ``left`` is kept where they are equal."""


class Sum:
    """The sum of all values, from -0.0 on: adding that changes nothing, while 0.0 would change -0.0."""

    has_position = False

    def __init__(self, element: str) -> None:
        self.element = element

    def identity(self, f: Function, lanes: int) -> State:
        return [f.constant(-0.0 if self.element in FLOATS else 0, Type(self.element, lanes))]

    def merge(self, left: State, right: State) -> State:
        return [left[0] + right[0]]


class Product:
    """The product of all values."""

    has_position = False

    def __init__(self, element: str) -> None:
        self.element = element

    def identity(self, f: Function, lanes: int) -> State:
        return [f.constant(1, Type(self.element, lanes))]

    def merge(self, left: State, right: State) -> State:
        return [left[0] * right[0]]


class Extremum:
    """The largest or smallest value; NaN if any is NaN."""

    has_position = False

    def __init__(self, element: str, largest: bool) -> None:
        self.element = element
        self.worst = (SMALLEST if largest else LARGEST)[element]
        self.choose = Value.maximum if largest else Value.minimum

    def identity(self, f: Function, lanes: int) -> State:
        return [f.constant(self.worst, Type(self.element, lanes))]

    def merge(self, left: State, right: State) -> State:
        return [self.choose(left[0], right[0])]


class IndexOfExtremum:
    """The position of the first largest or smallest value, where the first NaN counts as that."""

    has_position = True

    def __init__(self, element: str, largest: bool) -> None:
        self.element, self.largest = element, largest
        self.worst = (SMALLEST if largest else LARGEST)[element]

    def identity(self, f: Function, lanes: int) -> State:
        # Position 0: if nothing is better than the worst value, the first element equals it.
        return [f.constant(self.worst, Type(self.element, lanes)), f.constant(0, Type("int64", lanes))]

    def merge(self, left: State, right: State) -> State:
        (value, position), (other, other_position) = left, right
        better = value < other if self.largest else other < value
        earlier = other_position < position
        equal = value.equal(other)
        if self.element in FLOATS:
            better = (better | other.is_nan()) & ~value.is_nan()
            equal = equal | (value.is_nan() & other.is_nan())
        take = better | (equal & earlier)
        return [take.select(other, value), take.select(other_position, position)]


def accumulation(operation: str, element: str) -> Accumulation:
    """The kind for a reduction of the plan."""
    if operation == "sum":
        return Sum(element)
    if operation == "prod":
        return Product(element)
    if operation in ("max", "min"):
        return Extremum(element, operation == "max")
    return IndexOfExtremum(element, operation == "argmax")


def across_lanes(kind: Accumulation, state: State) -> State:
    """All lanes merged into one: the upper half onto the lower, again and again."""
    lanes = state[0].lanes
    while lanes > 2:
        lanes //= 2
        lower = [value.shuffle(range(lanes)) for value in state]
        state = kind.merge(lower, [value.shuffle(range(lanes, 2 * lanes)) for value in state])
    if lanes == 1:
        return state
    return kind.merge([value.extract(0) for value in state], [value.extract(1) for value in state])


class Accumulators:
    """The accumulators of some points: for each of ``slots`` copies of the innermost loop, each point, each reduction.

    A state that is missing has seen no value yet.
    """

    def __init__(self, f: Function, kinds: Sequence[Accumulation], lanes: Sequence[int], slots: int) -> None:
        self.f, self.kinds, self.lanes, self.slots = f, kinds, lanes, slots
        self.states: dict[tuple[int, int, int], State] = {}

    def fresh(self) -> Accumulators:
        return Accumulators(self.f, self.kinds, self.lanes, self.slots)

    def keys(self) -> list[tuple[int, int, int]]:
        points, reductions = range(len(self.lanes)), range(len(self.kinds))
        return [(slot, point, number) for slot in range(self.slots) for point in points for number in reductions]

    def join(self, key: tuple[int, int, int], state: State) -> None:
        old = self.states.get(key)
        self.states[key] = state if old is None else self.kinds[key[2]].merge(old, state)

    def merge(self, other: Accumulators) -> None:
        for key, state in other.states.items():
            self.join(key, state)

    def values(self) -> list[Value]:
        """All states in a row, as a loop carries them."""
        row: list[Value] = []
        for key in self.keys():
            row += self.states.get(key) or self.kinds[key[2]].identity(self.f, self.lanes[key[1]])
        return row

    def load(self, row: Sequence[Value]) -> None:
        values = iter(row)
        for key in self.keys():
            self.states[key] = [next(values) for _ in range(1 + self.kinds[key[2]].has_position)]

    def total(self, point: int, number: int) -> State:
        """The slots of one point merged: the upper half onto the lower, again and again."""
        kind, states = self.kinds[number], [self.states.get((slot, point, number)) for slot in range(self.slots)]
        while len(states) > 1:
            half = len(states) // 2
            pairs = zip(states[:half], states[half:], strict=True)
            states = [kind.merge(low, high) if low and high else low or high for low, high in pairs]
        assert states[0] is not None
        return states[0]

    def turn(self, by: int) -> None:
        """Let slot s become slot s - ``by``, counted in a circle."""
        moved = {(slot - by) % self.slots: slot for slot in range(self.slots)}
        keys = [key for key in self.keys() if (moved[key[0]], *key[1:]) in self.states]
        self.states = {key: self.states[moved[key[0]], *key[1:]] for key in keys}
