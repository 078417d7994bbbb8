"""`inspect`: what it shows of models, of weights and of what programs keep between epochs."""

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.cli import main


def shown(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_trained_model_with_its_provenance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X = np.arange(12.0).reshape(6, 2)
    trainer = cr.Trainer(nn.Sequential(nn.Linear(2, 1)), loss=nn.HuberLoss(delta=0.5), optimizer="sgd", seed=5)
    trainer.fit(X / 12, X.sum(1), epochs=2, verbose=0)
    trainer.save(tmp_path / "model.chain")
    lines = shown(tmp_path / "model.chain", capsys)
    digest = trainer.training_record()["data_sha256"]
    for line in ("loss: HuberLoss", "optimizer: SGD", "seed: 5", "rows: 6", f"data sha256: {digest}"):
        assert line in lines
    assert f"chainrule {cr.__version__}" in lines
    assert f"numpy {np.__version__}" in lines
    assert any(line.startswith("2 epochs; the best, ") for line in lines)


def test_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cr.save(nn.Linear(2, 3).state_dict(), tmp_path / "weights.safetensors")
    lines = shown(tmp_path / "weights.safetensors", capsys)
    assert {"weight: float32 (3, 2)", "bias: float32 (3,)"} <= set(lines)


def test_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "epoch": 3, "rates": (0.5, None), "losses": list(range(100)), "model": {"w": cr.zeros(2, 2)},
        "states": [{"step": 1}], "name": "x" * 500, "rows": np.arange(3),
    }  # fmt: skip
    cr.save(values, tmp_path / "checkpoint.pt")
    lines = shown(tmp_path / "checkpoint.pt", capsys)
    start = lines.index("values")
    assert lines[start + 1 : start + 9] == [
        "epoch: 3", "rates: (0.5, None)", "losses: 100 values", "model:", "w: float32 (2, 2)",
        "states:", "0:", "step: 1",
    ]  # fmt: skip
    assert max(map(len, lines)) < 120
    assert "rows: int64 (3,)" in lines


def test_a_tensor_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cr.save(cr.zeros(3), tmp_path / "tensor.pt")
    assert "float32 (3,)" in shown(tmp_path / "tensor.pt", capsys)
