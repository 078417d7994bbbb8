"""Saving into files that are open, and loading from them, with the bytes and the checks of files under a name."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ModelFileError


def network() -> nn.Sequential:
    cr.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


OBJECTS: dict[str, Any] = {
    "network": network(),
    "weights": network().state_dict(),
    "values": {"epoch": 3, "model": network().state_dict(), "best": (0.5, None)},
}


def loaded_weights(found: Any) -> list[Any]:
    state = found.state_dict() if isinstance(found, nn.Module) else found.get("model", found)
    return [state[name].numpy() for name in sorted(state)]


@pytest.mark.parametrize("name", OBJECTS)
def test_a_buffer_holds_what_a_file_does(name: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    cr.save(OBJECTS[name], buffer)
    cr.save(OBJECTS[name], tmp_path / "file")
    assert buffer.getvalue() == (tmp_path / "file").read_bytes()
    buffer.seek(0)
    with open(tmp_path / "file", "rb") as file:
        for opened in (buffer, file):
            found = loaded_weights(cr.load(opened))
            for a, b in zip(found, loaded_weights(OBJECTS[name]), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("buffering", [-1, 0])
def test_open_files_are_written_and_read_where_they_stand(buffering: int, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb", buffering) as file:
        file.write(b"head")
        network().save(file)
    with open(tmp_path / "file", "rb", buffering) as file:
        assert file.read(4) == b"head"
        assert len(cr.load(file)) == 3


def test_what_writes_a_few_bytes_at_a_time_gets_all() -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += bytes(data[:100])
            return min(len(data), 100)

    slow, buffer = Slow(), io.BytesIO()
    cr.save(network(), slow)
    cr.save(network(), buffer)
    assert slow.content == buffer.getvalue()


def test_objects_that_are_like_files(tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile() as file:
        cr.save({"epoch": 3}, file)
        file.seek(0)
        assert cr.load(file) == {"epoch": 3}
    with gzip.open(tmp_path / "file.gz", "wb") as file:
        cr.save({"epoch": 4}, file)
    with gzip.open(tmp_path / "file.gz", "rb") as file:
        assert cr.load(file) == {"epoch": 4}


def test_a_trainer_and_weights_of_a_network() -> None:
    trainer = cr.Trainer(network(), "mse", seed=0)
    trainer.fit(np.ones((4, 3)), np.ones(4), epochs=2, verbose=0)
    buffer = io.BytesIO()
    trainer.save(buffer)
    buffer.seek(0)
    assert len(cr.Trainer.load(buffer).history) == 2
    buffer.seek(0)
    assert sorted(cr.load_weights(buffer)) == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_buffers_of_pytorch_are_read() -> None:
    torch = pytest.importorskip("torch")
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        buffer = io.BytesIO()
        torch.save({"w": torch.arange(4.0)}, buffer, **options)
        buffer.seek(0)
        np.testing.assert_array_equal(cr.load(buffer, map_location="cpu")["w"].numpy(), np.arange(4.0))


def saved() -> bytes:
    buffer = io.BytesIO()
    cr.save(network(), buffer)
    return buffer.getvalue()


def test_the_checks_are_those_of_files() -> None:
    content = saved()
    middle = len(content) // 2
    for damaged in (
        content[:middle],
        content[:middle] + b"\x00\xff" + content[middle + 2 :],
        b"PK",
        b"text",
        b"\x80\x04",
    ):
        with pytest.raises(ModelFileError, match="the BytesIO"):
            cr.load(io.BytesIO(damaged))


class Pipe(io.RawIOBase):
    """A file of which the disk is full, or broken."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(28, "No space left on device")

    def readinto(self, data: Any) -> int:
        raise OSError(5, "Input/output error")


def closed() -> io.BytesIO:
    buffer = io.BytesIO(saved())
    buffer.close()
    return buffer


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        (Pipe(), ModelFileError, "the Pipe was not saved, or not whole: No space left on device"),
        (closed(), ModelFileError, "the BytesIO was not saved, or not whole: .*closed file"),
        (
            io.StringIO(),
            ArgumentError,
            r"the StringIO is open for text, expected a binary file. fix: open\(path, 'wb'\)",
        ),
        (3, ArgumentError, "expected a path, or a binary file that is open, got an int"),
        (None, ArgumentError, "expected a path, or a binary file that is open, got a NoneType"),
    ],
    ids=["full", "closed", "text", "number", "nothing"],
)
def test_files_that_cannot_be_written(file: Any, error: type[Exception], message: str) -> None:
    for value in OBJECTS.values():
        with pytest.raises(error, match=message):
            cr.save(value, file)


class TextReader:
    def read(self) -> str:
        return "text"


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        (Pipe(), ModelFileError, "the Pipe cannot be read: Input/output error"),
        (closed(), ModelFileError, "the BytesIO cannot be read: .*closed file"),
        (io.BytesIO(), ModelFileError, r"the BytesIO is empty: nothing follows where it stands. fix: file.seek\(0\)"),
        (io.StringIO("x"), ArgumentError, r"open for text, expected a binary file. fix: open\(path, 'rb'\)"),
        (TextReader(), ArgumentError, r"the TextReader gives a str, expected bytes"),
        (3, ArgumentError, "expected a path, or a binary file that is open, got an int"),
    ],
    ids=["broken", "closed", "empty", "text", "reader of text", "number"],
)
def test_files_that_cannot_be_read(file: Any, error: type[Exception], message: str) -> None:
    for read in (cr.load, cr.load_weights, cr.Trainer.load):
        with pytest.raises(error, match=message):
            read(file)


def test_what_has_just_been_written_must_be_rewound() -> None:
    buffer = io.BytesIO()
    cr.save(network(), buffer)
    with pytest.raises(ModelFileError, match=r"nothing follows where it stands. fix: file.seek\(0\)"):
        cr.load(buffer)


def test_a_value_that_cannot_be_saved_leaves_the_file_alone() -> None:
    buffer = io.BytesIO()
    with pytest.raises(ArgumentError, match="is an object, which cannot be saved"):
        cr.save({"x": object()}, buffer)
    assert buffer.getvalue() == b""


def test_a_file_on_the_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.chain").write_text("nothing")
    with open(tmp_path / "text.chain", "rb") as file, pytest.raises(ModelFileError, match="text.chain is not a"):
        cr.load(file)
