"""Graphs as text: what is written reads back as the same graph."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.graph.graph import Graph
from chainrule.graph.site import Site
from chainrule.graph.text import format_graph, parse_graph
from chainrule.ops import arithmetic, elementwise, movement, reduction, source
from chainrule.types import bool_, float32, float64, int64, tensor_type


def small_graph() -> Graph:
    x = source.make_input(tensor_type(float32, (2, 3)), strides=(1, 2))
    y = source.make_input(tensor_type(float32, ()), site=Site("train.py", 7, "encoder.0"))
    product = arithmetic.multiply(movement.transpose(x, (1, 0)), 2.5)
    total = reduction.sum_(elementwise.cast(product, float64), (0, 1))
    return Graph((x, y), (total, product), ((y, arithmetic.add(y, 1)),))


SMALL = """\
%0: float32[2,3] = input(type=('float32', (2, 3)), strides=(1, 2))
%1: float32[] = input(type=('float32', ()), strides=None)
%2: float32[3,2] = transpose(%0, permutation=(1, 0))
%3: float32[] = constant(value=2.5, type=('float32', ()))
%4: float32[3,2] = multiply(%2, %3)
%5: float64[3,2] = cast(%4, dtype='float64')
%6: float64[] = sum(%5, axes=(0, 1))
%7: float32[] = constant(value=1.0, type=('float32', ()))
%8: float32[] = add(%1, %7)
inputs %0 %1
outputs %6 %4
update %1 = %8
"""


def test_format() -> None:
    assert format_graph(small_graph()) == SMALL


def test_sites_are_comments() -> None:
    text = format_graph(small_graph(), sites=True)
    assert "strides=None)  # train.py:7, in module 'encoder.0'\n" in text
    assert f"permutation=(1, 0))  # {__file__}:" in text
    assert format_graph(parse_graph(text)) == SMALL


def test_blank_lines_are_skipped() -> None:
    assert format_graph(parse_graph(SMALL.replace("\n", "\n\n"))) == SMALL


@given(st.floats(width=64))
def test_every_float_constant_reads_back(number: float) -> None:
    graph = Graph((), (source.constant(number, float64),))
    value = parse_graph(format_graph(graph)).outputs[0].attributes["value"]
    assert value.hex() == number.hex() or (math.isnan(value) and math.isnan(number))


@pytest.mark.parametrize(("number", "dtype"), [(math.inf, float32), (2**62 + 1, int64), (-1, int64), (True, bool_)])
def test_other_constants_read_back(number: float, dtype: object) -> None:
    graph = Graph((), (source.constant(number, dtype, (2,)),))  # type: ignore[arg-type]
    vertex = parse_graph(format_graph(graph)).outputs[0]
    assert (vertex.attributes["value"], vertex.type) == (number, tensor_type(dtype, (2,)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "not a line of a graph"),
        ("%9: float32[] = tanhh(%1)", "did you mean 'tanh'"),
        ("%9: float32[] = tanh(%77)", "%77"),
        ("%9: float32[] = tanh(%1", "not a line"),
        ("%9: float32[] = tanh(1 +)", "syntax"),
        ("%9: float64[] = tanh(%1)", "the operands give float32"),
        ("%9: float32[] = tanh(%1, %1)", "expected 1 operands"),
        ("%9: float32[] = sum(%1, axes=(5,))", "not distinct dimensions"),
        ("outputs %77", "%77"),
        ("update %1", "not enough values"),
    ],
)
def test_a_line_that_does_not_read_is_named(line: str, reason: str) -> None:
    text = SMALL.replace("%3: ", f"{line}\n%3: ", 1)
    with pytest.raises(ValueError, match=r"line 4 of the graph, ") as caught:
        parse_graph(text)
    assert line in str(caught.value)
    assert reason in str(caught.value)
