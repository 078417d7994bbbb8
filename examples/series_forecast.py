"""Forecasts of two classic series by small networks, beside the seasonal-naive forecast, on held-out last years.

    CHAINRULE_DATA=folder python examples/series_forecast.py [OUTPUT_FOLDER]

Airline passengers (144 months; Box & Jenkins 1976, series G): the last two years are tested, twelve months at once,
the two before stop the training. Logarithm and seasonal difference are Box and Jenkins's, the rest is untuned.
Daily minimum temperatures in Melbourne (3650 days): the last year is tested, seven days at once, also beside the mean
of that time of the year in all years before. Every origin of the tested part is forecast from. Prints MAE, RMSE, MASE
and sMAPE (medians over seeds), and whether each beats seasonal naive; with an output folder it draws the forecasts
there (PNG). Figures: docs/experiments.md.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.series import Backtest, Forecaster, Series, backtest, read_csv_series
from chainrule.training import EarlyStopping

FOLDER = "univariate-series"


class Problem(NamedTuple):
    """A series, its period, how far to forecast from how many rows, and the rows that are held out at its end."""

    name: str
    file: str
    period: int
    inputs: int
    horizon: int
    validation: int
    test: int
    log: bool
    difference: int
    methods: tuple[str, ...]

    def parts(self, series: Series) -> tuple[range, range, range]:
        """Training, validation and test, in order of time."""
        stop = len(series)
        bounds = 0, stop - self.test - self.validation, stop - self.test, stop
        return range(*bounds[:2]), range(*bounds[1:3]), range(*bounds[2:])


NETWORKS = ("perceptron, direct", "perceptron, recursive", "convolutional, direct")
PASSENGERS = Problem(
    "airline passengers", "airline-passengers.csv", 12, 12, 12, 24, 24, True, 12, (*NETWORKS, "perceptron, unprepared")
)
TEMPERATURES = Problem(
    "daily minimum temperatures", "daily-min-temperatures.csv", 365, 28, 7, 365, 365, False, 0,
    (*NETWORKS, "perceptron, knows the season", "mean of the season"),
)  # fmt: skip


def perceptron(inputs: int, horizon: int) -> nn.Module:
    """One hidden layer of 16 units."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, horizon))


def convolutional(inputs: int, horizon: int) -> nn.Module:
    """Two convolutions over time, and a linear layer."""
    layers = [nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * inputs, horizon))


METHODS = {
    "perceptron, direct": {"make": perceptron},
    "perceptron, recursive": {"make": perceptron, "horizon": 1},
    "convolutional, direct": {"make": convolutional, "channels_first": True},
    "perceptron, unprepared": {"make": perceptron, "log": False, "difference": 0},
    "perceptron, knows the season": {"make": perceptron, "targets": [0]},
}
"""How the network is made, and what differs from the problem's own choice."""


def with_season(series: Series, period: int) -> Series:
    """The series and, as two more channels, where in its period each row lies, as a point on a circle."""
    angles = 2 * np.pi * np.arange(len(series)) / period
    return Series(np.column_stack([series.values, np.cos(angles), np.sin(angles)]), series.times, series.names)


def seasonal_mean(history: Series, horizon: int, period: int, smoothing: int = 31) -> Any:
    """The mean of the same row in all periods of the history, and of the 15 rows around it."""
    values = history.values[len(history) % period :].reshape(-1, period).mean(0)
    around = np.arange(horizon)[:, None] + np.arange(smoothing) - smoothing // 2
    return values[around % period].mean(1)


def forecast(problem: Problem, series: Series, name: str, seed: int, epochs: int) -> Backtest:
    """Train on the training part until the validation part gets no better, then forecast the test part."""
    training, validation, test = problem.parts(series)
    tested = {"rows": test, "horizon": problem.horizon, "period": problem.period, "step": 1}
    if name == "mean of the season":
        return backtest(partial(seasonal_mean, period=problem.period), series, **tested)
    options = {"log": problem.log, "difference": problem.difference, "horizon": problem.horizon, **METHODS[name]}
    make, channels = options.pop("make"), 1
    if "targets" in options:
        series, channels = with_season(series, problem.period), 3
    cr.manual_seed(seed)
    forecaster = Forecaster(
        make(problem.inputs * channels, options["horizon"]),
        problem.inputs,
        optimizer=lambda parameters: cr.optim.AdamW(parameters, lr=0.003, weight_decay=0.01),
        callbacks=[EarlyStopping(patience=20)],
        seed=seed,
        **options,
    )
    forecaster.fit(series, rows=training, validation_rows=validation, epochs=epochs, verbose=0)
    return backtest(forecaster.predict, series, targets=options.get("targets"), **tested)


def experiment(
    problem: Problem, series: Series, seeds: Sequence[int] = range(5), epochs: int = 300
) -> dict[str, list[Backtest]]:
    """One backtest per method and seed."""
    return {name: [forecast(problem, series, name, seed, epochs) for seed in seeds] for name in problem.methods}


def report(problem: Problem, found: dict[str, list[Backtest]]) -> None:
    """Print the measures as a table in Markdown, and the verdicts."""
    first = next(iter(found.values()))[0]
    names = list(first.measures["forecast"])
    print(f"\n{problem.name}: {len(first.origins)} origins, {problem.horizon} rows each\n")
    print(f"| | {' | '.join(names)} | MAE by seed |\n|---|{'---|' * (len(names) + 1)}")
    for name in ("naive", "seasonal naive"):
        print(f"| {name} |", " | ".join(f"{first.measures[name][measure]:#.3g}" for measure in names), "| |")
    baseline = first.measures["seasonal naive"]["MAE"]
    verdicts = []
    for name, runs in found.items():
        figures = [[run.measures["forecast"][measure] for run in runs] for measure in names]
        errors = figures[names.index("MAE")]
        print(f"| {name} |", " | ".join(f"{np.median(values):#.3g}" for values in figures), end=" | ")
        print(f"{', '.join(f'{error:#.3g}' for error in errors)} |")
        wins = sum(error < baseline for error in errors)
        verdicts.append(f"{name}: MAE below seasonal naive with {wins} of {len(errors)} seeds")
    print("\n" + "\n".join(verdicts))


def draw(problem: Problem, series: Series, found: dict[str, list[Backtest]], folder: Path) -> Path:
    """Draw the forecasts of the first seed, end to end, over what came; return the file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    test = problem.parts(series)[2]
    shown = range(max(0, test.start - problem.test // 2), test.stop)
    times = np.arange(len(series)) if series.times is None else series.times
    figure, axes = pyplot.subplots(figsize=(10, 4.5), layout="constrained")
    axes.plot(times[shown.start :], series.values[shown.start :], color="black", linewidth=1.2, label="observed")
    lines = {"seasonal naive": next(iter(found.values()))[0].forecasts["seasonal naive"]}
    lines |= {name: runs[0].forecasts["forecast"] for name, runs in found.items()}
    for name, forecasts in lines.items():
        joined = forecasts[:: problem.horizon].reshape(-1)
        style = {"linestyle": "--", "color": "grey"} if name == "seasonal naive" else {}
        axes.plot(times[test.start : test.start + len(joined)], joined, linewidth=1, label=name, **style)
    axes.axvline(times[test.start], color="grey", linewidth=0.8)
    axes.set_title(f"{problem.name}: {problem.horizon} rows at once, held out behind the line")
    axes.set_ylabel(series.names[0])
    axes.legend(fontsize=8)
    path = folder / f"{Path(problem.file).stem}.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def main(output: str | None = None) -> None:
    """Both problems, with the time they take."""
    started = time.perf_counter()
    for problem in (PASSENGERS, TEMPERATURES):
        series = read_csv_series(Path(os.environ.get("CHAINRULE_DATA", "data")) / FOLDER / problem.file)
        found = experiment(problem, series)
        report(problem, found)
        if output is not None:
            Path(output).mkdir(parents=True, exist_ok=True)
            print(draw(problem, series, found, Path(output)))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:2])
