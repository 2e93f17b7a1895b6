"""The rules of each document schema: disclosure, validity, age.

Validity figures are defaults of the simulator, not published rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowu.contracts.registry import SCHEMA_IDS
from lowu.institutions.package.format import FILE_PATH, Profile
from lowu.institutions.package.tags import FIRST_VERSION, VERSION

DAY_S = 86_400
MAX_REGISTRATION_DELAY_S = DAY_S
"""Longest time from issuing to registration, for every schema."""
CLOCK_AHEAD_S = 120
"""How far an institution's clock may be ahead of the ledger's or of another's (threat T10)."""
SENSITIVE = 2
"""From this sensitivity on, a separate consent is needed."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Rules of one kind of document."""

    id: str
    valid_days: int
    sensitivity: int
    must_disclose: tuple[str, ...]
    """Paths that a holder may not hide, with everything below them."""

    @property
    def number(self) -> int:
        """The schema's number on chain."""
        return SCHEMA_IDS[self.id]

    @property
    def max_age_s(self) -> int:
        """A report older than this is stale, whatever its own validity says."""
        return self.valid_days * DAY_S


_ALL = (
    Schema("cn.ecr/1", 30, 1, ("/header/report_no", "/header/uscc", "/summary/overdue_accounts")),
    Schema("cn.pcr/1", 30, 2, ("/header/report_no", "/summary/overdue_accounts")),
    Schema("cn.smeowner/1", 30, 2, ("/header/report_no", "/repayment/months")),
    Schema("grp.kyc/1", 90, 2, ("/header/file_no", "/screening/date", "/risk/grade")),
    Schema("hk.ecr/1", 30, 1, ("/header/report_no", "/litigation/open_cases")),
    Schema("hk.pcr/1", 30, 2, ("/header/report_no", "/score/value")),
    Schema("cn.edu/1", 50 * 365, 1, ("/header/certificate_no", "/degree/name")),
    Schema("hk.ehr/1", 7, 3, ("/header/extract_no", "/patient/allergies")),
    Schema("mo.asset/1", 30, 2, ("/header/certificate_no", "/total/amount")),
    Schema("svc.residence/1", 90, 1, ("/header/proof_no", "/residence/since")),
)

SCHEMAS: dict[str, Schema] = {schema.id: schema for schema in _ALL}


_FIRST_RULES = {
    "cn.smeowner/1": (
        "/header/report_no",
        *(f"/repayment/months/{month}" for month in range(24)),
    ),
    "hk.ehr/1": ("/header/extract_no", "/patient/allergies/0"),
}
"""Rules of documents of version 1, which could not name a whole array."""


def must_disclose(schema: str, profile: Profile, version: int = VERSION) -> tuple[str, ...]:
    """Return the paths that a holder may not hide; a file profile has one field only."""
    if profile is not Profile.FIELDS:
        return (FILE_PATH,)
    rules = SCHEMAS[schema].must_disclose
    return _FIRST_RULES.get(schema, rules) if version == FIRST_VERSION else rules
