"""PyTorch files made to harm: no code runs, nothing is imported, time and memory stay small, and one error says why."""

import builtins
import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ModelFileError
from chainrule.files.pytorch import OLD_START, is_pytorch, read_pytorch

MODULE = "a_module_that_only_a_pickle_imports"


def packed(
    description: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A zip as ``torch.save`` makes it, around any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", description)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return buffer.getvalue()


def read(content: bytes) -> Any:
    assert is_pytorch(content)
    return read_pytorch(content, "file.pt", np.asarray)


class Called:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Called(os.system, "touch harmed"), "system"),
        (Called(builtins.eval, "open('harmed', 'w')"), "__builtin__.eval"),
        (Called(builtins.exec, "open('harmed', 'w')"), "__builtin__.exec"),
        (Called(builtins.getattr, "a", "upper"), "__builtin__.getattr"),
        (Called(builtins.open, "harmed", "w"), "open"),
        (Called(io.open, "harmed", "w"), "open"),
        (Called(dict, Called(builtins.eval, "open('harmed', 'w')")), "__builtin__.dict"),
        ({"model": [Called(os.system, "touch harmed")]}, "system"),
        (Called(builtins.map, os.system, ["touch harmed"]), "itertools.imap"),
        (Called(np.load, "harmed"), "numpy.load"),
    ],
)
def test_no_function_is_called(value: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").write_bytes(packed(pickle.dumps(value, 2)))
    for load in (cr.load, cr.load_weights):
        with pytest.raises(ModelFileError, match=rf"weights.pt: refused '.*{name}'.*nothing of a file is executed"):
            load(tmp_path / "weights.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


GLOBAL_EVAL, ORDERED = b"c__builtin__\neval\n", b"ccollections\nOrderedDict\n"
TEXT = b"X\x01\x00\x00\x00x"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


def storage(count: int, key: bytes = b"0", kind: bytes = b"Float") -> bytes:
    number = b"J" + struct.pack("<i", count)
    return (
        b"(X\x07\x00\x00\x00storagectorch\n"
        + kind
        + b"Storage\nU"
        + bytes([len(key)])
        + key
        + b"U\x03cpu"
        + number
        + b"tQ"
    )


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"


def tensor(count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The opcodes of a tensor over the storage "0"."""
    start = b"\x8a\x08" + struct.pack("<q", offset)
    return TENSOR + b"(" + storage(count) + start + numbers(*shape) + numbers(*strides) + b"\x89)tR"


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        (b"c" + MODULE.encode() + b"\nx\n.", f"refused '{MODULE}.x'"),
        (b"c\n\n.", "refused '.'"),
        (GLOBAL_EVAL + b"(" + TEXT + b"tR.", "refused '__builtin__.eval'"),
        (b"(" + TEXT + b"i__builtin__\neval\n.", r"opcode b'i' .* was refused"),
        (b"(" + ORDERED + TEXT + b"o.", r"opcode b'o'"),
        (ORDERED + b")\x81.", r"opcode b'\\x81'"),
        (TEXT + TEXT + b"\x93.", r"opcode b'\\x93'"),
        (b"\x82\x01.", r"opcode b'\\x82'"),
        (b"P1\n.", r"opcode b'P'"),
        (b"I1\n.", r"opcode b'I'"),
        (b"\x8b\xff\xff\xff\x7f.", r"opcode b'\\x8b'"),
        (TEXT + b")R.", "damaged"),
        (ORDERED + b"]R.", "damaged"),
        (ORDERED + TEXT + b"\x85R.", "damaged"),
        (ORDERED + b"))))tR.", "damaged"),
        (ORDERED + b")R" + ORDERED + b"s.", "damaged"),
        (b"}" + b")" * 3 + b"\x87Ns.", "damaged"),
        (b"}\x8a\x09" + bytes(8) + b"\x01Ns.", "damaged"),
        (b"}]Ns.", "damaged"),
        (b"})]}b.", "damaged"),
        (b"ctorch\nSize\nJ\xff\xff\xff\xff\x85\x85R.", "damaged"),
        (b"c_codecs\nencode\n" + TEXT + b"U\x03hex\x86R.", "damaged"),
        (b"cnumpy\ndtype\nU\x01O\x85R.", "damaged"),
        (b"cnumpy\ndtype\nU\x02V8\x85R.", "damaged"),
        (b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8\x85RU\x04abcd\x86R.", "damaged"),
        (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n)U\x01b\x87R.", ""),
        (b"ctorch\nFloatStorage\n.", "a StorageType stands where"),
        (ORDERED + b".", "a Recipe stands where"),
        (storage(1) + b".", "a Storage stands where"),
        (TENSOR + b"(" + TEXT + b"K\x00))\x89)tR.", "damaged"),
        (b"ctorch._utils\n_rebuild_parameter\n" + TEXT + b"\x88)\x87R.", "damaged"),
        (b"NN.", "damaged"), (b".", "damaged"), (b"", "damaged"), (b"t.", "damaged"), (b"h\x07.", "damaged"),
        (b"X\xff\xff\xff\xffabc.", "damaged"), (b"U\x01\xff.", "damaged"), (b"T\xff\xff\xff\xff.", "damaged"),
        (b"N.N", "bytes behind its pickle"),
    ],
)  # fmt: skip
def test_opcodes_that_no_state_dict_has(opcodes: bytes, message: str) -> None:
    if not message:
        assert read(packed(b"\x80\x02" + opcodes)).shape == (0,)
        return
    with pytest.raises(ModelFileError, match=message):
        read(packed(b"\x80\x02" + opcodes))
    assert MODULE not in sys.modules


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_other_protocols(protocol: int) -> None:
    message = f"protocol {protocol}.*without pickle_protocol" if protocol > 2 else "truncated or damaged"
    with pytest.raises(ModelFileError, match=message):
        read(packed(pickle.dumps({"epoch": 1}, protocol)))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 1)), (0, (3,), (2,)), (-1, (1,), (1,)), (0, (-1,), (1,)),
        (0, (2,), (-1,)), (1 << 61, (1,), (1,)), (0, (1 << 61,), (1 << 61,)), (0, (1 << 61, 1 << 61), (0, 1 << 61)),
        (0, (0, 1 << 61, 1 << 61), (1, 1, 1)), (0, (2,), ()), (0, (1,) * 33, (1,) * 33), (0, (1 << 62,), (0,)),
    ],
)  # fmt: skip
def test_tensors_that_reach_beyond_their_storage(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    description = b"\x80\x02" + tensor(4, offset, shape, strides) + b"."
    with pytest.raises(ModelFileError, match="damaged"):
        read(packed(description, {"0": bytes(16)}))


def test_the_same_opcodes_read_tensors_that_lie_within() -> None:
    elements = np.arange(4, dtype=np.float32)
    for offset, shape, strides in (
        (0, (4,), (1,)),
        (1, (3,), (1,)),
        (0, (2, 2), (1, 2)),
        (3, (1,), (1 << 61,)),
        (4, (0,), (1,)),
    ):
        found = read(packed(b"\x80\x02" + tensor(4, offset, shape, strides) + b".", {"0": elements.tobytes()}))
        expected = np.lib.stride_tricks.as_strided(
            elements[offset:], shape, [4 * s if n > 1 else 4 for n, s in zip(shape, strides, strict=True)]
        )
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("stored", [bytes(15), bytes(17), b""])
def test_a_storage_of_another_size(stored: bytes) -> None:
    with pytest.raises(ModelFileError, match="storage '0' has .* bytes, which are not 4 elements"):
        read(packed(b"\x80\x02" + tensor(4, 0, (4,), (1,)) + b".", {"0": stored}))


def test_a_storage_that_is_missing_or_outside() -> None:
    for key in (b"7", b"../../etc/passwd", b"/etc/passwd"):
        with pytest.raises(ModelFileError, match="is missing from it"):
            read(packed(b"\x80\x02" + TENSOR + b"(" + storage(4, key) + b"K\x00K\x04\x85K\x01\x85\x89)tR."))


def nested(times: int, opener: bytes, closer: bytes) -> bytes:
    return b"\x80\x02" + opener * times + b"N" + closer * times + b"."


BOMBS = {
    "doubled tuples": b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dictionary in itself": b"\x80\x02}q\x00Nh\x00s.",
    "deep lists": nested(20_000, b"]", b"a"),
    "deep tuples": nested(20_000, b"", b"\x85"),
    "copies of a list": b"\x80\x02(](" + b"K\x01" * 3_000 + b"eq\x00ctorch\nSize\nq\x01"
    + b"h\x01h\x00\x85R" * 3_000 + b"t.",
    "copies of a text": b"\x80\x02(X" + struct.pack("<I", 50_000) + b"x" * 50_000
    + b"q\x00U\x06latin1q\x01c_codecs\nencode\nq\x02" + b"h\x02h\x00h\x01\x86R" * 3_000 + b"t.",
    "a list many times": b"\x80\x02(](" + b"K\x01" * 3_000 + b"eq\x00" + b"h\x00" * 3_000 + b"t.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_far_more_than_the_file(name: str) -> None:
    content = packed(BOMBS[name])
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=r"damaged"):
        read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * len(content) + 1_000_000


@pytest.mark.parametrize(
    ("shape", "strides"), [((1 << 34,), (0,)), ((1 << 20, 1 << 20), (0, 0)), ((3_000_000, 4), (0, 1))]
)
def test_expanded_tensors_of_any_size(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    content = packed(b"\x80\x02" + tensor(4, 0, shape, strides) + b".", {"0": bytes(16)})
    with pytest.raises(ModelFileError, match=rf"tensors would take far more memory than the {len(content)} bytes"):
        read(content)


def test_many_tensors_over_one_storage() -> None:
    one = tensor(250_000, 0, (250_000,), (1,))
    content = packed(b"\x80\x02(" + one * 100 + b"t.", {"0": bytes(1_000_000)})
    with pytest.raises(ModelFileError, match="would take far more memory"):
        read(content)


def test_a_compressed_archive() -> None:
    content = packed(b"\x80\x02N.", {"0": bytes(3_000_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match=r"archive/data.pkl is compressed, which model files never are"):
        read(content)


def changed(content: bytes, change: Callable[[bytearray, int, int], None]) -> bytes:
    """A zip with its first member's local header and entry in the directory changed."""
    altered = bytearray(content)
    change(altered, 0, content.index(b"PK\x01\x02"))
    return bytes(altered)


def test_an_encrypted_archive() -> None:
    def mark(content: bytearray, header: int, entry: int) -> None:
        content[header + 6] |= 1
        content[entry + 8] |= 1

    with pytest.raises(ModelFileError, match=r"archive/data.pkl is encrypted"):
        read(changed(packed(b"\x80\x02N."), mark))


def test_members_that_overlap() -> None:
    content = packed(b"\x80\x02N.", {"0": bytes(100_000)})
    directory = content.index(b"PK\x01\x02")
    entry = content[content.index(b"PK\x01\x02", directory + 1) : content.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"data/0", b"data/" + bytes([number])) for number in range(65, 91))
    end = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, 27, 27, len(entries) + content.index(entry) - directory, directory, 0
    )
    with pytest.raises(ModelFileError, match="must overlap"):
        read(content[: content.index(entry)] + entries + end)


def test_two_members_of_one_name() -> None:
    buffer = io.BytesIO(packed(b"\x80\x02N."))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"\x80\x02K\x01.")
    with pytest.raises(ModelFileError, match="two of its members have one name"):
        read(buffer.getvalue())


@pytest.mark.parametrize(
    "storages", [b"", struct.pack("<q", 3) + bytes(12), struct.pack("<q", 4) + bytes(15), bytes(40)]
)
def test_an_old_file_whose_storages_are_not_whole(storages: bytes) -> None:
    version, machine = pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)
    value = b"\x80\x02" + tensor(4, 0, (4,), (1,)) + b"."
    head = OLD_START + version + machine + value + pickle.dumps(["0"], 2)
    assert read(head + struct.pack("<q", 4) + bytes(16)).tolist() == [0, 0, 0, 0]
    with pytest.raises(ModelFileError, match="storage '0' is not whole"):
        read(head + storages)


@pytest.mark.parametrize(
    "parts",
    [
        [1002, {"little_endian": True}, None, []], [1001, {"little_endian": False}, None, []], [1001, {}, None, []],
        [1001, [], None, []], [1001, {"little_endian": True}, None, ["0"]], [1001, {"little_endian": True}, None, 3],
        [1001, {"little_endian": True}, None], [1001],
    ],
)  # fmt: skip
def test_an_old_file_that_does_not_begin_as_it_should(parts: list[Any]) -> None:
    with pytest.raises(ModelFileError, match="damaged|does not begin"):
        read(OLD_START + b"".join(pickle.dumps(part, 2) for part in parts))
