"""The report in a browser: every section is there, no script fails, and nothing is requested."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from chainrule.cli import main
from tests.cli.tables import write_table

from .test_page import SECTIONS, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


class Visit(NamedTuple):
    """The document as it was in the end, what its scripts complained of, and what it has asked for."""

    document: str
    complaints: list[str]
    requests: list[str]


def visit(page: Path, folder: Path) -> Visit:
    """Open a page without a network. Requests of the browser's own have no origin that began them."""
    log = folder / "net.json"
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}", "--enable-logging=stderr", "--v=0",
    ]  # fmt: skip
    command = [str(BROWSER), *options, "--dump-dom", page.as_uri()]
    environment = {**os.environ, "LANG": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    events = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    requests = [event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin"]
    return Visit(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line], requests)


def test_a_browser_says_what_a_page_asks_for_and_what_fails(tmp_path: Path) -> None:
    """What the other tests look for is there to be seen."""
    page = tmp_path / "page.html"
    page.write_text('<!DOCTYPE html><img src="http://example.test/x.png"><script>missing()</script>')
    found = visit(page, tmp_path)
    assert len(found.complaints) == 1
    assert "missing is not defined" in found.complaints[0]
    assert set(found.requests) == {"http://example.test/x.png"}


@pytest.mark.parametrize("target", ["sick", "price"])
def test_a_report_is_whole_and_asks_for_nothing(target: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "people.csv", target)
    options = ["--target", target, "--epochs", "5", "--hidden", "4", "--out", str(tmp_path)]
    assert main(["train", str(table), *options]) == 0
    found = visit(tmp_path / "report.html", tmp_path)
    assert (found.complaints, found.requests) == ([], [])
    ids = [attributes.get("id") for attributes in Page(found.document).all("h2")]
    assert ids == [f"{name}-title" for name in SECTIONS if name != "calibration" or target == "sick"]
