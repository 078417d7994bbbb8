"""`chainrule train`: the whole way from a CSV file to a saved model, for every task."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import main
from chainrule.data.table import read_csv_table
from chainrule.training.callbacks import EarlyStopping
from chainrule.training.model_file import load_model

from .tables import write_table


def train(path: Path, target: str, *options: str) -> int:
    out = path.parent / "out"
    return main(
        ["train", str(path), "--target", target, "--epochs", "12", "--hidden", "8", "--out", str(out), *options]
    )


@pytest.mark.parametrize(
    ("target", "task", "loss", "measures"),
    [
        ("sick", "binary", "bce_with_logits", ["AUC", "accuracy"]),
        ("grade", "multiclass", "cross_entropy", ["accuracy", "macro F1"]),
        ("price", "regression", "mse", ["R²", "RMSE"]),
    ],
)
def test_every_task_from_the_file_to_the_model(
    target: str, task: str, loss: str, measures: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_table(tmp_path / "people.csv", target)
    assert train(path, target, "--learning-rate", "0.02", "--dropout", "0") == 0
    said = capsys.readouterr().out
    for part in (
        "people.csv: 120 rows, 4 columns",
        "84 for training, 18 for validation (early stopping), 18 for the test",
        "5 → 8 → ",
        "He (uniform)",
        "AdamW, learning rate 0.02",
        "18 test rows",
        "Baseline: always the",
        "The network beats the baseline.",
    ):
        assert part in said
    record = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert (record["task"], record["loss"], record["seed"]) == (task, loss, 0)
    assert [item["name"] for item in record["test"]] == measures
    assert record["rows"] == {"train": 84, "validation": 18, "test": 18}
    with open(tmp_path / "out" / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    loaded = load_model(tmp_path / "out" / "model.chain")
    assert loaded.history is not None
    assert [float(row["loss"]) for row in rows] == loaded.history["loss"]
    assert loaded.target is not None
    assert (loaded.target.task, loaded.metadata["training"]["loss"]) == (task, loss)


def test_the_saved_model_gives_the_scores_that_were_printed(tmp_path: Path) -> None:
    from chainrule.cli.scores import score
    from chainrule.cli.train import Options, prepare
    from chainrule.training.trainer import Trainer

    path = write_table(tmp_path / "people.csv", "sick")
    assert train(path, "sick") == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    data = prepare(Options(path, "sick"))
    loaded = load_model(tmp_path / "out" / "model.chain")
    again = score(data.target, Trainer(loaded.module).predict(data.test.X), data.test.y, record["baseline"])
    assert [item.network for item in again] == [item["network"] for item in record["test"]]


def test_one_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    models = []
    for seed in ("1", "1", "2"):
        assert train(path, "sick", "--seed", seed) == 0
        loaded = load_model(tmp_path / "out" / "model.chain")
        models.append({name: value.numpy().tobytes() for name, value in loaded.module.state_dict().items()})
    assert models[0] == models[1] != models[2]


def test_the_test_rows_are_not_looked_at_in_preparation(tmp_path: Path) -> None:
    from chainrule.cli.train import Options, prepare
    from chainrule.data.target import split_table

    path = write_table(tmp_path / "people.csv", "price")
    table = read_csv_table(path, target="price")
    train_rows, _, _ = split_table(table, "regression", seed=0)
    data = prepare(Options(path, "price"))
    assert abs(float(data.train.X[:, 0].mean())) < 1e-6
    assert abs(float(data.train.y.mean())) < 1e-6
    assert data.target.scale is not None
    assert data.target.scale.mean == pytest.approx(table["price"].numbers()[train_rows].mean())


def test_what_is_imputed_and_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holes = ["", "NaN", "?", *["1.5", "2.5", "3.5"] * 39]
    path = write_table(tmp_path / "people.csv", "sick", holes=holes, same=["7"] * 120, id=[str(i) for i in range(120)])
    assert train(path, "sick") == 0
    said = capsys.readouterr().out
    assert "holes: number, standardised" in said
    assert "missing values filled with the median and marked" in said
    assert "same: left out, its value is the same in every training row" in said
    assert "id: left out, it identifies rows" in said


def test_a_target_that_no_column_tells_is_said_not_to_beat_the_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    noise = np.random.default_rng(5).normal(size=120)
    path = write_table(tmp_path / "people.csv", "", noise=[f"{value:.4f}" for value in noise])
    assert train(path, "noise", "--learning-rate", "0.05", "--dropout", "0") == 0
    said = capsys.readouterr().out
    assert "WARNING: the network does not beat the baseline" in said


def test_no_hidden_layer_is_logistic_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    assert train(path, "sick", "--hidden", "0") == 0
    said = capsys.readouterr().out
    assert "network      5 → 1\n" in said
    assert "ReLU" not in said


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Ctrl-C arrive at the end of an epoch."""
    original = EarlyStopping.on_epoch_end

    def on_epoch_end(self: Any, trainer: Any, row: dict[str, float]) -> bool:
        if row["epoch"] > epochs:
            raise KeyboardInterrupt
        return original(self, trainer, row)

    monkeypatch.setattr(EarlyStopping, "on_epoch_end", on_epoch_end)


def test_ctrl_c_keeps_and_saves_the_best_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_after(3, monkeypatch)
    path = write_table(tmp_path / "people.csv", "sick")
    assert train(path, "sick") == 0
    assert "Interrupted: 4 epochs" in capsys.readouterr().out
    loaded = load_model(tmp_path / "out" / "model.chain")
    assert loaded.history is not None
    assert loaded.history.interrupted


def test_ctrl_c_before_the_first_epoch_ends_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chainrule.training.trainer import Trainer

    def interrupt(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_run_epoch", interrupt)
    path = write_table(tmp_path / "people.csv", "sick")
    assert train(path, "sick") == 130
    assert capsys.readouterr().err.strip() == "interrupted"
    assert list((tmp_path / "out").iterdir()) == []


ENDLESS = """
import signal
import sys
import chainrule.cli.network as network
from chainrule.cli import main
network.PATIENCE = 10**9
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where tests run behind nohup or &
print("started", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_real_signal_ends_training_and_saves(tmp_path: Path) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    command = [sys.executable, "-c", ENDLESS, "train", str(path), "--target", "sick", "--epochs", "100000000"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("stopping"):
                break
        time.sleep(3)  # compile, and train for a while
        process.send_signal(signal.SIGINT)
        try:
            said, complaint = process.communicate(timeout=60)
        finally:
            process.kill()  # it would go on for days, and its history fill the memory
    assert process.returncode == 0, complaint
    assert "Interrupted: " in said
    assert load_model(tmp_path / "out" / "model.chain").history is not None
