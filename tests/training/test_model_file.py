"""Networks saved and loaded: alone, with all that belongs to them, and as weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import Preparation, TargetPreparation, read_csv_table
from chainrule.errors import ModelFileError
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


def test_a_file_without_an_architecture_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.chain", {}, {}, "1")
    with pytest.raises(ModelFileError, match="has no architecture"):
        load_model(tmp_path / "x.chain")
