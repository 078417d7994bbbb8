"""The IDX reader, on files written here."""

import gzip
import struct

import numpy as np
import pytest

from chainrule.data.idx import load_mnist, read_idx
from chainrule.errors import DataError
from chainrule.settings import settings

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    header = bytes([0, 0, CODES[str(array.dtype)], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def mnist_folder(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        images = generator.integers(0, 256, (count, 3, 2)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(count, dtype=np.uint8)))
    return folder


@pytest.mark.parametrize("dtype", CODES)
def test_round_trip(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "a.idx").write_bytes(idx_bytes(array))
    found = read_idx(tmp_path / "a.idx")
    assert found.dtype == array.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_load_mnist_through_settings_or_root(mnist_folder, monkeypatch):
    monkeypatch.setattr(settings, "data_directory", mnist_folder.parent)
    for arrays in (load_mnist(), load_mnist(mnist_folder)):
        assert [array.shape for array in arrays] == [(6, 3, 2), (6,), (4, 3, 2), (4,)]
        assert arrays[3].tolist() == [0, 1, 2, 3]


def test_load_mnist_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "data_directory", None)
    with pytest.raises(DataError, match="set the environment variable CHAINRULE_DATA"):
        load_mnist()
    with pytest.raises(DataError, match=f"no file train-images-idx3-ubyte.gz in {tmp_path}"):
        load_mnist(tmp_path)


def test_partners_must_fit(mnist_folder):
    (mnist_folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"the train files .* do not fit.*\(6, 3, 2\) and uint8 \(5,\)"):
        load_mnist(mnist_folder)


def test_damaged_files(tmp_path):
    whole = idx_bytes(np.arange(10, dtype=np.uint8))
    for content, message in [
        (whole[:-1], "truncated or damaged: it should end at byte 18 for shape .10,., and ends at byte 17"),
        (whole[:6], "it ends within its header"),
        (b"PNG" + whole, "is not an IDX file"),
        (b"", "is not an IDX file"),
    ]:
        (tmp_path / "plain").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_idx(tmp_path / "plain")
    packed = gzip.compress(whole)
    for content in (packed[:-12], b"not gzip", packed[:10] + b"\xff\xff" + packed[12:]):
        (tmp_path / "packed.gz").write_bytes(content)
        with pytest.raises(DataError, match="truncated or damaged"):
            read_idx(tmp_path / "packed.gz")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_idx(tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        read_idx(tmp_path / "absent")
