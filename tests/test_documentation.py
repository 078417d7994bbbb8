"""What the documentation shows is true: its code runs, its examples print what they say, its links lead somewhere."""

import doctest
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import chainrule

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
MODULES = [path for path in sorted((ROOT / "chainrule").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def code_blocks(page: Path) -> list[tuple[int, str]]:
    """(line, code) of every block of a page that is marked as Python."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(?:python|pycon)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_examples(test: doctest.DocTest) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a temporary folder with the data of the examples the current one, so that what is saved leaves no trace."""
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page)], ids=name_of)
def test_code_of_a_page_runs(page: Path) -> None:
    """The blocks of a page run in order and share their names; blocks with ``>>>`` must print what they show."""
    if page.stem == "estimators":
        pytest.importorskip("sklearn")
    names: dict[str, object] = {"__name__": "__main__"}
    for line, code in code_blocks(page):
        if ">>> " in code:
            test = doctest.DocTestParser().get_doctest(code, names, name_of(page), str(page), line)
            test.globs = names  # not a copy, so that the next block sees what this one defines
            run_examples(test)
        else:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_examples_in_docstrings(path: Path) -> None:
    """Examples in docstrings print what they show; ``cr``, ``nn`` and ``np`` are there without an import."""
    if "estimators" in path.parts:
        pytest.importorskip("sklearn")
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    names = {"cr": chainrule, "nn": chainrule.nn, "np": np}
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), extraglobs=names)
    examples = [test for test in tests if test.examples]
    assert examples, f"{path} has an example that is in no docstring of a public object"
    for test in examples:
        run_examples(test)


@pytest.mark.parametrize("page", LINKED_PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []
