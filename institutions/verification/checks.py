"""The nine checks of a presentation, against the data shown and the ledger's answers.

Pure functions: nothing here asks a node. docs/PACKAGE.md explains every code.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from lowu.contracts.registry import AnchorState, Jurisdiction, OrgStatus, RevokeReason, Suite
from lowu.institutions.documents.document import Subject
from lowu.institutions.documents.schemas import MAX_REGISTRATION_DELAY_S, SCHEMAS, must_disclose
from lowu.institutions.exchange.consent import ConsentReceipt
from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.exchange.request import Request
from lowu.institutions.exchange.trust import Trust
from lowu.institutions.ledger.registry import Facts
from lowu.institutions.package.batch import compute_batch_root
from lowu.institutions.package.format import (
    Anchor,
    Package,
    PackageHeader,
    Profile,
    compute_anchor,
    compute_subject_commitment,
    find_file_digest,
)
from lowu.institutions.package.forms import FormError, covers
from lowu.institutions.package.leaves import Attachment, LeafType, compute_root, hash_leaf
from lowu.institutions.package.multiproof import compute_root_from
from lowu.institutions.package.proof import ProofError, Proven, check_proof
from lowu.institutions.package.signatures import is_signed_by
from lowu.institutions.verification.verdicts import (
    Check,
    Finding,
    Line,
    Report,
    Result,
    VerdictCode,
)

SHOWN_MAX = 16
"""Most findings of one kind that a report lists."""
SENSITIVE = 2
"""From this sensitivity on, a separate consent is needed."""

ISSUED_AHEAD_S = 120
"""How far an issuer's clock may be ahead of the ledger's (threat T10)."""

Evidence = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What one node answered at one time."""

    node: str
    height: int
    block_hash: str
    block_time_s: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a receiver knows itself: its customer, its request, its limits."""

    receiver: str
    jurisdiction: str
    subject: Subject
    """The person or company that the receiver has identified."""
    request: Request | None
    """The receiver's request with the presentation's nonce; None if it made none."""
    is_used: bool
    """Whether a presentation for that request was accepted before."""
    resumed_by: int = 0
    """The receiver's number, if it resumes an interrupted attempt: then a presentation that it used
    up itself is no replay."""
    max_age_s: int | None = None
    """The receiver's own limit on a report's age, if stricter than the schema's."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of checking the proof of registration."""

    proven: Proven | None = None
    """None if there is no proof, or it does not hold."""
    flaw: str = ""
    trust: Trust | None = None
    """The trust file that the proof was checked against; None: only for consistency."""


def judge_proof(header: PackageHeader, anchor: Anchor, trust: Trust | None = None) -> Judged:
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
    if (place is not None) != bool(proven.count):
        return Judged(flaw="the proof of a batch is for documents of a batch", trust=trust)
    if place is not None:
        root = compute_batch_root(anchor.anchor, place.index, place.path, proven.count)
        if root != place.root:
            return Judged(flaw="the document is not in the batch", trust=trust)
    if (proven.height, proven.schema) != (anchor.registered_height, SCHEMAS[header.schema].number):
        return Judged(flaw="the registration has another height or schema", trust=trust)
    return Judged(proven, trust=trust)


def number_of(jurisdiction: str) -> int:
    """Return the ledger's number of a jurisdiction; 0 if the name is unknown."""
    return Jurisdiction.__members__.get(jurisdiction, 0)


def make_line(check: Check, findings: list[Finding], evidence: Evidence) -> Line:
    """Return a check's line; it fails if there are findings."""
    return Line(check, Result.FAIL if findings else Result.PASS, findings, evidence)


def report_malformed(error: FormError) -> Report:
    """Return the report on unreadable data: the other checks are skipped."""
    code = VerdictCode.PKG_UNSUPPORTED_VERSION if error.is_version else VerdictCode.PKG_MALFORMED
    first = Line(Check.PACKAGE, Result.FAIL, [Finding(code, str(error))])
    rest = [Line(check, Result.SKIPPED) for check in Check if check is not Check.PACKAGE]
    return Report((first, *rest))


def find_damage(package: Package) -> str:
    """Return why a package is not as its issuer made it; empty if it is consistent.

    Checks what a holder can see without the ledger: fields, tree and anchors, not the signature.
    """
    header = package.header
    schema = SCHEMAS.get(header.schema)
    if schema is None:
        return f"schema {header.schema} is not known here"
    for leaf in package.disclosures:
        is_there = leaf.index < len(package.leaves)
        if not is_there or hash_leaf(schema.number, leaf) != package.leaves[leaf.index]:
            return f"field {leaf.path} is not what was issued"
    is_complete = len(package.leaves) == header.leaf_count and package.leaves
    if not is_complete or compute_root(package.leaves).hex() != header.root:
        return "its fields do not lead to its root"
    digest = find_file_digest(package.disclosures)
    for item in package.anchors:
        if compute_anchor(header, item.blind, digest) != item.anchor:
            return f"the anchor for {item.audience} is not of this document"
        flaw = judge_proof(header, item).flaw
        if flaw:
            return f"the proof of registration for {item.audience} does not hold: {flaw}"
    return ""


def check_integrity(shown: Presentation, files: Mapping[str, bytes]) -> Line:
    """V2: fields, proof, header, anchor and files match each other."""
    header = shown.header
    schema = SCHEMAS[header.schema]
    findings: list[Finding] = []
    places = [(leaf.index, leaf.path.encode()) for leaf in shown.disclosures]
    is_ordered = all(
        first[0] < second[0] and first[1] < second[1]
        for first, second in itertools.pairwise(places)
    )
    hashes = dict(zip((leaf.index for leaf in shown.disclosures), shown.hashes, strict=False))
    if not is_ordered or len(shown.hashes) != len(shown.disclosures):
        findings.append(Finding(VerdictCode.PROOF_INVALID, "order of fields"))
    else:
        root = compute_root_from(header.leaf_count, hashes, shown.siblings)
        if root is None or root.hex() != header.root:
            findings.append(Finding(VerdictCode.PROOF_INVALID, "root"))
    tampered = [
        leaf.path
        for leaf in shown.disclosures
        if hash_leaf(schema.number, leaf) != hashes.get(leaf.index)
    ]
    tampered += [
        leaf.path
        for leaf in shown.disclosures
        if leaf.type is LeafType.FILE
        and leaf.path in files
        and Attachment(files[leaf.path]).value != leaf.value
    ]
    findings += [Finding(VerdictCode.TAMPERED_FIELD, path) for path in tampered[:SHOWN_MAX]]
    must = must_disclose(header.schema, header.profile)
    if not _is_anchored(shown) or header.must_disclose != must:
        findings.append(Finding(VerdictCode.TAMPERED_HEADER))
    paths = {leaf.path for leaf in shown.disclosures}
    hidden = [path for path in must if path not in paths]
    findings += [Finding(VerdictCode.MANDATORY_FIELD_HIDDEN, path) for path in hidden]
    evidence: Evidence = {
        "doc_digest": header.doc_digest.hex(),
        "fields_shown": len(shown.disclosures),
        "leaves": header.leaf_count,
        "files_compared": sum(leaf.path in files for leaf in shown.disclosures),
    }
    return make_line(Check.INTEGRITY, findings, evidence)


def _is_anchored(shown: Presentation) -> bool:
    digest = find_file_digest(shown.disclosures)
    if shown.header.profile is not Profile.FIELDS and not digest:
        return False
    return compute_anchor(shown.header, shown.anchor.blind, digest) == shown.anchor.anchor


def check_issuer(shown: Presentation, view: LedgerView) -> Line:
    """V3: the issuer was entitled to issue the document when it was registered, and signed it."""
    header, org, key = shown.header, view.facts.org, view.facts.key
    is_registered = view.facts.record.state is not AnchorState.NONE
    at = view.facts.record.registered_height if is_registered else view.height
    findings: list[Finding] = []
    if org.status is OrgStatus.UNKNOWN or header.issuer_org > 0xFFFF:
        findings.append(Finding(VerdictCode.ISSUER_UNKNOWN, str(header.issuer_org)))
    elif org.status is not OrgStatus.ACTIVE:
        findings.append(Finding(VerdictCode.ISSUER_SUSPENDED, org.status.name))
    if is_registered and number_of(header.jurisdiction) != org.jurisdiction:
        findings.append(
            Finding(VerdictCode.JURISDICTION_RULE, f"the issuer is not of {header.jurisdiction}")
        )
    if not view.facts.is_routed:
        findings.append(
            Finding(VerdictCode.JURISDICTION_RULE, f"no route from {header.jurisdiction}")
        )
    if not view.facts.accreditation.covers(at):
        findings.append(Finding(VerdictCode.ISSUER_NOT_ACCREDITED, header.schema))
    if key.retired_height and key.retired_height <= at:
        findings.append(Finding(VerdictCode.KEY_RETIRED_BEFORE, str(key.retired_height)))
    if key.compromised_height and key.compromised_height <= at:
        findings.append(Finding(VerdictCode.KEY_COMPROMISED, str(key.compromised_height)))
    is_signed = key.is_known and is_signed_by(
        key.public_key, header.doc_digest, shown.issuer_signature
    )
    if not is_signed or header.key_id > 0xFFFF:
        findings.append(Finding(VerdictCode.SIG_INVALID))
    return make_line(Check.ISSUER, findings, {"org": header.issuer_org, "key_id": header.key_id})


def check_anchor(shown: Presentation, view: LedgerView, judged: Judged) -> Line:
    """V4: the record exists, is final, and agrees with the header and any proof."""
    record, header = view.facts.record, shown.header
    evidence: Evidence = {
        "anchor": shown.anchor.registered.hex(),
        "node": view.node,
        "height": view.height,
        "block": view.block_hash,
    }
    findings = [Finding(VerdictCode.PROOF_INVALID, judged.flaw)] if judged.flaw else []
    if view.facts.state is AnchorState.NONE:
        return make_line(Check.ANCHOR, [*findings, Finding(VerdictCode.NOT_REGISTERED)], evidence)
    if judged.proven is not None and judged.proven.height != record.registered_height:
        findings.append(Finding(VerdictCode.PROOF_INVALID, "the record is of another block"))
    if view.facts.state is AnchorState.PENDING_WITNESS:
        findings.append(Finding(VerdictCode.PENDING_WITNESS))
    if record.registered_height > view.height:
        findings.append(Finding(VerdictCode.NOT_FINAL, str(record.registered_height)))
    said = (header.key_id, SCHEMAS[header.schema].number, header.valid_until_day)
    if said != (record.key_id, record.schema, record.valid_until_day) or (
        record.suite != Suite.SHA256_P256
    ):
        findings.append(Finding(VerdictCode.TAMPERED_HEADER, "differs from the record"))
    evidence["registered_height"] = record.registered_height
    evidence["registered_time"] = record.registered_time
    return make_line(Check.ANCHOR, findings, evidence)


_STATUS_CODES = {
    AnchorState.REVOKED: VerdictCode.REVOKED,
    AnchorState.SUSPENDED: VerdictCode.SUSPENDED,
    AnchorState.SUPERSEDED: VerdictCode.SUPERSEDED,
    AnchorState.ERASED: VerdictCode.ERASED,
}


def check_status(view: LedgerView) -> Line:
    """V5: the document is in force."""
    if view.facts.state is AnchorState.NONE:
        return Line(Check.STATUS, Result.SKIPPED)
    code = _STATUS_CODES.get(view.facts.state)
    detail = ""
    if code is VerdictCode.REVOKED:
        known = view.facts.reason in list(RevokeReason)
        detail = RevokeReason(view.facts.reason).name if known else str(view.facts.reason)
    elif code is VerdictCode.SUPERSEDED:
        detail = view.facts.record.superseded_by.hex()
    findings = [Finding(code, detail)] if code is not None else []
    evidence: Evidence = {
        "state": view.facts.state.name,
        "state_height": view.facts.record.state_height,
    }
    return make_line(Check.STATUS, findings, evidence)


def check_offline(shown: Presentation, judged: Judged, max_age_s: int | None) -> list[Line]:
    """V3 to V6 offline: what a proof of registration shows, and what it cannot show.

    Nothing is known about the time after the registration, so V5 is UNKNOWN.
    """
    header, trust, proven = shown.header, judged.trust, judged.proven
    key = None if trust is None else trust.key_of(header.issuer_org, header.key_id)
    issuer = _make_unknown(Check.ISSUER, "no ledger, and no key of this issuer known here")
    if key is not None and trust is not None:
        is_signed = is_signed_by(key, header.doc_digest, shown.issuer_signature)
        findings = [] if is_signed else [Finding(VerdictCode.SIG_INVALID)]
        evidence: Evidence = {"org": header.issuer_org, "key_known_at_height": trust.height}
        issuer = make_line(Check.ISSUER, findings, evidence)
    anchor = _make_unknown(Check.ANCHOR, "no ledger, and no proof that could be judged")
    if judged.flaw:
        anchor = make_line(Check.ANCHOR, [Finding(VerdictCode.PROOF_INVALID, judged.flaw)], {})
    elif proven is not None and trust is not None:
        anchor = make_line(Check.ANCHOR, [], _describe_proven(shown, proven))
    status = _make_unknown(Check.STATUS, "no ledger")
    time = _make_unknown(Check.TIME, "no ledger")
    if proven is not None and trust is not None:
        # The present is not earlier than the latest known block; how much later is unknown.
        findings = _find_age(header, max(trust.time_s, proven.time_s), max_age_s)
        findings += _find_delay(header, proven.time_s)
        if findings:
            time = make_line(Check.TIME, findings, {"registered_time": proven.time_s})
    return [issuer, anchor, status, time]


def _make_unknown(check: Check, why: str) -> Line:
    return Line(check, Result.UNKNOWN, [Finding(VerdictCode.FRESHNESS_UNKNOWN, why)])


def _describe_proven(shown: Presentation, proven: Proven) -> Evidence:
    return {
        "anchor": shown.anchor.registered.hex(),
        "registered_height": proven.height,
        "registered_time": proven.time_s,
        "block": "0x" + proven.block_hash.hex(),
        "signed_by": f"{proven.signers} of {len(proven.validators)} validators",
    }


def check_time(shown: Presentation, view: LedgerView, max_age_s: int | None) -> Line:
    """V6: valid at the block's time, not too old, registered soon after issue."""
    header, record = shown.header, view.facts.record
    now_s = view.block_time_s
    findings = []
    if now_s < header.valid_from:
        findings.append(Finding(VerdictCode.NOT_YET_VALID))
    findings += _find_age(header, now_s, max_age_s)
    if record.state is not AnchorState.NONE:
        findings += _find_delay(header, record.registered_time)
    return make_line(Check.TIME, findings, {"block_time": now_s, "height": view.height})


def _find_age(header: PackageHeader, now_s: int, max_age_s: int | None) -> list[Finding]:
    schema = SCHEMAS[header.schema]
    findings = []
    if now_s > header.valid_until:
        findings.append(Finding(VerdictCode.EXPIRED))
    if now_s - header.report_time > min(max_age_s or schema.max_age_s, schema.max_age_s):
        findings.append(Finding(VerdictCode.STALE))
    return findings


def _find_delay(header: PackageHeader, registered_time_s: int) -> list[Finding]:
    delay_s = registered_time_s - header.issued_at
    if delay_s > MAX_REGISTRATION_DELAY_S:
        return [Finding(VerdictCode.REGISTERED_LATE)]
    if delay_s < -ISSUED_AHEAD_S:
        return [Finding(VerdictCode.NOT_YET_VALID, "issued after it was registered")]
    return []


def check_holder(shown: Presentation, expected: Expectation) -> Line:
    """V7: the holder answered our request, and the document is about our customer."""
    findings: list[Finding] = []
    if not shown.holder_signature:
        findings.append(Finding(VerdictCode.HOLDER_PROOF_MISSING))
    elif not shown.is_signed:
        findings.append(Finding(VerdictCode.HOLDER_MISMATCH))
    if expected.request is None:
        findings.append(Finding(VerdictCode.HOLDER_MISMATCH, "answers no request of ours"))
    subject = expected.subject
    commitment = compute_subject_commitment(subject.id_type, subject.id_value, shown.subject_salt)
    if commitment.hex() != shown.header.subject_commitment:
        findings.append(Finding(VerdictCode.SUBJECT_MISMATCH))
    return make_line(Check.HOLDER, findings, {"nonce": shown.nonce.hex()})


def check_consent(shown: Presentation, view: LedgerView | None, expected: Expectation) -> Line:
    """V8: the holder agreed to this receiver, purpose and fields, and the consent is in force."""
    receipt = shown.consent
    if receipt is None:
        return make_line(Check.CONSENT, [Finding(VerdictCode.CONSENT_MISSING)], {})
    findings = _check_receipt(shown, receipt, expected)
    evidence: Evidence = {"consent": receipt.digest.hex(), "expires_at": receipt.expires_at}
    if view is None:
        findings.append(Finding(VerdictCode.FRESHNESS_UNKNOWN))
        is_failed = len(findings) > 1
        result = Result.FAIL if is_failed else Result.UNKNOWN
        return Line(Check.CONSENT, result, findings, evidence)
    logged = view.facts.consent
    if logged is None or not logged.granted_height:
        findings.append(Finding(VerdictCode.CONSENT_MISSING, "not on the ledger"))
    else:
        evidence["granted_height"] = logged.granted_height
        said = (receipt.ledger_key, receipt.expires_at)
        if said != (logged.holder_key.hex(), logged.expires_at_s):
            findings.append(Finding(VerdictCode.CONSENT_MISSING, "differs from the ledger"))
        if logged.withdrawn_height:
            findings.append(Finding(VerdictCode.CONSENT_WITHDRAWN, str(logged.withdrawn_height)))
    if view.block_time_s >= receipt.expires_at:
        findings.append(Finding(VerdictCode.CONSENT_EXPIRED))
    return make_line(Check.CONSENT, findings, evidence)


def _check_receipt(
    shown: Presentation, receipt: ConsentReceipt, expected: Expectation
) -> list[Finding]:
    header, request = shown.header, expected.request
    findings: list[Finding] = []
    if receipt.holder_key != header.holder_key or not receipt.is_signed:
        findings.append(Finding(VerdictCode.CONSENT_MISSING, "not signed by the holder"))
    if (receipt.doc_id, receipt.provider_org) != (header.doc_id, header.issuer_org):
        findings.append(Finding(VerdictCode.CONSENT_MISSING, "for another document"))
    if header.jurisdiction != expected.jurisdiction and not receipt.is_cross_border:
        findings.append(Finding(VerdictCode.CONSENT_MISSING, "not across the boundary"))
    if header.sensitivity >= SENSITIVE and not receipt.is_sensitive:
        findings.append(Finding(VerdictCode.CONSENT_MISSING, "not for sensitive data"))
    if receipt.receiver != expected.receiver:
        findings.append(Finding(VerdictCode.WRONG_AUDIENCE, receipt.receiver))
    if request is not None and receipt.purpose != request.purpose:
        findings.append(Finding(VerdictCode.PURPOSE_MISMATCH, receipt.purpose))
    beyond = [leaf.path for leaf in shown.disclosures if not covers(receipt.fields, leaf.path)]
    findings += [Finding(VerdictCode.FIELDS_NOT_CONSENTED, path) for path in beyond[:SHOWN_MAX]]
    return findings


def check_replay(shown: Presentation, view: LedgerView | None, expected: Expectation) -> Line:
    """V9: the presentation is for us, in time, and shown for the first time."""
    findings: list[Finding] = []
    evidence: Evidence = {"presentation": shown.id.hex()}
    names = {shown.audience, shown.anchor.audience}
    if names != {expected.receiver}:
        findings.append(Finding(VerdictCode.WRONG_AUDIENCE, shown.audience))
    request = expected.request
    if request is not None and shown.expires_at != request.expires_at:
        findings.append(Finding(VerdictCode.PRESENTATION_EXPIRED, "not as requested"))
    consumer = 0 if view is None else view.facts.consumed_by
    if expected.is_used or consumer not in (0, expected.resumed_by):
        findings.append(Finding(VerdictCode.REPLAYED))
    if view is None:
        result = Result.FAIL if findings else Result.UNKNOWN
        findings.append(Finding(VerdictCode.FRESHNESS_UNKNOWN))
        return Line(Check.REPLAY, result, findings, evidence)
    if view.block_time_s > shown.expires_at:
        findings.append(Finding(VerdictCode.PRESENTATION_EXPIRED))
    return make_line(Check.REPLAY, findings, evidence)
