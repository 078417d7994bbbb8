"""The random words of NumPy's generator `numpy.random.Philox`: initial values are drawn from it.

Philox-4x64-10 (Salmon, Moraes, Dror, Shaw 2011) turns a counter and a key into a block of four words: ten rounds of
multiplications whose upper and lower halves cross. No vector unit has the upper halves, so blocks are made one by one;
they do not depend on each other, and the processor works on several at once.
"""

from __future__ import annotations

from chainrule.backends.native.language import INDEX, Function, Type, Value

WORDS = 4
"""The words of a block."""

ROUNDS = 10
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
KEY_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
"""What is added to the two words of the key after each round."""


def _signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit word."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def _multiply(f: Function, x: Value, factor: int) -> tuple[Value, Value]:
    """The upper and the lower word of the product with a constant."""
    other, bits = f.index(_signed(factor)), f.constant(64, Type("int32"))
    return f.intrinsic("llvm.umul.fix.i64", [x, other, bits], INDEX), x * other


def philox(f: Function, key: Value, block: Value) -> list[Value]:
    """The words of one block. ``key`` is the first word of the key, the second is 0.

    NumPy counts before it draws: block 0 has counter 1.
    """
    x = [block + 1, *[f.index(0)] * 3]
    for number in range(ROUNDS):
        first, second = (_signed(number * step) for step in KEY_STEPS)
        (upper_0, lower_0), (upper_1, lower_1) = (
            _multiply(f, word, factor) for word, factor in zip(x[::2], MULTIPLIERS, strict=True)
        )
        x = [upper_1 ^ x[1] ^ (key + first), lower_1, upper_0 ^ x[3] ^ second, lower_0]
    return x
