"""`chainrule tune`: what it draws, gives up, keeps and says."""

import csv
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import main, tune
from chainrule.cli.network import make_trainer
from chainrule.cli.preparing import Options, prepare
from chainrule.cli.train import plan_for
from chainrule.cli.tune import Trial, advance, draw, rungs, search
from chainrule.training.model_file import load_model
from chainrule.training.trainer import Trainer

from .tables import write_table


def run(path: Path, *options: str) -> int:
    return main(["tune", str(path), "--target", "price", "--out", str(path.parent / "out"), *options])


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "trials.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("trials", "epochs", "expected"),
    [
        (1, 200, [200]),
        (3, 200, [67, 200]),
        (27, 200, [7, 22, 67, 200]),
        (28, 200, [7, 22, 67, 200]),
        (9, 4, [4]),
        (9, 1, [1]),
    ],
)
def test_rungs_are_thirds_of_the_epochs_and_not_too_few(trials: int, epochs: int, expected: list[int]) -> None:
    assert rungs(trials, epochs) == expected


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_table(tmp_path / "people.csv", "price")


def test_draws_follow_from_the_seed_and_begin_with_the_defaults(people: Path) -> None:
    options = Options(people, "price", seed=4)
    data = prepare(options)
    first, second = draw(options, data, 40), draw(options, data, 40)
    assert first == second
    assert first[0].options == options
    assert first != draw(Options(people, "price", seed=5), data, 40)
    given = [trial.options for trial in first[1:]]
    assert all(tune.LEARNING_RATES[0] <= item.learning_rate <= tune.LEARNING_RATES[1] for item in given)  # type: ignore[operator]
    assert all(item.batch_size is not None and item.batch_size <= 84 // 4 for item in given)  # four steps in an epoch
    assert len({item.hidden for item in given}) > 5 and len({item.dropout for item in given}) == len(tune.DROPOUTS)


def test_a_third_goes_on_and_it_is_the_best(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(people, "--trials", "9", "--epochs", "18") == 0
    said = capsys.readouterr().out
    rows = rows_of(people.parent / "out")
    epochs = [int(row["epochs"]) for row in rows]
    assert sorted(epochs) == [6] * 6 + [18] * 3  # rungs of 2 epochs would be too short: 9 at 6, 3 at 18
    losses = [float(row["validation loss"]) for row in rows]
    assert losses == sorted(losses)
    assert "9 trials up to epoch 6" in said and "3 trials up to epoch 18" in said
    assert f"trial {rows[0]['trial']} of 9 by the validation loss" in said
    assert f"{rows[0]['hidden'].replace(',', ' → ')} → 1" in said.replace("5 → 0 → 1", "5 → 1")


def test_a_trial_in_pieces_is_the_training_of_its_settings(people: Path) -> None:
    """What the search saw of a trial is what `train` does with its settings, epoch by epoch."""
    options = Options(people, "price", epochs=12, hidden=(6,), learning_rate=0.01)
    data = prepare(options)
    trial = Trial(1, options)
    for epochs in (2, 5, 12):
        assert advance(trial, epochs, data, math.inf)
        assert trial.epochs == epochs
    plan = plan_for(options, data)
    trainer = make_trainer(plan, tune.build_network(plan))
    history = trainer.fit(
        data.train.X, data.train.y, epochs=12, batch_size=plan.batch_size,
        validation_data=(data.validation.X, data.validation.y), verbose=0,
    )  # fmt: skip
    assert trial.loss == min(history["val_loss"])
    assert trial.best_epoch == history.best_epoch


def test_the_best_is_saved_with_a_configuration_that_trains_it_again(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = people.parent / "out"
    assert run(people, "--trials", "4", "--epochs", "9", "--seed", "2") == 0
    assert {path.name for path in out.iterdir()} == {
        "model.chain", "metrics.json", "history.csv", "config.toml", "report.html", "trials.csv", "search.toml"
    }  # fmt: skip
    assert "of 4 by the validation loss (chainrule tune, seed 2)" in (out / "report.html").read_text(encoding="utf-8")
    assert main(["train", "--config", str(out / "config.toml"), "--out", str(people.parent / "again")]) == 0
    states = [load_model(folder / "model.chain").module.state_dict() for folder in (out, people.parent / "again")]
    first, second = ({name: value.numpy().tobytes() for name, value in state.items()} for state in states)
    assert first == second
    best = rows_of(out)[0]
    record = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert record["hidden"] == [int(size) for size in best["hidden"].split(",") if size != "0"]
    loaded = load_model(out / "model.chain").history
    assert loaded is not None
    assert min(loaded["val_loss"]) == pytest.approx(float(best["validation loss"]), abs=5e-5)


def test_time_ends_the_search_and_the_best_so_far_is_kept(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(people, "--trials", "50", "--epochs", "30", "--seconds", "0.001") == 0
    assert "trial 1 of 1 by the validation loss (chainrule tune, seed 0, ended early)" in capsys.readouterr().out
    assert [row["epochs"] for row in rows_of(people.parent / "out")] == ["1"]


def test_ctrl_c_ends_the_search_and_the_best_so_far_is_kept(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original, epochs = Trainer._run_epoch, []

    def interrupted(self: Any, *arguments: Any) -> bool:
        epochs.append(1)
        if len(epochs) == 8:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "_run_epoch", interrupted)
    assert run(people, "--trials", "5", "--epochs", "5") == 0
    assert "of 2 by the validation loss" in capsys.readouterr().out
    monkeypatch.setattr(Trainer, "_run_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(people, "--trials", "5") == 130


def test_settings_whose_loss_is_not_finite_are_out(people: Path) -> None:
    options = Options(people, "price", epochs=6)
    data = prepare(options)
    wild = Trial(1, Options(people, "price", epochs=6, learning_rate=1e30, dropout=0.0, hidden=(32, 32)))
    tame = Trial(2, Options(people, "price", epochs=6, learning_rate=0.001))
    assert search([wild, tame], data, math.inf)
    assert wild.is_over and math.isinf(wild.loss)
    assert tame.epochs == 6 and math.isfinite(tame.loss)


def test_errors_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "price")
    assert main(["tune", str(path), "--target", "prise", "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert "no column 'prise'" in message and "(did you mean 'price'?)" in message
    assert len(message.strip().splitlines()) == 1


def without_clock(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("trials.csv", "search.toml", "config.toml", "metrics.json")}


@pytest.mark.parametrize("kind", ["toml", "yaml"])
def test_the_file_beside_the_trials_searches_again(kind: str, people: Path) -> None:
    assert run(people, "--trials", "4", "--epochs", "9", "--seed", "3") == 0
    first = people.parent / "out"
    search = first / "search.toml"
    found = tomllib.loads(search.read_text(encoding="utf-8"))
    expected = {"target": "price", "task": "regression", "trials": 4, "epochs": 9, "seed": 3}
    assert found == {"data": str(people), **expected}
    if kind == "yaml":
        pytest.importorskip("yaml")
        search = people.parent / "search.yaml"
        search.write_text("\n".join(f"{name}: {json.dumps(value)}" for name, value in found.items()))
    second = people.parent / "second"
    assert main(["tune", "--config", str(search), "--out", str(second)]) == 0
    assert without_clock(second) == without_clock(first)


def test_the_command_line_goes_before_a_file(people: Path) -> None:
    config = people.parent / "search.toml"
    config.write_text('target = "sick"\ntrials = 50\nepochs = 2\nseconds = 1000\n')
    assert run(people, "--config", str(config), "--trials", "2") == 0
    assert len(rows_of(people.parent / "out")) == 2
    found = tomllib.loads((people.parent / "out" / "search.toml").read_text(encoding="utf-8"))
    assert (found["target"], found["trials"], found["epochs"], found["seconds"]) == ("price", 2, 2, 1000.0)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("trial = 3", "there is no option 'trial' (did you mean 'trials'?); known are data, target, task, trials"),
        ("hidden = [8]", "there is no option 'hidden'; known are"),  # what is searched for
        ("trials = 0", "trials: 0 is not in the range x>=1"),
        ("seconds = 'long'", "seconds: 'long' is not a valid float"),
    ],
)
def test_mistakes_in_a_file_are_named(text: str, part: str, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = people.parent / "search.toml"
    config.write_text(text)
    assert run(people, "--config", str(config)) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"error: {config}") and part in message and len(message.splitlines()) == 1
