"""Write docs/API.md, the page of `import lowu`, from the docstrings; `--check` compares only.

python scripts/api_page.py [--check]
"""

from __future__ import annotations

import inspect
from enum import Enum
from pathlib import Path
from typing import Any

import lowu

PAGE = Path(__file__).resolve().parents[1] / "docs" / "API.md"
HEAD = """\
# The Python interface

All that a test, a notebook or an experiment needs is imported from `lowu`. Complete examples, one
for each kind of user, are in [examples](examples): [a bank's tests](examples/test_bank.py),
[research](examples/test_research.py) and [load](examples/test_load.py). This page is written from
the docstrings by `scripts/generate_docs.py`.
"""


class Plain:
    """Stands in a signature as its text, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def show_default(value: Any) -> Plain:
    """Return a default as it is written; what a factory makes as dots."""
    if isinstance(value, Enum):
        return Plain(f"{type(value).__name__}.{value.name}")
    if inspect.isroutine(value):
        return Plain(value.__name__)
    text = repr(value)
    return Plain("…" if text.startswith("<") else text)


def show_signature(found: Any) -> str:
    """Return a signature as it is written, without `self`."""
    signature = inspect.signature(found)
    parameters = [
        item.replace(
            annotation=item.annotation if item.annotation is item.empty else Plain(item.annotation),
            default=item.default if item.default is item.empty else show_default(item.default),
        )
        for item in signature.parameters.values()
        if item.name != "self"
    ]
    returned = signature.return_annotation
    shown = Plain(returned) if isinstance(returned, str) else returned
    return str(signature.replace(parameters=parameters, return_annotation=shown))


def describe_function(name: str, function: Any, level: str) -> list[str]:
    """Return a function's signature and docstring."""
    return [f"{level} `{name}{show_signature(function)}`", "", inspect.getdoc(function) or "", ""]


def describe_class(name: str, found: type) -> list[str]:
    """Return a class's docstring, and its public methods and properties."""
    if issubclass(found, Enum):
        known = ", ".join(f"`{key}`" for key in found.__members__)
        return [f"### `{name}`", "", inspect.getdoc(found) or "", "", known, ""]
    own = "__init__" in vars(found) and not issubclass(found, Exception)
    call = show_signature(found) if own else ""
    lines = [f"### `{name}{call.removesuffix(' -> None')}`", "", inspect.getdoc(found) or "", ""]
    for key, member in vars(found).items():
        inner = member.fget if isinstance(member, property) else member
        inner = getattr(inner, "func", inner)  # a cached property
        inner = getattr(inner, "__func__", inner)
        if key.startswith("_") or not inspect.isfunction(inner) or not inspect.getdoc(inner):
            continue
        first = (inspect.getdoc(inner) or "").partition("\n\n")[0].replace("\n", " ")
        is_value = inner is not member and not isinstance(member, (classmethod, staticmethod))
        call = "" if is_value else show_signature(inner)
        lines.append(f"- `{key}{call}`: {first}")
    return [*lines, ""] if lines[-1] else lines


def render() -> str:
    """Return the page."""
    lines = [HEAD]
    for subject, places in lowu.PUBLIC.items():
        lines += [f"## {subject.capitalize()}", ""]
        for names in places.values():
            for name in names:
                found = getattr(lowu, name)
                if inspect.isclass(found):
                    lines += describe_class(name, found)
                elif callable(found):
                    lines += describe_function(name, found, "###")
                else:
                    known = ", ".join(f"`{key}`" for key in found)
                    lines += [
                        f"### `{name}`",
                        "",
                        f"Makers of sample documents, by schema: {known}.",
                        "",
                    ]
    return "\n".join(lines).rstrip() + "\n"
