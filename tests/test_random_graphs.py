"""Thousands of random graphs: the native program against the reference, gradients against differences, text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chainrule.autodiff.check import directional_derivatives
from chainrule.graph.graph import Graph, topological_order
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.text import format_graph, parse_graph
from chainrule.graph.verify import verify
from chainrule.graph.vertex import Vertex
from chainrule.reference import evaluate
from chainrule.settings import settings
from chainrule.types import float32, float64
from tests.native_program import run_native
from tests.random_graphs import Array, is_single_precision, random_graph

PROGRAMS, GRAPHS_PER_PROGRAM = 100, 20


@pytest.fixture(autouse=True)
def without_disk_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_enabled", False)


def differences(graph: Graph, values: list[Array]) -> list[str]:
    """Where the native program and the reference disagree by more than rounding explains."""
    expected, found = evaluate(graph, values), run_native(graph, values)
    roots = (*graph.outputs, *(value for _, value in graph.updates))
    wrong = []
    for vertex, native, meant in zip(roots, (*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        tolerance = 3e-4 if is_single_precision(vertex) else 1e-10
        if not np.allclose(native, meant, rtol=tolerance, atol=tolerance):
            wrong.append(f"{vertex}: native {native!r}, reference {meant!r}\n{format_graph(Graph((), (vertex,)))}")
    return wrong


@pytest.mark.parametrize("number", range(PROGRAMS))
def test_native_agrees_with_reference(number: int) -> None:
    """Each program is made of unconnected random graphs: compiling costs more per program than per vertex."""
    graph, values = random_graph(number, GRAPHS_PER_PROGRAM)
    verify(graph, "random_graph")
    assert not "\n".join(differences(graph, values)[:3])


def test_random_graphs_use_every_primitive() -> None:
    used = {vertex.primitive.name for seed in range(10) for vertex in random_graph(seed, GRAPHS_PER_PROGRAM)[0].order()}
    assert used == set(PRIMITIVES)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_text_reads_back(seed: int) -> None:
    graph, values = random_graph(seed)
    again = parse_graph(format_graph(graph, sites=True))
    assert format_graph(again) == format_graph(graph)
    assert [vertex.type for vertex in again.inputs] == [vertex.type for vertex in graph.inputs]
    for first, second in zip(evaluate(graph, values), evaluate(again, values), strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


def is_smooth_in_float64(root: Vertex) -> bool:
    """Whether differences can tell the derivative: float32 is too coarse, and a stopped gradient differs on purpose."""
    needed = topological_order([root])
    stopped = any(vertex.primitive.name == "stop_gradient" for vertex in needed)
    rounded = any(vertex.primitive.name == "cast" and vertex.dtype is float32 for vertex in needed)
    return root.dtype is float64 and not stopped and not rounded


@pytest.mark.parametrize("seed", range(150))
def test_gradients_agree_with_finite_differences(seed: int) -> None:
    """The generator keeps values away from steps and kinks, so every smooth output is a fair case."""
    graph, values = random_graph(seed, only=float64)
    for root in filter(is_smooth_in_float64, graph.outputs):
        rng = np.random.default_rng(seed)
        analytic, numeric = directional_derivatives(Graph(graph.inputs, (root,)), values, rng)
        assert analytic == pytest.approx(numeric, rel=1e-4, abs=1e-5)
