"""Downloads from a server of this machine: whole, interrupted, resumed, wrong; nothing half-written gets its name."""

import hashlib
import io
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from chainrule.errors import DataError
from chainrule.vision.download import fetch, unpack

CONTENT = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``files``; after ``breaks_after`` bytes of a body it closes the connection."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks_after, self.knows_ranges, self.requests = files, None, True, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append((self.path, asked))
        content = server.files.get(self.path.removeprefix("/"))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        if content is None:
            self.send_error(404)
        elif start and start >= len(content):
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][: server.breaks_after])

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(files):
    server = Server(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server():
    with serving({"data.bin": CONTENT}) as started:
        yield started


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_whole(server, tmp_path):
    path = tmp_path / "deep" / "data.bin"
    fetch([server.url + "data.bin"], path, MD5)
    assert path.read_bytes() == CONTENT and names(path.parent) == ["data.bin"]


def test_an_interrupted_download_goes_on_where_it_ended(server, tmp_path):
    path = tmp_path / "data.bin"
    server.breaks_after = 70_000
    for arrived in (70_000, 140_000):
        with pytest.raises(DataError, match=f"{arrived} bytes have arrived, and the next call goes on from there"):
            fetch([server.url + "data.bin"], path, MD5)
        assert names(tmp_path) == ["data.bin.part"]
    fetch([server.url + "data.bin"], path, MD5)
    assert path.read_bytes() == CONTENT and names(tmp_path) == ["data.bin"]
    assert [asked for _, asked in server.requests] == [None, "bytes=70000-", "bytes=140000-"]


def test_another_address_goes_on(server, tmp_path):
    server.breaks_after = 150_000
    fetch([server.url + "absent", server.url + "data.bin", server.url + "data.bin"], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, None, "bytes=150000-"]


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    fetch([server.url + "data.bin"], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    server.files["data.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=f"the checksum of what came is .*, expected {MD5}"):
        fetch([server.url + "data.bin"], tmp_path / "data.bin", MD5)
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 10])
def test_what_was_left_behind_is_checked(server, tmp_path, length):
    """A whole file that only lacks its name gets it; one that is too long is fetched anew by the next address."""
    (tmp_path / "data.bin.part").write_bytes((CONTENT + b"x" * 10)[:length])
    fetch([server.url + "data.bin"] * 2, tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_no_server_and_no_file(server, tmp_path):
    with pytest.raises(DataError, match=r"could not be fetched[\s\S]*HTTP Error 404"):
        fetch([server.url + "absent"], tmp_path / "data.bin", MD5)
    with pytest.raises(DataError, match=rf"fix: try again, or put the file into {tmp_path}[\s\S]*refused"):
        fetch(["http://127.0.0.1:9/data.bin"], tmp_path / "data.bin", MD5)
    assert names(tmp_path) == []


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name in ("top/one.bin", "../outside.bin", "top/two.bin"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            packed.addfile(member, io.BytesIO(name.encode()))
        link = tarfile.TarInfo("top/link.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        packed.addfile(link)
    return path


def test_an_archive_gives_only_what_is_asked_for(archive, tmp_path):
    unpack(archive, ["two.bin", "one.bin"], tmp_path / "folder")
    assert names(tmp_path / "folder") == ["one.bin", "two.bin"] and names(tmp_path) == ["a.tar.gz", "folder"]
    assert (tmp_path / "folder" / "two.bin").read_text() == "top/two.bin"
    for name in ("link.bin", "three.bin"):
        with pytest.raises(DataError, match=f"has no file {name}; it has one.bin, outside.bin, two.bin"):
            unpack(archive, [name], tmp_path / "other")


def test_a_damaged_archive_gives_nothing(archive, tmp_path):
    whole = archive.read_bytes()
    for damaged in (b"no archive", whole[:-30], b""):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match="a.tar.gz is truncated or damaged .*fix: delete it, and fetch it again"):
            unpack(archive, ["one.bin"], tmp_path / "folder")
        assert names(tmp_path / "folder") == []
