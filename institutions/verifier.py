"""The verifier: recomputes a package and compares it with the ledger on its own side.

All checks run even after one has failed, so that a report lists every reason. What could not
be read from a node is UNKNOWN, never a pass.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import trio

from contracts.registry import (
    Accreditation,
    AnchorRecord,
    AnchorState,
    Org,
    OrgKey,
    OrgStatus,
    RevokeReason,
    Suite,
)
from institutions.leaves import compute_root, hash_leaf
from institutions.package import Package, PackageError, compute_anchor, decode_package
from institutions.registry import ClientError, Registry, RegistryRefused
from institutions.schemas import SCHEMAS
from institutions.signing import is_signed_by
from institutions.verdicts import Check, Code, Finding, Line, Report, Result

HEIGHT_WAIT_S = 5.0
HEIGHT_POLL_S = 0.02
_TAMPERED_SHOWN_MAX = 16


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What a node said, read at one time."""

    height: int
    block_hash: str
    block_time_s: int
    record: AnchorRecord
    org: Org
    key: OrgKey
    accreditation: Accreditation


class Verifier:
    """An institution that checks presented packages."""

    def __init__(self, *, name: str, registry: Registry, max_age_s: int | None = None) -> None:
        self.name = name
        self._registry = registry
        self._max_age_s = max_age_s
        """This receiver's own limit on a report's age, if stricter than the schema's."""

    async def verify(self, data: bytes) -> Report:
        """Check a presented package completely."""
        try:
            package = decode_package(data)
        except PackageError as error:
            return _malformed(error)
        if package.header.schema not in SCHEMAS:
            detail = f"schema {package.header.schema}"
            return _malformed(PackageError(detail, is_version=True))
        own = [item for item in package.anchors if item.audience == self.name]
        if len(own) != 1:
            return _malformed(PackageError(f"no anchor for {self.name}"))
        await self._wait_for_height(own[0].registered_height)
        view = await self._read_ledger(package, own[0].anchor)
        lines = [Line(Check.PACKAGE, Result.PASS), check_integrity(package, self.name)]
        if view is None:
            lines += [
                Line(check, Result.UNKNOWN, [Finding(Code.FRESHNESS_UNKNOWN)])
                for check in (Check.ISSUER, Check.ANCHOR, Check.STATUS, Check.TIME)
            ]
        else:
            lines += [
                check_issuer(package, view),
                check_anchor(package, view),
                check_status(view),
                self._check_time(package, view),
            ]
        return Report(tuple(lines))

    async def _wait_for_height(self, height: int) -> None:
        """Give this side's node a moment to reach a block that the other side has already."""
        with trio.move_on_after(HEIGHT_WAIT_S):
            while True:
                try:
                    block = await self._registry.get_latest_block()
                except ClientError:
                    return
                if block["number"] >= height:
                    return
                await trio.sleep(HEIGHT_POLL_S)

    async def _read_ledger(self, package: Package, anchor: bytes) -> LedgerView | None:
        header = package.header
        org_id, key_id = header.issuer_org & 0xFFFF, header.key_id & 0xFFFF
        try:
            record = await self._registry.get_record(org_id, anchor)
            org = await self._registry.get_org(org_id)
            key = await self._registry.get_key(org_id, key_id)
            number = SCHEMAS[header.schema].number
            accreditation = await self._registry.get_accreditation(org_id, number)
            block = await self._registry.get_latest_block()
        except (ClientError, RegistryRefused):
            return None
        return LedgerView(
            block["number"], block["hash"], block["time"], record, org, key, accreditation
        )

    def _check_time(self, package: Package, view: LedgerView) -> Line:
        header, record = package.header, view.record
        schema = SCHEMAS[header.schema]
        now_s = view.block_time_s
        max_age_s = min(self._max_age_s or schema.max_age_s, schema.max_age_s)
        findings = []
        if now_s < header.valid_from:
            findings.append(Finding(Code.NOT_YET_VALID))
        if now_s > header.valid_until:
            findings.append(Finding(Code.EXPIRED))
        if now_s - header.report_time > max_age_s:
            findings.append(Finding(Code.STALE))
        is_known = record.state is not AnchorState.NONE
        delay_s = record.registered_time - header.issued_at
        if is_known and delay_s > schema.max_registration_delay_s:
            findings.append(Finding(Code.REGISTERED_LATE))
        return _line(Check.TIME, findings, {"block_time": now_s, "height": view.height})


def _line(check: Check, findings: list[Finding], evidence: dict[str, str | int]) -> Line:
    return Line(check, Result.FAIL if findings else Result.PASS, findings, evidence)


def _malformed(error: PackageError) -> Report:
    code = Code.PKG_UNSUPPORTED_VERSION if error.is_version else Code.PKG_MALFORMED
    first = Line(Check.PACKAGE, Result.FAIL, [Finding(code, str(error))])
    rest = [Line(check, Result.SKIPPED) for check in Check if check is not Check.PACKAGE]
    return Report((first, *rest))


def check_integrity(package: Package, audience: str) -> Line:
    """V2: fields, proof, header and anchor belong together."""
    header = package.header
    schema = SCHEMAS[header.schema]
    findings: list[Finding] = []
    if len(package.leaves) != header.leaf_count or not package.leaves:
        findings.append(Finding(Code.PROOF_INVALID, "leaf count"))
    elif compute_root(package.leaves).hex() != header.root:
        findings.append(Finding(Code.PROOF_INVALID, "root"))
    places = [(leaf.index, leaf.path.encode()) for leaf in package.disclosures]
    is_ordered = all(
        first[0] < second[0] and first[1] < second[1]
        for first, second in itertools.pairwise(places)
    )
    if not is_ordered:
        findings.append(Finding(Code.PROOF_INVALID, "order of fields"))
    tampered = [
        leaf.path
        for leaf in package.disclosures
        if leaf.index >= len(package.leaves)
        or hash_leaf(schema.number, leaf) != package.leaves[leaf.index]
    ]
    findings += [Finding(Code.TAMPERED_FIELD, path) for path in tampered[:_TAMPERED_SHOWN_MAX]]
    (own,) = [item for item in package.anchors if item.audience == audience]
    is_anchored = compute_anchor(header.doc_digest, own.blind) == own.anchor
    if not is_anchored or header.must_disclose != schema.must_disclose:
        findings.append(Finding(Code.TAMPERED_HEADER))
    shown = {leaf.path for leaf in package.disclosures}
    hidden = [path for path in schema.must_disclose if path not in shown]
    findings += [Finding(Code.MANDATORY_FIELD_HIDDEN, path) for path in hidden]
    evidence: dict[str, str | int] = {
        "doc_digest": header.doc_digest.hex(),
        "fields_shown": len(package.disclosures),
        "leaves": len(package.leaves),
    }
    return _line(Check.INTEGRITY, findings, evidence)


def check_issuer(package: Package, view: LedgerView) -> Line:
    """V3: the issuer was entitled to issue this when it was registered, and signed it."""
    header, org, key = package.header, view.org, view.key
    is_registered = view.record.state is not AnchorState.NONE
    at = view.record.registered_height if is_registered else view.height
    findings: list[Finding] = []
    if org.status is OrgStatus.UNKNOWN or header.issuer_org > 0xFFFF:
        findings.append(Finding(Code.ISSUER_UNKNOWN, str(header.issuer_org)))
    elif org.status is not OrgStatus.ACTIVE:
        findings.append(Finding(Code.ISSUER_SUSPENDED, org.status.name))
    if not view.accreditation.covers(at):
        findings.append(Finding(Code.ISSUER_NOT_ACCREDITED, header.schema))
    if key.retired_height and key.retired_height <= at:
        findings.append(Finding(Code.KEY_RETIRED_BEFORE, str(key.retired_height)))
    if key.compromised_height and key.compromised_height <= at:
        findings.append(Finding(Code.KEY_COMPROMISED, str(key.compromised_height)))
    is_signed = key.is_known and is_signed_by(
        key.public_key, header.doc_digest, package.issuer_signature
    )
    if not is_signed or header.key_id > 0xFFFF:
        findings.append(Finding(Code.SIG_INVALID))
    return _line(Check.ISSUER, findings, {"org": header.issuer_org, "key_id": header.key_id})


def check_anchor(package: Package, view: LedgerView) -> Line:
    """V4: the record exists, is final, and says what the header says."""
    record, header = view.record, package.header
    evidence: dict[str, str | int] = {"height": view.height, "block": view.block_hash}
    if record.state is AnchorState.NONE:
        return _line(Check.ANCHOR, [Finding(Code.NOT_REGISTERED)], evidence)
    findings: list[Finding] = []
    if record.state is AnchorState.PENDING_WITNESS:
        findings.append(Finding(Code.PENDING_WITNESS))
    if record.registered_height > view.height:
        findings.append(Finding(Code.NOT_FINAL, str(record.registered_height)))
    said = (header.key_id, SCHEMAS[header.schema].number, header.valid_until_day)
    if said != (record.key_id, record.schema, record.valid_until_day) or (
        record.suite != Suite.SHA256_P256
    ):
        findings.append(Finding(Code.TAMPERED_HEADER, "differs from the record"))
    evidence["registered_height"] = record.registered_height
    evidence["registered_time"] = record.registered_time
    return _line(Check.ANCHOR, findings, evidence)


_STATUS_CODES = {
    AnchorState.REVOKED: Code.REVOKED,
    AnchorState.SUSPENDED: Code.SUSPENDED,
    AnchorState.SUPERSEDED: Code.SUPERSEDED,
    AnchorState.ERASED: Code.ERASED,
}


def check_status(view: LedgerView) -> Line:
    """V5: the record is in force."""
    record = view.record
    if record.state is AnchorState.NONE:
        return Line(Check.STATUS, Result.SKIPPED)
    code = _STATUS_CODES.get(record.state)
    detail = ""
    if code is Code.REVOKED:
        known = record.reason in list(RevokeReason)
        detail = RevokeReason(record.reason).name if known else str(record.reason)
    elif code is Code.SUPERSEDED:
        detail = record.superseded_by.hex()
    findings = [Finding(code, detail)] if code is not None else []
    return _line(Check.STATUS, findings, {"state_height": record.state_height})
