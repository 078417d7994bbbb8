"""The evaluator that defines what a graph means."""

import numpy as np
import pytest

from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex, make_vertex
from chainrule.ops import arithmetic, elementwise, movement, source
from chainrule.reference import Array, evaluate
from chainrule.types import float32, float64, tensor_type

MATRIX = tensor_type(float64, (2, 3))


def test_outputs_and_updates() -> None:
    x, y = source.make_input(MATRIX), source.make_input(MATRIX)
    total = arithmetic.add(x, y)
    a, b = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    outputs, updates = evaluate(Graph((x, y), (total, x), ((y, total), (x, y))), [a, b])
    for value, expected in zip((*outputs, *updates), (a + b, a, a + b, b), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_results_share_no_memory_with_the_values() -> None:
    """Exchanging two inputs in place must work, and so must writing into a result."""
    x, y = source.make_input(MATRIX), source.make_input(MATRIX)
    views = (elementwise.stop_gradient(x), movement.transpose(x, (1, 0)), movement.broadcast(x, (4, 2, 3)))
    a, b = np.zeros((2, 3)), np.ones((2, 3))
    outputs, updates = evaluate(Graph((x, y), views, ((x, y), (y, x))), [a, b])
    for value in (*outputs, *updates):
        assert value.flags.writeable
        assert not np.shares_memory(value, a)
        assert not np.shares_memory(value, b)


def test_values_take_the_inputs_type() -> None:
    x = source.make_input(tensor_type(float32, (2,)))
    (value,) = evaluate(Graph((x,), (arithmetic.add(x, 1),)), [[1, 2]])[0]  # type: ignore[list-item]
    assert value.dtype == np.float32
    assert value.tolist() == [2, 3]


def test_watch_sees_each_value_once_and_in_order() -> None:
    x = source.make_input(MATRIX)
    shared = elementwise.exp(x)
    root = arithmetic.multiply(shared, shared)
    seen: list[tuple[Vertex, float]] = []

    def watch(vertex: Vertex, value: Array) -> None:
        seen.append((vertex, float(value.flat[0])))

    evaluate(Graph((x,), (root, shared)), [np.zeros((2, 3))], watch)
    assert seen == [(shared, 1.0), (root, 1.0)]


def test_a_missing_value_is_named() -> None:
    x = source.make_input(MATRIX)
    with pytest.raises(ValueError, match="input has no value"):
        evaluate(Graph((), (elementwise.exp(x),)), [])
    with pytest.raises(ValueError, match="zip"):
        evaluate(Graph((x,), (x,)), [])


def test_a_vertex_outside_the_intern_table_evaluates_too() -> None:
    x = source.make_input(MATRIX)
    loose = make_vertex(elementwise.EXP, (x,), {})
    assert evaluate(Graph((x,), (loose,)), [np.zeros((2, 3))])[0][0].tolist() == [[1, 1, 1]] * 2
