"""The page as a whole: its head, its figures at a glance, its sections in order. No script, no request, one file."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from .explanation import dependence_section, importance_section
from .findings import NAMES, findings
from .markup import Markup, element, join
from .numbers import count, score, sentence
from .origin import Origin, data_section, network_section, reproduction_section, training_section
from .results import calibration_section, errors_section, findings_section, scores_section
from .study import Measured, Run, Study, study

STYLE = Path(__file__).with_name("style.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do with the page: show it. Whatever a table's cells hold, nothing is loaded and nothing runs."""


def report(run: Run, origin: Origin, *, epochs: int, seed: int) -> str:
    """Return a self-contained HTML page about a training that was allowed so many epochs.

    What is drawn at random for it (bootstrap, shuffles, samples of large tables) follows from the seed.
    """
    started = time.perf_counter()
    found = study(run, seed)
    seconds = time.perf_counter() - started
    sections = [
        findings_section(findings(run, found, epochs)),
        scores_section(run, found),
        errors_section(run, found),
        calibration_section(run, found),
        importance_section(run, found),
        dependence_section(run, found),
        training_section(run),
        network_section(run, origin),
        data_section(run),
        reproduction_section(origin, seconds),
    ]
    title = f"{run.target.name}: report on a trained network"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = element("body", _header(run, found), _contents(sections), element("main", *sections), _footer(origin))
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _header(run: Run, found: Study) -> Markup:
    kind = {"binary": "Two classes", "multiclass": f"{len(run.target.classes)} classes", "regression": "A number"}
    used = len(run.preparation.encoders)
    rows = count(len(run.table), "row")
    told = f"{kind[run.target.task]}, told from {count(used, 'column')} of {run.table.source} ({rows})"
    cards = [_card(item) for item in found.measured[:3]]
    return element(
        "header",
        element("p", "chainrule report", class_="kind"),
        element("h1", "Predicting ", element("span", run.target.name, class_="target")),
        element("p", told, class_="lead"),
        element("dl", *cards, class_="cards"),
    )


def _card(item: Measured) -> Markup:
    details = [f"baseline {score(item.baseline)}"]
    if item.interval is not None:
        details.insert(0, f"95 % interval {score(item.interval.low)} to {score(item.interval.high)}")
    return element(
        "div",
        element("dt", f"{sentence(NAMES[item.name])} on test rows"),
        element("dd", score(item.value), class_="figure"),
        *(element("dd", detail) for detail in details),
    )


def _contents(sections: list[Markup]) -> Markup:
    """Links to the sections that there are."""
    found = re.findall(r'<h2 id="([\w-]+)-title">(.*?)</h2>', join(sections))
    links = (element("a", Markup(title), href=f"#{name}") for name, title in found)
    return element("nav", *links, aria_label="Contents")


def _footer(origin: Origin) -> Markup:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return element(
        "footer",
        element("p", f"Made on {made} by {origin.settings['versions']}. This page loads nothing and runs no script."),
    )
