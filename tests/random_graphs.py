"""Random well-typed graphs with inputs, numerically tame, so that any two correct evaluators agree closely on them.

A vertex is kept only if its value stays put when every rounded result in the graph is disturbed by far more than
rounding does: that leaves out overflow, ill-conditioned sums and steps (floor, comparisons) next to their jumps.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph, topological_order
from chainrule.graph.primitive import PRIMITIVES, Primitive
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops import convolution, indexing, movement, random, source
from chainrule.ops.arithmetic import add, multiply
from chainrule.ops.elementwise import cast
from chainrule.ops.loop import Run
from chainrule.ops.matmul import matmul, tensordot
from chainrule.ops.reduction import sum_
from chainrule.ops.window import window_size
from chainrule.ops.window import windows as window_view
from chainrule.reference import evaluate_vertex
from chainrule.types import DTYPES, DType, Shape, bool_, contiguous_strides, float32, float64, int32, int64, tensor_type

Array = np.ndarray[Any, Any]
SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33)
LARGEST = 2000  # elements of one value
NOISE = 1e-5
# Results that are exact for exact operands get no noise, so that equal values stay equal.
EXACT = {
    "negative",
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "maximum",
    "minimum",
    "where",
    "stop_gradient",
    "max",
    "min",
}
ROUNDING = ("elementwise", "reduction", "scan", "matmul", "convolution")
UNARY = [name for name, record in sorted(PRIMITIVES.items()) if record.family == "elementwise"
         and len(record.samples(np.random.default_rng(0))[0].inputs) == 1 and not record.attributes]  # fmt: skip
BINARY = [name for name, record in sorted(PRIMITIVES.items()) if record.family == "elementwise"
          and len(record.samples(np.random.default_rng(0))[0].inputs) == 2]  # fmt: skip

SCANS = [name for name, record in sorted(PRIMITIVES.items()) if record.family == "scan"]


@dataclass
class Builder:
    """A graph in the making: its inputs, and for each vertex its value and two disturbed values."""

    rng: np.random.Generator
    dtype: DType
    inputs: list[Vertex] = field(default_factory=list)
    pool: list[Vertex] = field(default_factory=list)
    values: dict[Vertex, tuple[Array, Array, Array]] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def shape(self, rank: int | None = None) -> Shape:
        """A random shape; sizes repeat often, so that values fit each other."""
        rank = self.choose((0, 1, 1, 2, 2, 2, 3)) if rank is None else rank
        while True:
            shape = tuple(int(self.choose(SIZES)) for _ in range(rank))
            if math.prod(shape) <= LARGEST:
                return shape

    def input(self, dtype: DType, shape: Shape, low: int = -3, high: int = 4) -> Vertex:
        """A new input; matrices sometimes lie column by column."""
        array = self.rng.uniform(-2, 2, shape) if dtype.is_floating_point else self.rng.integers(low, high, shape)
        array = np.asarray(array > 0 if dtype is bool_ else array).astype(dtype.numpy)
        strides = None
        if len(shape) >= 2 and self.chance(0.2):
            permutation = tuple(int(axis) for axis in self.rng.permutation(len(shape)))
            stored = contiguous_strides(tuple(shape[axis] for axis in permutation))
            strides = tuple(stored[permutation.index(axis)] for axis in range(len(shape)))
        vertex = source.make_input(tensor_type(dtype, shape), strides=strides)
        self.inputs.append(vertex)
        self.values[vertex] = (array, array, array)
        return vertex

    def pick(self, *kinds: str, rank: int = 0) -> Vertex:
        """A value of the pool of one of ``kinds`` and at least ``rank``, or a new input."""
        fitting = [vertex for vertex in self.pool if vertex.dtype.kind in kinds and len(vertex.shape) >= rank]
        if fitting and self.chance(0.85):
            return fitting[-1 - min(int(self.rng.exponential(3)), len(fitting) - 1)]
        dtype = {"float": self.dtype, "int": self.choose((int32, int64)), "bool": bool_}[self.choose(kinds)]
        return self.input(dtype, self.shape(max(rank, 1) if self.chance(0.8) else rank + 1))

    def pick_like(self, other: Vertex) -> Vertex:
        """A value of the dtype of ``other`` that broadcasts with it."""
        fitting = [vertex for vertex in self.pool if vertex.dtype is other.dtype and fits(vertex.shape, other.shape)]
        if fitting and self.chance(0.7):
            return self.choose(fitting)
        if self.chance(0.3):
            return source.constant(self.choose((-2, -1, 0, 1, 2, 3)), other.dtype)
        shape = tuple(1 if self.chance(0.3) else size for size in other.shape)
        return self.input(other.dtype, shape[int(self.rng.integers(len(shape) + 1)) if self.chance(0.3) else 0 :])

    def admit(self, vertex: Vertex) -> bool:
        """Add ``vertex`` and what it needs, unless some value is too large, undefined or unstable."""
        for needed in topological_order([vertex]):
            if needed not in self.values:
                values = self._evaluate(needed)
                if not is_tame(values) or not self._multiplies_tame_factors(needed):
                    return False
                self.values[needed] = values
        self.pool.append(vertex)
        return True

    def _multiplies_tame_factors(self, vertex: Vertex) -> bool:
        """Whether no product of some factors overflows: infinity times a factor of 0 is NaN, in other orders 0."""
        if vertex.primitive.name != "prod" or not vertex.dtype.is_floating_point:
            return True
        factors = np.maximum(np.abs(self.values[vertex.inputs[0]][0].astype(np.float64)), 1)
        return bool(np.all(np.log(factors).sum(vertex.attributes["axes"]) < 80))  # e^88 is infinite in float32

    def _evaluate(self, vertex: Vertex) -> tuple[Array, Array, Array]:
        operands = [self.values[operand] for operand in vertex.inputs]
        with np.errstate(all="ignore"):
            plain, up, down = (
                evaluate_vertex(vertex, [operand[version] for operand in operands]) for version in range(3)
            )
            family = vertex.primitive.family
            rounds = family in ROUNDING or vertex.primitive.name == "scatter_add"
            if rounds and vertex.dtype.is_floating_point and vertex.primitive.name not in EXACT and plain.size:
                noise = NOISE * (np.abs(plain) + np.abs(plain).mean()) * self.rng.uniform(0.5, 1.5, plain.shape)
                up, down = (up + noise).astype(plain.dtype), (down - noise).astype(plain.dtype)
        return plain, up, down


def is_tame(values: tuple[Array, Array, Array]) -> bool:
    plain, *disturbed = values
    if plain.dtype.kind != "f":
        return all(np.array_equal(plain, other) for other in disturbed) and plain.size <= LARGEST
    bounded = np.isfinite(plain).all() and (not plain.size or np.abs(plain).max() < 1e3) and plain.size <= LARGEST
    return bool(bounded and all(np.allclose(plain, other, rtol=100 * NOISE, atol=100 * NOISE) for other in disturbed))


def fits(a: Shape, b: Shape) -> bool:
    """Whether the two shapes broadcast."""
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def kinds_of(record: Primitive) -> tuple[str, ...]:
    """The kinds of elements of its first operand."""
    kinds = {sample.inputs[0].dtype.kind for sample in record.samples(np.random.default_rng(0))}
    return tuple(kind for kind in ("float", "int", "bool") if kind[0] in kinds)


# ------------------------------------------------------------- one function per kind of vertex; names are the families


def unary(b: Builder) -> Vertex:
    record = PRIMITIVES[b.choose(UNARY)]
    x = b.pick(*kinds_of(record))
    if record.name in ("log", "sqrt", "rsqrt", "log1p") and b.chance(0.8):
        x = apply(PRIMITIVES["add"], apply(PRIMITIVES["abs"], x), source.constant(0.5, x.dtype))
    return apply(record, x)


def binary(b: Builder) -> Vertex:
    record = PRIMITIVES[b.choose(BINARY)]
    x = b.pick(*kinds_of(record))
    y = b.pick_like(x)
    if record.name == "power" and b.chance(0.8):
        x = apply(PRIMITIVES["add"], apply(PRIMITIVES["abs"], x), source.constant(0.5, x.dtype))
    return apply(record, x, y) if b.chance(0.7) or record.name == "power" else apply(record, y, x)


def where(b: Builder) -> Vertex:
    x = b.pick("float", "float", "int", "bool")
    branches = (x, b.pick_like(x)) if b.chance(0.5) else (b.pick_like(x), x)
    shape = np.broadcast_shapes(*(branch.shape for branch in branches))
    fitting = [vertex for vertex in b.pool if vertex.dtype is bool_ and fits(vertex.shape, shape)]
    condition = b.choose(fitting) if fitting else b.input(bool_, shape)
    return apply(PRIMITIVES["where"], condition, *branches)


def cast_(b: Builder) -> Vertex:
    return cast(b.pick("float", "int", "bool"), b.choose([*DTYPES.values()]))


def constant(b: Builder) -> Vertex:
    dtype = b.choose((b.dtype, b.dtype, int64, bool_))
    return source.constant(b.choose((-1.5, 0.25, 2.0) if dtype is b.dtype else (0, 1)), dtype, b.shape())


def iota(b: Builder) -> Vertex:
    shape = b.shape(b.choose((1, 2, 3)))
    return source.iota(b.choose((b.dtype, int64, int32)), shape, int(b.rng.integers(len(shape))))


def reduction(b: Builder) -> Vertex:
    x = b.pick("float", "float", "int", rank=1)
    name = b.choose(("sum", "sum", "sum", "prod", "max", "min", "argmax", "argmin"))
    axes = [axis for axis in range(len(x.shape)) if name in ("sum", "prod") or x.shape[axis]]
    count = 1 if name.startswith("arg") else b.choose((1, 1, len(axes)))
    chosen = sorted(int(axis) for axis in b.rng.permutation(axes)[:count])
    if not chosen:
        return x
    return apply(PRIMITIVES[name], x, axes=tuple(chosen))


def scan(b: Builder) -> Vertex:
    x = b.pick("float", "float", "int", rank=1)
    name, axis = b.choose(SCANS), int(b.rng.integers(len(x.shape)))
    if name != "argsort":
        return apply(PRIMITIVES[name], x, axis=axis)
    count, descending = int(b.rng.integers(x.shape[axis] + 1)), bool(b.rng.integers(2))
    return apply(PRIMITIVES[name], x, axis=axis, count=count, descending=descending)


def product(b: Builder) -> Vertex:
    x = b.pick("float", rank=2)
    (*batch, _, depth) = x.shape
    factors = [
        y for y in b.pool if y.dtype is x.dtype and y.shape[-2:-1] == (depth,) and fits(y.shape[:-2], x.shape[:-2])
    ]
    if factors and b.chance(0.5):
        return matmul(x, b.choose(factors))
    columns = int(b.choose((1, 2, 3, 8, 17)))
    batch = batch if b.chance(0.3) else []
    if b.chance(0.5):
        return matmul(x, b.input(x.dtype, (*batch, depth, columns)))
    return matmul(x, movement.swap_last_axes(b.input(x.dtype, (*batch, columns, depth))))


def product_over_axes(b: Builder) -> Vertex:
    """A sum over the last dimensions of something, often of what lies under windows, or such a sum for each column."""
    if b.chance(0.4):
        return product_of_windows(b)
    view = windows(b)
    x = view if view.dtype.is_floating_point and b.chance(0.7) else b.pick("float", rank=1)
    rank, axes = len(x.shape), int(b.rng.integers(min(len(x.shape), 3) + 1))
    if b.chance(0.3):
        shared = int(b.rng.integers(rank - axes + 1))
        return tensordot(x, b.input(x.dtype, x.shape[rank - axes - shared :]), axes, by_column=True)
    columns = tuple(int(b.choose((1, 2, 3, 8, 17))) for _ in range(int(b.choose((0, 1, 1, 1, 2)))))
    return tensordot(x, b.input(x.dtype, (*x.shape[rank - axes :], *columns)), axes)


def product_of_windows(b: Builder) -> Vertex:
    """Windows that may reach beyond their operand, which only a product can read."""
    x = b.pick("float", rank=2)
    geometry = geometry_of_windows(b, x, (0, 0, 1, 2))
    if geometry is None or min(x.shape) == 0:
        return x
    view = window_view(x, **geometry)
    axes = len(geometry["window"])
    if b.chance(0.3):
        return tensordot(view, b.input(x.dtype, (*geometry["window"], x.shape[-1])), axes, by_column=True)
    return tensordot(view, b.input(x.dtype, (*geometry["window"], x.shape[-1], int(b.choose((2, 8, 17))))), axes + 1)


def windows(b: Builder) -> Vertex:
    x = b.pick("float", "float", "int", rank=2)
    geometry = geometry_of_windows(b, x, (0, 0, 1, 2))
    return x if geometry is None else window_view(x, **geometry)


def geometry_of_windows(b: Builder, x: Vertex, around: Sequence[int]) -> dict[str, Shape] | None:
    """Attributes of windows over some dimensions of x; None if the windows are too large."""
    sizes = x.shape[-int(b.rng.integers(1, min(len(x.shape), 3))) - 1 : -1]
    window, strides, dilation = (tuple(int(b.choose((1, 1, 2, 3))) for _ in sizes) for _ in range(3))
    low, high = (tuple(int(b.choose(around)) for _ in sizes) for _ in range(2))
    if any(window_size(r, d) > a + n + c for r, d, a, n, c in zip(window, dilation, low, sizes, high, strict=True)):
        return None
    return {"window": window, "strides": strides, "dilation": dilation, "low": low, "high": high}


def convolve(b: Builder) -> Vertex:
    """Something of two to four dimensions under a small window, with all that a convolution can do to it."""
    x = b.pick("float", rank=2)
    sizes = x.shape[2:4]
    x = movement.reshape(x, (*x.shape[:2], *sizes, math.prod(x.shape[4:]))) if len(x.shape) > 4 else x
    sizes, rank = x.shape[2:], len(x.shape) - 2
    groups = next((g for g in (int(b.choose((1, 1, 2, 3))), 1) if x.shape[1] % g == 0), 1)
    window = tuple(int(b.choose((1, 2, 3))) for _ in range(rank))
    w = b.input(x.dtype, (groups * int(b.choose((1, 2))), x.shape[1] // groups, *window))
    steps = [tuple(int(b.choose((1, 1, 2))) for _ in range(rank)) for _ in range(3)]
    low, high = (tuple(int(b.choose((0, 1, 2, -1))) for _ in range(rank)) for _ in range(2))
    for n, r, a, c, d, e in zip(sizes, window, low, high, steps[1], steps[2], strict=True):
        if convolution.spread_size(n, a, c, e) < window_size(r, d):
            return x
    return convolution.convolution(x, w, steps[0], low, high, steps[1], steps[2], groups)


def reshape(b: Builder) -> Vertex:
    x = b.pick("float", "int", "bool")
    sizes = list(x.shape)
    if len(sizes) >= 2 and b.chance(0.5):
        place = int(b.rng.integers(len(sizes) - 1))
        sizes[place : place + 2] = [sizes[place] * sizes[place + 1]]
    elif sizes and b.chance(0.5):
        place = int(b.rng.integers(len(sizes)))
        factor = next((f for f in (3, 2, 1) if sizes[place] % f == 0), 1)
        sizes[place : place + 1] = [factor, sizes[place] // factor]
    else:
        sizes.insert(int(b.rng.integers(len(sizes) + 1)), 1)
    return movement.reshape(x, tuple(sizes))


def transpose(b: Builder) -> Vertex:
    x = b.pick("float", "int", "bool", rank=2)
    return movement.transpose(x, tuple(int(axis) for axis in b.rng.permutation(len(x.shape))))


def broadcast(b: Builder) -> Vertex:
    x = b.pick("float", "int")
    shape = tuple(int(b.choose((1, 2, 5))) if size == 1 else size for size in x.shape)
    return movement.broadcast(x, (int(b.choose((1, 2, 3))), *shape) if b.chance(0.5) else shape)


def slice_(b: Builder) -> Vertex:
    x = b.pick("float", "int", "bool", rank=1)
    starts = tuple(int(b.rng.integers(size // 2 + 1)) for size in x.shape)
    stops = tuple(int(b.rng.integers(start, size + 1)) if b.chance(0.5) else size
                  for start, size in zip(starts, x.shape, strict=True))  # fmt: skip
    return movement.slice_(x, starts, stops, tuple(int(b.choose((1, 1, 2, 3))) for _ in starts))


def flip(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    return movement.flip(x, tuple(axis for axis in range(len(x.shape)) if b.chance(0.6)))


def pad(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    low, high, interior = (tuple(int(b.choose((0, 0, 1, 2))) for _ in x.shape) for _ in range(3))
    return movement.pad(x, low, high, interior)


def concatenate(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    axis = int(b.rng.integers(len(x.shape)))
    other = b.input(x.dtype, (*x.shape[:axis], int(b.choose((0, 1, 3))), *x.shape[axis + 1 :]))
    return movement.concatenate(*b.choose(((x, other), (other, x), (x, x), (x, other, x))), axis=axis)


def interleave(b: Builder) -> Vertex:
    """Parts of one shape at different starts in the same steps, which sometimes leave gaps."""
    x = b.pick("float", "int", rank=1)
    if not x.type.size:  # nothing but zeros, at which others have kinks
        return x
    steps = tuple(int(b.choose((1, 1, 2, 3))) for _ in x.shape)
    places = [place for place in itertools.product(*map(range, steps)) if b.chance(0.8)] or [(0,) * len(steps)]
    margin = tuple(int(b.choose((0, 0, 1))) for _ in x.shape)
    shape = tuple(max(n, 1) * s + m for n, s, m in zip(x.shape, steps, margin, strict=True))
    parts = [x if b.chance(0.5) else b.input(x.dtype, x.shape) for _ in places]
    return apply(movement.INTERLEAVE, *parts, shape=shape, starts=tuple(places), steps=steps)


def take(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    axis = int(b.rng.integers(len(x.shape)))
    size = x.shape[axis]
    return indexing.take(x, b.input(int64, b.shape(b.choose((0, 1, 1, 2))) if size else (0,), -1, size + 1), axis)


def scatter_add(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    axis = int(b.rng.integers(len(x.shape)))
    size = int(b.choose((1, 3, 8)))
    return indexing.scatter_add(x, b.input(int64, (x.shape[axis],), -1, size + 1), axis, size)


def scatter(b: Builder) -> Vertex:
    x = b.pick("float", "int", "bool", rank=1)
    axis = int(b.rng.integers(len(x.shape)))
    count = int(b.rng.integers(6)) if x.shape[axis] else 0
    value = b.input(x.dtype, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    return indexing.scatter(x, value, b.input(int64, (count,), -1, x.shape[axis] + 1), axis)


def dynamic_slice(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    axis = int(b.rng.integers(len(x.shape)))
    return indexing.dynamic_slice(x, b.input(int64, (), -1, 8), axis, int(b.rng.integers(x.shape[axis] + 1)))


def dynamic_update(b: Builder) -> Vertex:
    x = b.pick("float", "int", rank=1)
    axis = int(b.rng.integers(len(x.shape)))
    value = b.input(x.dtype, (*x.shape[:axis], int(b.rng.integers(x.shape[axis] + 1)), *x.shape[axis + 1 :]))
    return indexing.dynamic_update(x, value, b.input(int64, (), -1, 8), axis)


def random_uniform(b: Builder) -> Vertex:
    seed, counter = b.input(int64, (), -(2**40), 2**40), b.input(int64, (), 0, 2**20)
    return random.random_uniform(seed, counter, b.shape(), int(b.rng.integers(9)))


def gradient(b: Builder) -> Vertex:
    """The gradient of the sum of a value by an input: how most graphs come to be."""
    root = b.pick("float")
    leaves = [vertex for vertex in b.inputs if vertex.dtype.is_floating_point]
    found = [g for g in gradients(sum_(root, tuple(range(len(root.shape)))), leaves) if g is not None]
    return b.choose(found) if found else root


def loop(b: Builder) -> Vertex:
    """A state that is scaled, meets what is read step by step, and is squeezed."""
    x = b.pick("float", rank=2)
    if not x.type.size or x.shape[0] > 8:
        return x
    state, step, scale = (source.make_input(tensor_type(x.dtype, x.shape[1:])) for _ in range(3))
    squeezed = apply(PRIMITIVES["tanh"], add(multiply(state, scale), step))
    operands = (b.input(x.dtype, x.shape[1:]), x, b.input(x.dtype, x.shape[1:]))
    run = Run(operands, Graph((state, step, scale), (squeezed,)), 1, 1, x.shape[0], b.chance(0.5))
    return run.carry(0) if b.chance(0.5) else run.stack(squeezed)


KINDS: list[Callable[[Builder], Vertex]] = [
    *[unary] * 9, *[binary] * 9, where, where, cast_, constant, iota, reduction, reduction, reduction, scan,
    product, product, product_over_axes, windows, convolve, convolve, reshape, transpose, broadcast, slice_, flip, pad,
    concatenate, interleave, take, scatter_add, scatter, dynamic_slice, dynamic_update, random_uniform, loop,
    gradient, gradient,
]  # fmt: skip


def grow(b: Builder, vertices: int) -> None:
    """Add ``vertices`` random vertices to the pool, skipping proposals that are not tame."""
    for _ in range(vertices):
        b.admit(b.choose(KINDS)(b))


def random_graph(seed: int, parts: int = 1, only: DType | None = None) -> tuple[Graph, list[Array]]:
    """Return a graph of ``parts`` unconnected random graphs of 3 to 25 vertices, and values for its inputs.

    Each part has a few outputs and sometimes updates an input. Its floating point values are of the type ``only``
    (but for casts and random numbers), or of one chosen for each part.
    """
    rng = np.random.default_rng(seed)
    outputs: list[Vertex] = []
    updates: list[tuple[Vertex, Vertex]] = []
    inputs: dict[Vertex, Array] = {}
    for _ in range(parts):
        b = Builder(rng, only or (float32 if rng.random() < 0.7 else float64))
        while not b.pool:
            grow(b, int(rng.integers(4, 30)))
        ends = [vertex for vertex in b.pool if not any(vertex in other.inputs for other in b.pool)] or b.pool[-1:]
        outputs += dict.fromkeys([*ends[-6:], b.choose(b.pool)])
        for target in b.inputs:
            fitting = [vertex for vertex in b.pool if vertex.type is target.type]
            if fitting and b.chance(0.3):
                updates.append((target, b.choose(fitting)))
        inputs |= {vertex: b.values[vertex][0] for vertex in b.inputs}
    graph = Graph((), tuple(outputs), tuple(updates))
    used = {*graph.order(), *(target for target, _ in updates)}
    listed = tuple(vertex for vertex in inputs if vertex in used)
    return Graph(listed, graph.outputs, graph.updates), [inputs[vertex] for vertex in listed]


def is_single_precision(vertex: Vertex) -> bool:
    """Whether some float32 value lies on the way to ``vertex``."""
    return any(needed.dtype is float32 for needed in topological_order([vertex]))
