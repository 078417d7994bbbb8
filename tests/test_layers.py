"""The shape of the package: imports go one way, files and functions stay small, and the map names every file."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "chainrule"
FILE_LINES, FUNCTION_LINES = 500, 50

# Who may import whom, by the first name below chainrule/. The picture is in docs/architecture.md.
BASE = {"errors", "settings", "types", "memory", "devices"}
MEANING = BASE | {"graph", "ops", "reference", "autodiff"}
USER_BRANCH = {"tensor", "nn", "optim"}
COMPILER_BRANCH = {"passes", "backends", "execution"}
ENGINE = MEANING | USER_BRANCH | COMPILER_BRANCH | {"compiler"}
MAY_IMPORT = {
    "errors": BASE,
    "settings": BASE,
    "types": BASE,
    "memory": BASE,
    "devices": BASE,
    "graph": BASE,
    "ops": BASE | {"graph"},
    "reference": BASE | {"graph", "ops"},
    "autodiff": MEANING,
    "tensor": MEANING,
    "autograd": MEANING | {"tensor"},
    "nn": MEANING | {"tensor", "files"},
    "optim": MEANING | {"tensor", "nn", "files"},
    "passes": MEANING,
    "backends": MEANING | {"passes"},
    "execution": MEANING | {"passes", "backends"},
    "compiler": ENGINE,
    "data": BASE | {"ops", "tensor"},
    "vision": BASE | {"tensor", "data"},
    "utils": {"data"},
    "files": BASE,
    "text": ENGINE | {"data", "files"},
    "models": ENGINE | {"data", "vision"},
    "training": ENGINE | {"data", "files", "text", "models"},
    "doctor": ENGINE | {"data", "files", "training"},
    "structure": ENGINE | {"data", "files", "training"},
    "series": ENGINE | {"data", "files", "training"},
    "report": ENGINE | {"data", "files", "training"},
}
# What people touch: these import everything, and nothing imports them.
OUTERMOST = {"__init__", "__main__", "estimators", "cli", "playground", "lab", "interop"}

# Everything else is an extra, imported inside the function that needs it.
CORE_DEPENDENCIES = {"numpy", "llvmlite", "click", "rich", "safetensors"}
# Except in a folder whose classes derive from an extra's: importing that folder is what needs it.
STANDS_ON = {"estimators": {"sklearn"}}


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def home(path: Path) -> str:
    """The first name below chainrule/: ``nn`` for chainrule/nn/linear.py, ``types`` for chainrule/types.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path, node: ast.AST) -> list[str]:
    """Full names of what one statement or call imports; relative imports are resolved from the file's place."""
    package = ["chainrule", *path.relative_to(PACKAGE).parent.parts]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        start = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*start, node.module] if node.module else start)
        return [f"{module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in ("import_module", "__import__"):
            name = str(node.args[0].value)
            levels = len(name) - len(name.lstrip("."))
            start = package[: len(package) - levels + 1] if levels else []
            return [".".join([*start, name.lstrip(".")])]
    return []


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import of a file, inside functions too."""
    found = [(node, imported_modules(path, node)) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return [(node.lineno, module) for node, modules in found for module in modules]


def wrong_imports(path: Path) -> list[str]:
    """The imports of a file that go the wrong way."""
    importer = home(path)
    wrong = []
    for line, module in imports(path):
        if module.split(".")[0] == "chainrule" and importer not in OUTERMOST:
            imported = module.partition(".")[2].partition(".")[0]
            if imported != importer and imported not in MAY_IMPORT[importer]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {importer} must not import {module}")
    return wrong


def test_every_file_has_a_layer() -> None:
    homes = {home(path) for path in python_files("chainrule")}
    assert homes - set(MAY_IMPORT) - OUTERMOST == set(), "say in docs/architecture.md and here what these may import"


def test_imports_go_one_way() -> None:
    wrong = [line for path in python_files("chainrule") if home(path) in MAY_IMPORT for line in wrong_imports(path)]
    assert wrong == [], "\n".join(wrong)


def test_the_rules_have_no_circle() -> None:
    rules = {name: allowed - BASE - {name} for name, allowed in MAY_IMPORT.items() if name not in BASE}
    while rules:
        leaves = [name for name, allowed in rules.items() if not allowed & set(rules)]
        assert leaves, f"these may import each other: {sorted(rules)}"
        rules = {name: allowed for name, allowed in rules.items() if name not in leaves}
    assert not USER_BRANCH & set().union(*(MAY_IMPORT[name] for name in COMPILER_BRANCH))
    assert not COMPILER_BRANCH & set().union(*(MAY_IMPORT[name] for name in USER_BRANCH))


@pytest.mark.parametrize(
    ("statement", "where", "modules"),
    [
        ("from ..types import float32", "nn/linear.py", ["chainrule.types.float32"]),
        ("from .. import compiler", "nn/linear.py", ["chainrule.compiler"]),
        ("from . import vertex", "graph/text.py", ["chainrule.graph.vertex"]),
        ("def f():\n    import chainrule.compiler", "tensor.py", ["chainrule.compiler"]),
        ("importlib.import_module('..compiler', __package__)", "nn/linear.py", ["chainrule.compiler"]),
        ("import_module('chainrule.compiler')", "tensor.py", ["chainrule.compiler"]),
    ],
)
def test_imports_are_read_wherever_they_stand(statement: str, where: str, modules: list[str]) -> None:
    found = [imported_modules(PACKAGE / where, node) for node in ast.walk(ast.parse(statement))]
    assert [module for names in found for module in names] == modules


def test_extras_are_imported_where_they_are_needed() -> None:
    allowed = CORE_DEPENDENCIES | set(sys.stdlib_module_names) | {"chainrule"}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {module}"
        for path in python_files("chainrule")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for module in imported_modules(path, node)
        if module.split(".")[0] not in allowed | STANDS_ON.get(home(path), set())
    ]
    assert wrong == [], "import these inside the function that needs them:\n" + "\n".join(wrong)


def test_files_and_functions_stay_small() -> None:
    long = []
    for path in [file for folder in ("chainrule", "tests", "benchmarks", "examples") for file in python_files(folder)]:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > FILE_LINES:
            long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines, at most {FILE_LINES}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    long.append(f"{where}: {node.name} has {lines} lines, at most {FUNCTION_LINES}")
    assert long == [], "\n".join(long)


def test_the_map_names_every_file() -> None:
    """Fails with the lines to paste into docs/architecture.md, and with those that name what is gone."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    mapped = set(re.findall(r"^  ([\w/]+(?:\.py|/)) ", text, re.MULTILINE))
    files = {path.relative_to(PACKAGE).as_posix() for path in python_files("chainrule") if path.name != "__init__.py"}
    folders = {path.parent.relative_to(PACKAGE).as_posix() + "/" for path in python_files("chainrule")} - {"./"}
    expected = files | folders | {"__init__.py"}
    missing = [f"  {name:32} {first_sentence(PACKAGE / name)}" for name in sorted(expected - mapped)]
    assert not missing, "not on the map:\n" + "\n".join(missing)
    assert mapped == expected, f"on the map but not in the tree: {sorted(mapped - expected)}"


def first_sentence(path: Path) -> str:
    """What a module says of itself in the first line of its docstring."""
    source = path / "__init__.py" if path.is_dir() else path
    documentation = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) if source.exists() else None
    return (documentation or "").partition("\n")[0]
