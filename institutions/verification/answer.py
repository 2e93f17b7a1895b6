"""V7 to V9: whether a presentation answers the receiver's request, with consent, once."""

from __future__ import annotations

from lowu.institutions.documents.schemas import SENSITIVE
from lowu.institutions.exchange.consent import ConsentReceipt, is_agreed
from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.exchange.request import Request
from lowu.institutions.package.containers import find_gaps
from lowu.institutions.package.format import compute_subject_commitment
from lowu.institutions.package.forms import covers
from lowu.institutions.package.tags import FIRST_VERSION
from lowu.institutions.verification.integrity import read
from lowu.institutions.verification.judging import (
    SHOWN_MAX,
    Evidence,
    Expectation,
    LedgerView,
    make_line,
)
from lowu.institutions.verification.verdicts import Check, Finding, Line, VerdictCode


def check_holder(shown: Presentation, expected: Expectation) -> Line:
    """V7: the holder answered our request as we asked, and the document is about our customer."""
    failures: list[Finding] = []
    unknowns: list[Finding] = []
    if not shown.holder_signature:
        failures.append(Finding(VerdictCode.HOLDER_PROOF_MISSING))
    elif not shown.is_signed:
        failures.append(Finding(VerdictCode.HOLDER_MISMATCH))
    request = expected.request
    if request is None:
        failures.append(Finding(VerdictCode.HOLDER_MISMATCH, "answers no request of ours"))
    elif shown.request != request.digest:
        failures.append(Finding(VerdictCode.HOLDER_MISMATCH, "answers another request"))
    else:
        failed, unknowns = _compare(shown, request)
        failures += failed
    subject = (expected.subject.id_type, expected.subject.id_value, shown.subject_salt)
    commitment = compute_subject_commitment(*subject, shown.header.v)
    if commitment.hex() != shown.header.subject_commitment:
        failures.append(Finding(VerdictCode.SUBJECT_MISMATCH))
    return make_line(Check.HOLDER, failures, {"nonce": shown.nonce.hex()}, unknowns)


def _compare(shown: Presentation, request: Request) -> tuple[list[Finding], list[Finding]]:
    """Return what an answer lacks of what was asked for, and what cannot be told of it."""
    header, unknowns = shown.header, []
    failures = []
    if header.schema != request.schema:
        failures.append(Finding(VerdictCode.SCHEMA_MISMATCH, header.schema))
    if header.v != FIRST_VERSION:
        tree = read(shown.disclosures, header.v)
        gaps = find_gaps(tree, request.fields)
    else:
        paths = [leaf.path for leaf in shown.disclosures]
        gaps = [field for field in request.fields if not any(covers([field], p) for p in paths)]
        unknowns = [
            Finding(VerdictCode.NOT_PROMISED, f"version 1: whether {field or 'all'} is complete")
            for field in request.fields
            if field not in gaps and field not in paths
        ]
    failures += [
        Finding(VerdictCode.FIELDS_NOT_SHOWN, path or "the document") for path in gaps[:SHOWN_MAX]
    ]
    return failures, unknowns[:SHOWN_MAX]


def check_consent(shown: Presentation, view: LedgerView | None, expected: Expectation) -> Line:
    """V8: the holder agreed to this receiver, purpose and fields, and the consent is in force."""
    receipt = shown.consent
    if receipt is None:
        return make_line(Check.CONSENT, [Finding(VerdictCode.CONSENT_MISSING)], {})
    failures = _check_receipt(shown, receipt, expected)
    evidence: Evidence = {"consent": receipt.digest.hex(), "expires_at": receipt.expires_at}
    if (expected.now_s if view is None else view.now_s) >= receipt.expires_at:
        failures.append(Finding(VerdictCode.CONSENT_EXPIRED))
    if view is None:
        unknowns = [Finding(VerdictCode.FRESHNESS_UNKNOWN)]
        return make_line(Check.CONSENT, failures, evidence, unknowns)
    logged = view.facts.consent
    if logged is None or not logged.granted_height:
        failures.append(Finding(VerdictCode.CONSENT_MISSING, "not on the ledger"))
    else:
        evidence["granted_height"] = logged.granted_height
        if receipt.expires_at != logged.expires_at_s:
            failures.append(Finding(VerdictCode.CONSENT_MISSING, "differs from the ledger"))
    if logged is not None and logged.withdrawn_height:
        failures.append(Finding(VerdictCode.CONSENT_WITHDRAWN, str(logged.withdrawn_height)))
    return make_line(Check.CONSENT, failures, evidence)


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
    if expected.schema.sensitivity >= SENSITIVE and not receipt.is_sensitive:
        findings.append(Finding(VerdictCode.CONSENT_MISSING, "not for sensitive data"))
    if (receipt.receiver, receipt.receiver_org) != (expected.receiver, expected.receiver_org):
        findings.append(Finding(VerdictCode.WRONG_AUDIENCE, receipt.receiver))
    if request is not None and receipt.purpose != request.purpose:
        findings.append(Finding(VerdictCode.PURPOSE_MISMATCH, receipt.purpose))
    beyond = [leaf.path for leaf in shown.disclosures if not is_agreed(leaf, receipt.fields)]
    findings += [
        Finding(VerdictCode.FIELDS_NOT_CONSENTED, path or "the document")
        for path in beyond[:SHOWN_MAX]
    ]
    return findings


def check_replay(shown: Presentation, view: LedgerView | None, expected: Expectation) -> Line:
    """V9: the presentation is for us, in time, and shown for the first time."""
    failures: list[Finding] = []
    evidence: Evidence = {"presentation": shown.id.hex()}
    anchor, request = shown.anchor, expected.request
    is_for_us = anchor.audience == expected.receiver
    if shown.header.is_for_one_receiver:
        is_for_us = is_for_us and anchor.org == expected.receiver_org
    if not is_for_us:
        failures.append(Finding(VerdictCode.WRONG_AUDIENCE, anchor.audience))
    now_s = expected.now_s if view is None else view.now_s
    if request is not None and now_s > request.expires_at:
        failures.append(Finding(VerdictCode.PRESENTATION_EXPIRED))
    is_consumed = view is not None and view.facts.is_consumed
    if expected.is_used or (is_consumed and not expected.is_resumed):
        failures.append(Finding(VerdictCode.REPLAYED))
    unknowns = [Finding(VerdictCode.FRESHNESS_UNKNOWN)] if view is None else []
    return make_line(Check.REPLAY, failures, evidence, unknowns)
