"""The result of a verification: nine ordered checks, every code, and a verdict.

A report says "authentic and unaltered since its registration", never "true".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from lowu.contracts.named import printable
from lowu.institutions.verification.shown import ShownDocument


class Check(Enum):
    """The checks, in order."""

    PACKAGE = "V1"
    INTEGRITY = "V2"
    ISSUER = "V3"
    ANCHOR = "V4"
    STATUS = "V5"
    TIME = "V6"
    HOLDER = "V7"
    CONSENT = "V8"
    REPLAY = "V9"


class Result(Enum):
    """Outcome of one check."""

    PASS = "PASS"  # noqa: S105  (not a password)
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    """Could not be checked, say because no node answered."""
    SKIPPED = "SKIPPED"
    """Nothing to check, because an earlier check failed."""


class VerdictCode(Enum):
    """Why a check did not pass. The names are frozen."""

    PKG_MALFORMED = "PKG_MALFORMED"
    PKG_UNSUPPORTED_VERSION = "PKG_UNSUPPORTED_VERSION"
    TAMPERED_FIELD = "TAMPERED_FIELD"
    TAMPERED_HEADER = "TAMPERED_HEADER"
    PROOF_INVALID = "PROOF_INVALID"
    MANDATORY_FIELD_HIDDEN = "MANDATORY_FIELD_HIDDEN"
    ATTACHMENT_UNEXPECTED = "ATTACHMENT_UNEXPECTED"
    ATTACHMENT_MISSING = "ATTACHMENT_MISSING"
    """A file is shown, but its bytes were not supplied to compare."""
    NOT_PROMISED = "NOT_PROMISED"
    """The document's version or profile does not say, so that it cannot be checked."""
    ISSUER_UNKNOWN = "ISSUER_UNKNOWN"
    ISSUER_NOT_ACCREDITED = "ISSUER_NOT_ACCREDITED"
    ISSUER_SUSPENDED = "ISSUER_SUSPENDED"
    KEY_RETIRED_BEFORE = "KEY_RETIRED_BEFORE"
    KEY_COMPROMISED = "KEY_COMPROMISED"
    SIG_INVALID = "SIG_INVALID"
    JURISDICTION_RULE = "JURISDICTION_RULE"
    NOT_REGISTERED = "NOT_REGISTERED"
    PENDING_WITNESS = "PENDING_WITNESS"
    NOT_FINAL = "NOT_FINAL"
    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    SUPERSEDED = "SUPERSEDED"
    ERASED = "ERASED"
    NOT_YET_VALID = "NOT_YET_VALID"
    EXPIRED = "EXPIRED"
    STALE = "STALE"
    REGISTERED_LATE = "REGISTERED_LATE"
    HOLDER_PROOF_MISSING = "HOLDER_PROOF_MISSING"
    HOLDER_MISMATCH = "HOLDER_MISMATCH"
    SUBJECT_MISMATCH = "SUBJECT_MISMATCH"
    SCHEMA_MISMATCH = "SCHEMA_MISMATCH"
    FIELDS_NOT_SHOWN = "FIELDS_NOT_SHOWN"
    CONSENT_MISSING = "CONSENT_MISSING"
    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"
    CONSENT_EXPIRED = "CONSENT_EXPIRED"
    PURPOSE_MISMATCH = "PURPOSE_MISMATCH"
    FIELDS_NOT_CONSENTED = "FIELDS_NOT_CONSENTED"
    WRONG_AUDIENCE = "WRONG_AUDIENCE"
    PRESENTATION_EXPIRED = "PRESENTATION_EXPIRED"
    REPLAYED = "REPLAYED"
    FRESHNESS_UNKNOWN = "FRESHNESS_UNKNOWN"


class Verdict(Enum):
    """The result of a verification."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    INDETERMINATE = "INDETERMINATE"


@dataclass(frozen=True, slots=True)
class Finding:
    """One code with a detail, such as a path or a reason."""

    code: VerdictCode
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.code.value}({printable(self.detail)})" if self.detail else self.code.value


@dataclass(slots=True)
class Line:
    """One check of a report, with its evidence."""

    check: Check
    result: Result
    findings: list[Finding] = field(default_factory=list)
    evidence: dict[str, str | int] = field(default_factory=dict)


def encode_lines(lines: Iterable[Line]) -> bytes:
    """Return the stored form of the lines of an accepted document, which have no findings."""
    rows = [[line.check.value, line.result.value, line.evidence] for line in lines]
    return json.dumps(rows, ensure_ascii=False).encode()


def decode_lines(data: bytes) -> tuple[Line, ...]:
    """Decode stored lines."""
    return tuple(
        Line(Check(check), Result(result), [], evidence)
        for check, result, evidence in json.loads(data)
    )


@dataclass(frozen=True, slots=True)
class Report:
    """A whole verification."""

    lines: tuple[Line, ...]
    """In the order of the checks."""
    shown: ShownDocument | None = None
    """What of the document is shown; None for what was rejected, unless that was asked for."""

    def __getitem__(self, check: Check) -> Line:
        """Return the line of a check."""
        return next(line for line in self.lines if line.check is check)

    def __repr__(self) -> str:
        """Return the verdict and why: what a failed assert on a report should show."""
        return f"<Report {' '.join([self.verdict.value, *self.codes])}>"

    @property
    def verdict(self) -> Verdict:
        """REJECT on any failure, else INDETERMINATE on anything unknown, else ACCEPT."""
        results = {line.result for line in self.lines}
        if Result.FAIL in results:
            return Verdict.REJECT
        return Verdict.INDETERMINATE if Result.UNKNOWN in results else Verdict.ACCEPT

    @property
    def codes(self) -> list[str]:
        """All codes in the order of the checks."""
        return [str(finding) for line in self.lines for finding in line.findings]
