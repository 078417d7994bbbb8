"""The example of forecasts runs on a series made here, compares with seasonal naive, and draws."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chainrule.series import Series

PATH = Path(__file__).resolve().parents[2] / "examples" / "series_forecast.py"
TIME = np.arange(120)
SEASONS = Series(np.exp(0.02 * TIME + np.sin(TIME * 2 * np.pi / 12)), TIME, ["sales"])


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("series_forecast", PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def problem(example: ModuleType, *methods: str, log: bool = True) -> object:
    return example.Problem("sales", "sales.csv", 12, 12, 6, 12, 24, log, 12 if log else 0, methods)


def test_forecasts_of_a_growing_season_beat_seasonal_naive(example, capsys):
    sales = problem(example, *example.NETWORKS, "perceptron, unprepared")
    assert [list(part)[:: len(part) - 1] for part in sales.parts(SEASONS)] == [[0, 83], [84, 95], [96, 119]]
    found = example.experiment(sales, SEASONS, seeds=[0], epochs=20)
    example.report(sales, found)
    printed = capsys.readouterr().out
    assert "perceptron, direct: MAE below seasonal naive with 1 of 1 seeds" in printed
    assert "19 origins, 6 rows each" in printed
    baselines = [runs[0].measures["seasonal naive"]["MAE"] for runs in found.values()]
    assert baselines == pytest.approx(baselines[:1] * len(found))


def test_the_mean_of_the_season_is_that_of_the_rows_around_a_time_of_the_year(example):
    year = np.random.default_rng(0).normal(size=365)
    history = Series(np.concatenate([year[-20:], year + 1, year - 1]))
    expected = [np.roll(year, 15 - step)[:31].mean() for step in range(5)]
    np.testing.assert_allclose(example.seasonal_mean(history, 5, 365), expected)


def test_channels_say_which_time_of_the_year_it_is(example):
    channels = example.with_season(SEASONS, 12).values
    expected = np.stack([SEASONS.values[[0, 3, 12]], [1, 0, 1], [0, 1, 0]], 1)
    np.testing.assert_allclose(channels[[0, 3, 12]], expected, atol=1e-9)
    name = "perceptron, knows the season"
    (run,) = example.experiment(problem(example, name, log=False), SEASONS, [0], 2)[name]
    assert run.actual.shape == (19, 6, 1)


def test_it_draws(example, tmp_path):
    pytest.importorskip("matplotlib")
    sales = problem(example, "perceptron, direct")
    assert example.draw(sales, SEASONS, example.experiment(sales, SEASONS, [0], 1), tmp_path).stat().st_size > 10_000
