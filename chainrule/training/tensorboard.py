"""Event files for TensorBoard, without TensorBoard.

A file is a sequence of records: length (8 bytes), its checksum (4), content, its checksum (4), all little-endian; the
checksum is CRC-32C, rotated and shifted. The content is an ``Event`` of TensorFlow's event.proto: wall_time (field 1,
double), step (2), and one of file_version (3), summary (5), whose values have tag (1) and simple_value (2, float), and
session_log (7), whose status 1 says that a program has started: events of its step and later ones do not count then.
Source: https://www.tensorflow.org/tutorials/load_data/tfrecord, and the .proto files of TensorFlow.
"""

from __future__ import annotations

import os
import platform
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import prepare_place
from .callbacks import Callback
from .loggers import warn_unwritten

if TYPE_CHECKING:
    from .trainer import Trainer


class TensorBoard(Callback):
    """Write the history into ``folder``, one of its own per training, for ``tensorboard --logdir folder``.

    A training that is resumed goes on in another file of the folder. What cannot be written is a warning.
    Errors: `ModelFileError` before the first epoch where no file can be made.

    >>> trainer = cr.Trainer(nn.Linear(1, 1), callbacks=[TensorBoard("runs/first")], seed=0)
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, verbose=0)
    >>> [path.name.startswith("events.out.tfevents.") for path in Path("runs/first").iterdir()]
    [True]
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._path: Path | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        name = f"events.out.tfevents.{time.time_ns() // 1000:017d}.{platform.node()}.{os.getpid()}"
        self._path = self.folder / name
        prepare_place(self._path)
        self._write(0, 3, b"brain.Event:2")
        if trainer.first_epoch > 1:
            self._write(trainer.first_epoch, 7, _number(1, 1))

    def after_epoch(self, trainer: Trainer, row: dict[str, float]) -> None:
        values = [_bytes(1, name.encode()) + b"\x15" + struct.pack("<f", row[name]) for name in row if name != "epoch"]
        self._write(int(row["epoch"]), 5, b"".join(_bytes(1, value) for value in values))

    def _write(self, step: int, field: int, content: bytes) -> None:
        if self._path is None:
            return
        event = b"\x09" + struct.pack("<d", time.time()) + _number(2, step) + _bytes(field, content)
        try:
            with open(self._path, "ab") as file:
                file.write(record(event))
        except OSError as error:
            warn_unwritten(self._path, error)
            self._path = None  # behind part of a record nothing can be read


def record(content: bytes) -> bytes:
    """Content with its length and the checksums of both."""
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in content:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table_entry(byte: int) -> int:
    """The remainder of one byte by the polynomial of CRC-32C (Castagnoli), bits reversed."""
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_TABLE = [_table_entry(byte) for byte in range(256)]


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """A whole number, seven bits a byte, the lowest first."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
