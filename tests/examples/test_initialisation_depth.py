"""The experiment on initial values in deep networks runs, and shows what it is about even on little data."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chainrule import nn

PATH = Path(__file__).resolve().parents[2] / "examples" / "initialisation_depth.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("initialisation_depth", PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_it_trains_every_network_from_every_start(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(96, 4, 4)).astype(np.float32), rng.integers(0, 10, 96)
    networks = {"ReLU": (nn.ReLU, 6), "tanh": (nn.Tanh, 2)}
    found = example.experiment((X[:64], y[:64]), (X[64:], y[64:]), epochs=1, width=32, networks=networks)
    assert set(found) == {(activation, start) for activation in networks for start in example.STARTS}
    assert all(np.isfinite(figures.losses).all() and 0 <= figures.accuracy <= 1 for figures in found.values())
    signals = [found["ReLU", start].signal for start in ("naive", "Glorot", "He")]
    assert signals == sorted(signals) and signals[2] > 0.3 > signals[0]
    example.report(found)
    printed = capsys.readouterr().out
    assert printed.count("|") > 40 and "deep ReLU: He learns fastest: " in printed
