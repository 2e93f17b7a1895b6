"""One known bug as an edit of the core's source text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement of text in one function of the core."""

    module: str
    function: str
    """Qualified name, such as `Slot.accept`."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug and the edits that put it back."""

    name: str
    bug: str
    edits: tuple[Edit, ...]


def build_mutant(name: str, bug: str, *edits: tuple[str, str, str, str]) -> Mutant:
    """Return a mutant; each edit gives the core's module, the function, old and new text."""
    return Mutant(name, bug, tuple(Edit(f"lowu.consensus.{edit[0]}", *edit[1:]) for edit in edits))
