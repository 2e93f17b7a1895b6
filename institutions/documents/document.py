"""Synthetic documents about companies, of realistic size, generated from a seed.

All content is invented; identifiers have valid check digits. Amounts are decimal strings, never
floating point.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from lowu.institutions.documents.identifiers import (
    generate_hkid,
    generate_mainland_id,
    generate_ubi,
    generate_uscc,
)
from lowu.institutions.documents.sample_generator import REPAYMENT_SYMBOLS, SampleGenerator
from lowu.institutions.package.forms import join_path, split_path
from lowu.institutions.package.leaves import Attachment

_CLASSES = ("normal", "normal", "normal", "special-mention", "substandard")


@dataclass(frozen=True, slots=True)
class Subject:
    """The person or company a document is about: type and number of an identifier."""

    id_type: str
    id_value: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document's content with its schema and subject."""

    schema: str
    subject: Subject
    report_time_s: int
    content: dict[str, Any]

    def attach(self, path: str, file: Attachment) -> Document:
        """Return the document with a file, which travels beside it, at a path (RFC 6901).

        Raises:
            ValueError: the path does not lie in the document, or is taken.
        """
        content = copy.deepcopy(self.content)
        parts = split_path(path) or ("",)
        here: Any = content
        for part in parts[:-1]:
            here = here.setdefault(part, {}) if isinstance(here, dict) else None
        if not path or not isinstance(here, dict) or parts[-1] in here:
            raise ValueError(f"{path!r} is not a free path, such as /image, to put a file at")
        here[parts[-1]] = file
        return replace(self, content=content)

    def detach(self) -> tuple[Document, dict[str, Attachment]]:
        """Return the document without its files, and the files by path; `attach` undoes this."""
        files: dict[str, Attachment] = {}
        return replace(self, content=_detach(self.content, (), files)), files

    def canaries(self) -> list[str]:
        """Return strings of the content that occur nowhere else.

        They are names, numbers and addresses, no common words; a network is searched for them.
        """
        found: list[str] = []
        _collect(self.content, found)
        return sorted(
            {text for text in found if len(text.encode()) >= 10 and any(c.isdigit() for c in text)}
        )


def _detach(value: Any, steps: tuple[str, ...], files: dict[str, Attachment]) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        if isinstance(item, Attachment):
            files[join_path((*steps, key))] = item
        else:
            kept[key] = _detach(item, (*steps, key), files)
    return kept


def _collect(value: Any, found: list[str]) -> None:
    match value:
        case dict():
            for item in value.values():
                _collect(item, found)
        case list():
            for item in value:
                _collect(item, found)
        case str():
            if not _is_date(value):
                found.append(value)


def _is_date(text: str) -> bool:
    return text[4:5] == "-" and text[7:8] == "-"


def build_enterprise_report(seed: int, now_s: int, uscc: str | None = None) -> Document:
    """Return a `cn.ecr/1` enterprise credit report of about 120 leaves."""
    make = SampleGenerator(seed, now_s)
    number = uscc if uscc is not None else generate_uscc(make.random)
    content = {
        "header": {
            "report_no": make.report_no("ECR"),
            "report_time": make.now.isoformat(),
            "name": make.company(),
            "uscc": number,
            "query_reason": "cross-boundary lending",
        },
        "basic": {
            "address": make.address(),
            "registered": make.day(6_000),
            "capital": {"currency": "CNY", "amount": make.amount(50_000_000)},
            "industry": "wholesale",
            "size": "small",
            "legal_representative": make.person(),
            "investors": [
                {
                    "name": make.person(),
                    "id_no": generate_mainland_id(make.random),
                    "ratio": "50.00",
                }
                for _ in range(2)
            ],
            "executives": [{"role": "supervisor", "name": make.person()} for _ in range(2)],
        },
        "summary": {
            "first_credit_year": 2015,
            "lenders": 5,
            "overdue_accounts": 0,
            "balance_normal": make.amount(20_000_000),
            "guarantee_balance": make.amount(5_000_000),
            "interest_arrears": "0.00",
            "litigation": 0,
        },
        "loans": [_loan(make) for _ in range(8)],
        "guarantees": [],
        "utilities": {"power": "paid", "water": "paid", "telecom": "paid"},
        "public": {"tax_arrears": [], "judgments": [], "penalties": [], "customs_grade": "B"},
        "statements": {"subject": None, "dispute": False},
    }
    return Document("cn.ecr/1", Subject("USCC", number), now_s, content)


def _loan(make: SampleGenerator) -> dict[str, Any]:
    return {
        "lender": f"{make.words(2).title()} Bank {make.random.randrange(10**4):04}",
        "product": make.random.choice(("working capital", "trade finance", "factoring")),
        "currency": "CNY",
        "amount": make.amount(9_000_000),
        "balance": make.amount(3_000_000),
        "issued": make.day(900),
        "due": make.day(30),
        "class": make.random.choice(_CLASSES),
        "overdue_months": 0,
        "guarantee": "pledge",
    }


def build_owner_report(seed: int, now_s: int) -> Document:
    """Return a `cn.smeowner/1` report of a small-business owner, about 64 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_mainland_id(make.random)
    content = {
        "header": {
            "report_no": make.report_no("SMO"),
            "report_time": make.now.isoformat(),
            "name": make.person(),
            "id_no": number,
        },
        "firm": {"name": make.company(), "uscc": generate_uscc(make.random), "role": "owner"},
        "contact": {
            "phones": [f"138{make.random.randrange(10**8):08}" for _ in range(3)],
            "residence": make.address(),
        },
        "spouse": {"name": make.person(), "id_no": generate_mainland_id(make.random)},
        "score": {"value": make.random.randrange(500, 900), "percentile": 71},
        "repayment": {
            "months": [make.random.choice(REPAYMENT_SYMBOLS) for _ in range(24)],
            "open_accounts": 3,
        },
        "loans": [
            {
                "kind": kind,
                "balance": make.amount(800_000),
                "issued": make.day(700),
                "overdue": False,
            }
            for kind in ("mortgage", "business", "credit card", "car")
        ],
        "public": {"judgments": [], "tax_arrears": []},
    }
    return Document("cn.smeowner/1", Subject("CN_ID", number), now_s, content)


def build_kyc_file(seed: int, now_s: int, *, is_hong_kong: bool = False) -> Document:
    """Return a `grp.kyc/1` company file of about 60 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_ubi(make.random) if is_hong_kong else generate_uscc(make.random)
    identify: Callable[[Random], str] = generate_hkid if is_hong_kong else generate_mainland_id
    content = {
        "header": {
            "file_no": make.report_no("KYC"),
            "company": make.company(),
            "company_no": number,
            "opened": make.day(2_000),
        },
        "company": {
            "address": make.address(),
            "activity": "import and export",
            "turnover": make.amount(90_000_000),
            "countries": ["CN", "HK", "SG"],
        },
        "directors": [
            {"name": make.person(), "id_no": identify(make.random), "pep": False} for _ in range(3)
        ],
        "beneficial_owners": [
            {
                "name": make.person(),
                "id_no": identify(make.random),
                "share": f"{share}.00",
                "since": make.day(1_500),
                "pep": False,
            }
            for share in (40, 35, 25)
        ],
        "accounts": [
            {
                "no": f"{make.random.randrange(10**12):012}",
                "currency": currency,
                "opened": make.day(900),
            }
            for currency in ("CNY", "HKD", "USD")
        ],
        "screening": {"date": make.day(20), "sanctions": False, "adverse_media": False},
        "risk": {"grade": "medium", "next_review": make.day(10), "score": 42},
        "visits": [],
    }
    kind = "HK_UBI" if is_hong_kong else "USCC"
    return Document("grp.kyc/1", Subject(kind, number), now_s, content)
