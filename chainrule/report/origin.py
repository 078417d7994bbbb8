"""The sections on where a network comes from: training, network, data, and how to have it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import nn
from .charts import Curve, curves, histogram
from .columns import ColumnSummary, kind_of, summarize
from .markup import Markup, element
from .network_drawing import describe_layers, draw_network
from .numbers import count, number, percent
from .study import Part, Run
from .tables import figure, paragraph, section, table

MOST_COLUMNS = 80


@dataclass(frozen=True)
class Origin:
    """How the network was made: settings in words, seconds per stage, a program and a command that make it again."""

    network: nn.Module
    settings: Mapping[str, str]
    seconds: Mapping[str, float]
    program: str
    command: str


def training_section(run: Run) -> Markup:
    """Loss and accuracy by epoch."""
    history = run.history
    epochs = history["epoch"]
    best = history.best_epoch
    mark = None if best is None else (float(best), f"best: {best}")
    charts = [
        figure(
            curves(
                "Loss by epoch on training and validation rows",
                "epoch",
                "loss",
                [Curve("training", epochs, history["loss"]), Curve("validation", epochs, history["val_loss"])],
                mark=mark,
            ),
            "The loss on the training rows is measured while they are trained on, with dropout; that on the validation "
            "rows without.",
        )
    ]
    if "accuracy" in history and "val_accuracy" in history:
        lines = [Curve("training", epochs, history["accuracy"]), Curve("validation", epochs, history["val_accuracy"])]
        charts.append(
            figure(
                curves("Accuracy by epoch on training and validation rows", "epoch", "accuracy", lines, mark=mark),
                "Share of rows whose class is predicted rightly.",
            )
        )
    said = f"{count(len(history), 'epoch')}; the weights of epoch {best}, with the lowest validation loss, were kept."
    return section("training", "How it trained", paragraph(said), element("div", *charts, class_="pair"))


def network_section(run: Run, origin: Origin) -> Markup:
    """The network as a drawing, and how it was trained."""
    sizes, between = describe_layers(origin.network)
    classes = run.target.classes
    outputs = (
        [f"{run.target.name} is {classes[-1]}"] if run.target.task == "binary" else [*classes] or [run.target.name]
    )
    total = sum(parameter.numel() for parameter in origin.network.parameters())
    drawn = draw_network(
        sizes,
        between,
        run.preparation.feature_names,
        outputs,
        f"The network: {' to '.join(map(str, sizes))} units, {total:,} parameters",
    )
    return section(
        "network",
        "The network",
        figure(
            drawn,
            f"{total:,} parameters. Of long layers, units are left out in the middle; inputs are the prepared columns.",
            "wide",
        ),
        table(
            "How it was trained",
            ["Setting", "Value"],
            [[name, text] for name, text in origin.settings.items()],
            "settings",
        ),
    )


def data_section(run: Run) -> Markup:
    """The table: how its rows were split, and what its columns hold."""
    source = run.table
    labelled = sum(len(part.rows) for part in (run.train, run.validation, run.test))
    left_out = len(source) - labelled
    notes = [f"{count(left_out, 'row')} without a value of {run.target.name} left out."] if left_out else []
    said = " ".join([f"{source.source}: {count(len(source), 'row')}, {count(len(source.columns), 'column')}.", *notes])
    heads = [
        "Part",
        "Rows",
        "Share",
        *([f"{name}" for name in run.target.classes[:8]] or ["Mean", "Standard deviation"]),
    ]
    parts = {"training": run.train, "validation (stopping)": run.validation, "test": run.test}
    rows = [_part_row(run, name, part, labelled) for name, part in parts.items()]
    found = _summaries(run)
    columns = [
        [
            item.name,
            item.kind,
            element("span", f"{item.missing:,}", class_="missing" if item.missing else None),
            item.values,
            _spread(item),
            item.use,
        ]
        for item in found[:MOST_COLUMNS]
    ]
    more = (
        [paragraph(f"… and {len(found) - MOST_COLUMNS} more columns; chainrule inspect lists all.")]
        if len(found) > MOST_COLUMNS
        else []
    )
    in_proportion = ", each class in proportion" if run.target.classes else ""
    return section(
        "data",
        "The data",
        paragraph(said),
        *([element("ul", *(element("li", note) for note in source.notes))] if source.notes else []),
        table(f"How the rows were split: at random by the seed{in_proportion}", heads, rows, "numbers"),
        table(
            "The columns: of numbers and dates least, median and largest value; of the rest the commonest ones",
            ["Column", "Kind", "Missing", "Values", "Spread", "Prepared as"],
            columns,
            "columns",
        ),
        *more,
    )


def _part_row(run: Run, name: str, part: Part, labelled: int) -> list[str]:
    if run.target.classes:
        shares = np.bincount(part.truth, minlength=len(run.target.classes)) / max(len(part.truth), 1)
        told = [percent(round(float(share), 3)) for share in shares[:8]]
    else:
        told = [number(float(part.truth.mean())), number(float(part.truth.std()))]
    return [name, f"{len(part.rows):,}", percent(round(len(part.rows) / labelled, 3)), *told]


def _summaries(run: Run) -> list[ColumnSummary]:
    """The target, the columns that the network reads, and those that it does not, in the order of the table."""
    encoders = {encoder.column: encoder for encoder in run.preparation.encoders}
    found: list[ColumnSummary] = []
    for column in run.table.columns:
        if column.name == run.target.name:
            found.insert(0, summarize(column, "the target", "class" if run.target.classes else "number"))
        elif column.name in encoders:
            encoder = encoders[column.name]
            use = encoder.describe().removeprefix(f"{column.name}: ").removeprefix(f"{kind_of(encoder)}, ")
            found.append(summarize(column, use, kind_of(encoder)))
        else:
            reason = run.preparation.dropped.get(column.name, "")
            found.append(summarize(column, f"left out: {reason}"))
    return found


def _spread(item: ColumnSummary) -> str:
    if len(item.counts) < 2:
        return "–"
    what = "histogram" if item.is_ordered else "frequencies of the commonest values"
    return histogram(item.counts, f"{item.name}: {what}", item.is_ordered)


def reproduction_section(origin: Origin, study_seconds: float) -> Markup:
    """The same training as a command and as a program, and how long everything took."""
    rows: Sequence[Sequence[str]] = [
        [name, f"{number(seconds, 3)} s"]
        for name, seconds in {**origin.seconds, "measuring for this report": study_seconds}.items()
    ]
    return section(
        "again",
        "The same again",
        paragraph("On the command line:"),
        element("pre", element("code", origin.command)),
        paragraph("In Python, with the same figures:"),
        element("pre", element("code", origin.program), class_="program"),
        table("Where the time went", ["Stage", "Time"], rows, "numbers"),
    )
