"""What a run of a benchmark says: a table, the goals, and the same as JSON."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

from .harness import AtMost, Benchmark, Faster, Outcome

PACKAGES = ("chainrule", "numpy", "llvmlite", "torch", "scikit-learn", "jax")


def machine(threads: int) -> dict[str, object]:
    """Where and with what the figures were measured."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores_of_machine": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def table(benchmark: Benchmark, outcomes: list[Outcome]) -> str:
    """A Markdown table: median, fastest and slowest of each contestant, and its multiple of those with a goal."""
    compared = {goal.contestant for goal in benchmark.goals if isinstance(goal, Faster)}
    ours = [outcome for outcome in outcomes if outcome.values and outcome.name in compared]
    header = ["contestant", "median", "fastest", "slowest", *(f"/ {outcome.name}" for outcome in ours)]
    rows = [header]
    for outcome in outcomes:
        if outcome.values:
            costs = [outcome.median, min(outcome.values), max(outcome.values)]
            ratios = [_ratio(outcome, other) for other in ours]
            rows.append([outcome.name, *(quantity(cost, benchmark.unit) for cost in costs), *ratios])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    lines.append("")
    lines += [f"{outcome.name}: left out, {outcome.absent} is not installed" for outcome in outcomes if outcome.absent]
    lines += [f"{outcome.name}: failed, {outcome.error}" for outcome in outcomes if outcome.error]
    return "\n".join(lines)


def goals(benchmark: Benchmark, outcomes: list[Outcome]) -> list[str]:
    """One line for each goal whose contestants were measured, with the figure and the verdict."""
    measured = {outcome.name: outcome for outcome in outcomes if outcome.values}
    lines = []
    for goal in benchmark.goals:
        if isinstance(goal, AtMost) and goal.contestant in measured:
            cost = measured[goal.contestant].median
            verdict = "held" if cost <= goal.value else "MISSED"
            bound = quantity(goal.value, benchmark.unit)
            lines.append(f"{goal.contestant}: {quantity(cost, benchmark.unit)} (goal at most {bound}): {verdict}")
        elif isinstance(goal, Faster) and goal.contestant in measured and goal.peer in measured:
            ratio = measured[goal.peer].median / measured[goal.contestant].median
            verdict = "held" if ratio >= goal.ratio else "MISSED"
            lines.append(f"{goal.peer} / {goal.contestant}: {ratio:.3g} (goal at least {goal.ratio:g}): {verdict}")
    return lines


def as_json(name: str, benchmark: Benchmark, outcomes: list[Outcome], threads: int) -> dict[str, object]:
    """Everything that was measured, for a file."""
    return {
        "benchmark": name,
        "title": benchmark.title,
        "unit": benchmark.unit,
        "machine": machine(threads),
        "contestants": {
            outcome.name: {"median": outcome.median, "values": outcome.values} for outcome in outcomes if outcome.values
        },
        "left_out": {outcome.name: outcome.absent for outcome in outcomes if outcome.absent},
        "failed": {outcome.name: outcome.error for outcome in outcomes if outcome.error},
        "goals": goals(benchmark, outcomes),
    }


def quantity(value: float, unit: str) -> str:
    """``0.00123, "s"`` → ``1.23 ms``."""
    if unit == "s":
        for scale, prefix in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= scale:
                return f"{_digits(value / scale)} {prefix}"
        return f"{_digits(value * 1e9)} ns"
    return f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(outcome: Outcome, other: Outcome) -> str:
    return f"{outcome.median / other.median:.3g}" if other.median > 0 else "-"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
