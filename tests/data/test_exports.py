"""The names of chainrule.data: all there, and none imported before it is used."""

import subprocess
import sys

import pytest

import chainrule.data


@pytest.mark.parametrize("name", chainrule.data.__all__)
def test_every_name_leads_to_its_home(name: str) -> None:
    found = getattr(chainrule.data, name)
    assert found.__name__ == name
    assert found.__module__.startswith("chainrule.data.")


def test_the_table_of_homes_is_the_list_of_names() -> None:
    assert sorted(chainrule.data._HOMES) == chainrule.data.__all__
    assert set(chainrule.data.__all__) <= set(dir(chainrule.data))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'read_excel'"):
        chainrule.data.read_excel


def test_importing_the_package_imports_no_readers() -> None:
    readers = ("csv", "gzip", "chainrule.data.table")
    code = f"import sys, chainrule, chainrule.data; print([name for name in {readers} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
