"""Rewriting rules: by structure, and by bits where values are special."""

import itertools

import numpy as np
import pytest

from chainrule.errors import CompilationError
from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.text import format_graph, parse_graph
from chainrule.graph.vertex import apply
from chainrule.ops.source import constant, make_input
from chainrule.passes import rewriting
from chainrule.passes.simplify import simplify
from chainrule.reference import evaluate
from chainrule.types import DTYPES, bool_, float32, float64, int64, tensor_type


def simplified(expression, **inputs):
    """The right side of what ``expression`` becomes; names are inputs, ``c(v)`` a float32 scalar."""
    names = {name: make_input(tensor_type(DTYPES[text.split("[")[0]], shape_of(text))) for name, text in inputs.items()}
    functions = {name: lambda *a, _p=record, **k: apply(_p, *a, **k) for name, record in PRIMITIVES.items()}
    numbers = {"c": lambda v, dtype=float32, shape=(): constant(v, dtype, shape), "int64": int64, "bool_": bool_}
    scope = {**functions, **names, **numbers}
    root = eval(expression, scope)
    graph = simplify(Graph(tuple(names.values()), (root,)))
    return render(graph.outputs[0], {vertex: name for name, vertex in names.items()})


def shape_of(text):
    return tuple(int(n) for n in text.split("[")[1][:-1].split(",") if n)


def render(vertex, names):
    if vertex in names:
        return names[vertex]
    if vertex.primitive.name == "constant":
        return f"{vertex.attributes['value']}{list(vertex.shape) if vertex.shape else ''}"
    arguments = [render(operand, names) for operand in vertex.inputs]
    arguments += [f"{name}={value}" for name, value in vertex.attributes.items()]
    return f"{vertex.primitive.name}({', '.join(arguments)})"


X = {"x": "float32[2,3]"}
INTEGERS = {"x": "int64[2,3]"}
B = {"b": "bool[2,3]", "x": "float32[2,3]", "y": "float32[2,3]"}
CASES = [
    ("add(c(1.5), c(2.0))", {}, "3.5"),
    ("add(c(2.0), x)", X, "add(x, 2.0)"),
    ("add(x, c(-0.0))", X, "x"),
    ("add(x, c(0.0))", X, "add(x, 0.0)"),
    ("add(x, c(0, int64))", INTEGERS, "x"),
    ("subtract(x, c(0.0))", X, "x"),
    ("subtract(x, c(-0.0))", X, "subtract(x, -0.0)"),
    ("multiply(c(1.0), x)", X, "x"),
    ("multiply(c(1.0, shape=(4, 2, 3)), x)", X, "broadcast(x, shape=(4, 2, 3))"),
    ("multiply(x, c(0.0))", X, "multiply(x, 0.0)"),
    ("multiply(x, c(-1.0))", X, "negative(x)"),
    ("divide(x, c(1.0))", X, "x"),
    ("divide(x, c(8.0))", X, "multiply(x, 0.125)"),
    ("divide(x, c(10.0))", X, "divide(x, 10.0)"),
    ("divide(x, c(0.0))", X, "divide(x, 0.0)"),
    ("divide(x, c(2.0 ** -140))", X, "divide(x, 7.174648137343064e-43)"),
    ("negative(negative(x))", X, "x"),
    ("add(x, negative(x))", X, "subtract(x, x)"),
    ("add(negative(x), exp(x))", X, "subtract(exp(x), x)"),
    ("subtract(x, negative(x))", X, "add(x, x)"),
    ("multiply(negative(x), c(2.0))", X, "multiply(x, -2.0)"),
    ("multiply(multiply(x, c(0.5)), c(0.25))", X, "multiply(multiply(x, 0.5), 0.25)"),
    ("power(x, c(0.0))", X, "1.0[2, 3]"),
    ("power(x, c(2.0))", X, "multiply(x, x)"),
    ("power(x, c(3.0))", X, "multiply(multiply(x, x), x)"),
    ("power(x, c(-1.0))", X, "divide(1.0, x)"),
    ("power(x, c(0.5))", X, "power(x, 0.5)"),
    ("where(b, x, x)", B, "x"),
    ("where(c(True, bool_), x, y)", B, "x"),
    ("where(logical_not(b), x, y)", B, "where(b, y, x)"),
    ("cast(x, dtype=x.dtype)", X, "x"),
    ("stop_gradient(exp(x))", X, "exp(x)"),
    ("transpose(transpose(x, permutation=(1, 0)), permutation=(1, 0))", X, "x"),
    ("transpose(reshape(x, shape=(2, 1, 3)), permutation=(1, 0, 2))", X, "reshape(x, shape=(1, 2, 3))"),
    ("reshape(reshape(x, shape=(6,)), shape=(2, 3))", X, "x"),
    ("broadcast(broadcast(x, shape=(4, 2, 3)), shape=(5, 4, 2, 3))", X, "broadcast(x, shape=(5, 4, 2, 3))"),
    ("broadcast(c(2.0), shape=(2,))", {}, "2.0[2]"),
    ("slice(x, starts=(0, 0), stops=(2, 3), steps=(1, 1))", X, "x"),
    (
        "slice(slice(x, starts=(0, 1), stops=(2, 3), steps=(1, 1)), starts=(1, 0), stops=(2, 2), steps=(1, 1))",
        X, "slice(x, starts=(1, 1), stops=(2, 3), steps=(1, 1))",
    ),
    ("slice(x, starts=(1, 1), stops=(1, 3), steps=(1, 1))", X, "0.0[0, 2]"),
    ("flip(reshape(x, shape=(1, 6)), axes=(0,))", X, "reshape(x, shape=(1, 6))"),
    ("pad(x, low=(0, 0), high=(0, 0), interior=(0, 0))", X, "x"),
    ("concatenate(concatenate(x, x, axis=0), x, axis=0)", X, "concatenate(x, x, x, axis=0)"),
    (
        "add(pad(x, low=(0, 3), high=(0, 0), interior=(0, 0)), pad(exp(x), low=(0, 0), high=(0, 3), interior=(0, 0)))",
        X, "concatenate(exp(x), x, axis=1)",
    ),
    (
        "add(pad(x, low=(0, 2), high=(0, 1), interior=(0, 0)), pad(x, low=(0, 0), high=(0, 3), interior=(0, 0)))",
        X, "add(pad(x, low=(0, 2), high=(0, 1), interior=(0, 0)), pad(x, low=(0, 0), high=(0, 3), interior=(0, 0)))",
    ),
    ("sum(x, axes=())", X, "x"),
    ("sum(reshape(x, shape=(2, 1, 3)), axes=(1,))", X, "x"),
    ("argmax(reshape(x, shape=(6, 1)), axes=(1,))", X, "0[6]"),
    ("sum(sum(x, axes=(0,)), axes=(0,))", X, "sum(sum(x, axes=(0,)), axes=(0,))"),
    ("sum(sum(i, axes=(0,)), axes=(0,))", {"i": "int64[2,3]"}, "sum(i, axes=(0, 1))"),
    ("sum(c(0.5, shape=(4, 3)), axes=(0,))", {}, "2.0[3]"),
    ("max(c(0.5, shape=(4, 3)), axes=(0,))", {}, "0.5[3]"),
    ("matmul(reshape(x, shape=(6, 1)), transpose(slice(reshape(x, shape=(6, 1)), starts=(0, 0), stops=(6, 1), "
     "steps=(1, 1)), permutation=(1, 0)))", X, "matmul(reshape(x, shape=(6, 1)), reshape(x, shape=(1, 6)))"),
    ("matmul(slice(x, starts=(0, 0), stops=(2, 0), steps=(1, 1)), c(1.0, shape=(0, 5)))", X, "0.0[2, 5]"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "inputs", "after"), CASES, ids=[case[0][:60] for case in CASES])
def test_rules(before, inputs, after):
    assert simplified(before, **inputs) == after


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan, 1e-310, 3e300])
CONSTANTS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, np.inf, -np.inf, np.nan, 1e300]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum", "power"])
def test_special_values_keep_their_bits(name):
    """Every operation with every special constant on either side, and behind a sign, gives the same special values."""
    x = make_input(tensor_type(float64, SPECIAL.shape))
    record, negative = PRIMITIVES[name], PRIMITIVES["negative"]
    constants = [constant(value, float64) for value in CONSTANTS]
    roots = [apply(record, *pair) for c in constants for pair in ((x, c), (c, x), (apply(negative, x), c))]
    roots += [apply(record, apply(record, x, a), b) for a, b in itertools.product(constants, repeat=2)]
    graph = Graph((x,), tuple(roots))
    expected, _ = evaluate(graph, [SPECIAL])
    got, _ = evaluate(simplify(graph), [SPECIAL])
    for root, one, other in zip(roots, expected, got, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-15, atol=1e-310, err_msg=format_graph(Graph((x,), (root,))))
        zeros = (one == 0) & (other == 0)
        np.testing.assert_array_equal(np.signbit(one[zeros]), np.signbit(other[zeros]))


def test_a_rule_that_changes_the_type_is_refused(monkeypatch):
    def wrong_rule(vertex):
        return constant(0, float32, (7,))

    monkeypatch.setitem(rewriting.RULES, "tanh", [wrong_rule])
    x = make_input(tensor_type(float32, (2,)))
    with pytest.raises(CompilationError, match="wrong_rule"):
        simplify(Graph((x,), (apply(PRIMITIVES["tanh"], x),)))


def test_inputs_updates_and_lines_survive():
    text = (
        "%0: float32[2] = input(type=('float32', (2,)), strides=None)\n"
        "%1: float32[2] = input(type=('float32', (2,)), strides=None)\n"
        "%2: float32[2] = stop_gradient(%0)\n%3: float32[2] = exp(%2)\ninputs %0 %1\noutputs %3\nupdate %0 = %3\n"
    )
    after = format_graph(simplify(parse_graph(text)))
    assert after == (
        "%0: float32[2] = input(type=('float32', (2,)), strides=None)\n"
        "%1: float32[2] = input(type=('float32', (2,)), strides=None)\n"
        "%2: float32[2] = exp(%0)\ninputs %0 %1\noutputs %2\nupdate %0 = %2\n"
    )
