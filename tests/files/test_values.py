"""Nested values in one file: what programs of PyTorch save between epochs comes back as it was."""

import math
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ModelFileError
from chainrule.files.archive import read_archive, write_archive


def again(value: Any, path: Path) -> Any:
    cr.save(value, path)
    return cr.load(path)


def test_a_program_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The tutorial's program: two epochs and a checkpoint, then two more, equal four at once, to the bit."""
    X = cr.tensor(np.random.default_rng(0).normal(size=(40, 3)))
    y = X.sum(1, keepdim=True)

    def start() -> tuple[Any, Any, Any]:
        cr.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
        optimizer = cr.optim.Adam(model.parameters(), lr=0.05)
        return model, optimizer, cr.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    def epochs(model: Any, optimizer: Any, scheduler: Any, count: int) -> None:
        for _ in range(count):
            for first in range(0, 40, 10):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(X[first : first + 10]), y[first : first + 10]).backward()
                optimizer.step()
            scheduler.step()

    whole = start()
    epochs(*whole, 4)
    model, optimizer, scheduler = start()
    epochs(model, optimizer, scheduler, 2)
    cr.save(
        {
            "epoch": 2,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "random": cr.get_rng_state(),
        },
        tmp_path / "checkpoint.pt",
    )
    model, optimizer, scheduler = start()
    checkpoint = cr.load(tmp_path / "checkpoint.pt", map_location=cr.device("cpu"), weights_only=True)
    model.load_state_dict(checkpoint["model_state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    cr.set_rng_state(checkpoint["random"])
    epochs(model, optimizer, scheduler, 4 - checkpoint["epoch"])
    for mine, other in zip(model.state_dict().values(), whole[0].state_dict().values(), strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


def test_values_and_their_types(tmp_path: Path) -> None:
    values = {
        "none": None, "flag": True, "count": -(2**70), "rate": 0.1, "text": "ü\n", "empty": {}, "list": [1, [2.0, ()]],
        "tuple": (1, (2, None)), "keys": {0: "a", 1.5: "b", None: "c", "x": "d"},
        "infinite": [math.inf, -math.inf],
        "dtype": cr.float32, "a.b": 1, "a": {"b": 2},
    }  # fmt: skip
    found = again(values, tmp_path / "file")
    assert found == values
    assert repr(found) == repr(values)  # 1 is not True, a list is not a tuple
    assert math.isnan(again([math.nan], tmp_path / "file")[0])


def test_tensors_and_arrays(tmp_path: Path) -> None:
    weight = cr.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    values = {
        "view": weight.t(), "scalar": cr.tensor(7), "flags": cr.tensor([True, False]), "empty": cr.zeros(0, 3),
        "computed": weight.detach() * 2, "array": np.arange(4, dtype=np.uint64), "half": np.ones(2, np.float16),
        "a.b": cr.ones(1), "a": {"b": cr.zeros(1), "__metadata__": cr.ones(2)}, "__metadata__": cr.ones(1),
        "": cr.ones(1),
    }  # fmt: skip
    found = again(values, tmp_path / "file")
    assert found["view"].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert (found["scalar"].dtype, found["scalar"].shape) == (cr.int64, ())
    assert found["flags"].tolist() == [True, False]
    assert found["empty"].shape == (0, 3)
    assert found["computed"].tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert isinstance(found["array"], np.ndarray) and found["array"].dtype == np.uint64
    assert found["half"].dtype == np.float16
    assert (found["a.b"].item(), found["a"]["b"].item()) == (1.0, 0.0)
    assert (found["a"]["__metadata__"].tolist(), found["__metadata__"].tolist()) == ([1.0, 1.0], [1.0])


def test_what_has_a_simpler_form_comes_back_in_it(tmp_path: Path) -> None:
    values = {
        "ordered": OrderedDict(a=1),
        "counts": Counter("aa"),
        "number": np.float64(0.5),
        "shape": cr.ones(2, 3).shape,
    }
    found = again(values, tmp_path / "file")
    assert found == {"ordered": {"a": 1}, "counts": {"a": 2}, "number": 0.5, "shape": (2, 3)}
    assert [type(value) for value in found.values()] == [dict, dict, float, tuple]


@pytest.mark.parametrize("value", [3, "text", None, [1, 2], (cr.ones(1).item(),), {}])
def test_any_value_alone(value: Any, tmp_path: Path) -> None:
    assert again(value, tmp_path / "file") == value


def test_a_tensor_alone(tmp_path: Path) -> None:
    assert again(cr.arange(3), tmp_path / "file").tolist() == [0, 1, 2]
    assert again([cr.arange(2), cr.ones(1)], tmp_path / "file")[0].tolist() == [0, 1]


class Own:
    pass


def circular() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"model": nn.Linear(1, 1)}, r"the value\['model'\] is a Linear, which cannot.*fix: its state_dict\(\)"),
        ({"a": [1, {"b": Own()}]}, r"the value\['a'\]\[1\]\['b'\] is an Own, which cannot be saved; expected tensors"),
        ({"f": len}, r"\['f'\] is a builtin_function"),
        ({(1, 2): 3}, "the value has a key that is a tuple, expected text or a number"),
        ({"a": np.array(["x"])}, r"\['a'\] has elements of <U1, expected numbers or booleans"),
        ({"a": np.ones(1, complex)}, r"\['a'\] has elements of complex128"),
        ({"a": {1, 2}}, r"\['a'\] is a set"),
        (circular(), "more than 100 lists and dictionaries lie in each other"),
        (Own(), "the value is an Own"),
    ],
    ids=lambda given: given if isinstance(given, str) else "value",
)  # fmt: skip
def test_what_cannot_be_saved_is_named_with_its_place(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        cr.save(value, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "document",
    [
        {"entries": 3}, {"entries": [[1]]}, {"entries": [[[], 1]]}, {"tensor": "absent"}, {"tensor": []},
        {"dtype": "float8"}, {"number": "1"}, {"number": 3}, {"tuple": {}}, {"tuple": "ab"},
        {"call": "os.system"}, {}, {"a": 1, "b": 2},
    ],
    ids=str,
)  # fmt: skip
def test_a_document_that_nothing_wrote_is_refused(document: Any, tmp_path: Path) -> None:
    write_archive(tmp_path / "file", {"values": document}, {}, "1")
    for load in (cr.load, cr.load_weights):
        with pytest.raises(ModelFileError, match="values.json is damaged"):
            load(tmp_path / "file")


def test_the_file_says_what_wrote_it(tmp_path: Path) -> None:
    cr.save({"epoch": 1}, tmp_path / "file")
    found = read_archive(tmp_path / "file").documents["metadata"]["versions"]
    assert found["chainrule"] == cr.__version__
    assert found["numpy"] == np.__version__


def test_weights_of_a_checkpoint(tmp_path: Path) -> None:
    state = nn.Linear(2, 1).state_dict()
    cr.save({"epoch": 1, "model": state}, tmp_path / "file")
    with pytest.raises(
        ModelFileError, match=r"holds 'epoch', 'model', not weights alone. fix: cr.load\(path\)\['model'\]"
    ):
        cr.load_weights(tmp_path / "file")


def test_bfloat16_in_safetensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    halves = torch.tensor([1.5, -3.0e38, float("nan")], dtype=torch.bfloat16)
    safetensors.save_file({"x": halves}, tmp_path / "file")
    np.testing.assert_array_equal(cr.load(tmp_path / "file")["x"].numpy(), halves.float().numpy())
    safetensors.save_file({"x": torch.ones(2, dtype=torch.complex64)}, tmp_path / "file")
    with pytest.raises(ModelFileError, match="'x' has elements of type C64, expected one of F64"):
        cr.load(tmp_path / "file")
