"""Images in files: read with Pillow, and data sets that are folders of them, under torchvision's names."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import Dataset
from ..data.idx import Images
from ..errors import DataError, MissingExtraError

Transform = Callable[[Any], Any]
Location = str | os.PathLike[str]

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def load_image(path: Location) -> Images:
    """Read an image file with Pillow as a uint8 array (height, width, 3).

    Errors: `MissingExtraError` without Pillow, `DataError` for a file that is no image.
    """
    Image = _pillow()
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}{_damage(Path(path))}") from None


PNG = b"\x89PNG\r\n\x1a\n"
"""How PNG files begin. Behind it come chunks: length, type, content, checksum of type and content."""


def _damage(path: Path) -> str:
    """Where the file of an image is damaged, as far as its format tells."""
    if not path.is_file():
        return ""
    raw = path.read_bytes()
    place = len(PNG)
    while raw.startswith(PNG) and place < len(raw):
        length, kind = int.from_bytes(raw[place : place + 4], "big"), raw[place + 4 : place + 8]
        end = place + length + 12
        if end > len(raw):
            return f"; its part {kind!r} at byte {place} would end at byte {end}, the file ends at byte {len(raw)}"
        if zlib.crc32(raw[place + 4 : end - 4]) != int.from_bytes(raw[end - 4 : end], "big"):
            return f"; the checksum of its part {kind!r} from byte {place} to byte {end} is wrong"
        place = end
    return f"; it has {len(raw)} bytes and begins with {raw[:8]!r}"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("Pillow", "vision") from None
    return Image


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_EXTENSIONS and file.is_file()


class ImageFolder(Dataset[tuple[Any, Any]]):
    """Images in one folder per class, root/class/.../image.png; classes are numbered in the order of their names.

    ``loader`` reads a file, by default with Pillow as an array (height, width, 3). Attributes: ``classes``,
    ``class_to_idx``, ``samples`` (file and label of every row), ``targets``.

    Errors: `DataError` for a root without folders, and for a folder without images; `MissingExtraError` without Pillow.
    """

    def __init__(
        self,
        root: Location,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        loader: Callable[[str], Any] = load_image,
    ) -> None:
        if loader is load_image:
            _pillow()
        self.root = Path(root).expanduser()
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        self.classes = (
            sorted(place.name for place in self.root.iterdir() if place.is_dir()) if self.root.is_dir() else []
        )
        if not self.classes:
            raise DataError(
                f"{self.root} must be a folder that has one folder of images per class, and it has no folder"
            )
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        for label, name in enumerate(self.classes):
            files = [file for file in sorted((self.root / name).rglob("*")) if _is_image(file)]
            if not files:
                raise DataError(f"{self.root / name} has no image; known are {', '.join(IMAGE_EXTENSIONS)}")
            self.samples += [(str(file), label) for file in files]
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        file, label = self.samples[index]
        image = self.loader(file)
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )
