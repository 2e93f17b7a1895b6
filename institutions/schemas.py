"""What each document schema demands: disclosure, validity, ages.

Validity figures are defaults of the simulator, not published rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.registry import SCHEMA_IDS
from institutions.package import FILE_PATH, Profile

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Schema:
    """Rules of one kind of document."""

    id: str
    valid_days: int
    max_age_s: int
    """A report older than this is stale, whatever its validity says."""
    max_registration_delay_s: int
    sensitivity: int
    must_disclose: tuple[str, ...]
    """Paths that a holder may not hide."""

    @property
    def number(self) -> int:
        """What stands for the schema on chain."""
        return SCHEMA_IDS[self.id]


SCHEMAS: dict[str, Schema] = {
    schema.id: schema
    for schema in (
        Schema(
            "cn.ecr/1",
            valid_days=30,
            max_age_s=30 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=1,
            must_disclose=("/header/report_no", "/header/uscc", "/summary/overdue_accounts"),
        ),
        Schema(
            "cn.smeowner/1",
            valid_days=30,
            max_age_s=30 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=2,
            must_disclose=(
                "/header/report_no",
                *(f"/repayment/months/{month}" for month in range(24)),
            ),
        ),
        Schema(
            "grp.kyc/1",
            valid_days=90,
            max_age_s=90 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=2,
            must_disclose=("/header/file_no", "/screening/date", "/risk/grade"),
        ),
        Schema(
            "cn.pcr/1",
            valid_days=30,
            max_age_s=30 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=2,
            must_disclose=("/header/report_no", "/summary/overdue_accounts"),
        ),
        Schema(
            "hk.ecr/1",
            valid_days=30,
            max_age_s=30 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=1,
            must_disclose=("/header/report_no", "/litigation/open_cases"),
        ),
        Schema(
            "hk.pcr/1",
            valid_days=30,
            max_age_s=30 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=2,
            must_disclose=("/header/report_no", "/score/value"),
        ),
        Schema(
            "cn.edu/1",
            valid_days=50 * 365,
            max_age_s=50 * 365 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=1,
            must_disclose=("/header/certificate_no", "/degree/name"),
        ),
        Schema(
            "hk.ehr/1",
            valid_days=7,
            max_age_s=7 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=3,
            must_disclose=("/header/extract_no", "/patient/allergies/0"),
        ),
        Schema(
            "mo.asset/1",
            valid_days=30,
            max_age_s=30 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=2,
            must_disclose=("/header/certificate_no", "/total/amount"),
        ),
        Schema(
            "svc.residence/1",
            valid_days=90,
            max_age_s=90 * DAY_S,
            max_registration_delay_s=DAY_S,
            sensitivity=1,
            must_disclose=("/header/proof_no", "/residence/since"),
        ),
    )
}


def must_disclose(schema: str, profile: Profile) -> tuple[str, ...]:
    """Return the paths that a holder may not hide; a file profile has one field only."""
    return SCHEMAS[schema].must_disclose if profile is Profile.FIELDS else (FILE_PATH,)
