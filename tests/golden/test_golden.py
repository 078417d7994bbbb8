"""Programs are what they were: a change that is not meant to alter generated code alters none of these texts."""

import difflib

import pytest

from chainrule.graph.text import format_graph, parse_graph
from tests.golden.programs import FOLDER, PROGRAMS, stored_texts


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_is_as_stored(name: str) -> None:
    differences = []
    for file, text in stored_texts(name).items():
        stored = (FOLDER / file).read_text(encoding="utf-8")
        texts = stored.splitlines(), text.splitlines()
        differences += difflib.unified_diff(*texts, f"stored {file}", f"new {file}", n=1, lineterm="")
    assert not differences, "if this is meant, run: python -m tests.golden.regenerate\n" + "\n".join(differences[:200])


@pytest.mark.parametrize("stage", ["graph", "passes"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_stored_graph_reads_back(name: str, stage: str) -> None:
    text = (FOLDER / f"{name}.{stage}.txt").read_text(encoding="utf-8")
    assert format_graph(parse_graph(text)) == text


def test_no_file_is_left_over() -> None:
    stages = ("graph", "passes", "plan", "llvm")
    expected = {f"{name}.{stage}.txt" for name in PROGRAMS for stage in stages}
    assert {path.name for path in FOLDER.glob("*.txt")} == expected
