"""The disk cache of object code: one file per key, checksummed, written atomically, bounded in size.

A cache never fails: what cannot be read is compiled again, and what cannot be written is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"chainrule object 1\n"
SUFFIX = ".object"
DEFAULT_LIMIT = 512 * 2**20
"""Bytes that a cache directory may hold; beyond it the entries not used for longest go first."""

STORES_PER_EVICTION = 64
"""Looking through a full directory takes longer than compiling a small program, so it is not done at every store."""


@dataclass(frozen=True)
class CacheInfo:
    """What a cache directory holds: the number of programs and their size in bytes."""

    directory: Path
    entries: int
    bytes: int


def load(directory: Path, key: str) -> bytes | None:
    """The object code stored under a key, or None if there is none or it is damaged."""
    path = directory / (key + SUFFIX)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    header = len(MAGIC) + hashlib.sha256().digest_size
    body = content[header:]
    # A damaged object would crash the process while being linked; the checksum also covers its length.
    if content[:header] != MAGIC + hashlib.sha256(body).digest():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return body


def is_stored(directory: Path, key: str) -> bool:
    """Whether there is an entry under a key, be it damaged."""
    return (directory / (key + SUFFIX)).exists()


def store(directory: Path, key: str, body: bytes) -> None:
    """Keep object code under a key; now and then make room by `evict`."""
    checksum = hashlib.sha256(body).digest()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Written beside its final name and renamed, so that no other process can ever see half an entry.
        handle, temporary = tempfile.mkstemp(dir=directory, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + checksum + body)
            os.replace(temporary, directory / (key + SUFFIX))
        except OSError:
            os.unlink(temporary)
            raise
    except OSError:
        return
    if checksum[0] % STORES_PER_EVICTION == 0:  # as good as chance, and it needs no memory of earlier stores
        evict(directory)


def _entries(directory: Path) -> list[tuple[float, int, str]]:
    """Time of last use, size and path of every entry, oldest first."""
    entries = []
    with contextlib.suppress(OSError), os.scandir(directory) as files:
        for file in files:
            if file.name.endswith((SUFFIX, ".tmp")):
                with contextlib.suppress(OSError):  # another process may have evicted it
                    entries.append((file.stat().st_mtime, file.stat().st_size, file.path))
    return sorted(entries)


def evict(directory: Path, limit: int = DEFAULT_LIMIT) -> None:
    """Delete the entries that were not used for longest, until the others hold at most ``limit`` bytes."""
    entries = _entries(directory)
    total = sum(size for _, size, _ in entries)
    for _, size, path in entries:
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


def cache_info(directory: Path) -> CacheInfo:
    """Count the programs kept in a cache directory.

    >>> cache_info(Path("/nonexistent")).entries
    0
    """
    entries = _entries(directory)
    return CacheInfo(directory, len(entries), sum(size for _, size, _ in entries))


def clear_cache(directory: Path) -> int:
    """Delete every program kept in a cache directory; returns how many there were."""
    entries = _entries(directory)
    for _, _, path in entries:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return len(entries)
