"""Random orders of rows: permutations, uniform, the numbers that the definition gives."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from chainrule.execution.shuffle import shuffle
from chainrule.memory import aligned_block

MASK = (1 << 64) - 1


def order(rows: int, seed: int, round: int) -> list[int]:
    memory, address = aligned_block(8 * rows)
    shuffle(address, rows, seed, round)
    return memory.view(np.int64).tolist()


def mixed(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def by_the_definition(rows: int, seed: int, round: int) -> list[int]:
    step = 0x9E3779B97F4A7C15
    key = mixed((mixed(seed & MASK) + round * step) & MASK)
    found: list[int] = []
    for row in range(rows):
        place = mixed((key + row * step) & MASK) * (row + 1) >> 64
        found.append(row)
        found[row], found[place] = found[place], found[row]
    return found


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize(("seed", "round"), [(0, 0), (0, 1), (12345, 3), (-1, 2), (2**64 - 1, 10**6)])
def test_orders_are_those_of_the_definition(rows: int, seed: int, round: int) -> None:
    assert order(rows, seed, round) == by_the_definition(rows, seed, round)


def test_mixing_is_that_of_the_published_generator() -> None:
    """The first outputs of SplitMix64 with seed 1234567, as published with the algorithm's reference code."""
    states = [(1234567 + i * 0x9E3779B97F4A7C15) & MASK for i in range(1, 4)]
    assert [mixed(state) for state in states] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_every_order_of_four_rows_is_as_frequent_as_the_others() -> None:
    counts = dict.fromkeys(permutations(range(4)), 0)
    for round in range(4800):
        counts[tuple(order(4, 3, round))] += 1
    chi_squared = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_squared < 49.7  # 23 degrees of freedom: exceeded with probability 0.001


def test_rounds_and_seeds_have_orders_of_their_own() -> None:
    found = {tuple(order(20, seed, round)) for seed in range(30) for round in range(30)}
    assert len(found) == 900
