"""What a presentation shows of its document, as a JSON value that a receiver can read.

A field that is hidden leaves a mark: the key ``...`` in an object, whose value is the number of
hidden fields, and ``{"...": 1}`` in the place of an array's hidden element. The number is null
where the container's own leaf, which has its size, is hidden too. A field of the document whose
name is three or more dots is shown with one dot more, so that no document can imitate a mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lowu.contracts.schemas.document_schema import EACH, Schema
from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.package.containers import find_absent, read_shown
from lowu.institutions.package.forms import join_path, split_path
from lowu.institutions.package.leaves import LEAVES_MAX, Leaf, LeafType, is_file_of
from lowu.institutions.package.tags import FIRST_VERSION

MARK = "..."
_DOTS = re.compile(r"\.{3,}\Z")

Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file of a document; its bytes travel beside the presentation."""

    path: str
    digest: str
    """SHA-256, in hex."""
    size: int
    """In bytes."""
    media_type: str
    """Empty in documents of version 1, which do not give it."""
    is_compared: bool
    """Whether the receiver supplied the bytes, and they are those of the document."""


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """The disclosed part of a document. Times are in seconds since 1970."""

    schema: str
    issuer_org: int
    doc_id: str
    report_time: int
    valid_until: int
    content: dict[str, Any] = field(default_factory=dict)
    """The fields, with marks where some are hidden; a file stands as its digest, size and type."""
    hidden: Mapping[str, int | None] = field(default_factory=dict)
    """By the path of an array or object: how many of its elements are hidden; None if unknown."""
    attachments: tuple[ShownFile, ...] = ()
    absent: tuple[str, ...] = ()
    """The paths that were asked for and that the document is proven not to have."""

    def describe(self) -> dict[str, Any]:
        """Return it as a JSON value; `read_shown_document` undoes this."""
        return {
            "schema": self.schema,
            "issuer_org": self.issuer_org,
            "doc_id": self.doc_id,
            "report_time": self.report_time,
            "valid_until": self.valid_until,
            "content": self.content,
            "hidden": dict(self.hidden),
            "attachments": [
                {
                    "path": item.path,
                    "sha-256": item.digest,
                    "bytes": item.size,
                    "media_type": item.media_type,
                    "compared": item.is_compared,
                }
                for item in self.attachments
            ],
            "absent": list(self.absent),
        }

    def list_fields(self) -> Iterator[tuple[str, str]]:
        """Yield path and text of each value that is shown, and marks for what is hidden or absent.

        Names of dots have one dot more, as in `content`, and texts like marks stand in quotes.
        """
        yield from _list_fields(self.content, ())
        for path in self.absent:
            yield path, "[not in the document]"


def read_shown_document(described: Mapping[str, Any]) -> ShownDocument:
    """Return the document that `ShownDocument.describe` made a JSON value of."""
    rows = described["attachments"]
    files = [
        ShownFile(row["path"], row["sha-256"], row["bytes"], row["media_type"], row["compared"])
        for row in rows
    ]
    names = ("schema", "issuer_org", "doc_id", "report_time", "valid_until", "content", "hidden")
    return ShownDocument(
        **{name: described[name] for name in names},
        attachments=tuple(files),
        absent=tuple(described.get("absent", ())),  # stored reports of earlier versions lack it
    )


def collect_shown(
    shown: Presentation,
    files: Mapping[str, bytes],
    schema: Schema | None = None,
    wanted: Iterable[str] = (),
) -> ShownDocument:
    """Return what a presentation shows; `files` are those that came beside it, by path.

    Of the paths that are `wanted`, it tells those that the document is proven not to have.

    With a schema, fields stand in its order: their leaves stand in the order of their salts.

    Leaves that contradict each other, as only a presentation that fails V2 has them, leave out
    what does not fit.
    """
    header = shown.header
    tree = _Tree(header.v == FIRST_VERSION, {} if schema is None else schema.fields)
    for leaf in shown.disclosures:
        tree.add(leaf)
    content = tree.build(())
    return ShownDocument(
        header.schema,
        header.issuer_org,
        header.doc_id,
        header.report_time,
        header.valid_until,
        content if isinstance(content, dict) else {},
        tree.hidden,
        tuple(
            _read_file(leaf, leaf.path in files and is_file_of(files[leaf.path], leaf.value))
            for leaf in shown.disclosures
            if leaf.type is LeafType.FILE
        ),
        () if tree.is_first_version else find_absent(read_shown(shown.disclosures), wanted),
    )


class _Tree:
    """Puts leaves together again. Documents of version 1 do not tell an array from an object."""

    def __init__(self, is_first_version: bool, order: Iterable[str]) -> None:
        self.is_first_version = is_first_version
        self.ranks: dict[Steps, int] = {}
        """By the steps of a field, or of what contains it: its place in the schema."""
        for path in order:
            steps = split_path(path)
            for depth in range(len(steps)):
                self.ranks.setdefault(steps[: depth + 1], len(self.ranks))
        self.leaves: dict[Steps, Leaf] = {}
        self.below: dict[Steps, dict[str, None]] = {}
        self.arrays: set[Steps] = set()
        self.hidden: dict[str, int | None] = {}
        self.positions_left = LEAVES_MAX
        """How many positions of arrays are still written out: no document has more."""

    def add(self, leaf: Leaf) -> None:
        steps = split_path(leaf.path)
        self.leaves.setdefault(steps, leaf)
        for depth, step in enumerate(steps):
            self.below.setdefault(steps[:depth], {}).setdefault(step)
            if leaf.kinds[depth : depth + 1] == "a":
                self.arrays.add(steps[:depth])
        if leaf.type is LeafType.ARRAY:
            self.arrays.add(steps)

    def _rank(self, at: Steps) -> Callable[[str], tuple[int, int, str]]:
        """Return the order of the elements at a path: as in the schema, else by name."""
        above = tuple(EACH if at[:depth] in self.arrays else step for depth, step in enumerate(at))

        def rank(name: str) -> tuple[int, int, str]:
            number = int(name) if _is_position(name) else 0
            return self.ranks.get((*above, name), len(self.ranks)), number, name

        return rank

    def build(self, at: Steps) -> Any:
        """Return the value at a path of which something is shown."""
        leaf, names = self.leaves.get(at), self.below.get(at, {})
        if not names and leaf is not None and leaf.type not in (LeafType.ARRAY, LeafType.OBJECT):
            return _read_value(leaf)
        size = None
        if leaf is not None and leaf.value and leaf.type in (LeafType.ARRAY, LeafType.OBJECT):
            size = int(leaf.value)
        elif leaf is not None and self.is_first_version:
            size = 0  # only empty containers have a leaf there
        items = {name: self.build((*at, name)) for name in sorted(names, key=self._rank(at))}
        count = None if size is None else max(0, size - len(items))
        if count != 0:
            self.hidden[join_path(at)] = count
        if at in self.arrays and all(_is_position(name) for name in items):
            length = max([size or 0, *(int(name) + 1 for name in items)])
            if length <= self.positions_left:
                self.positions_left -= length
                found = [items.get(str(position), {MARK: 1}) for position in range(length)]
                return found if size is not None else [*found, {MARK: None}]
        # Positions that no document has, as only a hostile issuer signs them, stand as names.
        named = {name + "." if _DOTS.match(name) else name: item for name, item in items.items()}
        return named if count == 0 else {**named, MARK: count}


def _is_position(name: str) -> bool:
    """Whether a step can be a position; a document has fewer elements than leaves."""
    return len(name) <= len(str(LEAVES_MAX)) and name.isdecimal() and int(name) < LEAVES_MAX


def _read_value(leaf: Leaf) -> Any:
    match leaf.type:
        case LeafType.NULL:
            return None
        case LeafType.FALSE | LeafType.TRUE:
            return leaf.type is LeafType.TRUE
        case LeafType.INTEGER:
            return int(leaf.value)
        case LeafType.FILE:
            file = _read_file(leaf, is_compared=False)
            return {"sha-256": file.digest, "bytes": file.size, "media_type": file.media_type}
    return leaf.value


def _read_file(leaf: Leaf, is_compared: bool) -> ShownFile:
    _, digest, size, *media_type = leaf.value.split(":", 3)
    return ShownFile(leaf.path, digest, int(size), "".join(media_type), is_compared)


def _list_fields(value: Any, at: Steps) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if set(value) == {MARK}:
            yield join_path(at), _tell_hidden(value[MARK], is_whole=True)
        case dict() if value:
            for name, item in value.items():
                if name == MARK:
                    yield join_path((*at, MARK)), _tell_hidden(item)
                else:
                    yield from _list_fields(item, (*at, name))
        case list() if value:
            for position, item in enumerate(value):
                yield from _list_fields(item, (*at, str(position)))
        case str():
            yield join_path(at), _quote_if_needed(value)
        case bool() | None:
            yield join_path(at), {None: "null", True: "true", False: "false"}[value]
        case _:
            yield join_path(at), str(value)


def _quote_if_needed(text: str) -> str:
    """Return a text so that it is taken for no mark, no other value, and no second line."""
    is_plain = text and text[0] not in '["' and text.isprintable()
    if is_plain and text not in ("null", "true", "false"):
        return text
    return json.dumps(text, ensure_ascii=False)


def _tell_hidden(count: int | None, *, is_whole: bool = False) -> str:
    if is_whole and count == 1:
        return "[hidden]"
    return f"[{'some' if count is None else count} hidden]"
