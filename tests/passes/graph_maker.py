"""Random graphs over every family of primitives, for comparing plans with the reference."""

from __future__ import annotations

import numpy as np

from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.vertex import apply
from chainrule.ops.comparison import less_equal, where
from chainrule.ops.elementwise import cast
from chainrule.ops.indexing import dynamic_slice, dynamic_update, scatter_add, take
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import broadcast, concatenate, pad, reshape, slice_, transpose
from chainrule.ops.random import random_uniform
from chainrule.ops.reduction import sum_
from chainrule.ops.source import constant, iota, make_input
from chainrule.reference import evaluate_vertex
from chainrule.types import contiguous_strides, float32, float64, int64, tensor_type

UNARY = ["negative", "abs", "tanh", "sigmoid", "sin", "floor", "sign", "stop_gradient"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]
SIZES = [1, 2, 3, 4]


def is_tame(graph, values, rng):
    """Whether rounding cannot show: disturbing every value of the graph a little changes its results as little.

    Not so where a sum next to 0 meets a jump (sign, floor, argmax, division by 0).
    """
    results = []
    for noise in (0, 1e-10):
        known = dict(zip(graph.inputs, map(np.asarray, values), strict=True))
        with np.errstate(all="ignore"):
            for vertex in graph.order():
                if vertex not in known:
                    value = evaluate_vertex(vertex, [known[operand] for operand in vertex.inputs])
                    if vertex.dtype.kind == "float":
                        disturbed = value + noise * rng.uniform(-1, 1, value.shape) * (1 + abs(value))
                        value = np.where(np.isfinite(value), disturbed, value)
                    known[vertex] = value
        results.append([known[vertex] for vertex in graph.roots])
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-7, equal_nan=True) for a, b in zip(*results, strict=True))


class GraphMaker:
    """Grows a graph of float64 vertices by random steps."""

    def __init__(self, choose):
        self.choose = choose  # choose(list) → one of it
        self.inputs, self.floats = [], []
        self.counter = self.new_input((), int64)
        for _ in range(self.choose([1, 2, 3])):
            self.new_input(tuple(self.choose(SIZES) for _ in range(self.choose([0, 1, 2, 2, 3]))))

    def new_input(self, shape, dtype=float64):
        strides = None
        if len(shape) > 1 and self.choose([False, True]):
            order = tuple(reversed(range(len(shape))))
            dense = contiguous_strides(tuple(shape[axis] for axis in order))
            strides = tuple(dense[order.index(axis)] for axis in range(len(shape)))
        vertex = make_input(tensor_type(dtype, shape), strides=strides)
        self.inputs.append(vertex)
        if dtype is float64:
            self.floats.append(vertex)
        return vertex

    def step(self):
        names = [name[5:] for name in dir(self) if name.startswith("grow_")]
        operand, grow = self.choose(self.floats), getattr(self, f"grow_{self.choose(names)}")
        needs_elements = grow.__name__ in ("grow_take", "grow_dynamic", "grow_argmax", "grow_scatter", "grow_reduction")
        made = None if needs_elements and operand.type.size == 0 else grow(operand)
        if made is not None and made.type.size <= 400:
            self.floats.append(made)

    def grow_unary(self, x):
        return apply(PRIMITIVES[self.choose(UNARY)], x)

    def grow_binary(self, x):
        y = self.choose([y for y in self.floats if y.shape in (x.shape, ())])
        return apply(PRIMITIVES[self.choose(BINARY)], *self.choose([(x, y), (y, x)]))

    grow_another_binary = grow_binary

    def grow_constant(self, x):
        value = self.choose([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, np.inf])
        return apply(PRIMITIVES[self.choose([*BINARY, "divide"])], x, constant(value, float64))

    def grow_where(self, x):
        partners = [y for y in self.floats if y.shape == x.shape]
        return where(less_equal(x, self.choose([0, 1])), self.choose(partners), x)

    def grow_bias(self, x):
        if not x.shape:
            return None
        rows = [y for y in self.floats if y.shape == x.shape[-1:]]
        return apply(PRIMITIVES["add"], x, self.choose(rows or [sum_(x, tuple(range(len(x.shape) - 1)))]))

    def grow_reduction(self, x):
        axes = tuple(axis for axis in range(len(x.shape)) if self.choose([True, False]))
        return apply(PRIMITIVES[self.choose(["sum", "max", "min"])], x, axes=axes)

    def grow_centered(self, x):
        if not x.shape:
            return None
        axis = self.choose(range(len(x.shape)))
        kept = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
        return apply(PRIMITIVES["subtract"], x, reshape(sum_(x, (axis,)), kept))

    def grow_argmax(self, x):
        if not x.shape:
            return None
        name = self.choose(["argmax", "argmin"])
        return cast(apply(PRIMITIVES[name], x, axes=(self.choose(range(len(x.shape))),)), float64)

    def grow_transpose(self, x):
        axes = list(range(len(x.shape)))
        return transpose(x, tuple(reversed(axes)) if self.choose([True, False]) else (*axes[1:], *axes[:1]))

    def grow_reshape(self, x):
        shapes = [(x.type.size,), (1, *x.shape), (*x.shape, 1), tuple(reversed(x.shape))]
        return reshape(x, self.choose(shapes))

    def grow_broadcast(self, x):
        return broadcast(x, (self.choose([1, 2, 3]), *x.shape))

    def grow_slice(self, x):
        starts = tuple(self.choose(range(max(n, 1))) for n in x.shape)
        stops = tuple(self.choose(range(start, n + 1)) for start, n in zip(starts, x.shape, strict=True))
        return slice_(x, starts, stops, tuple(self.choose([1, 2]) for _ in x.shape))

    def grow_flip(self, x):
        axes = tuple(axis for axis in range(len(x.shape)) if self.choose([True, False]))
        return apply(PRIMITIVES["flip"], x, axes=axes)

    def grow_pad(self, x):
        sizes = [tuple(self.choose([0, 1, 2]) for _ in x.shape) for _ in range(3)]
        return pad(x, *sizes)

    def grow_concatenate(self, x):
        if not x.shape:
            return None
        axis = self.choose(range(len(x.shape)))
        cut = lambda shape: (*shape[:axis], *shape[axis + 1 :])
        partners = [y for y in self.floats if len(y.shape) == len(x.shape) and cut(y.shape) == cut(x.shape)]
        return concatenate(x, self.choose(partners), self.choose(partners), axis=axis)

    def grow_matmul(self, x):
        if len(x.shape) < 2:
            return None
        partners = [y for y in self.floats if len(y.shape) == 2 and y.shape[0] == x.shape[-1]]
        y = self.choose([*partners, transpose(x, (*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2))])
        return matmul(x, y)

    grow_another_matmul = grow_matmul

    def index(self, shape, size):
        near = apply(PRIMITIVES["add"], iota(int64, shape, 0) if shape else constant(0, int64), self.counter)
        return apply(PRIMITIVES["remainder"], near, constant(size, int64)) if self.choose([True, False]) else near

    def grow_take(self, x):
        if not x.shape:
            return None
        axis = self.choose(range(len(x.shape)))
        return take(x, self.index(self.choose([(), (2,), (3, 2)]), x.shape[axis]), axis)

    def grow_scatter(self, x):
        if not x.shape:
            return None
        axis = self.choose(range(len(x.shape)))
        return scatter_add(x, self.index((x.shape[axis],), 3), axis, 3)

    def grow_dynamic(self, x):
        if not x.shape:
            return None
        axis = self.choose(range(len(x.shape)))
        part = dynamic_slice(x, self.index((), 2), axis, self.choose(range(1, x.shape[axis] + 1)))
        return dynamic_update(x, part, self.counter, axis) if self.choose([True, False]) else part

    def grow_random(self, x):
        seed = constant(5, int64)
        return cast(random_uniform(seed, self.counter, x.shape, self.choose([0, 3])), float64)

    def grow_precision(self, x):
        return cast(cast(x, float32), float64)

    def finish(self):
        outputs = tuple(self.choose(self.floats) for _ in range(self.choose([1, 2, 3])))
        updates = []
        for target in self.inputs:
            values = [value for value in self.floats if value.type is target.type]
            if values and self.choose([True, False]):
                updates.append((target, self.choose(values)))
        return Graph(tuple(self.inputs), outputs, tuple(updates))


def random_graph(choose, steps):
    maker = GraphMaker(choose)
    for _ in range(steps):
        maker.step()
    return maker.finish()
