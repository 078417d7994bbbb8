"""Writing a file whole or not at all: full disks, limits, interruptions, places that cannot be written."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ModelFileError
from chainrule.files import atomic
from chainrule.files.archive import read_archive
from chainrule.files.atomic import prepare_place, write_atomically


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_new_file_gets_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "folder" / "real")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, failing, fail)
    with pytest.raises(
        ModelFileError, match="was not saved: no space left on device; the file that was there before is unchanged"
    ):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


LIMITED = """
import resource, sys
from chainrule.errors import ModelFileError
from chainrule.files.atomic import prepare_place, write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(sys.argv[1], b"n" * 5000)
except ModelFileError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of the shell")
def test_a_limit_on_file_sizes_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert "was not saved: file too large; the file that was there before is unchanged" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"the folder .*absent does not exist"):
        write_atomically(tmp_path / "absent" / "file", b"")
    with pytest.raises(ModelFileError, match="it is a folder"):
        write_atomically(tmp_path, b"")


NETWORKS = """
import sys
import numpy as np
from chainrule.files.archive import write_archive
for number in range(12):
    write_archive(sys.argv[1], {"writer": int(sys.argv[2])}, {"x": np.full(20_000, int(sys.argv[2]))}, "1")
"""


def test_two_processes_that_write_one_path_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "model.chain"
    commands = [[sys.executable, "-c", NETWORKS, str(path), str(writer)] for writer in (1, 2)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    seen = 0
    while any(process.poll() is None for process in running):
        if path.exists():  # a reader never meets a file that is half of one and half of another
            archive = read_archive(path)
            assert set(archive.arrays["x"].tolist()) == {archive.documents["writer"]}
            seen += 1
        time.sleep(0.002)
    assert [process.communicate()[1] for process in running] == ["", ""]
    assert seen > 0
    assert read_archive(path).documents["writer"] in (1, 2)
    assert list(tmp_path.iterdir()) == [path]


SAVERS = {
    "module": lambda path: nn.Linear(2, 1).save(path),
    "weights": lambda path: cr.save(nn.Linear(2, 1).state_dict(), path),
    "checkpoint": lambda path: cr.save({"epoch": 1, "model": nn.Linear(2, 1).state_dict()}, path),
    "trainer": lambda path: cr.Trainer(nn.Linear(2, 1)).save(path),
}


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_every_way_of_saving_keeps_the_old_file_on_a_full_disk(
    name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    SAVERS[name](path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    reason = os.strerror(number).lower()
    with pytest.raises(ModelFileError, match=rf"was not saved: {reason}; the file that was there before is unchanged"):
        SAVERS[name](path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a file, below one that everybody may look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "folder"
        folder.mkdir()
        folder.parent.chmod(0o755)
        (folder / "file").write_bytes(b"old")
        yield folder
        folder.chmod(0o755)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Whom permissions stop: for root no folder is read-only."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_read_only_folder_is_named(folder: Path) -> None:
    folder.chmod(0o555)
    message = rf"{folder}/file was not saved: permission denied \({folder}.*the file that was there before is unchanged"
    with ordinary_user(), pytest.raises(ModelFileError, match=message):
        write_atomically(folder / "file", b"new")
    assert ((folder / "file").read_bytes(), os.listdir(folder)) == (b"old", ["file"])


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_folder_that_may_not_be_looked_into_is_named(folder: Path) -> None:
    folder.chmod(0o600)
    with ordinary_user():
        with pytest.raises(ModelFileError, match=rf"{folder}/file was not saved: permission denied"):
            write_atomically(folder / "file", b"new")
        with pytest.raises(ModelFileError, match=rf"{folder}/file cannot be read: Permission denied"):
            read_archive(folder / "file")


def test_a_place_is_prepared_and_cleared_of_what_was_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "file.chain"
    prepare_place(path)
    assert list(path.parent.iterdir()) == []
    kept = [".file.chain.tmp", ".file.chain.0123abcd.tmp.txt", ".other.chain.0123abcd.tmp"]
    for name in [*kept, ".file.chain.0123abcd.tmp", ".file-7.chain.0123abcd.tmp"]:
        (path.parent / name).write_bytes(b"")
    prepare_place(path, "file-*.chain")
    assert sorted(item.name for item in path.parent.iterdir()) == sorted(kept)


def test_a_place_that_cannot_be_prepared_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match="cannot be written: file exists"):
        prepare_place(tmp_path / "file" / "model.chain")
    with pytest.raises(ModelFileError, match="it is a folder"):
        prepare_place(tmp_path)
