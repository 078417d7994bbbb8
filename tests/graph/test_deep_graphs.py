"""Graphs of 20,000 vertices in a row: nothing may recurse, not even the freeing of memory."""

import gc
import weakref

import numpy as np
import pytest

from chainrule.autodiff.reverse import gradients
from chainrule.graph.graph import Graph, rebuild
from chainrule.graph.text import format_graph, parse_graph
from chainrule.graph.verify import verify
from chainrule.graph.vertex import Vertex
from chainrule.ops import arithmetic, source
from chainrule.reference import evaluate
from chainrule.types import float64, tensor_type

DEPTH = 20_000


@pytest.fixture
def chain() -> Graph:
    x = vertex = source.make_input(tensor_type(float64, ()), requires_grad=True)
    for _ in range(DEPTH // 2):
        vertex = arithmetic.subtract(arithmetic.multiply(vertex, 1.5), 0.5)
    return Graph((x,), (vertex,))


def test_verify_and_evaluate(chain: Graph) -> None:
    verify(chain, "capture")
    assert evaluate(chain, [np.ones(())])[0] == [1.0]


def test_text(chain: Graph) -> None:
    assert len(parse_graph(format_graph(chain)).order()) == len(chain.order()) == DEPTH + 3


def test_rebuild(chain: Graph) -> None:
    def to_addition(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        return arithmetic.add(*inputs) if vertex.primitive is arithmetic.SUBTRACT else None

    assert len(rebuild(chain, to_addition).order()) == DEPTH + 3


def test_gradient(chain: Graph) -> None:
    (gradient,) = gradients(chain.outputs[0], chain.inputs)
    assert gradient is not None
    with np.errstate(over="ignore"):
        assert evaluate(Graph(chain.inputs, (gradient,)), [np.ones(())])[0][0] == np.inf  # 1.5 to the 10,000


def test_freeing() -> None:
    vertices = [source.make_input(tensor_type(float64, ()))]
    for _ in range(DEPTH):
        vertices.append(arithmetic.add(vertices[-1], vertices[-1]))
    watched = [weakref.ref(vertices[place]) for place in (0, DEPTH // 2, DEPTH)]
    del vertices
    gc.collect()
    assert [reference() for reference in watched] == [None, None, None]
