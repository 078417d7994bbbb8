"""Threefry against its published known answers, and whether its numbers look uniform and independent."""

import numpy as np
import pytest

from chainrule.graph.graph import Graph
from chainrule.ops.random import STREAM_STEP, random_uniform, threefry
from chainrule.ops.source import make_input
from chainrule.reference import evaluate
from chainrule.types import int64, tensor_type

# Random123's kat_vectors, threefry2x32 with 13 rounds: counter, key, first word of the result.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), 0x9D1C5EC6),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), 0xFD36D048),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), 0xBA3E4725),
]


def uniform(seed: int, counter: int, size: int, stream: int = 0) -> np.ndarray:
    scalar = tensor_type(int64, ())
    inputs = make_input(scalar), make_input(scalar)
    graph = Graph(inputs, (random_uniform(*inputs, (size,), stream),))
    return evaluate(graph, [np.array(seed), np.array(counter)])[0][0]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter: tuple[int, int], key: tuple[int, int], expected: int) -> None:
    words = [np.array([word], np.uint32) for word in (*key, *counter)]
    assert int(threefry((words[0], words[1]), (words[2], words[3]))[0]) == expected


@pytest.mark.parametrize(("seed", "counter", "stream"), [(0, 0, 0), (-1, 2**40 + 3, 5), (2**62 + 9, 7, 1)])
def test_seed_counter_and_stream_reach_the_cipher_as_documented(seed: int, counter: int, stream: int) -> None:
    key = [np.array([half], np.uint32) for half in (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)]
    word = np.full(9, (counter ^ stream * STREAM_STEP) & 0xFFFFFFFF, np.uint32)
    bits = threefry((key[0], key[1]), (np.arange(9, dtype=np.uint32), word))
    np.testing.assert_array_equal(uniform(seed, counter, 9, stream), (bits >> 8) * 2.0**-24)


def test_numbers_are_uniform_on_the_half_open_interval() -> None:
    numbers = uniform(3, 1, 1_000_000)
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, 100, (0, 1))[0]
    chi_squared = float(np.sum((counts - 10_000) ** 2) / 10_000)
    assert 58 < chi_squared < 149  # 99 degrees of freedom: outside with probability below 0.001
    for power in (1, 2, 3, 4):
        assert np.mean(numbers.astype("float64") ** power) == pytest.approx(1 / (power + 1), abs=0.002)


def test_neighbours_are_independent() -> None:
    """Elements, counters, streams and seeds next to each other: correlations of the size of 1/√n."""
    base = uniform(3, 1, 100_000)
    others = [np.roll(base, 1), uniform(3, 2, 100_000), uniform(3, 1, 100_000, 1), uniform(4, 1, 100_000)]
    for other in others:
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.015
        cells = np.histogram2d(base, other, 10, [[0, 1], [0, 1]])[0]
        assert np.sum((cells - 1000) ** 2) / 1000 < 160


def test_streams_do_not_meet_within_a_training() -> None:
    """Two streams give the same numbers only for counters that differ by more than any training takes steps."""
    words = np.array([stream * STREAM_STEP & 0xFFFFFFFF for stream in range(64)], np.uint32)
    distances = words[:, None] ^ words[None, :]
    assert distances[~np.eye(64, dtype=bool)].min() > 10_000_000
