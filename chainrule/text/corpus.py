"""A corpus of token numbers: how frequent its tokens are, and which of them are near each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError, DTypeError, IndexOutOfRangeError

Numbers = NDArray[np.int64]

BLOCK = 1 << 18
"""About how many tokens' pairs are in memory at a time."""

NOISE = 1 << 20
"""Size of the table from which tokens are drawn that are not near."""


class Corpus:
    """Sequences of token numbers below ``num_tokens``, one behind the other.

    Errors: `DTypeError` for numbers that are not whole, `IndexOutOfRangeError` for one that no token has, `DataError`
    where no sequence has two.
    """

    def __init__(self, sequences: Sequence[Any], num_tokens: int) -> None:
        arrays = [np.asarray(sequence) for sequence in sequences]
        for number, array in enumerate(arrays):
            if array.size and array.dtype.kind not in "iu":
                raise DTypeError(
                    f"sequence {number} has elements of type {array.dtype}, expected the numbers of tokens. "
                    "fix: vocabulary.encode(text)"
                )
            if array.size and not (array.min() >= 0 and array.max() < num_tokens):
                found = array[(array < 0) | (array >= num_tokens)][0]
                raise IndexOutOfRangeError(f"sequence {number} has token {found}, but there are 0 to {num_tokens - 1}")
        self.lengths = np.array([array.size for array in arrays], np.int64)
        if self.lengths.max(initial=0) < 2:
            raise DataError("no two tokens are near each other. fix: sequences of two tokens or more")
        self.tokens: Numbers = np.concatenate([array.reshape(-1) for array in arrays if array.size]).astype(np.int64)
        self.counts = np.bincount(self.tokens, minlength=num_tokens)

    def keep_probabilities(self, subsample: float) -> NDArray[np.float64]:
        """min(1, √(subsample / frequency)) of every token; 1 for subsample 0. Errors: `ArgumentError`.

        Source: Mikolov et al. 2013, equation 5.
        """
        if not subsample >= 0:
            raise ArgumentError(f"subsample must be at least 0, got {subsample}")
        if not subsample:
            return np.ones(len(self.counts))
        frequencies = np.maximum(self.counts, 1) / len(self.tokens)
        return np.minimum(np.sqrt(subsample / frequencies), 1.0)

    def noise_table(self) -> Numbers:
        """Tokens, each as often as is in proportion to frequency^0.75: a random element is a token drawn so."""
        shares = np.cumsum(self.counts**0.75)
        places = (np.arange(NOISE) + 0.5) / NOISE * shares[-1]
        return np.searchsorted(shares, places).astype(np.int64)

    def pairs(
        self, window: int, keep: NDArray[np.float64], random: np.random.Generator
    ) -> Iterator[tuple[float, Numbers, Numbers]]:
        """One epoch in blocks: which share of it is over, and tokens with a token near each, in random order.

        Tokens that are not kept are taken out first, so that others come nearer. Then each has a distance of its own,
        from 1 to ``window``.
        """
        ends = np.cumsum(self.lengths)
        sequence = np.repeat(np.arange(len(self.lengths)), self.lengths)
        start = 0
        while start < len(self.tokens):
            stop = int(ends[np.searchsorted(ends, min(start + BLOCK, len(self.tokens)))])
            kept = random.random(stop - start) < keep[self.tokens[start:stop]]
            tokens, of = self.tokens[start:stop][kept], sequence[start:stop][kept]
            centers, contexts = near(tokens, of, random.integers(1, window + 1, len(tokens)))
            order = random.permutation(len(centers))
            yield start / len(self.tokens), centers[order], contexts[order]
            start = stop


def near(tokens: Numbers, sequence: Numbers, distances: Numbers) -> tuple[Numbers, Numbers]:
    """Each token with each other one of its sequence that is no farther from it than its distance.

    >>> near(np.array([7, 8, 9]), np.array([0, 0, 0]), np.array([1, 1, 2]))
    (array([7, 8, 8, 9, 9]), array([8, 9, 7, 8, 7]))
    """
    centers, contexts = [tokens[:0]], [tokens[:0]]
    for distance in range(1, int(distances.max(initial=0)) + 1):
        left, right = slice(None, -distance), slice(distance, None)
        is_same = sequence[left] == sequence[right]
        for center, context in ((left, right), (right, left)):
            is_near = is_same & (distances[center] >= distance)
            centers.append(tokens[center][is_near])
            contexts.append(tokens[context][is_near])
    return np.concatenate(centers), np.concatenate(contexts)
