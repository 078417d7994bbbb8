"""Markup is escaped, numbers read well, and marks lie where their values are."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule.report.charts import KINDS, Axis, Curve, Frame, bars, curves, dependence_points, histogram, scatter
from chainrule.report.markup import Markup, element, join
from chainrule.report.network_drawing import draw_network
from chainrule.report.numbers import number, score, tick, ticks
from chainrule.report.page import STYLE


def test_text_and_attributes_are_escaped_and_markup_is_not_escaped_twice() -> None:
    inner = element("b", "<script>alert('x')</script>")
    assert inner == "<b>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;</b>"
    assert element("p", inner, " & ", title='"><img>') == f'<p title="&quot;&gt;&lt;img&gt;">{inner} &amp; </p>'
    assert join(["<", Markup("<br>")]) == "&lt;<br>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234.5, "1,234"),
        (-0.00012345, "−0.0001234"),
        (float("nan"), "–"),
        (1e15, "1e+15"),
        (999.96, "1000"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_scores_and_ticks_read_as_people_write_them() -> None:
    assert (score(0.99996), score(-1e-9), score(None)) == ("1", "0", "–")
    assert (tick(2024.0), tick(123456.0)) == ("2024", "123,456")


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 7.9), (1e-6, 3e-6), (199_000, 1_000_000), (-1e9, 1e9), (5, 5.0001)]
)
def test_ticks_are_round_even_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert found[0] >= low - 1e-9 * (high - low) and found[-1] <= high + 1e-9 * (high - low)
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert f"{steps[0]:.0e}"[0] in "125"


def numbers_in(svg: str, tag: str, attribute: str) -> list[float]:
    tree = ElementTree.fromstring(svg)
    return [float(node.attrib[attribute]) for node in tree.iter(tag)]


def test_points_lie_where_their_values_are() -> None:
    x, y = np.array([0.0, 5.0, 10.0]), np.array([-1.0, 0.0, 3.0])
    frame = Frame(300, 200, Axis(0, 10, 50, 250), Axis(-1, 3, 150, 10))
    dots = frame.dots(x, y, 2, "point")
    svg = frame.draw("title", "x", "y", dots)
    assert numbers_in(svg, "circle", "cx") == [50, 150, 250]
    assert numbers_in(svg, "circle", "cy") == [150, 115, 10]
    drawn = scatter("t", "x", "y", x, y, is_diagonal=False)
    placed = np.array(numbers_in(drawn, "circle", "cx"))
    assert placed[1] == pytest.approx((placed[0] + placed[2]) / 2, abs=0.01)


def test_bars_are_as_long_as_their_values_and_begin_at_zero() -> None:
    svg = bars("t", ["a", "b", "c"], [0.4, 0.2, -0.1], [0.0, 0.0, 0.0], "fall")
    widths, starts = numbers_in(svg, "rect", "width"), numbers_in(svg, "rect", "x")
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.05) == pytest.approx(4 * widths[2], abs=0.1)
    assert starts[0] == starts[1] == pytest.approx(starts[2] + widths[2], abs=0.05)


def test_a_curve_leaves_out_what_is_not_finite_and_names_do_not_overlap() -> None:
    lines = [Curve("first", [1, 2, 3], [1.0, np.nan, 2.0]), Curve("second", [1, 2, 3], [1.0, 1.5, 2.0])]
    svg = curves("t", "epoch", "loss", lines, mark=(2.0, "best: 2"))
    tree = ElementTree.fromstring(svg)
    points = [line.attrib["points"].split() for line in tree.iter("polyline")]
    assert [len(found) for found in points] == [2, 3]
    names = [float(text.attrib["y"]) for text in tree.iter("text") if "name" in text.attrib["class"]]
    assert abs(names[0] - names[1]) >= 13
    assert len({line.attrib["class"] for line in tree.iter("polyline")}) == 2  # told apart by dashes too


def test_constant_and_single_values_can_be_drawn() -> None:
    for svg in (
        curves("t", "epoch", "loss", [Curve("training", [1], [0.5])]),
        bars("t", ["a"], [0.0], [0.0], "fall"),
        histogram(np.array([], dtype=np.int64), "t", True),
        dependence_points("t", "colour", "price", ["red", "blue"], [Curve("price", [0, 1], [3.0, 3.0])], (3.0, 3.0)),
    ):
        assert "nan" not in svg.lower()
        ElementTree.fromstring(svg)


def test_categories_have_a_row_each_and_curves_a_shape_each() -> None:
    lines = [Curve(f"class {kind}", [0, 1], [0.1 * kind, 0.5]) for kind in range(KINDS)]
    tree = ElementTree.fromstring(dependence_points("t", "colour", "probability", ["red", "blue"], lines, (0.0, 0.5)))
    said = [text.text for text in tree.iter("text")]
    assert {"red", "blue", "colour: probability"} <= set(said)
    paths = [path.attrib["d"] for path in tree.iter("path")]
    assert len(paths) == 2 * KINDS + KINDS  # those in the rows, and the legend
    assert len({re.sub(r"^M\S+ [\d.]+", "", path) for path in paths}) == KINDS
    along = [float(path.split()[0][1:]) for path in paths[: 2 * KINDS : 2]]
    np.testing.assert_allclose(np.diff(along), along[1] - along[0], atol=0.02)  # 0, 0.1, 0.2 ...


def test_every_drawing_has_a_title_that_is_read_out() -> None:
    tree = ElementTree.fromstring(histogram(np.array([1, 2]), "size: histogram", True))
    assert (tree.attrib["role"], tree.attrib["aria-label"]) == ("img", "size: histogram")
    assert tree[0].tag == "title" and tree[0].text == "size: histogram"


def test_a_network_shows_few_units_of_many_and_says_how_many_there_are() -> None:
    svg = draw_network([20, 64, 1], [["Linear"], ["Linear"]], [f"column {i}" for i in range(20)], ["price"], "network")
    tree = ElementTree.fromstring(svg)
    assert len(list(tree.iter("circle"))) == 8 + 8 + 1
    assert len(list(tree.iter("line"))) == 8 * 8 + 8
    said = [text.text for text in tree.iter("text")]
    assert {"20 inputs", "64 units", "1 output", "price", "column 0", "column 19"} <= set(said)
    assert "column 10" not in said


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_stands_out_from_the_paper() -> None:
    """WCAG AA asks for a contrast of 4.5 for text."""
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", STYLE.read_text(encoding="utf-8")))
    assert {"ink", "soft", "blue", "orange", "green", "purple", "teal", "grey"} <= set(colours)
    for background in (colours["paper"], colours["shade"], "#fdf3ec"):
        for name in set(colours) - {"paper", "shade", "rule"}:
            contrast = (luminance(background) + 0.05) / (luminance(colours[name]) + 0.05)
            assert contrast >= 4.5, f"{name} on {background}: {contrast:.2f}"
