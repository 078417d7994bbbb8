"""Which public name and which test belong to every line of the specification.

`tests/components.txt` holds the table, ``docs/components.md`` is written from it by ``python -m tests.components``, and
`tests/test_components.py` holds that both are true.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "components.txt"
PAGE = ROOT / "docs" / "components.md"

HEAD = """\
# Components

What there is, under which name, and the test that compares it with something independent: PyTorch, NumPy, scikit-learn,
a formula or a published number. `python -m tests.components` writes this page from `tests/components.txt`; a test holds
that every name and every test exists, and that no public layer, function, loss or optimiser is missing here.
"""


class Component(NamedTuple):
    """A line of the specification, its public names below ``chainrule``, and the file below ``tests/`` and its test."""

    item: str
    names: tuple[str, ...]
    file: str
    test: str


def read_table() -> dict[str, list[Component]]:
    """The components by the heading above them. A line of the table is ``what | names | file::test``."""
    sections: dict[str, list[Component]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            sections[line[2:]] = []
        elif line.strip():
            item, names, place = (part.strip() for part in line.split("|"))
            full = tuple(re.sub(r"^F\.", "nn.functional.", name) for name in names.split())
            file, _, test = place.partition("::")
            sections[next(reversed(sections))].append(Component(item, full, file, test))
    return sections


def page_text() -> str:
    """The page of the documentation."""
    lines = [HEAD]
    for title, components in read_table().items():
        lines += [f"## {title}", "", "| what | name | test |", "|---|---|---|"]
        for component in components:
            names = ", ".join(f"`{name}`" for name in component.names)
            lines.append(f"| {component.item} | {names} | [{component.test}](../tests/{component.file}) |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page_text(), encoding="utf-8")
