"""Whether a document is as its schema says: before it is issued, not after it was refused.

Nothing is changed: amounts keep their digits and times their zone, as the texts that they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any

from lowu.contracts.schemas.document_schema import EACH, FieldRule, FieldType, Schema
from lowu.institutions.documents.document import Document
from lowu.institutions.documents.identifiers import is_hkid, is_mainland_id, is_uscc
from lowu.institutions.package.forms import escape_step, split_path
from lowu.institutions.package.leaves import Attachment

FLAWS_MAX = 20
"""How many flaws of one document are told."""
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")
_MONEY = re.compile(r"[A-Z]{3} -?[0-9]+(\.[0-9]+)?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_HK_UBI = re.compile(r"[0-9]{8}|[A-Z][0-9]{7}", re.ASCII)
_MO_ID = re.compile(r"[0-9]{7}\([0-9]\)", re.ASCII)


@dataclass(slots=True)
class _Place:
    """One step of a schema's paths: what may stand there, and below it."""

    rule: FieldRule | None = None
    below: dict[str, _Place] = field(default_factory=dict)


def check_document(document: Document, schema: Schema) -> None:
    """Raise `ValueError`, with the path of each flaw, unless a document is as its schema says."""
    flaws = [*_check_subject(document, schema)]
    root = _build_tree(schema.fields)
    for flaw in _check(document.content, root, ""):
        flaws.append(flaw)
        if len(flaws) > FLAWS_MAX:
            break
    for path in schema.needed:
        flaws += _find_missing(document.content, split_path(path), "", path)
    if flaws:
        shown = [f"  {flaw}" for flaw in dict.fromkeys(flaws[:FLAWS_MAX])]
        more = ["  and more"] if len(flaws) > FLAWS_MAX else []
        raise ValueError(
            "\n".join([f"the document is not as schema {schema.id} says:", *shown, *more])
        )


def _build_tree(fields: Mapping[str, FieldRule]) -> _Place:
    root = _Place()
    for path, rule in fields.items():
        here = root
        for step in split_path(path):
            here = here.below.setdefault(step, _Place())
        here.rule = rule
    return root


def _check(value: Any, place: _Place, path: str) -> Iterator[str]:
    """Yield what is wrong with a value and everything below it."""
    if place.rule is not None:
        flaw = _find_flaw(value, place.rule)
        if flaw:
            yield f"{path}: {flaw}"
        return
    each = place.below.get(EACH)
    if each is not None:
        if not isinstance(value, list):
            yield f"{path}: {_tell(value)} must be a list"
            return
        for position, item in enumerate(value):
            yield from _check(item, each, f"{path}/{position}")
        return
    if not isinstance(value, dict):
        yield f"{path or 'the content'}: {_tell(value)} must be an object"
        return
    for name, item in value.items():
        known = place.below.get(name)
        below = f"{path}/{escape_step(str(name))}"
        if known is not None:
            yield from _check(item, known, below)
            continue
        close = get_close_matches(str(name), place.below, 1)
        mend = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(place.below)}"
        yield f"{below}: the schema has no such field; {mend}"


def _find_missing(value: Any, steps: tuple[str, ...], at: str, path: str) -> Iterator[str]:
    """Yield where a path that a document must have is missing; once for each such element."""
    if not steps:
        return
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _find_missing(item, steps[1:], f"{at}/{position}", path)
        return
    below = f"{at}/{escape_step(steps[0])}"
    if not isinstance(value, dict):
        return  # another flaw, told already
    if steps[0] not in value:
        rest = "".join("/" + escape_step(step) for step in steps[1:])
        yield f"{below}{rest}: is missing, and the schema needs it"
        return
    yield from _find_missing(value[steps[0]], steps[1:], below, path)


def _check_subject(document: Document, schema: Schema) -> Iterator[str]:
    kind, number = document.subject.id_type, document.subject.id_value
    if schema.subjects and kind not in schema.subjects:
        yield f"subject: its type must be {' or '.join(schema.subjects)}, not {kind!r}"
        return
    types = {item.value.upper(): item for item in _IDENTIFIERS}
    if kind in types and not _IDENTIFIERS[types[kind]](number):
        yield f"subject: {number!r} is not {FIELD_WORDS[types[kind]]}"
    path = schema.subjects.get(kind, "")
    if path:
        found = _find(document.content, split_path(path))
        if found is not None and found != number:
            yield f"{path}: {found!r} is not the number of the subject, {number!r}"


def _find(value: Any, steps: Iterable[str]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _find_flaw(value: Any, rule: FieldRule) -> str:
    """Return why a value may not stand in a field; empty if it may."""
    if rule.type is FieldType.ANY or (value is None and rule.is_nullable):
        return ""
    if not _TESTS[rule.type](value):
        return f"{_tell(value)} must be {FIELD_WORDS[rule.type]}"
    if rule.choices and value not in rule.choices:
        return f"{_tell(value)} must be one of {', '.join(rule.choices)}"
    return ""


def _tell(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case Attachment():
            return "a file"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if len(value) > 40:
            return repr(value[:40] + "…")
    return repr(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _matches(pattern: re.Pattern[str]) -> Any:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_date(value: Any) -> bool:
    if not (isinstance(value, str) and _DATE.fullmatch(value)):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_time(value: Any) -> bool:
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        return False
    try:
        datetime.fromisoformat(re.sub(r"\.[0-9]+", "", value))
    except ValueError:
        return False
    return True


_IDENTIFIERS: dict[FieldType, Any] = {
    FieldType.USCC: is_uscc,
    FieldType.CN_ID: is_mainland_id,
    FieldType.HKID: is_hkid,
    FieldType.HK_UBI: _matches(_HK_UBI),
    FieldType.MO_ID: _matches(_MO_ID),
}
_TESTS: dict[FieldType, Any] = {
    FieldType.INTEGER: lambda value: type(value) is int,
    FieldType.BOOLEAN: lambda value: type(value) is bool,
    FieldType.FILE: lambda value: isinstance(value, Attachment),
    FieldType.TEXT: _is_text,
    FieldType.DECIMAL: _matches(_DECIMAL),
    FieldType.CURRENCY: _matches(_CURRENCY),
    FieldType.MONEY: _matches(_MONEY),
    FieldType.DATE: _is_date,
    FieldType.TIME: _is_time,
    **{
        kind: (lambda value, test=test: isinstance(value, str) and test(value))
        for kind, test in _IDENTIFIERS.items()
    },
}
FIELD_WORDS: dict[FieldType, str] = {
    FieldType.ANY: "anything",
    FieldType.INTEGER: "an integer",
    FieldType.BOOLEAN: "true or false",
    FieldType.FILE: "a file: give it with --attach PATH=FILE",
    FieldType.TEXT: "a text",
    FieldType.DECIMAL: 'a number in quotation marks, such as "12.50"',
    FieldType.CURRENCY: 'a currency such as "HKD"',
    FieldType.MONEY: 'a currency and a number, such as "HKD 12.50"',
    FieldType.DATE: 'a day such as "2026-03-01"',
    FieldType.TIME: 'a time with its zone, such as "2026-03-01T09:00:00+08:00"',
    FieldType.USCC: "a unified social credit code: 18 characters, the last a check character",
    FieldType.CN_ID: "a mainland identity number: 18 characters, the last a check character",
    FieldType.HKID: "a Hong Kong identity card number with its check digit, such as A123456(3)",
    FieldType.HK_UBI: "a Hong Kong business identifier: 8 digits, or a letter and 7 digits",
    FieldType.MO_ID: "a Macao identity card number, such as 1234567(8)",
}
