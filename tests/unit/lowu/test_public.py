"""`import lowu`: every public name is there, documented, and loaded only when it is used."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lowu

ROOT = Path(__file__).resolve().parents[3]
NAMES = [name for places in lowu.PUBLIC.values() for names in places.values() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there_and_says_what_it_is(name):
    found = getattr(lowu, name)
    if callable(found):
        assert found.__name__ == name and inspect.getdoc(found)


def test_editors_know_the_same_names():
    """What is imported for type checkers, `__all__`, and the table are one list."""
    tree = ast.parse(Path(lowu.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        (node.module, alias.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    table = {
        (module, name)
        for places in lowu.PUBLIC.values()
        for module, names in places.items()
        for name in names
    }
    assert imported == table
    assert set(lowu.__all__) == {*NAMES, "__version__"} == set(dir(lowu))
    assert (Path(lowu.__file__).parent / "py.typed").exists()


def test_nothing_is_loaded_before_it_is_used():
    code = "import sys, lowu; print([name for name in sys.modules if name.startswith('lowu.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Networks'"):
        lowu.Networks  # noqa: B018


def test_generated_pages_and_figures_are_up_to_date():
    """The Python interface from its docstrings, the architecture from the imports."""
    command = [sys.executable, ROOT / "scripts" / "generate_docs.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=str)
def test_examples_import_the_public_interface_only(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.module.startswith("lowu."), node.module
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("lowu.") for alias in node.names)
