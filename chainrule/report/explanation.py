"""The sections on what a network looks at: importance of columns, and dependence on their values."""

from __future__ import annotations

import numpy as np

from .charts import Curve, bars, dependence_curves, dependence_points
from .columns import kind_of
from .findings import NAMES
from .markup import Markup, element
from .numbers import count
from .study import REPEATS, Dependence, Run, Study
from .tables import figure, paragraph, section

MOST_BARS = 20
MOST_CURVES = 5


def importance_section(run: Run, found: Study) -> Markup:
    """Which columns the network relies on."""
    shown = found.importance[:MOST_BARS]
    name = NAMES[found.importance_measure]
    moves = "rises" if found.importance_measure == "log_loss" else "falls"
    label = f"how much {name} {moves} when the column is shuffled"
    left_out = len(found.importance) - len(shown)
    more = f" The {left_out} least important of {len(found.importance)} columns are not shown." if left_out else ""
    return section(
        "importance",
        "What it relies on",
        paragraph(
            f"Permutation importance: how much {name} {moves} when the values of one column are shuffled among the "
            "rows and all others stay. Columns that say the same as another one share their importance, so that each "
            "may seem small."
        ),
        figure(
            bars(
                "Permutation importance of the columns",
                [item.column for item in shown],
                [item.mean for item in shown],
                [item.deviation for item in shown],
                label,
            ),
            f"Mean over {REPEATS} shuffles of {_of(found.shuffled_rows, len(run.test.rows), 'test row')} (seeded); "
            f"strokes are ± one standard deviation over the shuffles.{more}",
        ),
    )


def dependence_section(run: Run, found: Study) -> Markup:
    """How the prediction changes with the most important columns; nothing where no column has two values."""
    if not found.dependence:
        return Markup("")
    numbers = _curve_numbers(run)
    chosen = [_outputs(item, numbers) for item in found.dependence]
    extent = (min(float(values.min()) for values in chosen), max(float(values.max()) for values in chosen))
    charts = [_chart(run, item, values, numbers, extent) for item, values in zip(found.dependence, chosen, strict=True)]
    name, classes = run.target.name, run.target.classes
    of_some = "each class" if len(numbers) == len(classes) else "the commonest classes"
    of_two = f"that {name} is {classes[-1]}" if classes else ""
    what = {"binary": f"probability {of_two}", "multiclass": f"probability of {of_some}"}.get(run.target.task, name)
    return section(
        "dependence",
        "How the prediction changes",
        paragraph(
            f"Partial dependence: the mean predicted {what} if one column had this value in all rows and all others "
            "stayed. It shows what the network has learnt, not what would happen if somebody changed the value; where "
            "columns go together, it averages over rows that do not exist."
        ),
        element("div", *charts, class_="grid-of-charts"),
        paragraph(
            f"Mean over {_of(found.dependence_rows, len(run.train.rows), 'training row')}; from the 5 % to the 95 % "
            "quantile of the column, of which the strokes at the bottom mark the deciles. All charts have the same "
            "scale of predictions.",
            class_="fine",
        ),
    )


def _of(some: int, whole: int, noun: str) -> str:
    return f"all {count(whole, noun)}" if some == whole else f"{count(some, noun)} drawn at random from {whole:,}"


def _curve_numbers(run: Run) -> list[int]:
    """The classes that are drawn: the second of two, the commonest of many; one curve for a number."""
    if run.target.task != "multiclass":
        return [1 if run.target.task == "binary" else 0]
    counts = np.bincount(run.train.truth, minlength=len(run.target.classes))
    return sorted(np.argsort(-counts, kind="stable")[:MOST_CURVES].tolist())


def _outputs(item: Dependence, numbers: list[int]) -> np.ndarray:
    return item.outputs.reshape(len(item.outputs), -1)[:, numbers]


def _chart(run: Run, item: Dependence, values: np.ndarray, numbers: list[int], extent: tuple[float, float]) -> Markup:
    grid = item.grid
    names = [run.target.classes[number] for number in numbers] if run.target.classes else [run.target.name]
    y_label = "probability" if run.target.classes else run.target.name
    title = f"Partial dependence on {item.column}"
    encoder = next(encoder for encoder in run.preparation.encoders if encoder.column == item.column)
    x = np.arange(len(grid.cells)) if grid.positions is None else grid.positions
    lines = [Curve(name, x, values[:, column]) for column, name in enumerate(names)]
    if grid.positions is None:
        return dependence_points(title, item.column, y_label, grid.cells, lines, extent)
    label = f"{item.column} (days since 1970)" if kind_of(encoder) == "date" else item.column
    return dependence_curves(title, label, y_label, lines, extent, grid.deciles)
