"""The closed set of primitives, one record each, by family. Everything else is composed of them.

Each module also has one function per primitive that builds its vertex; vjp rules and passes are written with them.
"""

from . import (
    arithmetic,
    comparison,
    convolution,
    elementwise,
    indexing,
    loop,
    matmul,
    movement,
    random,
    reduction,
    scan,
    source,
    window,
)

__all__ = [
    "arithmetic", "comparison", "convolution", "elementwise", "indexing", "loop", "matmul", "movement", "random",
    "reduction", "scan", "source", "window",
]  # fmt: skip
