"""Image data sets with labels, under torchvision's names: MNIST and its relatives, CIFAR.

Files are looked for in the folder that the environment variable CHAINRULE_DATA names, then in ``root``, where
``download=True`` puts them. Nothing is ever unpickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.collation import new_tensor
from ..data.datasets import Dataset, Rows, check_rows
from ..data.idx import Images, find_packed, load_part, read_bytes
from ..errors import DataError
from ..settings import settings
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor
from ..types import int64
from .folders import IMAGE_EXTENSIONS as IMAGE_EXTENSIONS
from .folders import ImageFolder as ImageFolder
from .folders import Location, Transform
from .folders import load_image as load_image
from .transforms import works_on_batches


class ImageDataset(Dataset[tuple[Any, Any]]):
    """Images in memory with a label each; item i is ``(image, label)``.

    ``data`` is a uint8 array (n, height, width) or (n, height, width, channels), ``targets`` the n labels, ``classes``
    their names. Without a ``transform`` an image is an array of these, a label an int.
    """

    classes: Sequence[str]
    data: NDArray[np.uint8]
    targets: Any

    def __init__(self, root: Location, transform: Transform | None, target_transform: Transform | None) -> None:
        self.root = Path(root).expanduser()
        self.transform = transform
        self.target_transform = target_transform

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of every class."""
        return {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        image, label = self.data[index], int(self._labels(np.array([index]))[0])
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )

    def gather_rows(self, rows: Rows) -> list[Any] | None:
        """Images and labels of many rows, if the transform can do whole batches and labels are not transformed."""
        if self.target_transform is not None or not (self.transform is None or works_on_batches(self.transform)):
            return None
        check_rows(rows, len(self))
        images: Any = self.data[rows]
        if self.transform is not None:
            images = self.transform.batch(images)  # type: ignore[attr-defined]
        labels, array = new_tensor((len(rows),), int64)
        array[...] = self._labels(rows)
        return [images if isinstance(images, Tensor) else from_array(images), labels]

    def _labels(self, rows: Rows) -> Any:
        """Users put a list, an array or a tensor in ``targets``."""
        if isinstance(self.targets, Tensor):
            return self.targets._array()[rows]
        return (
            self.targets[rows] if isinstance(self.targets, np.ndarray) else [self.targets[row] for row in rows.tolist()]
        )


def _folders(own: Path, shared: str) -> list[Path]:
    """Where files are looked for: in the folder ``shared`` of $CHAINRULE_DATA, then in a data set's own."""
    return [*([settings.data_directory / shared] if settings.data_directory else []), own]


def _missing(name: str, files: str, folders: Sequence[Path], shared: str) -> DataError:
    unset = "" if settings.data_directory else " (CHAINRULE_DATA is not set)"
    return DataError(
        f"{name} was not found: there is no {files} in {' or '.join(map(str, folders))}{unset}. "
        f"fix: download=True, or set the environment variable CHAINRULE_DATA to a folder in which {shared}/ has them"
    )


def _check_labels(labels: NDArray[np.uint8], classes: int, file: str, start: int, step: int) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise DataError(
            f"{file} is damaged: byte {start + int(wrong[0]) * step} holds label {labels[wrong[0]]}, "
            f"expected 0 to {classes - 1}. fix: fetch it again"
        )


class MNIST(ImageDataset):
    """Handwritten digits: 60000 images to train on or 10000 to test on, 28 x 28 pixels, 10 classes.

    Files: four in the IDX format, in $CHAINRULE_DATA/mnist or root/MNIST/raw. ``targets`` is an int64 tensor.
    Source: LeCun, Cortes and Burges 1998, yann.lecun.com/exdb/mnist.

    Errors: `DataError` for files that are missing (unless ``download``) or damaged.
    """

    folder = "mnist"
    mirrors: Sequence[str] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    resources: Sequence[tuple[str, str]] = (
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
    classes: Sequence[str] = (
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    )  # fmt: skip

    def __init__(
        self,
        root: Location,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform, target_transform)
        self.train = train
        part = "train" if train else "t10k"
        own = self.root / type(self).__name__ / "raw"
        folder = self._find(part, own, download)
        self.data, labels = load_part(folder, part)
        _check_labels(labels, len(self.classes), f"the file of {part} labels in {folder}", 8, 1)
        self.targets = from_array(labels.astype(np.int64))

    def _find(self, part: str, own: Path, download: bool) -> Path:
        names = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
        folders = _folders(own, self.folder)
        for folder in folders:
            if all(find_packed(folder, name) for name in names):
                return folder
        if not download:
            raise _missing(type(self).__name__, f"{names[0]}.gz and {names[1]}.gz", folders, self.folder)
        from .download import fetch

        for name, md5 in self.resources:
            if find_packed(own, name.removesuffix(".gz")) is None:
                fetch([mirror + name for mirror in self.mirrors], own / name, md5)
        return own


class FashionMNIST(MNIST):
    """Articles of clothing in the format and the numbers of `MNIST`.

    Files: $CHAINRULE_DATA/fashion-mnist or root/FashionMNIST/raw. Source: Xiao, Rasul and Vollgraf 2017.
    """

    folder = "fashion-mnist"
    mirrors = ("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


class KMNIST(MNIST):
    """Cursive Japanese characters in the format and the numbers of `MNIST`.

    Files: $CHAINRULE_DATA/kmnist or root/KMNIST/raw. Source: Clanuwat and others 2018.
    """

    folder = "kmnist"
    mirrors = ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    )
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class CIFAR10(ImageDataset):
    """Colour photographs: 50000 images to train on or 10000 to test on, 32 x 32 pixels, 10 classes.

    Files: those of the binary version (records of one byte per label and 1024 bytes each of red, green and blue), with
    or without gzip, in $CHAINRULE_DATA/cifar10 or root/cifar-10-batches-bin. Where a folder has only some of them, or
    the beginning of one (test_batch_first1000.bin), those are read, with a warning. ``targets`` is a list.
    Source: Krizhevsky 2009, www.cs.toronto.edu/~kriz/cifar.html.

    Errors: `DataError` for files that are missing (unless ``download``) or damaged.
    """

    folder = "cifar10"
    own_folder = "cifar-10-batches-bin"
    mirrors: Sequence[str] = ("https://www.cs.toronto.edu/~kriz/",)
    archive = ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")
    train_files: Sequence[str] = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    test_files: Sequence[str] = ("test_batch.bin",)
    label_bytes = 1
    classes: Sequence[str] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip

    def __init__(
        self,
        root: Location,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform, target_transform)
        self.train = train
        parts = [self._read(file) for file in self._find(self.train_files if train else self.test_files, download)]
        self.data = np.concatenate([images for images, _ in parts])
        self.targets = np.concatenate([labels for _, labels in parts]).tolist()

    def _find(self, names: Sequence[str], download: bool) -> list[Path]:
        own = self.root / self.own_folder
        folders = _folders(own, self.folder)
        for folder in folders:
            found = {name: find_packed(folder, name) or _beginning_of(folder, name) for name in names}
            files = [file for file in found.values() if file is not None]
            if files and not all(file and file.name.startswith(name) for name, file in found.items()):
                warnings.warn(
                    f"{folder} has not all of {type(self).__name__}: of {', '.join(names)} only "
                    f"{', '.join(file.name for file in files)}, which is used",
                    stacklevel=3,
                )
            if files:
                return files
        if not download:
            wanted = f"{names[0]} (of the binary version, for pickled files are never read)"
            raise _missing(type(self).__name__, wanted, folders, self.folder)
        from .download import fetch, unpack

        archive, md5 = self.archive
        if not (self.root / archive).is_file():
            fetch([mirror + archive for mirror in self.mirrors], self.root / archive, md5)
        unpack(self.root / archive, [*self.train_files, *self.test_files], own)
        return [own / name for name in names]

    def _read(self, file: Path) -> tuple[Images, NDArray[np.uint8]]:
        raw = np.frombuffer(read_bytes(file), np.uint8)
        size = self.label_bytes + 3 * 32 * 32
        if raw.size % size or not raw.size:
            raise DataError(
                f"{file} is truncated or damaged: {raw.size} bytes are no whole number of records of {size}, the last "
                f"of which begins at byte {raw.size - raw.size % size}. fix: fetch it again"
            )
        records = raw.reshape(-1, size)
        labels = records[:, self.label_bytes - 1]
        _check_labels(labels, len(self.classes), str(file), self.label_bytes - 1, size)
        planes = records[:, self.label_bytes :].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _beginning_of(folder: Path, name: str) -> Path | None:
    """A file with the first records of ``name``: test_batch_first1000.bin.gz."""
    return next(iter(sorted(folder.glob(f"{name.removesuffix('.bin')}_*.bin*"))), None)


class CIFAR100(CIFAR10):
    """As `CIFAR10`, with 100 classes. Files: $CHAINRULE_DATA/cifar100 or root/cifar-100-binary."""

    folder = "cifar100"
    own_folder = "cifar-100-binary"
    archive = ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")
    train_files = ("train.bin",)
    test_files = ("test.bin",)
    label_bytes = 2  # one of 20 superclasses, which is not used, and the class
    classes = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
        "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
        "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
        "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
        "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
        "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
        "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television",
        "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
        "woman", "worm",
    )  # fmt: skip
