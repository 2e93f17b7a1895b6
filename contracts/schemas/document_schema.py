"""The rules of one kind of document: its fields, what may not be hidden, how long it is valid.

A schema is a table in a network file, or a file of its own; every member knows the text, and the
ledger has its number and its hash. A changed schema is another number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from eth_utils.crypto import keccak

from lowu.contracts.registry import Jurisdiction

DAY_S = 86_400
EACH = "*"
"""The step of a field's path that stands for every element of an array."""


class FieldType(StrEnum):
    """What the value of a field is. All but the first four are JSON strings, except ``file``."""

    ANY = "any"
    """Anything, with everything below it."""
    INTEGER = "integer"
    BOOLEAN = "boolean"
    FILE = "file"
    """A file that travels beside the document."""
    TEXT = "text"
    DECIMAL = "decimal"
    """A number such as "12.50", kept as it is written."""
    CURRENCY = "currency"
    """A code of ISO 4217 such as "HKD"."""
    MONEY = "money"
    """A currency and a number, such as "HKD 12.50"."""
    DATE = "date"
    """A day of the calendar, such as "2026-03-01"."""
    TIME = "time"
    """A time with its zone (RFC 3339), such as "2026-03-01T09:00:00+08:00"."""
    USCC = "uscc"
    """A unified social credit code, with its check character (GB 32100)."""
    CN_ID = "cn_id"
    """A mainland identity number, with its check character (GB 11643)."""
    HKID = "hkid"
    """A Hong Kong identity card number, with its check character."""
    HK_UBI = "hk_ubi"
    """A Hong Kong business identifier."""
    MO_ID = "mo_id"
    """A Macao identity card number."""


IDENTIFIERS = {
    FieldType.USCC, FieldType.CN_ID, FieldType.HKID, FieldType.HK_UBI, FieldType.MO_ID,
}  # fmt: skip
"""The types that a subject's number can have; a subject names them in capitals."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What one field may be."""

    type: FieldType
    is_nullable: bool = False
    choices: tuple[str, ...] = ()
    """The only texts that are allowed; empty for any."""


@dataclass(frozen=True)
class Schema:
    """The rules of one kind of document. Paths are JSON Pointers whose step ``*`` is any element.

    Validity figures of the schemas that come with Lowu are defaults of the simulator, not
    published rules.
    """

    id: str
    """Such as ``cn.ecr/1``; the number after the slash is its version."""
    number: int
    """Its number on the ledger."""
    valid_days: int
    """Whole days that a document is valid, from the day of its issue."""
    sensitivity: int
    """From 0, public, to 3; from 2 on, a separate consent is needed."""
    must_disclose: tuple[str, ...]
    """Paths that a holder may not hide, with everything below them. They are mandatory."""
    fields: Mapping[str, FieldRule] = field(hash=False)
    """By path: what stands there. A document has no other fields."""
    mandatory: tuple[str, ...] = ()
    """Paths that a document must have, besides those that a holder may not hide."""
    subjects: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By type of identifier, such as ``USCC``: the path of the subject's number; empty for none."""
    max_age_days: int = 0
    """A report older than this is stale, whatever its own validity says; 0: as `valid_days`."""
    jurisdiction: Jurisdiction | None = None
    """Where its issuers must be; None for anywhere."""
    witnesses: int = 0
    """How many institutions must confirm a document before it is in force."""
    is_cross_witnessed: bool = False
    """Whether one of them must be of another jurisdiction."""
    name: str = ""
    name_zh: str = ""
    must_disclose_first: tuple[str, ...] = ()
    """The rule for documents of version 1, which could not name a whole array; empty if equal."""

    @property
    def version(self) -> int:
        """The version, the last part of its id."""
        return int(self.id.rpartition("/")[2])

    @property
    def max_age_s(self) -> int:
        """A report older than this is stale, in seconds."""
        return (self.max_age_days or self.valid_days) * DAY_S

    @property
    def needed(self) -> tuple[str, ...]:
        """All paths that a document must have."""
        return tuple(dict.fromkeys((*self.must_disclose, *self.mandatory)))

    @cached_property
    def digest(self) -> bytes:
        """Keccak-256 of its rules, which the ledger keeps; names and witnesses are not in it."""
        rules = [
            self.id,
            self.number,
            self.valid_days,
            self.max_age_s,
            self.sensitivity,
            "" if self.jurisdiction is None else self.jurisdiction.name,
            list(self.must_disclose),
            list(self.mandatory),
            sorted(self.subjects.items()),
            sorted(
                [path, rule.type.value, rule.is_nullable, list(rule.choices)]
                for path, rule in self.fields.items()
            ),
        ]
        text = json.dumps(rules, ensure_ascii=False, separators=(",", ":"))
        return keccak(b"lowu-schema-1" + text.encode())

    @cached_property
    def must_disclose_digest(self) -> bytes:
        """Keccak-256 of the paths that a holder may not hide, one a line."""
        return keccak(text="\n".join(self.must_disclose))
