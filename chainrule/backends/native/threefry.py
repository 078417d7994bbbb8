"""Uniform random numbers in vectors: the same bits as ``chainrule.ops.random``, which defines them."""

from __future__ import annotations

from chainrule.backends.native.language import Value
from chainrule.ops.random import PARITY, ROTATIONS, ROUNDS, STREAM_STEP


def _signed(word: int) -> int:
    """The int32 with the bits of an unsigned 32-bit word."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word


def random_uniform(stream: int, seed: Value, counter: Value, element: Value) -> Value:
    """float32 in [0, 1) for int64 seeds, counters and element numbers: the upper 24 bits of Threefry-2x32-13."""
    first, second = seed.cast("int32"), seed.shift_right_logical(32).cast("int32")
    keys = (first, second, first ^ second ^ _signed(PARITY))
    x0 = element.cast("int32") + keys[0]
    x1 = (counter.cast("int32") ^ _signed(stream * STREAM_STEP)) + keys[1]
    for step in range(ROUNDS):
        rotation = ROTATIONS[step % len(ROTATIONS)]
        x0 = x0 + x1
        x1 = (x1 << rotation) | x1.shift_right_logical(32 - rotation)
        x1 = x1 ^ x0
        if step % 4 == 3:
            injection = step // 4 + 1
            x0 = x0 + keys[injection % 3]
            x1 = x1 + (keys[(injection + 1) % 3] + injection)
    return x0.shift_right_logical(8).cast("float32") * 2.0**-24
