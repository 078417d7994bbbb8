"""Writes one small file of every kind in the format of today: ``python -m tests.files.make_fixtures``.

What is in `fixtures` already stays as it is: files of earlier versions must load for ever. Run this when a format gets
another version, and commit what it adds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.data import Preparation, TargetPreparation, read_csv_table
from chainrule.files.archive import VERSION
from chainrule.series import Forecaster
from chainrule.text.vocabulary import WordVocabulary
from chainrule.training import ModelCheckpoint
from chainrule.training.history import History
from chainrule.training.model_file import save_model

FOLDER = Path(__file__).parent / "fixtures"
TABLE = FOLDER / "table.csv"
CONFIGURATIONS = {
    "config.toml": 'data = "table.csv"\ntarget = "outcome"\ntask = "binary"\nhidden = [8, 4]\nepochs = 20\n'
    "batch_size = 16\nlearning_rate = 0.005\nweight_decay = 1e-4\ndropout = 0.25\nseed = 3\n",
    "config.yaml": "data: table.csv\ntarget: outcome\ntask: binary\nhidden: [8, 4]\nepochs: 20\n"
    "batch_size: 16\nlearning_rate: 0.005\nweight_decay: 1.0e-4\ndropout: 0.25\nseed: 3\n",
}
SERIES = 3.0 + np.arange(24) % 5
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5


def filled(module: Any) -> Any:
    """A module in which every weight is a simple number."""
    for number, (_, tensor) in enumerate(sorted(module.state_dict().items())):
        values = np.arange(tensor.numel()).reshape(tuple(tensor.shape)) % 7 / 8 + number / 16
        tensor.copy_(cr.tensor(values.astype(tensor.dtype.name)))
    return module.eval()


def network() -> Any:
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LeakyReLU(0.2), nn.Residual(nn.Linear(4, 4)), nn.Linear(4, 2)]
    return filled(nn.Sequential(*layers, nn.Dropout(0.25)))


def outputs(module: Any) -> list[Any]:
    with cr.no_grad():
        found: list[Any] = module(cr.tensor(ROWS)).tolist()
    return found


def make_model(path: Path) -> dict[str, Any]:
    """A network with all that can belong to it."""
    module = network()
    table = read_csv_table(TABLE, target="outcome")
    preparation, target = Preparation.fit(table), TargetPreparation.fit(table)
    vocabulary = WordVocabulary(["a", "film"])
    history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("nan")}])
    parts: dict[str, Any] = {
        "preparation": preparation, "target": target, "history": history, "vocabulary": vocabulary,
    }  # fmt: skip
    save_model(path, module, **parts, training={"seed": 3, "data_sha256": "0" * 64})
    return {
        "outputs": outputs(module),
        "features": preparation.transform(table).tolist(),
        "targets": target.transform(table).tolist(),
        "tokens": vocabulary.encode("a good film").tolist(),
        "parts": {name: part.to_json() for name, part in parts.items()},
    }


def make_weights(path: Path) -> dict[str, Any]:
    """A state dict."""
    module = network()
    cr.save(module.state_dict(), path)
    return {"outputs": outputs(module)}


def values() -> dict[str, Any]:
    """What programs save between epochs."""
    module = network()
    optimizer = cr.optim.Adam(module.parameters(), lr=0.125)
    return {
        "epoch": 3, "loss": 0.25, "best": (float("inf"), None), "model": module.state_dict(),
        "optimizer": optimizer.state_dict(), "counts": {0: [1, 2], 5: True}, "array": np.arange(3, dtype=np.uint64),
        "dtype": cr.float64,
    }  # fmt: skip


def make_values(path: Path) -> dict[str, Any]:
    """A checkpoint."""
    cr.save(values(), path)
    return {"outputs": outputs(network())}


def make_forecaster(path: Path) -> dict[str, Any]:
    """A forecaster, with the record of its training."""
    layers = nn.Sequential(nn.Flatten(), filled(nn.Linear(4, 2)))
    forecaster = Forecaster(layers, inputs=4, horizon=2, log=True, difference=3, loss=nn.HuberLoss(delta=0.5), seed=3)
    forecaster.fit(SERIES, epochs=1, verbose=0)
    forecaster.save(path)
    return {"forecast": forecaster.predict(SERIES, 5).tolist()}


def training(callbacks: Any = ()) -> cr.Trainer:
    """A training to resume."""
    hidden = [filled(nn.Linear(3, 4)), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.25)]
    layers = nn.Sequential(*hidden, filled(nn.Linear(4, 1)))
    return cr.Trainer(layers, "mse", "adam", callbacks=callbacks, seed=3)


def make_training(path: Path) -> dict[str, Any]:
    """A checkpoint after two epochs."""
    history = training([ModelCheckpoint(path)]).fit(ROWS, ROWS[:, :1], epochs=2, batch_size=2, verbose=0)
    return {"history": history.to_json()}


KINDS = {
    f"forecaster_{VERSION}.chain": make_forecaster,
    f"model_{VERSION}.chain": make_model,
    f"training_{VERSION}.chain": make_training,
    f"values_{VERSION}.chain": make_values,
    "weights.safetensors": make_weights,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    if not TABLE.exists():
        rows = [f"{row % 5},{'abc'[row % 3]},{'' if row == 4 else row / 4},{row % 2}\n" for row in range(12)]
        TABLE.write_text("size,kind,share,outcome\n" + "".join(rows))
    for name, text in CONFIGURATIONS.items():
        if not (FOLDER / name).exists():
            (FOLDER / name).write_text(text)
    for name, make in KINDS.items():
        path = FOLDER / name
        if not path.exists():
            expected = make(path)
            path.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n")
            print(f"written: {path}")


if __name__ == "__main__":
    main()
