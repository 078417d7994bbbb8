"""Zip archives whose members are stored as they are: nothing in one can unpack to more than the file's own size."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator

from chainrule.errors import ModelFileError

_DAMAGES = (
    zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error,
)  # fmt: skip


class StoredZip:
    """The members of a zip archive by name; what is compressed, encrypted, doubled or overlapping is refused.

    Raises ModelFileError, also where the archive is truncated or a member does not have its checksum.
    """

    def __init__(self, content: bytes, path: str | os.PathLike[str]) -> None:
        self.path = path
        with self._damage_told():
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        members = self._archive.infolist()
        self.names = [member.filename for member in members]
        if len(set(self.names)) < len(self.names):
            raise ModelFileError(f"{path} is damaged: two of its members have one name")
        if sum(member.file_size for member in members if member.compress_type == zipfile.ZIP_STORED) > len(content):
            raise ModelFileError(f"{path} is damaged: its members are larger than the file, so they must overlap")

    def read(self, name: str) -> bytes:
        """Return the content of a member."""
        if name not in self._archive.NameToInfo:
            raise ModelFileError(f"{self.path} is damaged: {name} is missing from it")
        member = self._archive.getinfo(name)
        if member.flag_bits & 1:
            raise ModelFileError(f"{self.path}: {name} is encrypted, which model files never are")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ModelFileError(
                f"{self.path}: {name} is compressed, which model files never are: it was packed by another tool"
            )
        with self._damage_told():
            content = self._archive.read(member)
        if len(content) != member.file_size:
            raise ModelFileError(f"{self.path} is damaged: {name} has {len(content)} bytes, not {member.file_size}")
        return content

    @contextlib.contextmanager
    def _damage_told(self) -> Iterator[None]:
        """What the zip module raises for damaged archives, as one error."""
        try:
            yield
        except _DAMAGES as error:
            raise ModelFileError(
                f"{self.path} is truncated or damaged ({error!s:.150}): copy it again, or save it again"
            ) from None
