"""The verifier: asks for a presentation, recomputes it, and compares it with the ledger.

All checks run even after one has failed, so that a report lists every reason. A check whose data
could not be read from a node is UNKNOWN, never a pass. Nodes of other sides can be asked too,
which exposes a node that lies or lags.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lowu.contracts.registry import (
    VERIFICATION_LOG_ADDRESS,
    Jurisdiction,
    RegistryErrorCode,
    VerdictClass,
    encode_consume,
)
from lowu.institutions.documents.document import Subject
from lowu.institutions.documents.schemas import SCHEMAS
from lowu.institutions.exchange.presentation import (
    NONCE_BYTES,
    Presentation,
    decode_presentation,
    unseal,
)
from lowu.institutions.exchange.request import Request, decode_request, encode_request
from lowu.institutions.exchange.trust import Trust
from lowu.institutions.ledger.registry import Query, Registry, RegistryRefused
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.forms import FormError
from lowu.institutions.roles.member import Member
from lowu.institutions.verification.checks import (
    Expectation,
    Judged,
    LedgerView,
    check_anchor,
    check_consent,
    check_holder,
    check_integrity,
    check_issuer,
    check_offline,
    check_replay,
    check_status,
    check_time,
    judge_proof,
    number_of,
    report_malformed,
)
from lowu.institutions.verification.verdicts import (
    Check,
    Finding,
    Line,
    Report,
    Result,
    Verdict,
    VerdictCode,
    decode_lines,
    encode_lines,
)
from lowu.node.client import ClientError, RemoteError

AGREE_WAIT_S = 5.0
"""How long sides may differ, or lag behind a registration, before the report says so."""
AGREE_POLL_S = 0.05
REQUEST_VALID_S = 10 * 60

ATTEMPT_BYTES = 16
NO_ATTEMPT = bytes(ATTEMPT_BYTES)
NO_FILES: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """One of our requests, and its state."""

    request: Request
    sealing_key: bytes
    is_used: bool = False
    attempt: bytes = NO_ATTEMPT
    """The attempt that used it; `NO_ATTEMPT` if it cannot be resumed."""
    accepted: bytes = b""
    """The lines of the report that accepted it, for an attempt that resumes."""

    def is_resumed_by(self, attempt: bytes) -> bool:
        """Whether this attempt used the request and was interrupted before it had an answer."""
        return self.is_used and attempt != NO_ATTEMPT and self.attempt == attempt


def encode_asked(asked: Asked) -> bytes:
    """Return the stored form."""
    head = asked.sealing_key + bytes([asked.is_used]) + asked.attempt
    return (
        head
        + len(asked.accepted).to_bytes(4, "big")
        + asked.accepted
        + encode_request(asked.request)
    )


def decode_asked(data: bytes) -> Asked:
    """Return the request in a stored form."""
    end = 53 + int.from_bytes(data[49:53], "big")
    request = decode_request(data[end:])
    return Asked(request, data[:32], bool(data[32]), data[33:49], data[53:end])


class Verifier:
    """An institution that checks what holders present to it."""

    def __init__(
        self,
        member: Member,
        *,
        registry: Registry | None,
        signer: Signer | None = None,
        other_sides: Sequence[Registry] = (),
        trust: Trust | None = None,
        max_age_s: int | None = None,
        requests: MutableMapping[bytes, Asked] | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.member = member
        self._registries = () if registry is None else (registry, *other_sides)
        """Empty when offline: only a proof of registration and `trust` are checked then."""
        self._trust = trust
        self._signer = signer
        """Uses presentations up on the ledger; None to record them only here."""
        self._max_age_s = max_age_s
        self._random = randomness
        self._asked: MutableMapping[bytes, Asked] = {} if requests is None else requests
        """By nonce. A stored map outlives the process."""

    def reading(self, registry: Registry, *other_sides: Registry) -> Verifier:
        """Return this verifier, with its requests, reading from other nodes."""
        return self._on(registry, other_sides, self._trust)

    def trusting(self, trust: Trust) -> Verifier:
        """Return this verifier, with its requests, offline: it asks no node."""
        return self._on(None, (), trust)

    def _on(
        self, registry: Registry | None, other_sides: Sequence[Registry], trust: Trust | None
    ) -> Verifier:
        return Verifier(
            self.member,
            registry=registry,
            other_sides=other_sides,
            trust=trust,
            max_age_s=self._max_age_s,
            requests=self._asked,
            randomness=self._random,
        )

    def request(
        self, *, schema: str, purpose: str, now_s: int, fields: Sequence[str] = ()
    ) -> Request:
        """Return a request to hand to a holder."""
        nonce, secret = self._random(NONCE_BYTES), self._random(32)
        sealing_key = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        request = Request(
            receiver=self.member.name,
            receiver_org=self.member.org_id,
            schema=schema,
            purpose=purpose,
            fields=tuple(fields),
            nonce=nonce.hex(),
            issued_at=now_s,
            expires_at=now_s + REQUEST_VALID_S,
            sealing_key=sealing_key.hex(),
        ).signed(self.member.document_key)
        self._asked[nonce] = Asked(request, secret)
        return request

    async def receive(
        self,
        sealed: bytes,
        subject: Subject,
        *,
        password: str = "",
        files: Mapping[str, bytes] = NO_FILES,
        attempt: bytes = NO_ATTEMPT,
    ) -> Report:
        """Open and check a presentation that a holder sent; use it up if it is accepted.

        An attempt is a number of 16 bytes. The same attempt again resumes after an interruption:
        a presentation that it used up itself is no replay. Without one, every second use is
        refused.
        """
        asked = self._asked.get(sealed[:NONCE_BYTES])
        try:
            if asked is None:
                raise FormError("not sealed for any request that we made")
            shown = decode_presentation(unseal(sealed, asked.sealing_key, password))
        except FormError as error:
            return report_malformed(error)
        if asked.is_resumed_by(attempt) and await self._is_ours(shown):
            return Report(decode_lines(asked.accepted))
        report = await self._verify(shown, subject, files, attempt)
        if report.verdict is not Verdict.ACCEPT:
            return report
        return await self._use_up(shown, report, attempt)

    async def verify(
        self, data: bytes, subject: Subject, *, files: Mapping[str, bytes] = NO_FILES
    ) -> Report:
        """Check an unsealed presentation completely, without using it up."""
        try:
            shown = decode_presentation(data)
        except FormError as error:
            return report_malformed(error)
        return await self._verify(shown, subject, files)

    async def _verify(
        self,
        shown: Presentation,
        subject: Subject,
        files: Mapping[str, bytes],
        attempt: bytes = NO_ATTEMPT,
    ) -> Report:
        if shown.header.schema not in SCHEMAS:
            text = f"schema {shown.header.schema}"
            return report_malformed(FormError(text, is_version=True))
        asked = self._asked.get(shown.nonce)
        is_resumed = asked is not None and asked.is_resumed_by(attempt)
        expected = Expectation(
            receiver=self.member.name,
            jurisdiction=self.member.side,
            subject=subject,
            request=None if asked is None else asked.request,
            is_used=asked is not None and asked.is_used and not is_resumed,
            resumed_by=self.member.org_id if is_resumed else 0,
            max_age_s=self._max_age_s,
        )
        judged = judge_proof(shown.header, shown.anchor, self._trust)
        views = await self._read_sides(shown)
        lines = [Line(Check.PACKAGE, Result.PASS), check_integrity(shown, files)]
        lines += _merge([_check_ledger(shown, view, judged, self._max_age_s) for view in views])
        lines.append(check_holder(shown, expected))
        lines += _merge(
            [
                [check_consent(shown, view, expected), check_replay(shown, view, expected)]
                for view in views
            ]
        )
        report = Report(tuple(lines))
        _note_disagreement(report[Check.ANCHOR], views)
        report[Check.ANCHOR].evidence["nodes_asked"] = len(self._registries)
        return report

    async def _use_up(self, shown: Presentation, report: Report, attempt: bytes) -> Report:
        """Use an accepted presentation up, here and on the ledger; a second use is refused."""
        asked = self._asked[shown.nonce]
        is_resumed = asked.is_resumed_by(attempt)
        if asked.is_used and not is_resumed:
            return _with_finding(report, Result.FAIL, Finding(VerdictCode.REPLAYED))
        accepted = encode_lines(report.lines)
        used = replace(asked, is_used=True, attempt=attempt, accepted=accepted)
        if self._signer is None:
            self._asked[shown.nonce] = used
            return report
        consent = bytes(32) if shown.consent is None else shown.consent.digest
        origin = Jurisdiction[shown.header.jurisdiction]
        call = encode_consume(shown.id, consent, VerdictClass.ACCEPT, origin)
        self._asked[shown.nonce] = used  # so that no other task uses it meanwhile
        try:
            await self._signer.send(VERIFICATION_LOG_ADDRESS, call)
        except RegistryRefused as error:
            if is_resumed and await self._is_ours(shown):  # our own call was still on its way
                return report
            self._give_back(used, asked)
            finding = await self._read_reason(error, shown)
            if finding is None:
                raise
            return _with_finding(report, Result.FAIL, finding)
        except ClientError as error:
            if attempt == NO_ATTEMPT:  # nothing could show later that it was ours
                self._give_back(used, asked)
            finding = Finding(VerdictCode.FRESHNESS_UNKNOWN, f"not used up: {error}")
            return _with_finding(report, Result.UNKNOWN, finding)
        return report

    def _give_back(self, used: Asked, before: Asked) -> None:
        """Mark a request as unused again, unless another process has used it meanwhile."""
        nonce = bytes.fromhex(before.request.nonce)
        if self._asked.get(nonce) == used:
            self._asked[nonce] = before

    async def _read_reason(self, refusal: RegistryRefused, shown: Presentation) -> Finding | None:
        """Return the finding behind the ledger's refusal to use a presentation up, if any."""
        if refusal.code is RegistryErrorCode.PRESENTATION_CONSUMED:
            return Finding(VerdictCode.REPLAYED)
        if refusal.code is RegistryErrorCode.JURISDICTION_RULE:
            return Finding(VerdictCode.JURISDICTION_RULE)
        if refusal.code is not RegistryErrorCode.CONSENT_NOT_LIVE or shown.consent is None:
            return None
        with suppress(ClientError, RegistryRefused, RemoteError):
            consent = await self._registries[0].get_consent(shown.consent.digest)
            block = await self._registries[0].get_latest_block()
            if consent.withdrawn_height:
                return Finding(VerdictCode.CONSENT_WITHDRAWN, str(consent.withdrawn_height))
            if block["time"] >= consent.expires_at_s:
                return Finding(VerdictCode.CONSENT_EXPIRED)
        return Finding(VerdictCode.CONSENT_MISSING, "not live on the ledger")

    async def _is_ours(self, shown: Presentation) -> bool:
        return await self._registries[0].get_consumer(shown.id) == self.member.org_id

    # --- reading ----------------------------------------------------------------------------

    async def _read_sides(self, shown: Presentation) -> list[LedgerView | None]:
        """Read from every side; retry for `AGREE_WAIT_S` while they differ or lag behind."""
        views: list[LedgerView | None] = [None] * max(1, len(self._registries))
        with trio.move_on_after(AGREE_WAIT_S):
            while True:
                await self._read_all(shown, views)
                known = [view for view in views if view is not None]
                registered = shown.anchor.registered_height
                is_there = all(
                    view.height >= max(registered, view.facts.record.registered_height)
                    for view in known
                )
                if is_there and len({repr(view.facts) for view in known}) <= 1:
                    break
                await trio.sleep(AGREE_POLL_S)
        return views

    async def _read_all(self, shown: Presentation, views: list[LedgerView | None]) -> None:
        """Read from every side at once; a side that does not answer delays no other."""

        async def read(position: int, registry: Registry) -> None:
            try:
                views[position] = await read_view(registry, shown, self.member.side)
            except (ClientError, RemoteError, RegistryRefused):
                views[position] = None

        async with trio.open_nursery() as nursery:
            for position, registry in enumerate(self._registries):
                nursery.start_soon(read, position, registry)


async def read_view(registry: Registry, shown: Presentation, here: str) -> LedgerView:
    """Read from one node all that a presentation depends on; `here` is the receiver's side."""
    header, place, consent = shown.header, shown.anchor.batch, shown.consent
    query = Query(
        org=header.issuer_org & 0xFFFF,
        key_id=header.key_id & 0xFFFF,
        schema=SCHEMAS[header.schema].number,
        anchor=shown.anchor.registered,
        leaf=None if place is None else (shown.anchor.anchor, place.index, place.path),
        consent=None if consent is None else consent.digest,
        presentation=shown.id,
        route=(number_of(header.jurisdiction), number_of(here)),
    )
    # The block first: the facts are at least as new as it.
    block = await registry.get_latest_block()
    facts = await registry.read_facts(query)
    return LedgerView(registry.client.url, block["number"], block["hash"], block["time"], facts)


def _check_ledger(
    shown: Presentation, view: LedgerView | None, judged: Judged, max_age_s: int | None
) -> list[Line]:
    if view is None:
        return check_offline(shown, judged, max_age_s)
    return [
        check_issuer(shown, view),
        check_anchor(shown, view, judged),
        check_status(view),
        check_time(shown, view, max_age_s),
    ]


_WORST = (Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED)


def _merge(sides: list[list[Line]]) -> list[Line]:
    """Merge the lines of several sides: the worst result, and every finding once."""
    merged = []
    for lines in zip(*sides, strict=True):
        first = lines[0]
        result = min((line.result for line in lines), key=_WORST.index)
        findings = dict.fromkeys(finding for line in lines for finding in line.findings)
        merged.append(Line(first.check, result, list(findings), first.evidence))
    return merged


def _note_disagreement(line: Line, views: list[LedgerView | None]) -> None:
    known = [view for view in views if view is not None]
    if len({repr(view.facts) for view in known}) > 1:
        line.findings.append(Finding(VerdictCode.FRESHNESS_UNKNOWN, "the sides disagree"))
        line.result = min(line.result, Result.UNKNOWN, key=_WORST.index)


def _with_finding(report: Report, result: Result, finding: Finding) -> Report:
    """Return a report with one more finding on replay, and its result."""
    replay = report[Check.REPLAY]
    changed = replace(replay, result=result, findings=[*replay.findings, finding])
    return Report(tuple(changed if line is replay else line for line in report.lines))
