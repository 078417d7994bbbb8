"""The problems of long memory are what they are said to be; gradients vanish, stay and explode; clipping helps."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

PATH = Path(__file__).resolve().parents[2] / "examples" / "long_memory.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("long_memory", PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_adding_problem(example: ModuleType) -> None:
    x, sums = example.adding(500, 21, np.random.default_rng(0))
    assert x.shape == (21, 500, 2) and x.min() >= 0 and x.max() <= 1
    marks = x[:, :, 1]
    assert (marks[:10].sum(0) == 1).all() and (marks[11:].sum(0) == 1).all() and not marks[10].any()
    assert (marks[[0, 9, 11, 20]].sum(1) > 0).all()
    np.testing.assert_allclose(sums[:, 0], np.where(marks == 1, x[:, :, 0], 0).sum(0), rtol=1e-6)
    assert np.var(sums) == pytest.approx(example.ADDING.chance(21), rel=0.15)


def test_the_copying_problem(example: ModuleType) -> None:
    x, answers = example.copying(50, 7, np.random.default_rng(0))
    assert x.shape == (27, 50, 10) and (x.sum(2) == 1).all()
    tokens = x.argmax(2)
    assert set(tokens[:10].ravel()) == set(range(8))
    assert (tokens[10:16] == 8).all() and (tokens[16] == 9).all() and (tokens[17:] == 8).all()
    np.testing.assert_array_equal(answers[-10:], tokens[:10])
    assert (answers[:-10] == 8).all()


def test_what_copying_without_memory_comes_to(example: ModuleType) -> None:
    """Right on blanks, and all symbols as probable as each other; then with every symbol remembered."""
    _, answers = map(cr.tensor, example.copying(50, 7, np.random.default_rng(0)))
    logits = np.full((27, 50, 10), -100.0, np.float32)
    logits[:17, :, 8] = 0
    logits[17:, :, :8] = 0
    guessing = cr.tensor(logits)
    assert example.copying_loss(guessing, answers).item() == pytest.approx(example.COPYING.chance(7), rel=1e-5)
    assert example.copied(guessing, answers).item() == pytest.approx(1 / 8, abs=0.05)
    knowing = 100 * cr.nn.functional.one_hot(answers, 10).float()
    assert example.copying_loss(knowing, answers).item() < 1e-6 and example.copied(knowing, answers).item() == 1


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "SRU"])
def test_gates_start_as_memories_up_to_the_length(example: ModuleType, kind: str) -> None:
    layer = getattr(nn, kind)(2, 400, 1)
    example.remember_up_to(layer, 100)
    bias = layer.bias_ih_l0.detach().numpy().reshape(-1, 400)
    keep = {"LSTM": 1, "GRU": 1, "SRU": 0}.get(kind)
    if keep is None:
        assert not bias.any()
        return
    times = 1 + np.exp(bias[keep])  # 1 / (1 - sigmoid)
    assert times.min() >= 2 and times.max() <= 100 and np.mean(times) == pytest.approx(51, rel=0.1)
    if kind == "LSTM":
        np.testing.assert_allclose(bias[0], -bias[1])


def test_it_stops_where_the_problem_is_solved(example: ModuleType) -> None:
    short = example.ADDING._replace(first=6, steps=6, most=600, hidden=24, rate=0.01)
    solved = example.train(short, "GRU")
    assert solved.solved_after == solved.steps < 600
    assert solved.losses[-1] < short.solved and solved.loss < 2 * short.solved / 6 and solved.right is None
    unsolved = example.train(example.COPYING._replace(first=5, steps=5, most=20, hidden=8), "RNN")
    assert unsolved.solved_after is None and unsolved.steps == 20 == len(unsolved.losses)
    assert 0 <= unsolved.right < 0.5


def test_rows_grow_whenever_they_are_learned(example: ModuleType) -> None:
    lengths = []

    def draw(rows: int, steps: int, random: np.random.Generator) -> tuple[Any, Any]:
        lengths.append(steps)
        return example.adding(rows, steps, random)

    growing = example.ADDING._replace(draw=draw, first=4, steps=10, most=8, hidden=4)
    run = example.train(growing._replace(chance=lambda steps: 1e6 * steps), "RNN")
    assert lengths == [4, 6, 9, 10, 10] and run.solved_after == 4  # the last is that of the test
    lengths.clear()
    example.train(growing._replace(chance=lambda steps: 1e-6), "RNN")
    assert lengths == [4] * 8 + [10]


def test_gradients_through_time_follow_the_scale(example: ModuleType) -> None:
    """Without input tanh is linear: every step back multiplies by an orthogonal matrix times the scale."""
    for scale in (0.7, 1.5):
        norms = example.gradients_through_time(scale, steps=41, hidden=256)
        assert np.log(norms[0]) / 40 == pytest.approx(np.log(scale), abs=0.02)


def test_clipping_cures_exploding_gradients(example: ModuleType) -> None:
    free, clipped = (example.train_from_large_weights(clip, steps=60, hidden=32) for clip in (None, 1.0))
    assert not np.isfinite(free.losses[-1]) or free.losses[-1] > 1e3
    assert np.isfinite(clipped.losses).all() and np.mean(clipped.losses[-10:]) < 1


def test_it_reports_and_draws(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solved = example.Run(2, [0.1, 0.001], 2, 0.001, None, 3.0)
    unsolved = example.Run(2, [0.3, 0.2], None, 0.2, 0.125, 1.0)
    runs = {("adding", "LSTM"): solved, ("copying", "RNN"): unsolved}
    clipped = {None: example.Clipping([1.0, np.nan], [1.0, np.inf]), 1.0: example.Clipping([1.0, 0.5], [1.0, 2.0])}
    found = example.Found(runs, {0.7: 0.7 ** np.arange(100.0)[::-1]}, clipped)
    example.report(found)
    printed = capsys.readouterr().out
    assert "| adding | LSTM | 0.1667 | 0.0010 |  | 2 steps | 3 |" in printed
    assert "| copying | RNN | 0.1733 | 0.2000 | 12.50 % | not | 1 |" in printed
    assert "| 0.7 · orthogonal | 2.8e-02 | 1.8e-08 | 4.6e-16 |" in printed
    pytest.importorskip("matplotlib")
    assert example.draw(found, tmp_path).stat().st_size > 10_000
