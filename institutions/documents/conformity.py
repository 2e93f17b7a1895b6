"""Whether a document is as its schema says: before it is issued, not after it was refused.

Nothing is changed: amounts keep their digits and times their zone, as the texts that they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from difflib import get_close_matches
from itertools import chain, islice
from typing import Any

from lowu.contracts.named import printable
from lowu.contracts.schemas.document_schema import EACH, FieldRule, FieldType, Schema
from lowu.contracts.schemas.schema_tables import FieldPlace, build_places, list_some
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


def check_document(document: Document, schema: Schema) -> None:
    """Raise `ValueError`, with the path of each flaw, unless a document is as its schema says."""
    found = chain(
        _check_subject(document, schema),
        _check(document.content, build_places(schema.fields), ""),
        _find_missing(document.content, schema),
    )
    flaws = list(dict.fromkeys(islice(found, FLAWS_MAX + 1)))
    if flaws:
        shown = [f"  {flaw}" for flaw in flaws[:FLAWS_MAX]]
        more = ["  and more"] if len(flaws) > FLAWS_MAX else []
        raise ValueError(
            "\n".join([f"the document is not as schema {schema.id} says:", *shown, *more])
        )


def _check(value: Any, place: FieldPlace, path: str) -> Iterator[str]:
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
        step = escape_step(str(name))
        known = place.below.get(step)
        if known is not None:
            yield from _check(item, known, f"{path}/{step}")
            continue
        close = get_close_matches(step[:100], [item for item in place.below if len(item) < 100], 1)
        mend = f"did you mean {close[0]!r}?" if close else f"known: {list_some(place.below)}"
        yield f"{printable(f'{path}/{step[:100]}')}: the schema has no such field; {mend}"


def _find_missing(content: Any, schema: Schema) -> Iterator[str]:
    """Yield where something is missing that a document must have, or may not hide."""
    for path in schema.mandatory:
        yield from _find_below(content, split_path(path), "")
    for path in schema.must_disclose:
        steps = split_path(path)
        if not _is_there(content, steps):
            yield f"{path}: is missing, and a holder may not hide it"


def _find_below(value: Any, steps: tuple[str, ...], at: str) -> Iterator[str]:
    """Yield where a path is missing: of a list, in each element, or in the one that is named."""
    if not steps:
        return
    step, rest = steps[0], steps[1:]
    if isinstance(value, list) and step == EACH:
        for position, item in enumerate(value):
            yield from _find_below(item, rest, f"{at}/{position}")
        return
    inner = _enter(value, step)
    below = f"{at}/{escape_step(step)}"
    if inner is _NOTHING:
        if isinstance(value, (dict, list)):  # else that is a flaw of its own
            whole = below + "".join("/" + escape_step(item) for item in rest)
            yield f"{whole}: is missing, and the schema needs it"
        return
    yield from _find_below(inner, rest, below)


_NOTHING = object()


def _enter(value: Any, step: str) -> Any:
    """Return what stands at a step into a value; `_NOTHING` if nothing does."""
    if isinstance(value, dict):
        return value.get(step, _NOTHING)
    if isinstance(value, list) and step.isdecimal() and step == str(int(step)):
        return value[int(step)] if int(step) < len(value) else _NOTHING
    return _NOTHING


def _is_there(value: Any, steps: Iterable[str]) -> bool:
    for step in steps:
        value = _enter(value, step)
        if value is _NOTHING:
            return False
    return True


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
        return f"{_tell(value)} must be one of {list_some(rule.choices)}"
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
