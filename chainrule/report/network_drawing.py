"""A network of dense layers as a drawing: a column of units per layer, and what lies between."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn
from .charts import drawing
from .markup import Markup, element

MOST_UNITS = 9
WIDTH, STEP = 860, 26


def draw_network(
    sizes: Sequence[int], between: Sequence[Sequence[str]], inputs: Sequence[str], outputs: Sequence[str], title: str
) -> Markup:
    """Draw layers of these sizes, units beyond nine left out in the middle.

    ``between`` has, for each layer but the last, what leads to the next, a line each; the first units of the first and
    last layer are named.
    """
    middle = 20 + STEP * MOST_UNITS / 2
    places = [220 + 500 * layer / max(len(sizes) - 1, 1) for layer in range(len(sizes))]
    columns = [_column(size, middle) for size in sizes]
    parts = []
    for layer in range(len(sizes) - 1):
        parts += [
            element(
                "line",
                x1=f"{places[layer] + 8:g}",
                y1=f"{a:g}",
                x2=f"{places[layer + 1] - 8:g}",
                y2=f"{b:g}",
                class_="edge",
            )
            for a in columns[layer]
            if a is not None
            for b in columns[layer + 1]
            if b is not None
        ]
    bottom = 2 * middle + 4
    for layer, (size, x, column) in enumerate(zip(sizes, places, columns, strict=True)):
        for y in column:
            if y is None:
                parts.append(element("text", "⋮", x=f"{x:g}", y=f"{middle + 6:g}", text_anchor="middle", class_="dots"))
            else:
                parts.append(element("circle", cx=f"{x:g}", cy=f"{y:g}", r=8, class_="unit"))
        role = "inputs" if layer == 0 else "outputs" if layer == len(sizes) - 1 else "units"
        said = f"{size} {role if size != 1 else role[:-1]}"
        parts.append(element("text", said, x=f"{x:g}", y=f"{bottom:g}", text_anchor="middle", class_="name"))
    for layer, lines in enumerate(between):
        x = (places[layer] + places[layer + 1]) / 2
        for row, line in enumerate(lines):
            parts.append(
                element("text", line, x=f"{x:g}", y=f"{bottom + 20 + 15 * row:g}", text_anchor="middle", class_="tick")
            )
    parts += _names(columns[0], inputs, places[0] - 16, "end") + _names(columns[-1], outputs, places[-1] + 16, "start")
    height = bottom + 12 + 15 * max((len(lines) for lines in between), default=0)
    return drawing(WIDTH, height, title, *parts, class_="chart network")


def _column(size: int, middle: float) -> list[float | None]:
    """The heights of the units of a layer; None stands for those left out."""
    shown = min(size, MOST_UNITS)
    places: list[float | None] = [middle + STEP * (unit - (shown - 1) / 2) for unit in range(shown)]
    if size > MOST_UNITS:
        places[MOST_UNITS // 2] = None
    return places


def _names(column: Sequence[float | None], names: Sequence[str], x: float, anchor: str) -> list[Markup]:
    """The names of the units of a layer: of a long one, those of its beginning and its end."""
    half = len(column) // 2
    shown = list(names) if len(names) <= MOST_UNITS else [*names[:half], "", *names[-half:]]
    written = [name if len(name) <= 26 else f"{name[:25]}…" for name in shown]
    return [
        element("text", name, x=f"{x:g}", y=f"{y + 4:g}", text_anchor=anchor, class_="name")
        for name, y in zip(written, column, strict=True)
        if y is not None and name
    ]


def describe_layers(network: nn.Module) -> tuple[list[int], list[list[str]]]:
    """Return the sizes of a chain of linear layers, inputs first, and what leads from each to the next, in words.

    >>> describe_layers(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1)))
    ([8, 4, 1], [['Linear, 36 parameters', 'ReLU'], ['Linear, 5 parameters']])
    """
    sizes: list[int] = []
    between: list[list[str]] = []
    for layer in network.children():
        if isinstance(layer, nn.Linear):
            sizes += [layer.in_features] if not sizes else []
            sizes.append(layer.out_features)
            between.append([f"Linear, {sum(p.numel() for p in layer.parameters()):,} parameters"])
        elif between:
            between[-1].append(f"Dropout {layer.p:g}" if isinstance(layer, nn.Dropout) else type(layer).__name__)
    return sizes, between
