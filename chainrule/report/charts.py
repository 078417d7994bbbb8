"""Charts as SVG: curves, bars, points, reliability diagrams, small histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .calibration import Reliability
from .markup import Markup, element, join
from .numbers import number, tick, ticks

RIGHT, TOP, BOTTOM = 18, 14, 46
DIGIT = 6.4
"""Pixels that a digit beside an axis takes."""
KINDS = 6
"""Line styles and colours that the style sheet has; curves beyond start over."""


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers, and where on the drawing it lies."""

    low: float
    high: float
    start: float
    stop: float

    def place(self, value: Any) -> Any:
        """Return where on the drawing a value, or an array of them, lies."""
        return np.round(
            self.start + (np.asarray(value) - self.low) / (self.high - self.low) * (self.stop - self.start), 2
        )


class Curve(NamedTuple):
    """A named line."""

    name: str
    x: ArrayLike
    y: ArrayLike


@dataclass(frozen=True)
class Frame:
    """The axes of a chart of so many pixels, on which marks are placed."""

    width: int
    height: int
    x: Axis
    y: Axis

    @classmethod
    def around(cls, x: ArrayLike, y: ArrayLike, width: int, height: int, right: int = RIGHT) -> Frame:
        """Return the frame in which all these numbers lie, with a little room above and below."""
        vertical = Axis(*_extent(y, 0.04), height - BOTTOM, TOP)
        return cls(width, height, Axis(*_extent(x, 0.0), _left(vertical), width - right), vertical)

    def line(self, x: ArrayLike, y: ArrayLike, **attributes: Any) -> Markup:
        """Return a line through points; numbers that are not finite are left out."""
        points = np.column_stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])
        points = points[np.isfinite(points).all(axis=1)]
        placed = zip(self.x.place(points[:, 0]), self.y.place(points[:, 1]), strict=True)
        return element("polyline", points=" ".join(f"{a:g},{b:g}" for a, b in placed), **attributes)

    def dots(self, x: ArrayLike, y: ArrayLike, radius: float, class_: str) -> Markup:
        """Return a dot per point."""
        placed = zip(self.x.place(x), self.y.place(y), strict=True)
        return join(element("circle", cx=f"{a:g}", cy=f"{b:g}", r=radius, class_=class_) for a, b in placed)

    def draw(self, title: str, x_label: str, y_label: str, *marks: Markup) -> Markup:
        """Return the chart: grid, marks, ticks and labels."""
        parts = [_rows(self), _columns(self), *marks]
        middle = (self.x.start + self.x.stop) / 2
        parts.append(_text(x_label, middle, self.height - 8, "middle", "axis"))
        height = (self.y.start + self.y.stop) / 2
        turned = f"rotate(-90 14 {height:g})"
        parts.append(element("text", y_label, x=14, y=height, text_anchor="middle", class_="axis", transform=turned))
        return drawing(self.width, self.height, title, *parts)


def drawing(width: float, height: float, title: str, *parts: Markup, class_: str = "chart") -> Markup:
    """Return an SVG image; the title is read out in its place."""
    return element(
        "svg",
        element("title", title),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        aria_label=title,
        class_=class_,
    )


def curves(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Curve],
    *,
    mark: tuple[float, str] | None = None,
    size: tuple[int, int] = (430, 270),
) -> Markup:
    """Draw lines, each with its name at its end, and perhaps a vertical line at a place of interest."""
    right = 22 + 7 * max(len(line.name) for line in lines)
    x, y = (np.concatenate([np.asarray(line[axis], np.float64) for line in lines]) for axis in (1, 2))
    frame = Frame.around(x, y, size[0], size[1], min(right, 150))
    marks = []
    if mark is not None:
        place = float(frame.x.place(mark[0]))
        marks.append(element("line", x1=place, x2=place, y1=TOP, y2=frame.y.start, class_="mark"))
        side, shift = ("start", 5) if place < (frame.x.start + frame.x.stop) / 2 else ("end", -5)
        marks.append(_text(mark[1], place + shift, TOP + 9, side, "note"))
    ends = _apart([float(frame.y.place(np.asarray(line.y, np.float64)[-1])) for line in lines], 13)
    for kind, (line, end) in enumerate(zip(lines, ends, strict=True)):
        marks.append(frame.line(line.x, line.y, class_=f"line kind-{kind % KINDS}"))
        marks.append(_text(_shortened(line.name, 18), frame.x.stop + 6, end + 4, "start", f"name kind-{kind % KINDS}"))
    return frame.draw(title, x_label, y_label, *marks)


def bars(title: str, names: Sequence[str], values: ArrayLike, spreads: ArrayLike, label: str) -> Markup:
    """Draw horizontal bars with their numbers, and a whisker of ± the spread each."""
    given, spread = np.asarray(values, np.float64), np.asarray(spreads, np.float64)
    room = 24 + 7 * min(max(map(len, names)), 24)
    height = 24 * len(names) + TOP + BOTTOM
    low, high = min(0.0, float((given - spread).min())), max(float((given + spread).max()), 1e-9)
    frame = Frame(640, height, Axis(low, high, room, 570), Axis(len(names) - 0.5, -0.5, height - BOTTOM, TOP))
    zero = float(frame.x.place(0.0))
    parts = [_columns(frame)]
    for row, (name, value, width) in enumerate(zip(names, given, spread, strict=True)):
        y, end = float(frame.y.place(row)), float(frame.x.place(value))
        first, last = (float(frame.x.place(value + side * width)) for side in (-1, 1))
        size = {"y": f"{y - 8:g}", "height": 16}
        parts += [
            element("rect", x=f"{min(zero, end):g}", width=f"{abs(end - zero):.2f}", class_="bar", **size),
            element("line", x1=first, x2=last, y1=y, y2=y, class_="whisker"),
            _text(_shortened(name, 24), room - 8, y + 4, "end", "name"),
            _text(number(float(value), 3), max(last, end, zero) + 7, y + 4, "start", "value"),
        ]
    parts.append(element("line", x1=zero, x2=zero, y1=TOP, y2=height - BOTTOM, class_="base"))
    parts.append(_text(label, (room + 570) / 2, height - 8, "middle", "axis"))
    return drawing(640, height, title, *parts)


def scatter(title: str, x_label: str, y_label: str, x: NDArray[Any], y: NDArray[Any], *, is_diagonal: bool) -> Markup:
    """Draw points, with the diagonal on which both are equal, or the line at zero."""
    both = np.concatenate([x, y])
    frame = Frame.around(both, both, 430, 320) if is_diagonal else Frame.around(x, np.append(y, 0.0), 430, 320)
    ends = np.array([frame.x.low, frame.x.high])
    line = frame.line(ends, ends if is_diagonal else [0.0, 0.0], class_="mark")
    return frame.draw(title, x_label, y_label, frame.dots(x, y, 2.4, "point"), line)


def reliability_diagram(title: str, x_label: str, y_label: str, found: Reliability) -> Markup:
    """Draw observed against predicted shares, with their intervals; on the diagonal both agree."""
    vertical = Axis(0, 1, 360 - BOTTOM, TOP)
    frame = Frame(430, 360, Axis(0, 1, _left(vertical), 430 - RIGHT), vertical)
    marks = [frame.line([0, 1], [0, 1], class_="mark")]
    for predicted, low, high in zip(found.predicted, found.low, found.high, strict=True):
        marks.append(frame.line([predicted, predicted], [low, high], class_="whisker"))
    marks.append(frame.line(found.predicted, found.observed, class_="line kind-0"))
    marks.append(frame.dots(found.predicted, found.observed, 4, "dot"))
    return frame.draw(title, x_label, y_label, *marks)


def dependence_curves(
    title: str, label: str, y_label: str, lines: Sequence[Curve], extent: tuple[float, float], deciles: NDArray[Any]
) -> Markup:
    """Draw small curves over one column, all such charts with one vertical extent; strokes below mark its deciles."""
    right = RIGHT if len(lines) == 1 else 96
    x = np.concatenate([np.asarray(line.x, np.float64) for line in lines])
    frame = Frame.around(x, extent, 320, 230, right)
    inside = deciles[(deciles >= frame.x.low) & (deciles <= frame.x.high)]
    marks = [
        element("line", x1=place, x2=place, y1=frame.y.start - 6, y2=frame.y.start, class_="decile")
        for place in frame.x.place(inside)
    ]
    marks += _named_lines(frame, lines)
    return frame.draw(title, _shortened(label, 40), y_label, *marks)


def dependence_points(
    title: str, label: str, x_label: str, names: Sequence[str], lines: Sequence[Curve], extent: tuple[float, float]
) -> Markup:
    """The same over categories: a row each, with a mark per curve; ``y`` of a curve lies along the horizontal axis."""
    height = TOP + BOTTOM + 17 * max(len(names), 4) + (16 if len(lines) > 1 else 0)
    left = 16 + DIGIT * min(max(map(len, names)), 16)
    across = Axis(*_extent(extent, 0.04), left, 320 - RIGHT)
    frame = Frame(320, height, across, Axis(len(names) - 0.5, -0.5, height - BOTTOM, height - BOTTOM - 17 * len(names)))
    parts = [_columns(frame)]
    for row, name in enumerate(names):
        y = float(frame.y.place(row))
        parts.append(element("line", x1=across.start, x2=across.stop, y1=y, y2=y, class_="grid"))
        parts.append(_text(_shortened(name, 16), left - 7, y + 4, "end", "tick"))
    for kind, line in enumerate(lines):
        placed = frame.x.place(line.y), frame.y.place(line.x)
        parts += [_mark(kind, float(x), float(y)) for x, y in zip(*placed, strict=True)]
    if len(lines) > 1:
        step = (320 - RIGHT) / len(lines)
        for kind, line in enumerate(lines):
            parts.append(_mark(kind, 8 + kind * step, 8))
            parts.append(
                _text(_shortened(line.name, int(step / 7)), 15 + kind * step, 12, "start", f"name kind-{kind}")
            )
    parts.append(_text(f"{_shortened(label, 24)}: {_shortened(x_label, 20)}", 160, height - 8, "middle", "axis"))
    return drawing(320, height, title, *parts)


def histogram(counts: NDArray[np.int64], title: str, is_ordered: bool) -> Markup:
    """Draw counts as bars of a word's size: next to one another where they are in order, else with gaps."""
    width, height = 96, 22
    step = width / max(len(counts), 1)
    gap = 0.5 if is_ordered else min(3.0, step / 3)
    top = max(int(counts.max(initial=0)), 1)
    parts = [
        element(
            "rect",
            x=f"{place * step:.2f}",
            y=f"{height * (1 - amount / top):.2f}",
            width=f"{step - gap:.2f}",
            height=f"{height * amount / top:.2f}",
            class_="bar",
        )
        for place, amount in enumerate(counts.tolist())
    ]
    return drawing(width, height, title, *parts, class_="spark")


def _named_lines(frame: Frame, lines: Sequence[Curve]) -> list[Markup]:
    marks = [frame.line(line.x, line.y, class_=f"line kind-{kind % KINDS}") for kind, line in enumerate(lines)]
    if len(lines) == 1:
        return marks
    ends = _apart([float(frame.y.place(np.asarray(line.y, np.float64)[-1])) for line in lines], 13)
    return marks + [
        _text(_shortened(line.name, 13), frame.x.stop + 6, end + 4, "start", f"name kind-{kind % KINDS}")
        for kind, (line, end) in enumerate(zip(lines, ends, strict=True))
    ]


def _rows(frame: Frame) -> Markup:
    parts = []
    for value in _heights(frame.y):
        y = float(frame.y.place(value))
        parts.append(element("line", x1=frame.x.start, x2=frame.x.stop, y1=y, y2=y, class_="grid"))
        parts.append(_text(tick(float(value)), frame.x.start - 7, y + 4, "end", "tick"))
    return join(parts)


def _heights(axis: Axis) -> NDArray[np.float64]:
    return ticks(axis.low, axis.high, max(3, int((axis.start - axis.stop) // 36)))


def _left(axis: Axis) -> float:
    """Where a chart begins, so that the label and the numbers of its vertical axis have room."""
    return 32 + DIGIT * max((len(tick(float(value))) for value in _heights(axis)), default=1)


def _columns(frame: Frame) -> Markup:
    parts = []
    most = max(4, int((frame.x.stop - frame.x.start) // 50))
    for value in ticks(frame.x.low, frame.x.high, most):
        x = float(frame.x.place(value))
        parts.append(element("line", x1=x, x2=x, y1=frame.y.start, y2=frame.y.stop, class_="grid"))
        parts.append(_text(tick(float(value)), x, frame.y.start + 16, "middle", "tick"))
    return join(parts)


def _mark(kind: int, x: float, y: float) -> Markup:
    """A small mark; kinds differ in shape and colour."""
    shapes = (
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
        "m-3.5 -3.5h7v7h-7z",
        "m0 -4.6l4.6 8h-9.2z",
        "m0 -5l5 5l-5 5l-5 -5z",
        "m-4.6 -4l9.2 0l-4.6 8z",
        "m-5 -1.4h3.6v-3.6h2.8v3.6h3.6v2.8h-3.6v3.6h-2.8v-3.6h-3.6z",
    )
    return element("path", d=f"M{x:g} {y:g}{shapes[kind % KINDS]}", class_=f"dot kind-{kind % KINDS}")


def _text(text: str, x: float, y: float, anchor: str, class_: str) -> Markup:
    return element("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, class_=class_)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _extent(values: ArrayLike, room: float) -> tuple[float, float]:
    """The least and the largest finite number, with room around them; never the same."""
    given = np.asarray(values, np.float64)
    known = given[np.isfinite(given)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low == high:
        half = abs(low) / 2 or 0.5
        return low - half, high + half
    return low - room * (high - low), high + room * (high - low)


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Move labels so that none is nearer to the next than ``least``, in their order."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved
