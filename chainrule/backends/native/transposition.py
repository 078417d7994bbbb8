"""Transposing squares of elements in registers.

What lies consecutively in memory along one dimension and is needed along another is loaded in whole vectors and turned,
in place of one element at a time: every cache line is then read once.
"""

from __future__ import annotations

from chainrule.backends.native.language import Value


def transpose(vectors: list[Value], piece: int) -> list[Value]:
    """Transpose squares of ``piece`` lanes, of so many vectors.

    Lane g · piece + i of result m is lane g · piece + m of vector i. The pairs (i, i + piece/2) are shuffled together
    like the halves of a pack of cards, log₂(piece) times. Example: with ``piece`` the number of lanes, the transpose.
    """
    half = piece // 2
    for _ in range(half.bit_length()):
        pairs = zip(vectors[:half], vectors[half:], strict=True)
        vectors = [_interleave(*pair, piece, upper) for pair in pairs for upper in (False, True)]
    return vectors


def _interleave(first: Value, second: Value, piece: int, upper: bool) -> Value:
    """In every group of ``piece`` lanes: the lower or the upper half of both vectors' groups, lane by lane in turn."""
    offset = piece // 2 if upper else 0
    lanes = []
    for group in range(0, first.lanes, piece):
        for lane in range(group + offset, group + offset + piece // 2):
            lanes += [lane, first.lanes + lane]
    return first.shuffle(lanes, second)
