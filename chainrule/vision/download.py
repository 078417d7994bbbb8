"""Fetching a file: resumed where it stopped, checked, and under its name only when it is whole and right."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

CHUNK = 1 << 16
TIMEOUT = 30
"""Seconds without an answer after which a server is given up."""


class _IncompleteError(OSError):
    """The connection ended before the file did."""


def fetch(urls: Sequence[str], path: Path, md5: str) -> None:
    """Fetch a file from the first of several addresses that gives it.

    What has arrived lies in a file beside it whose name ends in .part, until all has and the checksum is right; a later
    call, or the next address, goes on where it ends.

    Errors: `DataError` if no address gives the file, or what came has another checksum (it is then deleted).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reasons = []
    for url in urls:
        try:
            _receive(url, part)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {error}")
            continue
        found = _md5(part)
        if found == md5:
            os.replace(part, path)
            return
        part.unlink()
        reasons.append(f"{url}: the checksum of what came is {found}, expected {md5}")
    kept = f" {part.stat().st_size} bytes have arrived, and the next call goes on from there." if part.exists() else ""
    raise DataError(
        f"{path.name} could not be fetched.{kept} fix: try again, or put the file into {path.parent}\n  "
        + "\n  ".join(reasons)
    )


def _receive(url: str, part: Path) -> None:
    """Append to ``part`` what is missing of it."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is missing; whether it is right the checksum tells
    with response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        expected = response.headers.get("Content-Length")
        received = 0
        with open(part, "ab" if goes_on else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                received += len(chunk)
    if expected is not None and received < int(expected):
        raise _IncompleteError(f"the connection ended after {received} of {expected} bytes")


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Write the files ``names`` of a .tar.gz archive into a folder, and nothing else; each appears when it is whole.

    Errors: `DataError` for an archive that is damaged, and for a file that it lacks.
    """
    folder.mkdir(exist_ok=True)
    try:
        _unpack(archive, names, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{archive} is truncated or damaged ({error}). fix: delete it, and fetch it again") from None


def _unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    with tarfile.open(archive, "r:gz") as packed:
        members = {Path(member.name).name: member for member in packed if member.isfile()}
        for name in names:
            source = packed.extractfile(members[name]) if name in members else None
            if source is None:
                raise DataError(f"{archive} has no file {name}; it has {', '.join(sorted(members)) or 'none'}")
            part = folder / f"{name}.part"
            part.write_bytes(source.read())
            os.replace(part, folder / name)
