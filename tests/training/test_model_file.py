"""Networks saved and loaded: alone, with all that belongs to them, and as weights."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import Preparation, TargetPreparation, read_csv_table
from chainrule.errors import DataError, ModelFileError
from chainrule.files.archive import read_archive, write_archive
from chainrule.training.history import History
from chainrule.training.model_file import load, load_model, load_weights, save, save_model


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2, bias=False))


def outputs(module: Any, X: np.ndarray) -> np.ndarray:
    with cr.no_grad():
        return np.asarray(module(cr.tensor(X)).numpy())


X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def test_a_loaded_network_computes_the_same_and_is_in_evaluation_mode(tmp_path: Path) -> None:
    module = network()
    save(module, tmp_path / "net.chain")
    loaded = load(tmp_path / "net.chain")
    assert not loaded.training
    np.testing.assert_array_equal(outputs(loaded, X), outputs(module.eval(), X))


def test_float64_stays(tmp_path: Path) -> None:
    module = network().double()
    save(module, tmp_path / "net.chain")
    assert {p.dtype for p in load(tmp_path / "net.chain").parameters()} == {cr.float64}


def test_everything_that_belongs_to_a_network_comes_back(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b,y\n" + "".join(f"{i},{'uvw'[i % 3]},{i * i}\n" for i in range(30)))
    table = read_csv_table(tmp_path / "table.csv", target="y")
    preparation, target = Preparation.fit(table), TargetPreparation.fit(table, task="regression")
    history = History([{"epoch": 1, "loss": 0.5}])
    save_model(
        tmp_path / "net.chain", network(), preparation=preparation, target=target, history=history, training={"seed": 3}
    )
    loaded = load_model(tmp_path / "net.chain")
    assert (loaded.preparation, loaded.target, loaded.history) == (preparation, target, history)
    assert loaded.metadata["training"] == {"seed": 3}
    assert loaded.metadata["versions"]["chainrule"] == cr.__version__


def test_a_network_alone_has_nothing_else(tmp_path: Path) -> None:
    save_model(tmp_path / "net.chain", network())
    loaded = load_model(tmp_path / "net.chain")
    assert (loaded.preparation, loaded.target, loaded.history, loaded.vocabulary) == (None, None, None, None)


def test_a_state_dict_is_saved_as_weights(tmp_path: Path) -> None:
    module = network()
    save(module.state_dict(), tmp_path / "weights.safetensors")
    state = load(tmp_path / "weights.safetensors")
    assert all(isinstance(value, cr.Tensor) for value in state.values())
    again = network()
    again.load_state_dict(state)
    np.testing.assert_array_equal(outputs(again.eval(), X), outputs(module.eval(), X))


def test_torch_reads_the_weights(tmp_path: Path) -> None:
    safetensors_torch = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    module = network()
    save(module.state_dict(), tmp_path / "weights.safetensors")
    peer = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(5, 2, bias=False)
    )
    peer.load_state_dict(safetensors_torch.load_file(tmp_path / "weights.safetensors"))
    with torch.no_grad():
        expected = peer.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(outputs(module.eval(), X), expected, rtol=1e-5, atol=1e-6)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Any) -> Any:
        return self.layer(x) * 2


def test_a_users_module_is_loaded_by_its_weights(tmp_path: Path) -> None:
    module = Net()
    save(module, tmp_path / "net.chain")
    with pytest.raises(ModelFileError, match="is a Net, which cannot be made from a file"):
        load(tmp_path / "net.chain")
    again = Net()
    again.load_state_dict(load_weights(tmp_path / "net.chain"))
    np.testing.assert_array_equal(outputs(again, X), outputs(module, X))


def test_weights_that_do_not_fit_the_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.chain"
    save(network(), path)
    archive = read_archive(path)
    archive.arrays["0.weight"] = np.zeros((7, 3), np.float32)
    write_archive(path, archive.documents, archive.arrays, "1")
    with pytest.raises(ModelFileError, match="weights do not fit the architecture"):
        load(path)


@pytest.mark.parametrize(
    "layer",
    [
        {"class": "Linear", "arguments": {"in_features": 10**6, "out_features": 10**6}},
        {"class": "Embedding", "arguments": {"num_embeddings": 10**6, "embedding_dim": 10**6}},
        {"class": "BatchNorm1d", "arguments": {"num_features": 10**12, "affine": False}},
        {"class": "LayerNorm", "arguments": {"normalized_shape": [10**5, 10**6]}},
        {"class": "PReLU", "arguments": {"num_parameters": 10**12}},
        {"class": "Bilinear", "arguments": {"in1_features": 10**4, "in2_features": 10**4, "out_features": 10**4}},
        {"class": "Sequential", "arguments": {}, "children": {
            str(n): {"class": "Linear", "arguments": {"in_features": 10**3, "out_features": 10**2}} for n in range(10)
        }},
    ],
    ids=lambda layer: layer["class"],
)  # fmt: skip
def test_layers_far_larger_than_the_weights_of_the_file_are_refused_before_they_are_made(
    layer: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "net.chain"
    save(network(), path)
    archive = read_archive(path)
    write_archive(path, {**archive.documents, "architecture": layer}, archive.arrays, "1")
    with pytest.raises(ModelFileError, match=r"would take much more memory than its weights, \d+ bytes"):
        load(path)


@pytest.mark.parametrize("name", ["preparation", "target", "history", "architecture", "metadata"])
def test_a_damaged_part_is_a_model_file_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.chain"
    save(network(), path)
    archive = read_archive(path)
    for damaged in (3, [], "x"):
        write_archive(path, {**archive.documents, name: damaged}, archive.arrays, "1")
        with pytest.raises(ModelFileError):
            load_model(path)


SCALE = {"mean": 0.0, "deviation": 1.0}
NUMBERS = {"column": "a", "kind": "number", "indicator": False}


def part(name: str = "value", median: Any = 0.0, **scale: Any) -> dict[str, Any]:
    return {"name": name, "median": median, "scale": {**SCALE, **scale}}


def prepared(**changes: Any) -> dict[str, Any]:
    return {"encoders": [{**NUMBERS, "parts": [part()], **changes}], "dropped": {}, "target": None}


def epochs(**row: Any) -> dict[str, Any]:
    return {"epochs": [{"epoch": 1, "loss": 0.5, **row}], "findings": [], "interrupted": False}


def vocabulary(**changes: Any) -> dict[str, Any]:
    return {"unit": "word", "tokens": ["a"], "padding": "<pad>", "unknown": "<unk>", "lower": True, **changes}


def leaky(**arguments: Any) -> dict[str, Any]:
    return {"class": "LeakyReLU", "arguments": arguments}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("preparation", prepared(parts=[part("day")])), ("preparation", prepared(kind="date", parts=[part("value")])),
        ("preparation", prepared(parts=[])), ("preparation", prepared(parts=[part(median="inf")])),
        ("preparation", prepared(parts=[part(deviation=0)])), ("preparation", prepared(parts=[part(mean="nan")])),
        ("history", epochs(loss=[])), ("history", epochs(loss={})), ("history", epochs(loss=10**400)),
        ("history", epochs(loss=True)), ("history", epochs(epoch="nan")), ("history", epochs(epoch=0.5)),
        ("vocabulary", vocabulary(padding=False)), ("vocabulary", vocabulary(unknown=[])),
        ("vocabulary", vocabulary(lower=1)), ("vocabulary", vocabulary(tokens=[1])),
        ("architecture", leaky(inplace=10**30)), ("architecture", leaky(inplace=[])),
        ("architecture", leaky(negative_slope="x")), ("architecture", leaky(negative_slope=True)),
        ("architecture", leaky(negative_slope=10**400)), ("preparation", prepared(parts=[part(mean=10**400)])),
    ],
)  # fmt: skip
def test_a_part_that_could_not_be_used_is_refused(name: str, document: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.chain"
    save(network(), path)
    archive = read_archive(path)
    whole = {"preparation": prepared(), "history": epochs(), "vocabulary": vocabulary()}
    write_archive(path, {**archive.documents, **whole}, archive.arrays, "1")
    load_model(path)
    write_archive(path, {**archive.documents, name: document}, archive.arrays, "1")
    with pytest.raises((ModelFileError, DataError)) as refused:
        load_model(path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "record", [{"metrics": 3}, {"metrics": "mae"}, {"metrics": ["mae", []]}, {"seed": "x"}, {"seed": [1]}]
)
def test_a_record_of_training_that_no_trainer_wrote_is_refused(record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "net.chain"
    trainer = cr.Trainer(nn.Sequential(nn.Linear(3, 1)), seed=3)
    save_model(path, trainer.model, training={**trainer.training_record(), **record})
    with pytest.raises(ModelFileError, match="the record of its training is damaged"):
        cr.Trainer.load(path)


def test_a_trainer_records_seed_and_data(tmp_path: Path) -> None:
    def record(X: Any, y: Any) -> dict[str, Any]:
        trainer = cr.Trainer(nn.Sequential(nn.Linear(3, 1)), metrics=["mae"], optimizer="sgd", seed=3)
        assert "rows" not in trainer.training_record()
        trainer.fit(X, y, epochs=1, verbose=0)
        trainer.save(tmp_path / "net.chain")
        found: dict[str, Any] = load_model(tmp_path / "net.chain").metadata["training"]
        return found

    first = record(X, X.sum(1))
    assert {name: first[name] for name in ("seed", "metrics", "optimizer", "rows")} == {
        "seed": 3, "metrics": ["mae"], "optimizer": "SGD", "rows": 4,
    }  # fmt: skip
    targets = X.sum(1, keepdims=True)
    digest = hashlib.sha256()
    for array in (X, targets):
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    assert record(X, targets)["data_sha256"] == digest.hexdigest()
    assert record(X * 2, X.sum(1))["data_sha256"] != first["data_sha256"]
    assert "data_sha256" not in record(np.zeros((1 << 21, 3), np.float32), np.zeros(1 << 21, np.float32))


def test_a_file_without_an_architecture_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.chain", {}, {}, "1")
    with pytest.raises(ModelFileError, match="has no architecture"):
        load_model(tmp_path / "x.chain")
