"""Model files: what is written comes back, and every kind of damage is told by name."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.errors import ArgumentError, ModelFileError
from chainrule.files.archive import MANIFEST, VERSION, WEIGHTS, read_archive, write_archive
from chainrule.files.weights import is_safetensors, read_weights, write_weights

DOCUMENTS = {"architecture": {"class": "Linear"}, "metadata": {"seed": 3, "ü": [1.5, None, True]}}


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "0.weight": random.normal(size=(3, 4)).astype(np.float32),
        "transposed": random.normal(size=(3, 4)).T,
        "count": np.array(7, dtype=np.int64),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 5), dtype=np.float32),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.chain"
    write_archive(file, DOCUMENTS, arrays(), "1.2.3")
    return file


def repack(path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> None:
    """Change the members of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_round_trip_keeps_documents_shapes_types_and_values(path: Path) -> None:
    archive = read_archive(path)
    assert archive.documents == DOCUMENTS
    assert archive.chainrule_version == "1.2.3"
    assert set(archive.arrays) == set(arrays())
    for name, expected in arrays().items():
        found = archive.arrays[name]
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(found, expected)


def test_other_tools_can_read_the_file(path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    with zipfile.ZipFile(path) as archive:
        weights = safetensors.load(archive.read(WEIGHTS))
        assert json.loads(archive.read("architecture.json")) == DOCUMENTS["architecture"]
    np.testing.assert_array_equal(weights["0.weight"], arrays()["0.weight"])


def test_equal_contents_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.chain"
    write_archive(again, DOCUMENTS, arrays(), "1.2.3")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        read_archive(path)


def test_any_changed_byte_is_noticed_or_harmless(path: Path) -> None:
    content, expected = path.read_bytes(), read_archive(path)
    noticed = 0
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
        try:
            found = read_archive(path)
        except ModelFileError:
            noticed += 1
            continue
        assert found.documents == expected.documents  # a date in the zip's directory, say
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)
    assert noticed > len(content) / 7 * 0.7


def set_member(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({name: content})


def edit_manifest(**values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **values}).encode()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_member("metadata.json", b'{"seed": 4}'), "metadata.json was changed or damaged after saving"),
        (set_member(WEIGHTS, b"x" * 100), f"{WEIGHTS} was changed or damaged after saving"),
        (lambda members: members.pop(WEIGHTS), f"{WEIGHTS} is missing"),
        (lambda members: members.pop("architecture.json"), "architecture.json is missing"),
        (lambda members: members.pop(MANIFEST), "is a zip archive, but not a chainrule model file"),
        (set_member(MANIFEST, b"{"), f"{MANIFEST} is not valid JSON"),
        (set_member(MANIFEST, b"[" * 100_000), f"{MANIFEST} is not valid JSON"),
        (set_member(MANIFEST, b"[1]"), "does not say 'chainrule model'"),
        (edit_manifest(format="other"), "does not say 'chainrule model'"),
        (edit_manifest(version=VERSION + 1, chainrule="9.9"), "written by chainrule 9.9.*install a newer chainrule"),
        (edit_manifest(sha256=None), "is damaged: it lacks checksums"),
        (edit_manifest(sha256={}), "has no weights"),
    ],
)
def test_an_edited_file_is_refused(path: Path, change: Callable[[dict[str, bytes]], None], message: str) -> None:
    repack(path, change)
    with pytest.raises(ModelFileError, match=message):
        read_archive(path)


def test_a_compressed_member_is_refused_unread(path: Path) -> None:
    repack(path, lambda members: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match="is compressed"):
        read_archive(path)


def foreign_numpy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "it is a text file"),
        (pickle.dumps({"a": 1}), "a pickle"),
        (foreign_numpy(), "a NumPy array"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (bytes(range(256)), "is not a chainrule model file"),
    ],
)
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "foreign"
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_archive(file)


def test_missing_files_and_folders_are_named(path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no file"):
        read_archive(path.with_name("absent"))
    with pytest.raises(ModelFileError, match=r"is a folder, expected a model file; did you mean .*model.chain\?"):
        read_archive(path.parent)


def test_documents_that_json_cannot_hold_are_refused_before_anything_is_written(path: Path) -> None:
    before = path.read_bytes()
    for value in (float("nan"), object()):
        with pytest.raises(ModelFileError, match="its metadata does not fit into JSON"):
            write_archive(path, {"metadata": value}, {}, "1")
    assert path.read_bytes() == before


def test_weights_alone(tmp_path: Path, path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    write_weights(file, arrays())
    assert is_safetensors(file.read_bytes())
    assert not is_safetensors(path.read_bytes())
    for source in (file, path):
        found = read_weights(source)
        for name, expected in arrays().items():
            np.testing.assert_array_equal(found[name], expected)
    with pytest.raises(ModelFileError, match="holds weights alone"):
        read_archive(file)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    write_weights(file, arrays())
    content = file.read_bytes()
    for damaged in (content[:-3], content[:40], content[:8] + b"{!" + content[10:]):
        file.write_bytes(damaged)
        with pytest.raises(ModelFileError, match="weights are truncated or damaged"):
            read_weights(file)


def test_only_state_dicts_can_be_saved_as_weights(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="expected a state dict.*got a list"):
        write_weights(tmp_path / "file", [1.0])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'a' of the state dict is an object"):
        write_weights(tmp_path / "file", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_parts_come_back_and_are_checked_as_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "model.chain"
    write_archive(path, DOCUMENTS, arrays(), "1.2.3", {"state": {"moment": np.arange(3)}})
    archive = read_archive(path)
    assert archive.documents == DOCUMENTS
    assert archive.parts["state"]["moment"].tolist() == [0, 1, 2]

    def damage(members: dict[str, bytes]) -> None:
        members["state.safetensors"] = members["state.safetensors"][:-1] + b"\x07"

    repack(path, damage)
    with pytest.raises(ModelFileError, match="state.safetensors was changed or damaged after saving"):
        read_archive(path)
