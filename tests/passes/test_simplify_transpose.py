"""Transposes of what convolutions leave in memory: each rule by structure and by values, and that moving them ends."""

import numpy as np
import pytest

from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.text import format_graph
from chainrule.graph.vertex import apply
from chainrule.ops.comparison import less, where
from chainrule.ops.convolution import convolution
from chainrule.ops.reduction import sum_
from chainrule.ops.source import make_input
from chainrule.passes.pipeline import optimize
from chainrule.passes.simplify import simplify
from chainrule.passes.simplify_transpose import moves
from chainrule.reference import evaluate
from chainrule.types import bool_, float64, tensor_type

FUNCTIONS = {name: lambda *a, _p=record, **k: apply(_p, *a, **k) for name, record in PRIMITIVES.items()}


class Scope:
    """Names that expressions may use: T and U are images (2, 6, 4, 5), left by sums with the channels last, as D is."""

    def __init__(self):
        shapes = {"x": (2, 4, 5, 3), "y": (2, 4, 5, 3), "w": (3, 6), "v": (3, 6), "image": (2, 6, 4, 5)}
        shapes["bias"] = (6, 1, 1)
        self.inputs = {name: make_input(tensor_type(float64, shape)) for name, shape in shapes.items()}
        self.inputs["mask"] = make_input(tensor_type(bool_, (2, 6, 4, 5)))
        names = dict(self.inputs)
        for name, (x, w) in {"T": ("x", "w"), "U": ("y", "v")}.items():
            names[name] = apply(PRIMITIVES["tensordot"], names[x], names[w], axes=1, by_column=False)
            names[name] = apply(PRIMITIVES["transpose"], names[name], permutation=(0, 3, 1, 2))
        names["D"] = names["T"].inputs[0]
        self.names = names | FUNCTIONS

    def graph(self, *roots):
        return Graph(tuple(self.inputs.values()), tuple(roots))

    def values(self, seed=0):
        rng = np.random.default_rng(seed)
        return [
            rng.normal(size=v.shape) if v.dtype is float64 else rng.random(v.shape) < 0.5 for v in self.inputs.values()
        ]


def check_values(graph, after, values):
    for expected, found in zip(evaluate(graph, values)[0], evaluate(after, values)[0], strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


MOVED = [
    "exp(T)", "add(T, U)", "multiply(T, T)", "add(T, bias)", "subtract(image, T)", "where(mask, T, image)",
    "where(mask, image, T)", "maximum(exp(T), add(U, bias))",
    "slice(T, starts=(0, 1, 2, 0), stops=(2, 6, 4, 5), steps=(1, 2, 1, 3))", "flip(T, axes=(0, 2))",
    "pad(T, low=(0, 0, 1, 2), high=(0, 1, 0, 2), interior=(0, 0, 1, 0))", "concatenate(T, U, T, axis=1)",
    "concatenate(T, U, axis=3)",
    "interleave(T, U, shape=(2, 6, 8, 11), starts=((0, 0, 0, 1), (0, 0, 1, 0)), steps=(1, 1, 2, 2))",
    "broadcast(slice(T, starts=(0, 0, 0, 0), stops=(2, 6, 1, 5), steps=(1, 1, 1, 1)), shape=(2, 6, 7, 5))",
    "reshape(T, shape=(2, 6, 20))", "reshape(T, shape=(2, 3, 2, 4, 5))", "reshape(T, shape=(2, 6, 2, 2, 5, 1))",
    "reshape(exp(T), shape=(1, 2, 6, 4, 5))",
    "exp(pad(exp(T), low=(0, 0, 1, 1), high=(0, 0, 1, 1), interior=(0, 0, 0, 0)))",
    "sum(T, axes=(0, 2))", "max(T, axes=(2,))", "min(exp(T), axes=(1,))", "argmax(T, axes=(3,))",
]  # fmt: skip


@pytest.mark.parametrize("expression", MOVED)
def test_a_transpose_is_moved_behind(expression):
    scope = Scope()
    graph = scope.graph(eval(expression, scope.names))
    after = simplify(graph)
    (root,) = after.outputs
    assert not [vertex for vertex in after.order() if moves(vertex) and vertex is not root], format_graph(after)
    check_values(graph, after, scope.values())


GONE = [
    "sum(T, axes=(0, 2, 3))", "max(T, axes=(1, 2, 3))", "transpose(exp(T), permutation=(0, 2, 3, 1))",
    "transpose(flip(T, axes=(1,)), permutation=(0, 2, 3, 1))",
    "reshape(sum(exp(T), axes=(2, 3)), shape=(12,))",
]  # fmt: skip


@pytest.mark.parametrize("expression", GONE)
def test_a_transpose_vanishes(expression):
    scope = Scope()
    graph = scope.graph(eval(expression, scope.names))
    after = simplify(graph)
    assert not any(vertex.primitive.name == "transpose" for vertex in after.order()), format_graph(after)
    check_values(graph, after, scope.values())


STAYS = [
    "exp(transpose(image, permutation=(0, 2, 3, 1)))",  # no convolution left it so
    "reshape(T, shape=(48, 5))",  # the columns of an image alone are no neighbours of its channels
    "reshape(T, shape=(240,))",
    "add(transpose(T, permutation=(0, 2, 1, 3)), reshape(exp(D), shape=(2, 4, 6, 5)))",
]  # fmt: skip


@pytest.mark.parametrize("expression", STAYS)
def test_other_transposes_stay_where_they_are(expression):
    scope = Scope()
    graph = scope.graph(eval(expression, scope.names))
    after = simplify(graph)
    assert after.outputs[0].primitive.name == graph.outputs[0].primitive.name
    check_values(graph, after, scope.values())


def test_an_operand_that_lies_otherwise_is_transposed_back():
    scope = Scope()
    after = simplify(scope.graph(eval("add(T, image)", scope.names)))
    total = after.outputs[0].inputs[0]
    assert [operand.primitive.name for operand in total.inputs] == ["tensordot", "transpose"]
    assert total.inputs[1].inputs == (after.inputs[4],) and total.inputs[1].attributes["permutation"] == (0, 2, 3, 1)


def grow(rng, scope, steps):
    """An expression of many steps over T, U and inputs, with transposes of all kinds in between."""
    pool = ["T", "U", "image", "transpose(U, permutation=(0, 1, 3, 2))"]
    for _ in range(steps):
        x, y = (pool[-1 - min(int(rng.exponential(2)), len(pool) - 1)] for _ in range(2))
        shape, other = (eval(each, scope.names).shape for each in (x, y))
        none, rank = (0,) * len(shape), len(shape)
        kinds = [f"tanh({x})", f"flip({x}, axes=({int(rng.integers(rank))},))"] if rank else [f"tanh({x})"]
        if shape == other:
            kinds += [f"add({x}, {y})", f"multiply({x}, {y})"] * 2
        if rank > 1:
            order = tuple(map(int, rng.permutation(rank)))
            place = int(rng.integers(rank - 1))
            merged = (*shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :])
            kinds += [f"transpose({x}, permutation={order})"] * 2 + [f"reshape({x}, shape={merged})"]
            kinds += [f"max({x}, axes=({place},))", f"sum({x}, axes=({rank - 1},))"]
            kinds += [f"pad({x}, low={(1, *none[1:])}, high={none}, interior={none})"]
        pool.append(str(rng.choice(kinds)))
    return pool[-3:]


@pytest.mark.parametrize("seed", range(40))
def test_moving_ends_and_keeps_values(seed):
    """Once all rules have been applied, applying them again changes nothing."""
    scope = Scope()
    expressions = grow(np.random.default_rng(seed), scope, 10)
    graph = scope.graph(*(eval(each, scope.names) for each in expressions))
    after = simplify(graph)
    check_values(graph, after, scope.values(seed))
    assert format_graph(simplify(after)) == format_graph(after)


def test_networks_keep_channels_last():
    """From one convolution to the next, forward and backward, nothing is transposed but what comes in and goes out."""
    shapes = [(2, 8, 9, 9), (16, 8, 3, 3), (16, 16, 3, 3), (8, 16, 1, 1)]
    x, *weights = (make_input(tensor_type(float64, shape)) for shape in shapes)
    value = x
    for w in weights:
        around = (w.shape[-1] // 2,) * 2
        value = convolution(value, w, (1, 1), around, around, (1, 1), (1, 1), 1)
        value = where(less(value, 0), 0, value)
    loss = sum_(apply(PRIMITIVES["multiply"], value, value), (0, 1, 2, 3))
    graph = Graph((x, *weights), tuple(gradients(loss, weights)))
    after = optimize(graph)
    rng = np.random.default_rng(0)
    check_values(graph, after, [rng.normal(size=shape) for shape in shapes])
    turned = [v for v in after.order() if moves(v) and v not in after.outputs]
    assert len(turned) == 0, format_graph(after)
