"""The command itself: help, version, `check`, `bench`, and a reader that goes away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule
from chainrule.cli import bench, check, main
from chainrule.settings import settings

from .tables import write_table

COMMANDS = ["train", "tune", "predict", "evaluate", "inspect", "bench", "check"]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_debug_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert "--debug" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert chainrule.__version__ in capsys.readouterr().out


def test_check_reports_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    for part in (
        "Python 3.",
        "numpy ",
        "LLVM ",
        "vectors of ",
        f"threads      {settings.threads}",
        "works (",
        "scikit-learn",
    ):
        assert part in said


def test_check_fails_where_nothing_can_be_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no target")

    monkeypatch.setattr(check, "compile_module", fail)
    assert main(["check"]) == 1
    assert "FAILED: no target" in capsys.readouterr().out


def test_check_names_the_extra_of_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    assert 'pandas       not found: pip install "chainrule[data]"' in check.describe_extras()


def test_bench_without_a_checkout_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.run, "__defaults__", (tmp_path,))
    assert main(["bench"]) == 1
    assert "benchmarks are part of the source repository" in capsys.readouterr().err


def test_bench_runs_the_benchmarks_of_the_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text("import sys; sys.exit(len(sys.argv))")
    assert bench.run(["a", "b"], tmp_path) == 3


def test_a_reader_that_goes_away_is_no_defect() -> None:
    command = f"{sys.executable} -m chainrule check | head -n 0"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chainrule", "inspect", "absent"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no file absent")


def test_a_terminal_that_cannot_show_a_character_is_no_error(tmp_path: Path) -> None:
    path = write_table(tmp_path / "people.csv", "price")
    command = [sys.executable, "-m", "chainrule", "train", str(path), "--target", "price", "--epochs", "1"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, encoding="cp1252", check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "5 \\u2192 64" in done.stdout
