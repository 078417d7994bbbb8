"""Writing a file whole or not at all: full disks, limits, interruptions, places that cannot be written."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chainrule.errors import ModelFileError
from chainrule.files import atomic
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
