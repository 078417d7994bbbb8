"""PyTorch's files, read without PyTorch: what it writes comes back as its own reader gives it."""

import io
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ModelFileError
from chainrule.files.pytorch import is_pytorch, read_pytorch

torch = pytest.importorskip("torch")


def written(value: Any, old: bool = False) -> bytes:
    """What ``torch.save`` writes, or wrote before version 1.6."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def read(value: Any, old: bool = False) -> Any:
    content = written(value, old)
    assert is_pytorch(content)
    return read_pytorch(content, "file.pt", lambda array: array)


def assert_same(found: Any, expected: Any) -> None:
    """Equal values of equal types, with arrays for tensors."""
    if isinstance(expected, torch.Tensor):
        expected = expected.detach()
        widened = expected.float() if expected.dtype == torch.bfloat16 else expected
        assert isinstance(found, np.ndarray)
        assert (found.shape, found.dtype) == (tuple(expected.shape), widened.numpy().dtype)
        np.testing.assert_array_equal(found, widened.numpy())
        assert found.flags.c_contiguous and found.flags.writeable
        return
    assert type(found) is (tuple if isinstance(expected, torch.Size) else type(expected))
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for mine, other in zip(found, expected, strict=True):
            assert_same(mine, other)
    else:
        np.testing.assert_equal(found, expected)


def networks() -> dict[str, Any]:
    return {
        "dense": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)),
        "images": torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.PReLU()),
        "channels last": torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last),
        "recurrent": torch.nn.LSTM(3, 4, 2, bidirectional=True),
        "text": torch.nn.TransformerEncoderLayer(8, 2, 16),
        "double": torch.nn.Bilinear(2, 3, 2).double(),
        "half": torch.nn.Embedding(5, 3).half(),
        "bfloat16": torch.nn.Linear(5, 3).bfloat16(),
        "nothing": torch.nn.ReLU(),
    }


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("name", networks())
def test_state_dicts(name: str, old: bool) -> None:
    state = networks()[name].state_dict()
    assert_same(read(state, old), state)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_layouts(old: bool) -> None:
    x = torch.arange(60.0).reshape(3, 4, 5)
    shared = torch.arange(10)
    views = {
        "transposed": x.permute(2, 0, 1), "part": x[1:, ::2, 3], "one": x[2, 3, 4], "expanded": x[0, 0].expand(6, 5),
        "empty": x[:, :0], "no dimension": torch.tensor(7), "nothing": torch.zeros(0), "line": x[:, 2:3, 1:2],
        "first": shared[:5], "last": shared[5:], "all": shared, "bits": shared % 2 == 0,
        "parameter": torch.nn.Parameter(x[0]), "frozen": torch.nn.Parameter(shared, requires_grad=False),
    }  # fmt: skip
    assert_same(read(views, old), views)


ELEMENTS = ["float64", "float32", "float16", "bfloat16", "bool"]
ELEMENTS += ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("name", ELEMENTS)
def test_element_types(name: str) -> None:
    numbers = torch.tensor([[0, 1, 2], [3, 100, 7]]).to(getattr(torch, name))
    assert_same(read([numbers, numbers.t()]), [numbers, numbers.t()])


def test_bfloat16_keeps_every_value() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    tensor = torch.from_numpy(halves.view(np.int16)).view(torch.bfloat16)
    np.testing.assert_array_equal(read(tensor).view(np.uint32), halves.astype(np.uint32) << 16)


def checkpoint() -> dict[str, Any]:
    """What PyTorch's programs write between epochs."""
    module = networks()["dense"]
    optimizer = torch.optim.Adam([{"params": module[0].parameters()}, {"params": module[2].parameters(), "lr": 0.1}])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 30])
    module(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3, "loss": 0.3, "best": float("inf"), "model": module.state_dict(),
        "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "names": ["a", "ü"],
        "shape": torch.Size([2, 3]), "none": None, "big": -(2**70),
        "numbers": {0: True, 1.5: (), -4: (1, (2, [3]))}, "random": torch.get_rng_state(), "bytes": b"\x00\xff",
        "set": {1, 2}, "complex": 1 - 2j, "medium": [1 << 20, 300, -1],
    }  # fmt: skip


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_checkpoints(old: bool) -> None:
    values = checkpoint()
    found = read(values, old)
    assert_same(found, values)
    assert type(found["schedule"]["milestones"]) is Counter
    assert type(found["model"]) is OrderedDict


def test_numbers_and_arrays_of_numpy() -> None:
    values = {
        "best": np.float64(0.25), "count": np.int64(-3), "flag": np.bool_(True), "small": np.float32(1.5),
        "array": np.arange(6).reshape(2, 3), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "foreign": np.arange(3, dtype=">i4"), "random": np.random.RandomState(0).get_state(),
    }  # fmt: skip
    found = read(values)
    for name, expected in values.items():
        assert type(found[name]) is type(expected)
        np.testing.assert_equal(found[name], expected)


def test_names_that_chainrule_has_too() -> None:
    found = read({"dtype": torch.float32, "flag": torch.bool, "device": torch.device("cpu")})
    assert found == {"dtype": cr.float32, "flag": cr.bool, "device": "cpu"}


def test_a_tensor_under_two_names_is_one() -> None:
    weight = torch.ones(3)
    found = read({"a": weight, "b": weight, "c": weight[:2]})
    assert found["a"] is found["b"]
    assert found["c"].shape == (2,)


def test_the_other_byte_order(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(written({"a": torch.arange(5.0), "n": torch.arange(3)}))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(members)).split("/")[0]
    members[f"{folder}/byteorder"] = b"big"
    members[f"{folder}/data/0"] = np.arange(5, dtype=">f4").tobytes()
    members[f"{folder}/data/1"] = np.arange(3, dtype=">i8").tobytes()
    with zipfile.ZipFile(tmp_path / "big.pt", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    found = cr.load(tmp_path / "big.pt")
    assert (found["a"].tolist(), found["n"].tolist()) == ([0.0, 1.0, 2.0, 3.0, 4.0], [0, 1, 2])


def test_a_network_of_pytorch_goes_on_here(tmp_path: Path) -> None:
    peer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    rule = torch.optim.Adam(peer.parameters(), lr=0.05)
    inputs = torch.linspace(-1, 1, 15).reshape(5, 3)

    def steps(module: Any, optimizer: Any, x: Any, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (module(x) ** 2).sum().backward()
            optimizer.step()

    steps(peer, rule, inputs, 3)
    torch.save({"model": peer.state_dict(), "optimizer": rule.state_dict(), "epoch": 3}, tmp_path / "half.pt")
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = cr.optim.Adam(module.parameters(), lr=1.0)
    saved = cr.load(tmp_path / "half.pt", map_location="cpu", weights_only=True)
    module.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    steps(peer, rule, inputs, 3)
    steps(module, optimizer, cr.tensor(inputs.numpy()), 3)
    for mine, other in zip(module.parameters(), peer.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_weights_alone(tmp_path: Path) -> None:
    state = networks()["dense"].state_dict()
    torch.save(state, tmp_path / "weights.pt")
    torch.save({"epoch": 1, "model": state}, tmp_path / "checkpoint.pt")
    torch.save([state["0.weight"]], tmp_path / "list.pt")
    found = cr.load_weights(tmp_path / "weights.pt")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        k: tuple(v.shape) for k, v in state.items()
    }
    with pytest.raises(
        ModelFileError, match=r"holds 'epoch', 'model', not weights alone. fix: cr.load\(path\)\['model'\]"
    ):
        cr.load_weights(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFileError, match=r"holds a list, not weights alone. fix: cr.load\(path\)"):
        cr.load_weights(tmp_path / "list.pt")


def test_another_device_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "empty.pt")
    assert cr.load(tmp_path / "empty.pt", map_location=cr.device("cpu")) == {}
    with pytest.raises(ArgumentError, match="device 'cuda' is not available"):
        cr.load(tmp_path / "empty.pt", map_location="cuda")


class Net(torch.nn.Module):  # type: ignore[misc]
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch.nn.Linear(2, 1), "torch.nn.modules.linear.Linear"),
        (Net(), r"test_pytorch.Net"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "torch.ComplexFloatStorage"),
        ({"a": torch.ones(2, 2).to_sparse()}, "torch._utils._rebuild_sparse_tensor"),
        ({"a": torch.ones(2).to(torch.float8_e4m3fn)}, "torch.float8_e4m3fn"),
        ({"a": len}, "__builtin__.len"),
        (Path("x"), "pathlib"),
    ],
)
def test_what_is_not_read_is_named(value: Any, name: str) -> None:
    with pytest.raises(ModelFileError, match=rf"file.pt: refused '.*{name}.*torch.save\(model.state_dict\(\), path\)"):
        read(value)
