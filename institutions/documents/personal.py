"""Synthetic documents about persons and daily life, generated from a seed.

They cover credit on both sides, education, health, assets and residence. Their fields follow those
that such documents are known to have; every value is invented.
"""

from __future__ import annotations

from typing import Any

from lowu.institutions.documents.document import Document, Subject
from lowu.institutions.documents.identifiers import (
    generate_hkid,
    generate_mainland_id,
    generate_ubi,
)
from lowu.institutions.documents.sample_generator import SampleGenerator
from lowu.institutions.package.leaves import Attachment

_GRADES = ("A", "A-", "B+", "B", "C")


def build_personal_report(seed: int, now_s: int) -> Document:
    """Return a `cn.pcr/1` personal credit report of about 120 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_mainland_id(make.random)
    content = {
        "header": {
            "report_no": make.report_no("PCR"),
            "report_time": make.now.isoformat(),
            "name": make.person_zh(),
            "id_no": number,
            "query_reason": "personal loan",
        },
        "basic": {
            "gender": make.random.choice(("female", "male")),
            "marital_status": "married",
            "phones": [f"139{make.random.randrange(10**8):08}" for _ in range(5)],
            "residences": [make.address_zh() for _ in range(2)],
            "employers": [{"name": make.company(), "since": make.day(3_000)} for _ in range(2)],
        },
        "score": {"value": make.random.randrange(400, 950), "percentile": 64},
        "summary": {
            "open_accounts": 8,
            "overdue_accounts": 0,
            "mortgage_balance": make.amount(3_000_000),
            "card_limit": make.amount(200_000),
        },
        "accounts": [_account(make) for _ in range(9)],
        "non_credit": {"telecom_arrears": "0.00", "months": make.months(24)},
        "public": {"tax_arrears": [], "judgments": [], "penalties": []},
        "queries": [{"date": make.day(700), "by": make.company()} for _ in range(8)],
    }
    return Document("cn.pcr/1", Subject("CN_ID", number), now_s, content)


def _account(make: SampleGenerator) -> dict[str, Any]:
    return {
        "kind": make.random.choice(("mortgage", "car", "card", "consumer")),
        "lender": f"{make.words(2).title()} Bank {make.random.randrange(10**4):04}",
        "limit": make.amount(900_000),
        "balance": make.amount(500_000),
        "opened": make.day(2_000),
        "months": make.months(24),
        "overdue": False,
    }


def build_hk_personal_report(seed: int, now_s: int) -> Document:
    """Return an `hk.pcr/1` report of a Hong Kong resident, about 70 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_hkid(make.random)
    content = {
        "header": {
            "report_no": make.report_no("HKP"),
            "report_time": make.now.isoformat(),
            "name": make.person(),
            "name_zh": make.person_zh(),
            "hkid": number,
        },
        "contact": {
            "phones": [f"9{make.random.randrange(10**7):07}" for _ in range(2)],
            "address": make.address(),
        },
        "score": {"value": make.random.randrange(1_000, 4_000), "grade": "C"},
        "accounts": [_account(make) for _ in range(7)],
        "delinquencies": [],
        "public": {"judgments": [], "bankruptcy": None},
        "enquiries": [{"date": make.day(700), "by": make.company()} for _ in range(4)],
    }
    return Document("hk.pcr/1", Subject("HKID", number), now_s, content)


def build_hk_company_report(seed: int, now_s: int) -> Document:
    """Return an `hk.ecr/1` report of a Hong Kong company, about 60 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_ubi(make.random)
    content = {
        "header": {
            "report_no": make.report_no("HKE"),
            "report_time": make.now.isoformat(),
            "company": make.company(),
            "ubi": number,
        },
        "registry": {"incorporated": make.day(5_000), "address": make.address(), "status": "live"},
        "directors": [
            {"name": make.person(), "name_zh": make.person_zh(), "appointed": make.day(2_000)}
            for _ in range(3)
        ],
        "shareholders": [{"name": make.person(), "share": f"{n}.00"} for n in (60, 40)],
        "charges": [{"chargee": make.company(), "amount": make.amount(9_000_000)}],
        "facilities": [
            {
                "kind": kind,
                "limit": make.amount(9_000_000),
                "outstanding": make.amount(4_000_000),
                "overdue": "0.00",
            }
            for kind in ("trade", "overdraft", "term loan", "leasing")
        ],
        "payments": [{"month": make.day(360), "days_beyond": 3} for _ in range(8)],
        "litigation": {"open_cases": 0, "judgments": []},
    }
    return Document("hk.ecr/1", Subject("HK_UBI", number), now_s, content)


def build_transcript(seed: int, now_s: int) -> Document:
    """Return a `cn.edu/1` degree with its transcript, about 60 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_mainland_id(make.random)
    content = {
        "header": {
            "certificate_no": make.report_no("EDU"),
            "name": make.person_zh(),
            "id_no": number,
            "university": f"{make.words(2).title()} University",
        },
        "degree": {"name": "Bachelor of Engineering", "awarded": make.day(900), "class": "first"},
        "courses": [
            {
                "code": f"{make.words(1).upper()}{make.random.randrange(100, 999)}",
                "credits": 3,
                "grade": make.random.choice(_GRADES),
            }
            for _ in range(16)
        ],
        "average": "3.61",
    }
    return Document("cn.edu/1", Subject("CN_ID", number), now_s, content)


def build_health_extract(seed: int, now_s: int) -> Document:
    """Return an `hk.ehr/1` health extract with an image, about 45 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_hkid(make.random)
    content = {
        "header": {"extract_no": make.report_no("EHR"), "report_time": make.now.isoformat()},
        "patient": {
            "name": make.person(),
            "name_zh": make.person_zh(),
            "hkid": number,
            "blood_group": "O+",
            "allergies": ["penicillin", "latex"],
        },
        "diagnoses": [{"code": f"J{n}.0", "date": make.day(1_000)} for n in (18, 45, 30)],
        "medication": [
            {"name": make.words(3), "dose": "5.0", "unit": "mg", "since": make.day(400)}
            for _ in range(4)
        ],
        "vitals": [{"date": make.day(300), "systolic": 121, "diastolic": 79} for _ in range(4)],
        "radiology": {
            "report": f"no acute finding, case {make.random.randrange(10**8):08}",
            "image": Attachment(make.random.randbytes(20_000), "application/dicom"),
        },
    }
    return Document("hk.ehr/1", Subject("HKID", number), now_s, content)


def build_asset_certificate(seed: int, now_s: int) -> Document:
    """Return an `mo.asset/1` certificate of deposits in Macao, about 24 leaves."""
    make = SampleGenerator(seed, now_s)
    number = f"1{make.random.randrange(10**6):06}({make.random.randrange(10)})"
    content = {
        "header": {
            "certificate_no": make.report_no("MOA"),
            "issued": make.now.isoformat(),
            "name": make.person(),
            "name_zh": make.person_zh(),
            "mo_id": number,
        },
        "deposits": [
            {
                "account": f"{make.random.randrange(10**12):012}",
                "currency": currency,
                "balance": make.amount(900_000),
                "opened": make.day(2_000),
            }
            for currency in ("MOP", "HKD", "CNY", "USD")
        ],
        "total": {"currency": "MOP", "amount": make.amount(3_000_000)},
    }
    return Document("mo.asset/1", Subject("MO_ID", number), now_s, content)


def build_residence_proof(seed: int, now_s: int) -> Document:
    """Return a `svc.residence/1` proof of residence from utility bills, about 24 leaves."""
    make = SampleGenerator(seed, now_s)
    number = generate_mainland_id(make.random)
    content = {
        "header": {
            "proof_no": make.report_no("RES"),
            "name": make.person_zh(),
            "id_no": number,
        },
        "residence": {"address": make.address_zh(), "since": make.day(1_500), "kind": "rented"},
        "bills": [
            {"service": service, "account": make.report_no("A"), "paid_until": make.day(40)}
            for service in ("power", "water", "gas", "telecom", "property")
        ],
    }
    return Document("svc.residence/1", Subject("CN_ID", number), now_s, content)
