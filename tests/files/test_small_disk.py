"""Every kind of file on a disk that is full, or read-only: a clear message, and what was there before stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .small_disk import WRITERS

LOGS = ("CSV log", "JSON log")
FILES = [name for name in WRITERS if name not in LOGS]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `small_disk.py` prints."""
    if shutil.which("unshare") is None:
        pytest.skip("needs Linux's unshare")
    disk = tmp_path_factory.mktemp("disk")
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mount = subprocess.run([*namespace, "mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("no disk may be mounted here")
    command = [*namespace, sys.executable, "-m", "tests.files.small_disk", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_named_and_the_earlier_files_stay(found: Any, name: str) -> None:
    result = found["full"][name]
    assert "no space left on device" in result["said"].lower()
    assert result["said"].startswith("warning" if name in ("checkpoint", "TensorBoard") else "error")
    assert result["changed"] == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_disk_is_an_error_and_the_earlier_files_stay(found: Any, name: str) -> None:
    result = found["read-only"][name]
    assert result["said"].startswith("error")
    assert "read-only file system" in result["said"]
    assert result["changed"] == []


@pytest.mark.parametrize("name", LOGS)
def test_a_log_has_whole_rows_when_the_disk_is_full(found: Any, name: str) -> None:
    result = found["filling"][name]
    assert result["said"].startswith("warning")
    assert result["said"].count("No space left on device") == 1
    lines = result["text"].splitlines(keepends=True)
    rows = lines[1:] if name == "CSV log" else lines
    assert 2 < len(rows) < 300
    for number, row in enumerate(rows, 1):
        values = row.split(",") if name == "CSV log" else list(json.loads(row).values())
        assert (len(values), int(values[0])) == (3, number)
        assert row.endswith("\n")
