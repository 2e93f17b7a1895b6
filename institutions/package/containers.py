"""Whether shown leaves contradict each other, and whether what is asked for is all there.

A container's leaf gives its size. So an array is complete once as many elements are shown as its
leaf says, an object once as many keys are, and each of them is complete (docs/PACKAGE.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lowu.contracts.named import printable
from lowu.institutions.package.forms import covers, join_path, split_path
from lowu.institutions.package.leaves import CONTAINERS, KINDS, Leaf, LeafType
from lowu.institutions.package.tags import FIRST_VERSION

Steps = tuple[str, ...]


@dataclass(slots=True)
class ShownFields:
    """Leaves of one document, by the steps of their paths."""

    leaves: dict[Steps, Leaf] = field(default_factory=dict)
    kinds: dict[Steps, str] = field(default_factory=dict)
    """For each path with something shown below it: whether it is an array or an object."""
    elements: dict[Steps, set[str]] = field(default_factory=dict)
    """By container: the last steps of those of its elements whose own leaf is shown."""
    mentioned: dict[Steps, set[str]] = field(default_factory=dict)
    """By container: the steps of all its elements, also those of which only a part is shown."""
    contradiction: str = ""
    """Why not all of it can be true of one document; empty if it can."""


def read_shown(leaves: Iterable[Leaf]) -> ShownFields:
    """Return leaves of version 2 by their paths, with the first contradiction among them."""
    shown = ShownFields()
    for leaf in leaves:
        steps = split_path(leaf.path)
        if steps in shown.leaves:
            shown.contradiction = shown.contradiction or f"two values at {leaf.path or 'the root'}"
        shown.leaves[steps] = leaf
        if steps:
            shown.elements.setdefault(steps[:-1], set()).add(steps[-1])
        for depth, kind in enumerate(leaf.kinds):
            shown.mentioned.setdefault(steps[:depth], set()).add(steps[depth])
            if shown.kinds.setdefault(steps[:depth], kind) != kind:
                at = join_path(steps[:depth])
                shown.contradiction = shown.contradiction or f"{at} is an array and an object"
    shown.contradiction = shown.contradiction or _find_misfit(shown)
    return shown


def _find_misfit(shown: ShownFields) -> str:
    """Return how a shown container disagrees with what is shown below it; empty if none does."""
    root = shown.leaves.get(())
    if shown.kinds.get((), "o") != "o" or (root is not None and root.type is not LeafType.OBJECT):
        return "the document is not an object"
    for steps, kind in shown.kinds.items():
        leaf = shown.leaves.get(steps)
        if leaf is None:
            continue
        if KINDS.get(leaf.type) != kind:
            return f"{leaf.path} is of type {leaf.type.name} and contains fields"
    for steps, elements in shown.mentioned.items():
        leaf = shown.leaves.get(steps)
        if leaf is None or leaf.type not in CONTAINERS:
            continue
        size = int(leaf.value)
        is_beyond = leaf.type is LeafType.ARRAY and any(int(item) >= size for item in elements)
        if len(elements) > size or is_beyond:
            return f"{leaf.path or 'the root'} has more elements than its size says"
    return ""


def find_gaps(
    shown: ShownFields, wanted: Iterable[str], *, may_be_absent: bool = True
) -> list[str]:
    """Return the paths of what is wanted, or belongs to it, and is not shown.

    What a shown container proves to be absent is not missing, unless it must be there.
    """
    gaps: list[str] = []
    for path in wanted:
        steps = split_path(path)
        if steps in shown.leaves:
            gaps += _find_below(shown, steps)
        elif not may_be_absent or not _is_absent(shown, steps):
            gaps.append(path)
    return list(dict.fromkeys(gaps))


def find_absent(shown: ShownFields, wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of what is wanted and is proven not to be in the document."""
    split = {path: split_path(path) for path in wanted}
    return tuple(
        path
        for path, steps in split.items()
        if steps not in shown.mentioned and steps not in shown.leaves and _is_absent(shown, steps)
    )


def _find_below(shown: ShownFields, start: Steps) -> list[str]:
    """Return the containers at or below a shown path of which not everything is shown."""
    gaps, left = [], [start]
    while left:
        steps = left.pop()
        leaf = shown.leaves[steps]
        if leaf.type not in CONTAINERS:
            continue
        elements = shown.elements.get(steps, set())
        if len(elements) != int(leaf.value):
            gaps.append(leaf.path)
        left += [(*steps, element) for element in elements]
    return gaps


def _is_absent(shown: ShownFields, steps: Steps) -> bool:
    """Whether the nearest shown container above a path proves that nothing is there."""
    for depth in range(len(steps) - 1, -1, -1):
        leaf = shown.leaves.get(steps[:depth])
        if leaf is None:
            continue
        if leaf.type is LeafType.ARRAY:
            step = steps[depth]
            is_position = step.isdecimal() and step == str(int(step))
            return not is_position or int(step) >= int(leaf.value)
        if leaf.type is LeafType.OBJECT:
            elements = shown.elements.get(steps[:depth], set())
            return steps[depth] not in elements and len(elements) == int(leaf.value)
        return True  # a value has nothing below it
    return False


def choose(leaves: Iterable[Leaf], wanted: Iterable[str], version: int) -> list[Leaf]:
    """Return the leaves to show of a document that is known in full.

    For a position beyond the end of an array, that is the array's own leaf.

    Raises:
        ValueError: the document has nothing at one of the paths.
    """
    every, paths = list(leaves), list(wanted)
    chosen = {leaf.path for leaf in every if covers(paths, leaf.path)}
    known = read_shown(every) if version != FIRST_VERSION else ShownFields()
    for path in paths:
        if any(covers([path], leaf.path) for leaf in every):
            continue
        above = _find_array(known, split_path(path))
        if above is None:
            raise ValueError(f"the document has no field {printable(path)}")
        chosen.add(above.path)
    return [leaf for leaf in every if leaf.path in chosen]


def _find_array(shown: ShownFields, steps: Steps) -> Leaf | None:
    """Return the array beyond whose end a path leads; None if it leads elsewhere."""
    for depth in range(len(steps) - 1, -1, -1):
        leaf = shown.leaves.get(steps[:depth])
        if leaf is not None:
            is_position = steps[depth].isdecimal() and steps[depth] == str(int(steps[depth]))
            is_beyond = leaf.type is LeafType.ARRAY and is_position and _is_absent(shown, steps)
            return leaf if is_beyond else None
    return None
