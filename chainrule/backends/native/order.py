"""In which order sums are made: decided by the shape of what is summed, so that all ways of running have the same bits.

A reduction walks its dimensions in their order, the last one innermost. Along that one `fold_period` interleaved sums
take one element after another, and are added up at the end, the upper half onto the lower, again and again. A sum over
a dimension starts afresh for each index of the dimensions around it, and is then added to theirs; dimensions of more
than `LONGEST_SUM` steps are summed in parts, and reductions of many elements to few results in chunks. What is missing
is neutral (-0.0 for sums), so that short dimensions are no special case.
"""

from __future__ import annotations

import math

from chainrule.types import Shape

LONGEST_SUM = 4096  # additions to one accumulator; longer sums are made of parts
PART = 1024  # vectors or rows in such a part
ACCUMULATORS = 4  # interleaved sums; vectors of sums where elements lie in the lanes

LONG_REDUCTION = 1 << 18  # elements from which on a reduction to few results is worth partial results
FEW_RESULTS = 1 << 10
CHUNK = 1 << 15  # elements of a chunk
MOST_CHUNKS = 64


def fold_period(extent: int, is_last: bool, lanes: int) -> int:
    """Interleaved sums along the innermost reduced dimension: more if it is the last dimension of what is reduced."""
    most = ACCUMULATORS * lanes if is_last else ACCUMULATORS
    return min(most, 1 << max(extent - 1, 0).bit_length())


def chunk_length(extents: Shape, results: int, is_last: bool, lanes: int) -> tuple[int, int]:
    """Which of the reduced dimensions is cut, and the length of its chunks, summed by themselves; 0 for none."""
    points = math.prod(extents) * results
    if points < LONG_REDUCTION or results >= FEW_RESULTS:
        return 0, 0
    blocks = [1] * (len(extents) - 1) + [ACCUMULATORS * lanes if is_last else ACCUMULATORS]
    position = max(range(len(extents)), key=lambda p: extents[p] // blocks[p])
    extent, block = extents[position], blocks[position]
    length = math.ceil(math.ceil(extent / min(MOST_CHUNKS, points // CHUNK)) / block) * block
    return (position, length) if length < extent else (0, 0)


def part_length(rows: int) -> int:
    """How many rows (steps of the interleaved sums) of a long sum are summed by themselves."""
    return PART if rows > LONGEST_SUM else rows
