"""The example of a character model cuts a text into windows, learns it as PyTorch does, and reports every epoch."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr

PATH = Path(__file__).resolve().parents[2] / "examples" / "character_model.py"
TEXT = np.tile(np.arange(7), 100)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("character_model", PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def network(**options: Any) -> Any:
    cr.manual_seed(0)
    return cr.models.language_model(7, features=8, hidden_size=12, **options)


def test_windows_cover_the_text(example: ModuleType) -> None:
    inputs, targets = example.windows(np.arange(100, 125), 6)
    assert inputs.shape == (4, 6)
    np.testing.assert_array_equal(inputs.ravel(), np.arange(100, 124))
    np.testing.assert_array_equal(targets, inputs + 1)
    with pytest.raises(SystemExit, match="the text has 6 characters"):
        example.windows(np.arange(6), 6)


def test_it_learns_and_so_does_its_peer(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    parts = example.windows(TEXT[:560], 4), example.windows(TEXT[560:], 16)
    model = network()
    initial = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    found = example.train(model, *parts, epochs=8)
    model.load_state_dict(initial)
    expected = example.train_peer(model, *parts, epochs=8)
    assert found == pytest.approx(expected, rel=0.01)  # the order of the windows is another one
    assert found[-1] < found[0] - 0.2
    printed = capsys.readouterr().out
    assert "chainrule epoch   8  loss " in printed and "torch     epoch   8  loss " in printed


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_the_peer_is_the_same_network(example: ModuleType, kind: str) -> None:
    torch = pytest.importorskip("torch")
    model = network(kind=kind).eval()
    x = TEXT[:20].reshape(2, 10)
    expected = example.in_torch(torch, model).eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(cr.tensor(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
