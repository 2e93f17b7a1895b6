"""What a presentation is checked against: the receiver's own knowledge, and a node's."""

from __future__ import annotations

from dataclasses import dataclass

from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.documents.document import Subject
from lowu.institutions.exchange.request import Request
from lowu.institutions.exchange.trust import Trust, UnknownValidatorsError
from lowu.institutions.ledger.facts import Facts
from lowu.institutions.package.batch import compute_batch_root
from lowu.institutions.package.format import Anchor, PackageHeader
from lowu.institutions.package.proof import ProofError, Proven, check_proof
from lowu.institutions.verification.verdicts import Check, Finding, Line, Result

SHOWN_MAX = 16
"""Most findings of one kind that a report lists."""

Evidence = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What one node answered at one time."""

    node: str
    height: int
    block_hash: str
    block_time_s: int
    facts: Facts
    now_s: int = 0
    """The later of the receiver's clock and the block's time."""
    staleness: str = ""
    """Why something may have changed since the block; empty if the node is up to date."""
    is_idle: bool = False
    """Whether that is only because nothing has been committed for long."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a receiver knows itself: its customer, its request, its limits."""

    receiver: str
    receiver_org: int
    jurisdiction: str
    subject: Subject
    """The person or company that the receiver has identified."""
    request: Request | None
    """The receiver's request with the presentation's nonce; None if it made none."""
    schema: Schema
    """The rules of the document that is shown."""
    is_used: bool
    """Whether a presentation for that request was accepted before."""
    now_s: int
    """The receiver's clock."""
    is_resumed: bool = False
    """Whether the receiver resumes an interrupted attempt: then a presentation that it used up is
    no replay."""
    max_age_s: int | None = None
    """The receiver's own limit on a report's age, if stricter than the schema's."""

    @property
    def age_limit_s(self) -> int:
        """How old a report may be."""
        limit_s = self.schema.max_age_s
        return limit_s if self.max_age_s is None else min(self.max_age_s, limit_s)


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of checking the proof of registration."""

    proven: Proven | None = None
    """None if there is no proof, or it does not hold, or it proves nothing here."""
    flaw: str = ""
    unknown: str = ""
    """Why the proof neither proves nor disproves anything here."""
    trust: Trust | None = None
    """The trust file that the proof was checked against; None: only for consistency."""


def judge_proof(
    header: PackageHeader, anchor: Anchor, schema: Schema, trust: Trust | None = None
) -> Judged:
    """Check the proof of an anchor's registration, if there is one."""
    if anchor.proof is None:
        return Judged(trust=trust)
    place = anchor.batch
    try:
        proven = check_proof(anchor.proof, header.issuer_org, anchor.registered)
        if trust is not None:
            trust.check_chain(anchor.proof, proven)
    except ProofError as error:
        return Judged(flaw=str(error), trust=trust)
    except UnknownValidatorsError as error:
        return Judged(unknown=str(error), trust=trust)
    if (place is not None) != bool(proven.count):
        return Judged(flaw="the proof of a batch is for documents of a batch", trust=trust)
    if place is not None:
        root = compute_batch_root(anchor.anchor, place.index, place.path, proven.count)
        if root != place.root:
            return Judged(flaw="the document is not in the batch", trust=trust)
    if (proven.height, proven.schema) != (anchor.registered_height, schema.number):
        return Judged(flaw="the registration has another height or schema", trust=trust)
    said = (proven.particulars.key_id, proven.particulars.valid_until_day)
    if said != (header.key_id, header.valid_until_day):
        return Judged(flaw="the registration has another key or validity", trust=trust)
    return Judged(proven, trust=trust)


def number_of(jurisdiction: str) -> int:
    """Return the ledger's number of a jurisdiction; 0 if the name is unknown."""
    return Jurisdiction.__members__.get(jurisdiction, 0)


def make_line(
    check: Check,
    failures: list[Finding],
    evidence: Evidence,
    unknowns: list[Finding] | None = None,
) -> Line:
    """Return a check's line; it fails if anything failed, and is unknown if anything is."""
    result = Result.UNKNOWN if unknowns else Result.PASS
    findings = [*failures, *(unknowns or [])]
    return Line(check, Result.FAIL if failures else result, findings, evidence)
