"""The verifier finds each way in which a pass could break a graph, and says after which stage and at which vertex."""

from collections.abc import Callable
from typing import Any

import pytest

from chainrule.errors import CompilationError
from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.site import Site
from chainrule.graph.verify import verify
from chainrule.graph.vertex import Vertex
from chainrule.ops import arithmetic, elementwise, source
from chainrule.types import float32, float64, tensor_type

X = source.make_input(tensor_type(float32, (3,)))
Y = source.make_input(tensor_type(float32, (4,)))
HALF = elementwise.exp(X)
SITE = Site("train.py", 12, "encoder.0")


def broken(name: str, inputs: tuple[Vertex, ...], type: Any, **attributes: Any) -> Vertex:
    """A vertex that no rule has seen."""
    return Vertex(PRIMITIVES[name], inputs, attributes, type, False, SITE)


BROKEN: list[tuple[Callable[[], Graph], str]] = [
    (lambda: Graph((X,), (broken("tanh", (X,), tensor_type(float64, (3,))),)), "has type float64[3], its rule gives"),
    (lambda: Graph((X, Y), (broken("add", (X, Y), X.type),)), "is refused by its rule: shapes (3,) and (4,)"),
    (lambda: Graph((X,), (broken("add", (X,), X.type),)), "is refused by its rule: expected 2 operands, got 1"),
    (lambda: Graph((X,), (broken("where", (X, X), X.type),)), "is refused by its rule: "),
    (lambda: Graph((X,), (broken("sum", (X,), X.type, axis=0),)), "has attributes ['axis'], expected ['axes']"),
]


@pytest.mark.parametrize(("build", "message"), BROKEN)
def test_a_broken_vertex_is_named_with_stage_and_site(build: Callable[[], Graph], message: str) -> None:
    graph = build()
    with pytest.raises(CompilationError) as caught:
        verify(graph, "simplify")
    name = graph.outputs[0].primitive.name
    assert str(caught.value).startswith(f"after 'simplify': vertex {name}: ")
    assert "made at train.py:12, in module 'encoder.0'" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph((), (HALF,)), "vertex input: float32[3] made at <unknown>:0 is an input that the graph does not list"),
        (Graph((X, X), (HALF,)), "an input is listed twice"),
        (Graph((X, HALF), (HALF,)), "is listed as an input but computed"),
        (Graph((X,), (HALF,), ((Y, HALF),)), "update of input: float32[4], which is not an input"),
        (Graph((X, Y), (HALF,), ((Y, HALF),)), "update of float32[4] with a value of float32[3]"),
        (Graph((X,), (), ((X, HALF), (X, X))), "two updates of input: float32[3]"),
    ],
)
def test_a_broken_graph_is_named_with_its_stage(graph: Graph, message: str) -> None:
    with pytest.raises(CompilationError) as caught:
        verify(graph, "fuse")
    assert str(caught.value).startswith("after 'fuse': ")
    assert message in str(caught.value)


def test_a_good_graph_passes() -> None:
    verify(Graph((X, Y), (HALF, X), ((X, arithmetic.add(X, HALF)), (Y, Y))), "capture")
