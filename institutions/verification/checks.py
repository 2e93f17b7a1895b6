"""V3 to V6: what the ledger says of a document, or what can be told without it.

Pure functions: nothing here asks a node. docs/PACKAGE.md explains every code.
"""

from __future__ import annotations

from lowu.contracts.registry import AnchorState, OrgStatus, RevokeReason, Suite
from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.documents.schemas import CLOCK_AHEAD_S, MAX_REGISTRATION_DELAY_S
from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.exchange.trust import Trust, TrustedKey
from lowu.institutions.package.format import PackageHeader
from lowu.institutions.package.proof import Proven
from lowu.institutions.package.signatures import is_signed_by
from lowu.institutions.verification.judging import (
    Evidence,
    Judged,
    LedgerView,
    make_line,
    number_of,
)
from lowu.institutions.verification.verdicts import Check, Finding, Line, Result, VerdictCode


def check_issuer(shown: Presentation, view: LedgerView) -> Line:
    """V3: the issuer was entitled to issue the document when it was registered, and signed it."""
    header, org, key = shown.header, view.facts.org, view.facts.key
    is_registered = view.facts.record.state is not AnchorState.NONE
    at = view.facts.record.registered_height if is_registered else view.height
    findings: list[Finding] = []
    unknowns: list[Finding] = []
    if not view.facts.is_org_certain:
        why = f"the issuer's standing changed in block {org.status_height}, after the use"
        unknowns.append(Finding(VerdictCode.FRESHNESS_UNKNOWN, why))
    elif org.status is OrgStatus.UNKNOWN:
        findings.append(Finding(VerdictCode.ISSUER_UNKNOWN, str(header.issuer_org)))
    elif org.status is not OrgStatus.ACTIVE:
        findings.append(Finding(VerdictCode.ISSUER_SUSPENDED, org.status.name))
    elif org.is_suspended(view.now_s):
        findings.append(Finding(VerdictCode.ISSUER_SUSPENDED, "by a regulator"))
    if is_registered and number_of(header.jurisdiction) != org.jurisdiction:
        findings.append(
            Finding(VerdictCode.JURISDICTION_RULE, f"the issuer is not of {header.jurisdiction}")
        )
    if not view.facts.is_routed:
        findings.append(
            Finding(VerdictCode.JURISDICTION_RULE, f"no route from {header.jurisdiction}")
        )
    if not any(window.covers(at) for window in view.facts.accreditations):
        findings.append(Finding(VerdictCode.ISSUER_NOT_ACCREDITED, header.schema))
    findings += _find_key_flaws(key.retired_height, key.compromised_height, at)
    if not key.is_known or not _is_signed(shown, key.public_key):
        findings.append(Finding(VerdictCode.SIG_INVALID))
    evidence: Evidence = {"org": header.issuer_org, "key_id": header.key_id}
    return make_line(Check.ISSUER, findings, evidence, unknowns)


def _find_key_flaws(retired_height: int, compromised_height: int, at: int) -> list[Finding]:
    """Return why a key did not count at the height of a registration."""
    findings = []
    if retired_height and retired_height <= at:
        findings.append(Finding(VerdictCode.KEY_RETIRED_BEFORE, str(retired_height)))
    if compromised_height and compromised_height <= at:
        findings.append(Finding(VerdictCode.KEY_COMPROMISED, str(compromised_height)))
    return findings


def _is_signed(shown: Presentation, public_key: bytes) -> bool:
    header = shown.header
    return is_signed_by(public_key, header.doc_digest, shown.issuer_signature, header.v)


def check_anchor(shown: Presentation, view: LedgerView, judged: Judged, schema: Schema) -> Line:
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
    said = (header.key_id, schema.number, header.valid_until_day)
    if said != (record.key_id, record.schema, record.valid_until_day) or (
        record.suite != Suite.SHA256_P256
    ):
        findings.append(Finding(VerdictCode.TAMPERED_HEADER, "differs from the record"))
    if view.facts.schema_hash != schema.digest:
        findings.append(Finding(VerdictCode.SCHEMA_MISMATCH, f"the ledger's {schema.id}"))
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
    """V5: the document is in force, and the node would know if it were not."""
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
    stale = [Finding(VerdictCode.FRESHNESS_UNKNOWN, view.staleness)] if view.staleness else []
    evidence: Evidence = {
        "state": view.facts.state.name,
        "state_height": view.facts.record.state_height,
    }
    return make_line(Check.STATUS, findings, evidence, stale)


def check_time(shown: Presentation, view: LedgerView, max_age_s: int) -> Line:
    """V6: valid now, not too old, registered soon after issue."""
    header, record, now_s = shown.header, view.facts.record, view.now_s
    findings = _find_age(header, now_s, max_age_s)
    if record.state is not AnchorState.NONE:
        findings += _find_delay(header, record.registered_time)
    evidence: Evidence = {"now": now_s, "block_time": view.block_time_s, "height": view.height}
    return make_line(Check.TIME, findings, evidence)


def _find_age(header: PackageHeader, now_s: int, max_age_s: int) -> list[Finding]:
    findings = []
    if now_s < header.valid_from:
        findings.append(Finding(VerdictCode.NOT_YET_VALID))
    if header.report_time > now_s + CLOCK_AHEAD_S:
        findings.append(Finding(VerdictCode.NOT_YET_VALID, "a report of the future"))
    if now_s > header.valid_until:
        findings.append(Finding(VerdictCode.EXPIRED))
    if now_s - header.report_time > max_age_s:
        findings.append(Finding(VerdictCode.STALE))
    return findings


def _find_delay(header: PackageHeader, registered_time_s: int) -> list[Finding]:
    findings = []
    delay_s = registered_time_s - header.issued_at
    if delay_s > MAX_REGISTRATION_DELAY_S:
        findings.append(Finding(VerdictCode.REGISTERED_LATE))
    if delay_s < -CLOCK_AHEAD_S:
        findings.append(Finding(VerdictCode.NOT_YET_VALID, "issued after it was registered"))
    if header.report_time > registered_time_s + CLOCK_AHEAD_S:
        findings.append(Finding(VerdictCode.NOT_YET_VALID, "a report of later than its record"))
    return findings


# --- offline --------------------------------------------------------------------------------------


def check_offline(shown: Presentation, judged: Judged, now_s: int, max_age_s: int) -> list[Line]:
    """V3 to V6 offline: what a proof of registration shows, and what it cannot show.

    Nothing is known about the time after the registration, so V5 is UNKNOWN. `now_s` is the
    receiver's clock; the present is no earlier than the trust file either.
    """
    trust, proven = judged.trust, judged.proven
    status = _make_unknown(Check.STATUS, "no ledger")
    issuer = _check_issuer_offline(shown, trust, proven, now_s)
    anchor = _make_unknown(
        Check.ANCHOR, judged.unknown or "no ledger, and no proof that could be judged"
    )
    time = _make_unknown(Check.TIME, "no ledger")
    if judged.flaw:
        anchor = make_line(Check.ANCHOR, [Finding(VerdictCode.PROOF_INVALID, judged.flaw)], {})
    elif proven is not None and trust is not None:
        now_s = max(now_s, trust.time_s, proven.time_s)
        anchor = make_line(Check.ANCHOR, [], _describe_proven(shown, proven))
        findings = _find_age(shown.header, now_s, max_age_s)
        findings += _find_delay(shown.header, proven.time_s)
        evidence: Evidence = {"now": now_s, "registered_time": proven.time_s}
        time = make_line(Check.TIME, findings, evidence)
    return [issuer, anchor, status, time]


def _check_issuer_offline(
    shown: Presentation, trust: Trust | None, proven: Proven | None, now_s: int
) -> Line:
    header = shown.header
    key: TrustedKey | None = None
    if trust is not None:
        key = trust.find_key(header.issuer_org, header.key_id)
    if key is None or trust is None:
        return _make_unknown(Check.ISSUER, "no ledger, and no key of this issuer known here")
    findings = [] if _is_signed(shown, key.public_key) else [Finding(VerdictCode.SIG_INVALID)]
    org = trust.find_org(header.issuer_org)
    if org is None:
        findings.append(Finding(VerdictCode.ISSUER_UNKNOWN, str(header.issuer_org)))
    elif org.status != OrgStatus.ACTIVE or now_s < org.suspended_until:
        findings.append(Finding(VerdictCode.ISSUER_SUSPENDED, OrgStatus(org.status).name))
    elif number_of(header.jurisdiction) != org.jurisdiction:
        findings.append(
            Finding(VerdictCode.JURISDICTION_RULE, f"the issuer is not of {header.jurisdiction}")
        )
    # Without a proof, the registration may be as late as now: the key has to be in use still.
    at = trust.height if proven is None else proven.height
    findings += _find_key_flaws(key.retired_height, key.compromised_height, at)
    days = (now_s - trust.time_s) // 86_400
    stale = Finding(VerdictCode.FRESHNESS_UNKNOWN, f"the trust file is {days} days old")
    evidence: Evidence = {"org": header.issuer_org, "key_known_at_height": trust.height}
    unknowns = [stale] if trust.is_stale(now_s) else []
    return make_line(Check.ISSUER, findings, evidence, unknowns)


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
