"""Files of every version so far load, and mean what they meant when they were written (`make_fixtures.py`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import read_csv_table
from chainrule.files.archive import VERSION
from chainrule.series import Forecaster
from chainrule.training.history import History
from chainrule.training.model_file import load_model

from .make_fixtures import FOLDER, KINDS, ROWS, SERIES, TABLE, network, outputs, training, values


def expected(path: Path) -> Any:
    return json.loads(path.with_suffix(".json").read_text())


def test_this_version_has_its_files() -> None:
    missing = [name for name in KINDS if not (FOLDER / name).exists()]
    assert missing == [], "python -m tests.files.make_fixtures, and commit what it writes"
    assert len(list(FOLDER.glob("model_*.chain"))) == VERSION


@pytest.mark.parametrize("path", sorted(FOLDER.glob("model_*.chain")), ids=lambda path: path.name)
def test_models(path: Path) -> None:
    then = expected(path)
    loaded = load_model(path)
    np.testing.assert_allclose(outputs(loaded.module), then["outputs"], rtol=1e-6)
    table = read_csv_table(TABLE, target="outcome")
    assert loaded.preparation is not None and loaded.target is not None and loaded.vocabulary is not None
    np.testing.assert_allclose(loaded.preparation.transform(table), then["features"], rtol=1e-6)
    assert loaded.target.transform(table).tolist() == then["targets"]
    assert loaded.vocabulary.encode("a good film").tolist() == then["tokens"]
    parts = {name: getattr(loaded, name).to_json() for name in then["parts"]}
    assert json.loads(json.dumps(parts)) == then["parts"]
    assert loaded.metadata["training"]["seed"] == 3
    assert set(loaded.metadata["versions"]) >= {"chainrule", "numpy", "python"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("forecaster_*.chain")), ids=lambda path: path.name)
def test_forecasters(path: Path) -> None:
    forecaster = Forecaster.load(path)
    np.testing.assert_allclose(forecaster.predict(SERIES, 5), expected(path)["forecast"], rtol=1e-5)
    trainer = cr.Trainer.load(path)
    assert (trainer.objective.loss.delta, trainer.seed) == (0.5, 3)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("values_*.chain")), ids=lambda path: path.name)
def test_checkpoints(path: Path) -> None:
    found = cr.load(path)
    module = network()
    for tensor in module.parameters():
        nn.init.zeros_(tensor)
    module.load_state_dict(found["model"])
    np.testing.assert_allclose(outputs(module), expected(path)["outputs"], rtol=1e-6)
    cr.optim.Adam(module.parameters(), lr=1.0).load_state_dict(found["optimizer"])
    assert list(found) == list(values())
    for name in ("epoch", "loss", "best", "counts", "dtype"):
        assert (found[name], type(found[name])) == (values()[name], type(values()[name]))
    np.testing.assert_array_equal(found["array"], values()["array"], strict=True)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("training_*.chain")), ids=lambda path: path.name)
def test_trainings_go_on(path: Path) -> None:
    history = training().fit(ROWS, ROWS[:, :1], epochs=3, batch_size=2, verbose=0, resume_from=path)
    before = History.from_json(expected(path)["history"])
    assert (len(before), len(history)) == (2, 3)
    assert history["loss"][:2] == before["loss"]
    assert np.isfinite(history["loss"][2])


def test_weights() -> None:
    module = network()
    for tensor in module.parameters():
        nn.init.zeros_(tensor)
    module.load_state_dict(cr.load(FOLDER / "weights.safetensors"))
    np.testing.assert_allclose(outputs(module), expected(FOLDER / "weights.safetensors")["outputs"], rtol=1e-6)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("pytorch_*.pt")), ids=lambda path: path.name)
def test_files_that_pytorch_wrote(path: Path) -> None:
    """`torch.save({"epoch": 3, "model": {"weight": torch.arange(6.).reshape(2, 3).t(), ...}, "rates": (0.5, None)})`"""
    found = cr.load(path)
    assert (found["epoch"], found["rates"]) == (3, (0.5, None))
    assert found["model"]["weight"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert found["model"]["bias"].tolist() == [1.5, -2.0]
    assert (found["model"]["bias"].dtype, found["model"]["steps"].dtype) == (cr.float32, cr.int64)
    assert found["model"]["steps"].item() == 7
