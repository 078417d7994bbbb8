"""Image data sets, on small files written here; the published ones where CHAINRULE_DATA has them."""

import gzip
import hashlib
import io
import struct
import sys
import tarfile

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import DataLoader, Subset, random_split
from chainrule.errors import DataError, MissingExtraError
from chainrule.settings import settings
from chainrule.vision import datasets, transforms

from .test_download import serving

TRANSFORM = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_files():
    return {
        f"{part}-{kind}-ubyte.gz": gzip.compress(idx(array[:count]))
        for part, count in (("train", 12), ("t10k", 7))
        for kind, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS))
    }


def cifar_records(count, label_bytes=1, first=0):
    records = np.random.default_rng(first).integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    records[:, label_bytes - 1] = (np.arange(count) + first) % 10
    return records


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture(autouse=True)
def _no_shared_data(request, monkeypatch):
    if "shared" not in request.fixturenames:
        monkeypatch.setattr(settings, "data_directory", None)


@pytest.fixture
def shared():
    """The folder of published data sets."""
    if settings.data_directory is None:
        pytest.skip("needs $CHAINRULE_DATA")
    return settings.data_directory


def test_mnist_in_the_shared_folder_or_under_root(tmp_path, monkeypatch):
    write(tmp_path / "root" / "MNIST" / "raw", mnist_files())
    data = datasets.MNIST(tmp_path / "root")
    assert len(data) == 12 and data.classes[3] == "3 - three" and data.class_to_idx["3 - three"] == 3
    np.testing.assert_array_equal(data.data, IMAGES)
    assert data.targets.dtype is cr.int64 and data.targets.tolist() == LABELS.tolist()
    image, label = data[11]
    assert image.dtype == np.uint8 and label == 1 and type(label) is int
    np.testing.assert_array_equal(image, IMAGES[11])
    assert len(datasets.MNIST(str(tmp_path / "root"), train=False)) == 7
    write(tmp_path / "shared" / "mnist", {name: content for name, content in mnist_files().items() if "train" in name})
    monkeypatch.setattr(settings, "data_directory", tmp_path / "shared")
    assert len(datasets.MNIST(tmp_path / "nowhere", download=True)) == 12
    with pytest.raises(DataError, match="no t10k-images"):
        datasets.MNIST(tmp_path / "nowhere", train=False)


@pytest.mark.parametrize("targets", [list, np.asarray, cr.tensor], ids=["list", "array", "tensor"])
def test_items_and_batches(tmp_path, targets):
    write(tmp_path / "MNIST" / "raw", mnist_files())
    plain, row_by_row = (datasets.MNIST(tmp_path, transform=t) for t in (TRANSFORM, transforms.Lambda(TRANSFORM)))
    for data in (plain, row_by_row):
        data.targets = targets(data.targets.tolist())
    for data, other in ((plain, row_by_row), (Subset(plain, [3, 1, 2]), Subset(row_by_row, [3, 1, 2]))):
        batches, others = list(DataLoader(data, 5)), list(DataLoader(other, 5))
        assert len(batches) == len(others) > 0
        for (x, y), (u, v) in zip(batches, others, strict=True):
            assert x.shape == (len(y), 1, 5, 4) and y.dtype is cr.int64 and type(data[0][1]) is int
            np.testing.assert_array_equal(x.numpy(), u.numpy())
            np.testing.assert_array_equal(y.numpy(), v.numpy())
    untransformed, shifted = (
        datasets.MNIST(tmp_path),
        datasets.MNIST(tmp_path, target_transform=lambda label: label + 100),
    )
    (x, y), (_, z) = next(iter(DataLoader(untransformed, 12))), next(iter(DataLoader(shifted, 12)))
    np.testing.assert_array_equal(x.numpy(), IMAGES)
    np.testing.assert_array_equal(y.numpy() + 100, z.numpy())
    with pytest.raises(IndexError):
        next(iter(DataLoader(plain, 1, sampler=[12])))


def test_missing_files_say_where_they_were_looked_for(tmp_path, monkeypatch):
    own = tmp_path / "FashionMNIST" / "raw"
    with pytest.raises(
        DataError, match=f"no train-images-idx3-ubyte.gz .* in {own} .CHAINRULE_DATA is not set.. fix: download=True"
    ):
        datasets.FashionMNIST(tmp_path)
    monkeypatch.setattr(settings, "data_directory", tmp_path)
    with pytest.raises(DataError, match=f"in {tmp_path / 'kmnist'} or {tmp_path / 'KMNIST' / 'raw'}. fix"):
        datasets.KMNIST(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="no data_batch_1.bin .of the binary version, for pickled files are never read"):
        datasets.CIFAR10(tmp_path)


def test_damaged_mnist_files(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    for name, content, message in [
        ("train-images-idx3-ubyte.gz", gzip.compress(b"\x89PNG" + b"\0" * 20), "bytes 0 to 3 are b'.x89PNG'"),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx(IMAGES)[:-1]),
            r"should end at byte 256 for shape \(12, 5, 4\), and ends at byte 255",
        ),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES))[:-20], "truncated or damaged"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(idx(LABELS[:-1])), "do not fit"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(idx(LABELS + 3)), "byte 15 holds label 10, expected 0 to 9"),
    ]:
        write(raw, {**mnist_files(), name: content})
        with pytest.raises(DataError, match=message) as caught:
            datasets.MNIST(tmp_path)
        assert str(raw) in str(caught.value)


def test_download_resumes_and_refuses_what_is_wrong(tmp_path, monkeypatch):
    files = mnist_files()
    with serving(files) as server:
        monkeypatch.setattr(datasets.MNIST, "mirrors", (server.url,))
        monkeypatch.setattr(
            datasets.MNIST, "resources", [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
        )
        server.breaks_after = 150
        with pytest.raises(DataError, match="train-images-idx3-ubyte.gz could not be fetched. 150 bytes have arrived"):
            datasets.MNIST(tmp_path, download=True)
        server.breaks_after = None
        data = datasets.MNIST(tmp_path, download=True)
        np.testing.assert_array_equal(data.data, IMAGES)
        assert server.requests[1] == ("/train-images-idx3-ubyte.gz", "bytes=150-")
        assert sorted(path.name for path in (tmp_path / "MNIST" / "raw").iterdir()) == sorted(files)
        count = len(server.requests)
        assert len(datasets.MNIST(tmp_path, train=False, download=True)) == 7 and len(server.requests) == count
        server.files["t10k-labels-idx1-ubyte.gz"] = b"something else"
        (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(DataError, match="the checksum of what came is"):
            datasets.MNIST(tmp_path, train=False, download=True)
        assert len(list((tmp_path / "MNIST" / "raw").iterdir())) == 3


def test_cifar_records_become_images(tmp_path, monkeypatch):
    parts = [cifar_records(4, first=number) for number in range(5)]
    folder = tmp_path / "cifar10"
    write(
        folder, {f"data_batch_{number + 1}.bin.gz": gzip.compress(part.tobytes()) for number, part in enumerate(parts)}
    )
    monkeypatch.setattr(settings, "data_directory", tmp_path)
    data = datasets.CIFAR10(tmp_path / "nowhere", transform=transforms.ToTensor())
    records = np.concatenate(parts)
    assert data.data.shape == (20, 32, 32, 3) and data.targets == records[:, 0].tolist()
    assert data.data[6, 3, 7].tolist() == [records[6, 1 + plane * 1024 + 3 * 32 + 7] for plane in range(3)]
    (x, _), *_ = DataLoader(data, 20)
    np.testing.assert_array_equal(x.numpy(), records[:, 1:].reshape(20, 3, 32, 32) / np.float32(255))
    write(tmp_path / "root" / "cifar-100-binary", {"test.bin": cifar_records(3, 2, 5).tobytes()})
    hundred = datasets.CIFAR100(tmp_path / "root", train=False)
    assert hundred.targets == [5, 6, 7] and len(set(hundred.classes)) == 100 and hundred.classes[7] == "beetle"


def test_a_part_of_cifar_is_read_with_a_warning(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    write(folder, {"test_batch_first3.bin": cifar_records(3).tobytes(), "data_batch_2.bin": cifar_records(2).tobytes()})
    with pytest.warns(UserWarning, match="of test_batch.bin only test_batch_first3.bin") as caught:
        assert len(datasets.CIFAR10(tmp_path, train=False)) == 3
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="only data_batch_2.bin, which"):
        assert len(datasets.CIFAR10(tmp_path)) == 2


def test_damaged_cifar_files(tmp_path):
    records = cifar_records(4)
    wrong_label = records.copy()
    wrong_label[2, 0] = 200
    for content, message in [
        (
            records.tobytes()[:-1],
            "12291 bytes are no whole number of records of 3073, the last of which begins at byte 9219",
        ),
        (b"", "0 bytes are no whole number"),
        (wrong_label.tobytes(), "byte 6146 holds label 200, expected 0 to 9"),
    ]:
        write(tmp_path / "cifar-10-batches-bin", {"test_batch.bin": content})
        with pytest.raises(DataError, match=message) as caught:
            datasets.CIFAR10(tmp_path, train=False)
        assert str(tmp_path / "cifar-10-batches-bin" / "test_batch.bin") in str(caught.value)


def test_cifar_is_downloaded_and_unpacked(tmp_path, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in (*datasets.CIFAR10.train_files, *datasets.CIFAR10.test_files):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = 2 * 3073
            archive.addfile(member, io.BytesIO(cifar_records(2).tobytes()))
    with serving({"cifar-10-binary.tar.gz": packed.getvalue()}) as server:
        monkeypatch.setattr(datasets.CIFAR10, "mirrors", (server.url,))
        digest = hashlib.md5(packed.getvalue()).hexdigest()
        monkeypatch.setattr(datasets.CIFAR10, "archive", ("cifar-10-binary.tar.gz", digest))
        assert len(datasets.CIFAR10(tmp_path, download=True)) == 10
        assert len(datasets.CIFAR10(tmp_path, train=False, download=True)) == 2 and len(server.requests) == 1


@pytest.fixture
def folder_of_images(tmp_path):
    for number, name in enumerate(("cat/b.png", "cat/deep/a.PNG", "dog/c.jpg", "dog/notes.txt")):
        write((tmp_path / name).parent, {(tmp_path / name).name: bytes([number] * 12)})
    return tmp_path


def read_raw(path):
    with open(path, "rb") as file:
        return np.frombuffer(file.read(), np.uint8).reshape(2, 2, 3)


def test_a_folder_of_images(folder_of_images):
    data = datasets.ImageFolder(folder_of_images, transforms.ToTensor(), loader=read_raw)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1} and data.targets == [0, 0, 1]
    (x, y), *_ = DataLoader(data, 3, num_workers=2)
    assert y.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(x[:, 0, 0, 0].numpy(), np.float32([0, 1, 2]) / np.float32(255))
    assert datasets.ImageFolder(folder_of_images, None, lambda label: -label, read_raw)[2][1] == -1
    (folder_of_images / "empty").mkdir()
    with pytest.raises(DataError, match=f"{folder_of_images / 'empty'} has no image"):
        datasets.ImageFolder(folder_of_images, loader=read_raw)
    with pytest.raises(DataError, match="one folder of images per class"):
        datasets.ImageFolder(folder_of_images / "absent", loader=read_raw)


def test_without_pillow_one_line_names_the_extra(folder_of_images, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'^this needs Pillow: pip install "chainrule\[vision\]"$'):
        datasets.ImageFolder(folder_of_images)


def test_image_files(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "grey").mkdir()
    image.fromarray(IMAGES[0]).save(tmp_path / "grey" / "a.png")
    data = datasets.ImageFolder(tmp_path)
    np.testing.assert_array_equal(data[0][0], np.repeat(IMAGES[0][:, :, None], 3, axis=2))
    (tmp_path / "grey" / "c.png").mkdir()  # is none
    bad, good = tmp_path / "grey" / "b.png", (tmp_path / "grey" / "a.png").read_bytes()
    start, end = good.index(b"IDAT") - 4, len(good) - 12  # the last part, IEND, has 12 bytes
    for content, message in [
        (b"no image", "it has 8 bytes and begins with b'no image'"),
        (
            good[: start + 12],
            f"its part b'IDAT' at byte {start} would end at byte {end}, the file ends at byte {start + 12}",
        ),
        (
            good[:20] + bytes([good[20] ^ 255]) + good[21:],
            "the checksum of its part b'IHDR' from byte 8 to byte 33 is wrong",
        ),
    ]:
        bad.write_bytes(content)
        with pytest.raises(DataError, match=rf"b.png cannot be read as an image: .*; {message}"):
            list(DataLoader(datasets.ImageFolder(tmp_path)))


def test_the_usual_program_on_the_published_mnist(shared):
    if not (shared / "mnist").is_dir():
        pytest.skip("needs $CHAINRULE_DATA/mnist")
    dataset1 = datasets.MNIST("../data", train=True, download=True, transform=TRANSFORM)
    dataset2 = datasets.MNIST("../data", train=False, transform=TRANSFORM)
    device = cr.device("cpu")
    train_loader = cr.utils.data.DataLoader(dataset1, batch_size=64, shuffle=True)
    total, square, seen = 0.0, 0.0, np.zeros(10, np.int64)
    for _batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        total += float(data.numpy().sum(dtype=np.float64))
        square += float((data.numpy().astype(np.float64) ** 2).sum())
        seen += np.bincount(target.numpy(), minlength=10)
    assert len(train_loader.dataset) == 60000 and len(train_loader) == 938
    assert seen.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    count = 60000 * 784
    assert abs(total / count) < 1e-3 and abs(square / count - 1) < 1e-3  # that is what 0.1307 and 0.3081 are for
    assert [label for _, label in (dataset2[k] for k in range(8))] == [7, 2, 1, 0, 4, 1, 4, 9]
    assert [len(part) for part in random_split(dataset1, [55000, 5000])] == [55000, 5000]


def test_the_published_cifar10(shared):
    if not (shared / "cifar10").is_dir():
        pytest.skip("needs $CHAINRULE_DATA/cifar10")
    with pytest.warns(UserWarning, match="has not all of CIFAR10"):
        data = datasets.CIFAR10("../data", train=False)
    assert len(data) == 1000 and [data.classes[label] for label in data.targets[:4]] == [
        "cat",
        "ship",
        "ship",
        "airplane",
    ]
    np.testing.assert_allclose(data.data.mean((0, 1, 2)) / 255, [0.494, 0.485, 0.450], atol=0.01)
