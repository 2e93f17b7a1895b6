"""Schemas as TOML tables: read with every problem told, and written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any
from unicodedata import is_normalized

from lowu.contracts.named import printable
from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.document_schema import (
    EACH,
    IDENTIFIERS,
    FieldRule,
    FieldType,
    Schema,
)

ID = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)*/[1-9][0-9]{0,4}\Z")
ID_MAX = 64
"""Characters of an id, as of other names in packages."""
VERSION_MAX = 2**16 - 1
OWN_NUMBER_MIN = 1_000
"""Numbers below are those of the schemas that come with Lowu."""
NUMBER_MAX = 2**32 - 1
DAYS_MAX = 36_500
WITNESSES_MAX = 15
SENSITIVITY_MAX = 3
FIELDS_MAX = 512
"""As many as a document has leaves."""
NEEDED_MAX = 512
CHOICES_MAX = 200
NAMES_MAX = 12
"""How many names an error lists."""
TEXT_MAX = 80
"""How many characters of a path or a name an error shows."""
FIELDS_TABLE = "schema.fields"
_PATH_BYTES_MAX = 1_024
_STEPS_MAX = 32
_KEYS = {
    "id", "number", "name", "name_zh", "jurisdiction", "valid_days", "max_age_days", "sensitivity",
    "must_disclose", "must_disclose_first", "mandatory", "subjects", "witnesses", "across",
    "fields",
}  # fmt: skip
_FIELD_KEYS = {"type", "null", "one_of"}
_SUBJECTS = sorted(item.value.upper() for item in IDENTIFIERS)

Tell = Callable[[str, str, str], None]
"""Takes a problem: the table, its key, and what is wrong with it."""


def read_schema(raw: Mapping[str, Any], tell: Tell, number_min: int = OWN_NUMBER_MIN) -> Schema:
    """Return the schema of a ``[[schema]]`` table. If anything was told, it is not to be used."""
    reader = _SchemaReader(raw, tell)
    reader.check_keys(raw, _KEYS, "schema")
    fields = reader.read_fields()
    paths = {
        key: reader.read_paths(key, fields)
        for key in ("must_disclose", "mandatory", "must_disclose_first")
    }
    jurisdiction = reader.read_text("jurisdiction", "")
    if jurisdiction and jurisdiction not in Jurisdiction.__members__:
        tell("schema", "jurisdiction", "jurisdiction must be one of SZ, HK, MO, SG, or left out")
        jurisdiction = ""
    schema = Schema(
        id=reader.read_id(),
        number=reader.read_integer("number", number_min, NUMBER_MAX),
        valid_days=reader.read_integer("valid_days", 1, DAYS_MAX),
        sensitivity=reader.read_integer("sensitivity", 0, SENSITIVITY_MAX, 2),
        must_disclose=paths["must_disclose"],
        fields=fields,
        mandatory=paths["mandatory"],
        subjects=reader.read_subjects(fields),
        max_age_days=reader.read_integer("max_age_days", 0, DAYS_MAX, 0),
        jurisdiction=Jurisdiction[jurisdiction] if jurisdiction else None,
        witnesses=reader.read_integer("witnesses", 0, WITNESSES_MAX, 0),
        is_cross_witnessed=raw.get("across", False) is True,
        name=reader.read_text("name", ""),
        name_zh=reader.read_text("name_zh", ""),
        must_disclose_first=paths["must_disclose_first"],
    )
    if not isinstance(raw.get("across", False), bool):
        tell("schema", "across", "across must be true or false")
    elif schema.is_cross_witnessed and not schema.witnesses:
        tell("schema", "across", "across needs witnesses = 1 or more")
    return schema


class _SchemaReader:
    """Reads the keys of one table."""

    def __init__(self, raw: Mapping[str, Any], tell: Tell) -> None:
        self.raw = raw
        self.tell = tell

    def check_keys(self, raw: Mapping[str, Any], known: Iterable[str], table: str) -> None:
        for key in islice(sorted(raw.keys() - set(known)), NAMES_MAX):
            close = get_close_matches(key, known, 1)
            mend = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
            self.tell(table, key, f"unknown key {_cut(key)!r}; {mend}")

    def read_id(self) -> str:
        value = self.raw.get("id")
        if not isinstance(value, str) or not ID.match(value) or len(value) > ID_MAX:
            self.tell("schema", "id", 'id must be lower-case words and a version, as "mo.loan/1"')
            return "unknown/1"
        if int(value.rpartition("/")[2]) > VERSION_MAX:
            self.tell("schema", "id", f"the version must be at most {VERSION_MAX}")
            return "unknown/1"
        return value

    def read_text(self, key: str, default: str) -> str:
        value = self.raw.get(key, default)
        if not isinstance(value, str) or len(value) > 100:
            self.tell("schema", key, f"{key} must be a text of at most 100 characters")
            return default
        return value

    def read_integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.raw.get(key, default)
        if value is None:
            self.tell("schema", "", f"{key} is missing; add {key} = …")
            return low
        if type(value) is not int or not low <= value <= high:
            self.tell(
                "schema", key, f"{key} must be an integer in {low}..{high}, not {tell_value(value)}"
            )
            return low
        return value

    def read_fields(self) -> dict[str, FieldRule]:
        raw = self.raw.get("fields")
        if not isinstance(raw, dict) or not raw:
            example = '[schema.fields] with lines such as "/name" = "text"'
            self.tell("schema", "fields", f"the fields are missing; add a table {example}")
            return {}
        if len(raw) > FIELDS_MAX:
            self.tell("schema", "fields", f"at most {FIELDS_MAX} fields")
            return {}
        found = {}
        for path, value in raw.items():
            flaw = find_path_flaw(path) or ("" if path else "the document itself is no field")
            if flaw:
                self.tell(FIELDS_TABLE, path, flaw)
            else:
                found[path] = self._read_rule(path, value)
        self._check_places(found)
        return found

    def _check_places(self, found: Mapping[str, FieldRule]) -> None:
        """Tell of fields that lie inside others, and of places that are a list and an object."""
        names: dict[tuple[str, ...], set[str]] = {}
        for path in found:
            steps = tuple(path.split("/")[1:])
            for depth, step in enumerate(steps):
                names.setdefault(steps[:depth], set()).add(step)
                inside = _join(steps[:depth])
                if inside in found:
                    text = f"{_cut(path)} lies inside the field {_cut(inside)}; remove one"
                    self.tell(FIELDS_TABLE, path, text)
        for path in found:
            steps = tuple(path.split("/")[1:])
            for depth, step in enumerate(steps):
                if step == EACH and len(names[steps[:depth]]) > 1:
                    text = f"{_cut(path)}: in one place, {EACH} and names exclude each other"
                    self.tell(FIELDS_TABLE, path, text)

    def _read_rule(self, path: str, value: object) -> FieldRule:
        rule: dict[str, Any] = {"type": value} if isinstance(value, str) else {}
        if isinstance(value, dict):
            self.check_keys(value, _FIELD_KEYS, FIELDS_TABLE)
            rule = value
        kind = rule.get("type")
        kinds = [item.value for item in FieldType]
        if kind not in kinds:
            close = get_close_matches(str(kind), kinds, 1)
            mend = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(kinds)}"
            self.tell(
                FIELDS_TABLE, path, f"{_cut(path)}: type {_cut(str(kind))!r} is unknown; {mend}"
            )
            kind = FieldType.ANY
        choices = rule.get("one_of", [])
        is_fit = _are_texts(choices) and len(choices) <= CHOICES_MAX
        if not is_fit or (choices and kind != FieldType.TEXT):
            text = f"one_of is a list of texts, for type text; at most {CHOICES_MAX}"
            self.tell(FIELDS_TABLE, path, f"{_cut(path)}: {text}")
            choices = []
        if not isinstance(rule.get("null", False), bool):
            self.tell(FIELDS_TABLE, path, f"{path}: null must be true or false")
        return FieldRule(FieldType(kind), rule.get("null") is True, tuple(choices))

    def read_paths(self, key: str, fields: Mapping[str, FieldRule]) -> tuple[str, ...]:
        value = self.raw.get(key, [])
        if not _are_texts(value):
            self.tell("schema", key, f'{key} must be a list of paths such as ["/header/report_no"]')
            return ()
        if len(value) > NEEDED_MAX:
            self.tell("schema", key, f"{key} has at most {NEEDED_MAX} paths")
            return ()
        for path in value:
            flaw = find_path_flaw(path)
            if not flaw and fields and key != "must_disclose_first":
                flaw = find_field_flaw(path, fields)
            if key != "mandatory" and EACH in path.split("/"):
                flaw = flaw or f"{path}: name the whole array, without {EACH}"
            if flaw:
                self.tell("schema", key, f"{key}: {flaw}")
        return tuple(value)

    def read_subjects(self, fields: Mapping[str, FieldRule]) -> dict[str, str]:
        value = self.raw.get("subjects", {})
        if isinstance(value, list) and _are_texts(value):
            value = dict.fromkeys(value, "")
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            self.tell("schema", "subjects", 'subjects is a table such as { USCC = "/header/uscc" }')
            return {}
        for kind, path in value.items():
            if kind not in _SUBJECTS:
                known = ", ".join(_SUBJECTS)
                self.tell("schema", "subjects", f"subjects: {kind!r} is unknown; known: {known}")
            elif path and (path not in fields or EACH in path.split("/")):
                text = f"subjects: {_cut(path)} is no field of this schema that a document has once"
                self.tell("schema", "subjects", text)
        return dict(value)


def tell_value(value: object) -> str:
    """Return a value as an error shows it; Python makes no text of thousands of digits."""
    if isinstance(value, int) and abs(value) >= 2**256:
        return "such a large number"
    try:
        return _cut(repr(value))
    except (RecursionError, ValueError):  # nested deeply, or with a number of thousands of digits
        return f"such a {type(value).__name__}"


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def find_path_flaw(path: str) -> str:
    """Return why a text is no path of a schema; empty if it is one."""
    if path and not path.startswith("/"):
        return f"{path!r} is not a path; it begins with a slash, as /{path}"
    if re.search(r"~(?![01])", path):
        return f"{path!r} is not a JSON Pointer (RFC 6901): write ~0 for ~ and ~1 for /"
    if len(path.encode()) > _PATH_BYTES_MAX or path.count("/") > _STEPS_MAX:
        return f"{path[:60]}…: a path has at most {_STEPS_MAX} steps and {_PATH_BYTES_MAX} bytes"
    if not is_normalized("NFC", path):
        return f"{path!r} is not in Unicode NFC"
    return ""


@dataclass(slots=True)
class FieldPlace:
    """One step of a schema's paths: what may stand there, and below it."""

    rule: FieldRule | None = None
    below: dict[str, FieldPlace] = field(default_factory=dict)


@lru_cache(maxsize=64)
def _build_places(fields: tuple[tuple[str, FieldRule], ...]) -> FieldPlace:
    root = FieldPlace()
    for path, rule in fields:
        here = root
        for step in path.split("/")[1:]:
            here = here.below.setdefault(step, FieldPlace())
        here.rule = rule
    return root


def build_places(fields: Mapping[str, FieldRule]) -> FieldPlace:
    """Return the fields of a schema as a tree; the keys are steps as they stand in paths."""
    return _build_places(tuple(fields.items()))


def find_field_flaw(path: str, fields: Mapping[str, FieldRule]) -> str:
    """Return why documents with these fields have nothing at a path; empty if they may.

    A position stands for an element of an array, as the step ``*`` does.
    """
    here, steps = build_places(fields), path.split("/")[1:]
    for depth, step in enumerate(steps):
        if here.rule is not None and here.rule.type is FieldType.ANY:
            return ""
        is_position = step == EACH or re.fullmatch(r"0|[1-9][0-9]{0,2}", step)
        following = here.below.get(step) or (here.below.get(EACH) if is_position else None)
        if following is None:
            return f"{_cut(path)}: {_tell_missing(here, steps[:depth], step)}"
        here = following
    return ""


def _tell_missing(here: FieldPlace, above: list[str], step: str) -> str:
    where = _cut(_join(above)) or "the document"
    names = sorted(here.below)
    if names == [EACH]:
        return f"{where} is an array, whose elements are /0, /1 and so on"
    if not names:
        return f"{where} is a value and has no fields"
    close = get_close_matches(_cut(step), map(_cut, names), 1)
    if close:
        return f"the schema has no such field; did you mean {_join([*above, close[0]])}?"
    return f"the schema has no such field; {where} has {list_some(names)}"


def list_some(names: Iterable[str]) -> str:
    """Return names as text, the first of them if there are many."""
    known = [_cut(name) for name in names]
    more = f" and {len(known) - NAMES_MAX} more" if len(known) > NAMES_MAX else ""
    return ", ".join(known[:NAMES_MAX]) + more


def _cut(text: str) -> str:
    return printable(text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…")


def _join(steps: Iterable[str]) -> str:
    return "".join("/" + step for step in steps)


# --- writing --------------------------------------------------------------------------------------


def write_schema(schema: Schema) -> str:
    """Return the ``[[schema]]`` table of a schema; `read_schema` undoes this."""
    lines = [
        "[[schema]]",
        f"id = {_quote(schema.id)}",
        f"number = {schema.number}",
        *(f"{key} = {_quote(text)}" for key, text in _names(schema)),
        f"valid_days = {schema.valid_days}",
        *([f"max_age_days = {schema.max_age_days}"] if schema.max_age_days else []),
        f"sensitivity = {schema.sensitivity}",
        *([f"witnesses = {schema.witnesses}"] if schema.witnesses else []),
        *(["across = true"] if schema.is_cross_witnessed else []),
        f"must_disclose = {_quote_all(schema.must_disclose)}",
        f"mandatory = {_quote_all(schema.mandatory)}",
    ]
    if schema.must_disclose_first:
        lines.append(f"must_disclose_first = {_quote_all(schema.must_disclose_first)}")
    if schema.subjects:
        pairs = ", ".join(f"{kind} = {_quote(path)}" for kind, path in schema.subjects.items())
        lines.append(f"subjects = {{ {pairs} }}")
    lines += ["", "[schema.fields]"]
    lines += [f"{_quote(path)} = {_write_rule(rule)}" for path, rule in schema.fields.items()]
    return "\n".join(lines) + "\n"


def _names(schema: Schema) -> list[tuple[str, str]]:
    side = "" if schema.jurisdiction is None else schema.jurisdiction.name
    given = (("name", schema.name), ("name_zh", schema.name_zh), ("jurisdiction", side))
    return [(key, text) for key, text in given if text]


def _quote(text: str) -> str:
    """Return a basic string of TOML, whose escapes are those of JSON; nothing unprintable."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number < 2**16 else f"\\U{number:08x}"


def _quote_all(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quote, texts)) + "]"


def _write_rule(rule: FieldRule) -> str:
    if not rule.is_nullable and not rule.choices:
        return _quote(rule.type.value)
    parts = [f"type = {_quote(rule.type.value)}"]
    if rule.is_nullable:
        parts.append("null = true")
    if rule.choices:
        parts.append(f"one_of = {_quote_all(rule.choices)}")
    return "{ " + ", ".join(parts) + " }"
