"""Programs on the disk: found under the graph's text, never wrong, never needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler import programs
from chainrule.compiler.launch import forget_launches
from chainrule.execution import native_code
from chainrule.execution.executable import Executable
from chainrule.graph.text import format_graph
from chainrule.passes.pipeline import canonical
from chainrule.settings import settings
from tests.golden.programs import PROGRAMS


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "cache_directory", tmp_path / "cache")
    monkeypatch.setattr(settings, "cache_enabled", True)
    return tmp_path / "cache"


def compute() -> list[float]:
    """A program that no other test has; compiled anew as far as this process is concerned, as it recurs."""
    programs._PROGRAMS.clear()
    forget_launches()
    x = cr.tensor([1.0, 2.0, 3.0])
    results = [((x * 1.2345).exp() - x.sin()).tolist() for _ in range(2)]
    assert results[0] == results[1]
    result: list[float] = results[1]
    return result


def forbid_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_passes(*arguments: object) -> None:
        raise AssertionError("the program was to be found on the disk")

    monkeypatch.setattr(native_code, "make_plan", no_passes)


def test_a_second_process_runs_no_pass(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compute()
    forbid_passes(monkeypatch)
    assert compute() == first
    np.testing.assert_allclose(first, np.exp(1.2345 * np.arange(1, 4)) - np.sin(np.arange(1, 4)), rtol=1e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_shown_of_a_program_is_what_runs(name: str) -> None:
    """An executable reads its graph back from the text, when somebody asks to see it."""
    graph = PROGRAMS[name]()
    strides = [None] * len(graph.outputs)
    executable = Executable(graph, format_graph(graph), strides)
    plan, program = executable.stages
    assert program.text == native_code.lower_graph(canonical(graph), strides, executable.target)[1].text
    assert (program.entry, plan.arena_bytes) == (executable.layout.entry, executable.layout.arena_bytes)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_damaged_entry_is_compiled_again(directory: Path, kept: float) -> None:
    first = compute()
    for path in directory.iterdir():
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data))] + b"?")
    assert compute() == first


def test_another_compiler_does_not_find_the_code(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute()
    before = cr.cache_info().entries
    monkeypatch.setattr(native_code, "_compiler_version", lambda: "another")
    compute()
    assert cr.cache_info().entries == 2 * before
    assert cr.clear_cache() == 2 * before and cr.cache_info().entries == 0


def test_an_unusable_directory_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setattr(settings, "cache_directory", file / "cache")
    assert len(compute()) == 3


def test_the_cache_can_be_switched_off(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_enabled", False)
    compute()
    assert not directory.exists()
