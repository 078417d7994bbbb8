"""The table of components is true: names and tests exist, nothing public is missing, and the page is up to date."""

import ast
import functools
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import chainrule
from chainrule import models, nn, optim, series, text, training

from .components import PAGE, ROOT, Component, page_text, read_table

COMPONENTS = [component for components in read_table().values() for component in components]

INFRASTRUCTURE = {"Module", "Parameter", "Optimizer", "LRScheduler", "Regularizer", "Callback", "fans"}
"""What components are made from, which is no component itself."""


@functools.cache
def names_of_tests(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.item)
def test_names_and_tests_exist(component: Component) -> None:
    if component.file.startswith("estimators"):
        pytest.importorskip("sklearn")
    path = ROOT / "tests" / component.file
    assert component.test in names_of_tests(path)
    text = path.read_text(encoding="utf-8")
    for name in component.names:
        functools.reduce(getattr, name.split("."), chainrule)
    last = [name.rpartition(".")[2] for name in component.names]
    assert any(name in text for name in last), f"{path} speaks of none of {last}"


def public_names(module: ModuleType) -> set[str]:
    """Classes and functions of its own that a module offers, with its path below the package."""
    package = module.__name__.removeprefix("chainrule.")
    return {
        f"{package}.{name}"
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and not name.startswith("_")
        and name not in INFRASTRUCTURE
        and value.__module__.startswith(module.__name__.removesuffix(".functional"))
    }


def test_no_public_name_is_missing() -> None:
    of_networks = (nn, nn.functional, nn.init, nn.regularizers, nn.utils)
    modules = (*of_networks, models, optim, optim.lr_scheduler, optim.swa_utils, series, text, training)
    offered: set[str] = set().union(*map(public_names, modules))
    missing = offered - {name for component in COMPONENTS for name in component.names}
    assert not missing, f"add to tests/components.txt: {sorted(missing)}"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(), "run `python -m tests.components`"
