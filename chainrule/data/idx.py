"""The IDX format, in which MNIST and Fashion-MNIST are published: a header of big-endian sizes, then the elements."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.settings import settings

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

Images = NDArray[np.uint8]


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, compressed with gzip if its name ends in .gz, as an array in the machine's byte order.

    Format: two zero bytes, a type code, the number of axes, one 4-byte size per axis, the elements in C order
    (yann.lecun.com/exdb/mnist). Raises DataError for a file that is missing, truncated or of another format.
    """
    file = Path(path)
    raw = read_bytes(file)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _DTYPES:
        raise DataError(
            f"{file} is not an IDX file: it must begin with two zero bytes and a type code, "
            f"its bytes 0 to 3 are {raw[:4]!r}"
        )
    dtype, axes = np.dtype(_DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * axes
    if len(raw) < start:
        raise DataError(f"{file} is truncated: it ends within its header of {start} bytes")
    shape = tuple(int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes))
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(raw) != expected:
        raise DataError(
            f"{file} is truncated or damaged: it should end at byte {expected} for shape {shape}, and ends at byte "
            f"{len(raw)}. fix: fetch it again"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def load_mnist(root: str | os.PathLike[str] | None = None) -> tuple[Images, Images, Images, Images]:
    """Return the training images and labels and the test images and labels of MNIST, all uint8.

    Shapes (60000, 28, 28), (60000,), (10000, 28, 28), (10000,). ``root`` is the folder of the four IDX files,
    by default the folder mnist in the one that the environment variable CHAINRULE_DATA names. Fashion-MNIST has the
    same files. Raises DataError where a file is missing, damaged or does not fit its partner.
    """
    if root is None and settings.data_directory is None:
        raise DataError(
            "MNIST was not found: set the environment variable CHAINRULE_DATA to a folder that contains "
            "mnist/train-images-idx3-ubyte.gz and its three companions, or pass their folder as root"
        )
    folder = Path(root) if root is not None else Path(settings.data_directory or "") / "mnist"
    return *load_part(folder, "train"), *load_part(folder, "t10k")


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed if its name ends in .gz. Raises DataError if it is missing or damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is truncated or damaged: {error}; it has {len(raw)} bytes. fix: fetch it again"
        ) from None


def load_part(folder: Path, part: str) -> tuple[Images, Images]:
    """Images and labels of one part of MNIST, "train" or "t10k". Raises DataError as `load_mnist`."""
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"))
    if images.dtype != np.uint8 or labels.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"the {part} files in {folder} do not fit: expected uint8 images (n, height, width) and labels (n,), "
            f"got {images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        )
    return images, labels


def _find(folder: Path, name: str) -> Path:
    found = find_packed(folder, name)
    if found is None:
        raise DataError(f"there is no file {name}.gz in {folder}; MNIST needs its four IDX files there")
    return found


def find_packed(folder: Path, name: str) -> Path | None:
    """The file of this name in a folder, compressed with gzip (.gz) or not; None if there is neither."""
    return next((file for file in (folder / f"{name}.gz", folder / name) if file.is_file()), None)
