"""Invented details: names, addresses, amounts, days.

None belong to a real person or company. Names contain a number, so that each occurs once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from lowu.contracts.schemas.document_schema import FieldType
from lowu.institutions.documents.identifiers import (
    generate_hkid,
    generate_mainland_id,
    generate_ubi,
    generate_uscc,
)
from lowu.institutions.package.leaves import Attachment

REPAYMENT_SYMBOLS = "NNNNNNNNNNNNNNNNNNNN11*"
"""Normal, overdue up to 30 days, nothing due, in the proportions in which they are drawn."""
_SYLLABLES = (
    "xin", "hai", "yue", "tong", "hua", "rui", "feng", "ming",
    "jin", "da", "cheng", "kang", "bo", "lin", "qi", "sheng",
)  # fmt: skip
_SURNAMES = "陈李张黄何梁罗郑"
_CHARACTERS = "嘉文子俊思颖家伟志明诗慧"
_PLACES = "新海悦通华瑞丰明"
_CURRENCIES = ("HKD", "CNY", "MOP")
_IDENTIFIERS = {
    FieldType.USCC: generate_uscc,
    FieldType.CN_ID: generate_mainland_id,
    FieldType.HKID: generate_hkid,
    FieldType.HK_UBI: generate_ubi,
}


class SampleGenerator:
    """Draws the parts of a document; the same seed draws the same parts."""

    def __init__(self, seed: int, now_s: int) -> None:
        self.random = Random(f"lowu documents {seed}")  # noqa: S311  (invented data)
        self.now = datetime.fromtimestamp(now_s, UTC)

    def words(self, count: int) -> str:
        """Return a word of `count` syllables."""
        return "".join(self.random.choice(_SYLLABLES) for _ in range(count))

    def company(self) -> str:
        """Return a company's name."""
        number = self.random.randrange(10**6)
        return f"{self.words(3).title()} {number:06} Trading Co Ltd"

    def person(self) -> str:
        """Return a person's name."""
        return f"{self.words(1).title()} {self.words(2).title()} {self.random.randrange(10**5):05}"

    def address(self) -> str:
        """Return an address."""
        number = self.random.randrange(10**5)
        return f"Room {number:05}, {self.words(2).title()} Building, {self.words(2).title()} Road"

    def amount(self, highest: int) -> str:
        """Return an amount of money as a decimal string."""
        return f"{self.random.randrange(1_000, highest)}.{self.random.randrange(100):02}"

    def day(self, back_days: int) -> str:
        """Return a past date within `back_days` days, in ISO 8601."""
        return (self.now - timedelta(days=self.random.randrange(1, back_days))).date().isoformat()

    def report_no(self, prefix: str) -> str:
        """Return the number of a report."""
        return f"{prefix}{self.now:%Y%m%d}{self.random.randrange(10**10):010}"

    def person_zh(self) -> str:
        """Return a person's Chinese name, with a number."""
        given = "".join(self.random.choice(_CHARACTERS) for _ in range(2))
        return f"{self.random.choice(_SURNAMES)}{given}{self.random.randrange(10**5):05}"

    def address_zh(self) -> str:
        """Return an address in Chinese."""
        place = "".join(self.random.choice(_PLACES) for _ in range(2))
        room = f"{self.random.randrange(10**5):05}"
        return f"{place}路{self.random.randrange(1, 999)}号{place}大厦{room}室"

    def months(self, count: int) -> str:
        """Return a repayment symbol for each of the last months, the newest last."""
        return "".join(self.random.choice(REPAYMENT_SYMBOLS) for _ in range(count))

    def value(self, kind: FieldType, name: str = "") -> Any:
        """Return a value of a type; texts contain the field's name and a number."""
        match kind:
            case FieldType.INTEGER:
                return self.random.randrange(100)
            case FieldType.BOOLEAN:
                return self.random.random() < 0.5
            case FieldType.FILE:
                return Attachment(self.random.randbytes(2_000))
            case FieldType.DECIMAL:
                return self.amount(100_000)
            case FieldType.CURRENCY:
                return self.random.choice(_CURRENCIES)
            case FieldType.MONEY:
                return f"{self.random.choice(_CURRENCIES)} {self.amount(100_000)}"
            case FieldType.DATE:
                return self.day(2_000)
            case FieldType.TIME:
                return self.now.isoformat()
            case FieldType.MO_ID:
                return f"1{self.random.randrange(10**6):06}({self.random.randrange(10)})"
        if kind in _IDENTIFIERS:
            return _IDENTIFIERS[kind](self.random)
        return f"{name} {self.words(2)} {self.random.randrange(10**6):06}".strip()
