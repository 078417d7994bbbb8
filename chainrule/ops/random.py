"""Counter-based random numbers: a value is a function of (seed, counter, stream, element) alone.

Threefry-2x32 with 13 rounds (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
The key is the seed's two halves; the block counter is (element, counter xor stream · golden ratio), both modulo 2³².
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..graph.primitive import NOT_DIFFERENTIABLE, Invalid, Primitive, Sample, register
from ..graph.vertex import Vertex, apply
from ..types import Shape, TensorType, float32, int64, tensor_type

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
ROUNDS = 13
STREAM_STEP = 0x9E3779B9

Array = np.ndarray[Any, Any]


def threefry(key: tuple[Array, Array], counter: tuple[Array, Array]) -> Array:
    """Return the first output word of Threefry-2x32-13 (all operands uint32, arithmetic modulo 2³²)."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
    x0, x1 = counter[0] + keys[0], counter[1] + keys[1]
    for step in range(ROUNDS):
        rotation = ROTATIONS[step % 8]
        x0 = x0 + x1
        x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
        x1 = x1 ^ x0
        if step % 4 == 3:
            injection = step // 4 + 1
            x0 = x0 + keys[injection % 3]
            x1 = x1 + keys[(injection + 1) % 3] + np.uint32(injection)
    return x0


def _uniform_reference(seed: Array, counter: Array, *, shape: Shape, stream: int) -> Array:
    halves = np.atleast_1d(np.asarray(seed, np.int64)).view(np.uint32)
    word = np.asarray(counter, np.int64).astype(np.uint32) ^ np.uint32(stream * STREAM_STEP & 0xFFFFFFFF)
    elements = np.arange(int(np.prod(shape)), dtype=np.uint32)
    with np.errstate(over="ignore"):
        bits = threefry((halves[:1], halves[1:]), (elements, np.broadcast_to(word, elements.shape)))
    return ((bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def _type_rule(seed: TensorType, counter: TensorType, *, shape: Shape, stream: int) -> TensorType:
    if seed.dtype is not int64 or counter.dtype is not int64 or seed.shape or counter.shape:
        raise DTypeError(f"random numbers need an int64 scalar seed and counter, got {seed} and {counter}")
    return tensor_type(float32, shape)


RANDOM_UNIFORM = register(
    Primitive(
        name="random_uniform",
        family="random",
        meaning="uniform in [0, 1): 2⁻²⁴ · the upper 24 bits of Threefry-2x32-13(seed, element, counter, stream)",
        attributes=("shape", "stream"),
        type_rule=_type_rule,
        reference=_uniform_reference,
        vjp=NOT_DIFFERENTIABLE,
        native="random_uniform",
        xla="random_uniform",
        samples=lambda rng: [
            Sample((np.array(2**40 + 17), np.array(5)), {"shape": (33, 5), "stream": 0}),
            Sample((np.array(0), np.array(2**33 + 1)), {"shape": (100,), "stream": 7}),
            Sample((np.array(-3), np.array(0)), {"shape": (0, 2), "stream": 1}),
        ],
        invalid=(
            Invalid((tensor_type(float32, ()), tensor_type(int64, ())), "int64 scalar", {"shape": (2,), "stream": 0}),
        ),
        cost=lambda out, seed, counter: 60 * out.size,
    )
)


def random_uniform(seed: Vertex, counter: Vertex, shape: Shape, stream: int) -> Vertex:
    """Uniform numbers of ``stream`` at ``counter``"""
    return apply(RANDOM_UNIFORM, seed, counter, shape=shape, stream=stream)
