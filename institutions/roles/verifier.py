"""The verifier: asks for a presentation, recomputes it, and compares it with the ledger.

All checks run even after one has failed, so that a report lists every reason. A check whose data
could not be read from a node is UNKNOWN, never a pass. Nodes of other sides can be asked too,
which exposes a node that lies or lags. What is accepted is used up on the ledger, and checked once
more at the block that says so: it is no older than the use.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lowu.contracts.registry import (
    NO_CONSENT,
    VERIFICATION_LOG_ADDRESS,
    Jurisdiction,
    RegistryErrorCode,
    VerdictClass,
    encode_consume,
)
from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.documents.document import Subject
from lowu.institutions.exchange.consent import read_purpose
from lowu.institutions.exchange.presentation import (
    NONCE_BYTES,
    Presentation,
    decode_presentation,
    unseal,
)
from lowu.institutions.exchange.request import (
    Request,
    read_fields,
)
from lowu.institutions.exchange.trust import Trust
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.forms import FormError
from lowu.institutions.roles.asked import CUT_OFF, NO_ATTEMPT, Asked
from lowu.institutions.roles.member import Member
from lowu.institutions.verification.answer import check_consent, check_holder, check_replay
from lowu.institutions.verification.checks import (
    check_anchor,
    check_issuer,
    check_offline,
    check_status,
    check_time,
)
from lowu.institutions.verification.heads import SeenHead, judge_age, note_head
from lowu.institutions.verification.integrity import check_integrity, report_malformed
from lowu.institutions.verification.judging import (
    Expectation,
    Judged,
    LedgerView,
    judge_proof,
)
from lowu.institutions.verification.reading import has_caught_up, read_view, take_as_latest
from lowu.institutions.verification.shown import collect_shown
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

_MAY_CHANGE = (Check.ISSUER, Check.ANCHOR, Check.STATUS)
"""What may have changed between the checks of a presentation and the block of its use. The ledger
lets only a presentation under a live consent be used up."""
HEAD = b"head"
"""Key of the highest block seen."""
NO_FILES: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class _Trial:
    """A presentation that is judged, with what came with it."""

    shown: Presentation
    schema: Schema
    subject: Subject
    files: Mapping[str, bytes]
    asked: Asked | None
    """Our request with the presentation's nonce; None if we made none."""
    attempt: bytes = NO_ATTEMPT
    sealed_digest: bytes = b""

    @property
    def is_resumed(self) -> bool:
        """Whether this attempt used the request and was interrupted before it had an answer."""
        if self.asked is None or not self.asked.is_used or self.attempt == NO_ATTEMPT:
            return False
        return (self.asked.attempt, self.asked.judged) == (self.attempt, self.sealed_digest)

    @property
    def is_cut_off(self) -> bool:
        """Whether an earlier attempt, without a number, may have used the same bytes up."""
        if self.asked is None or self.asked.is_used or self.attempt != NO_ATTEMPT:
            return False
        return (self.asked.attempt, self.asked.judged) == (CUT_OFF, self.sealed_digest)


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
        heads: MutableMapping[bytes, SeenHead] | None = None,
        clock_s: Callable[[], float] = time.time,
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
        self._heads: MutableMapping[bytes, SeenHead] = {} if heads is None else heads
        """The highest block seen. A stored map outlives the process."""
        self._clock_s = clock_s

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
            heads=self._heads,
            clock_s=self._clock_s,
            randomness=self._random,
        )

    def request(
        self, *, schema: str, purpose: str, now_s: int, fields: Iterable[str] = ()
    ) -> Request:
        """Return a request to hand to a holder.

        Raises:
            FormError: a field is no path, or documents of the schema have nothing there; or no
                purpose is called so.
        """
        read_purpose(purpose)
        chosen = read_fields(fields, self.member.schemas.get(schema))
        nonce, secret = self._random(NONCE_BYTES), self._random(32)
        sealing_key = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        request = Request(
            receiver=self.member.name,
            receiver_org=self.member.org_id,
            key_id=self.member.key_id,
            ledger=self.member.ledger,
            schema=schema,
            purpose=purpose,
            fields=chosen,
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
        show_rejected: bool = False,
    ) -> Report:
        """Open and check a presentation that a holder sent; use it up if it is accepted.

        An attempt is a number of 16 bytes. The same attempt again, with the same sealed bytes,
        resumes after an interruption: a presentation that it used up itself is no replay. Without
        one, only those bytes can be received again whose use was cut off, or ended with
        INDETERMINATE; every other second use is refused.

        The report has what is shown, but of a rejected document only with `show_rejected`.
        """
        _require_subject(subject)
        asked = self._asked.get(sealed[:NONCE_BYTES])
        try:
            if asked is None:
                raise FormError("not sealed for any request that this institution has made")
            shown, schema = self._open(unseal(sealed, asked.sealing_key, password))
        except FormError as error:
            return report_malformed(error)
        digest = hashlib.sha256(sealed).digest()
        if shown.nonce != sealed[:NONCE_BYTES]:
            asked = None  # it answers another request than the one that it was sealed for
        trial = _Trial(shown, schema, subject, files, asked, attempt, digest)
        return _with_shown(await self._receive(trial), trial, show_rejected=show_rejected)

    async def _receive(self, trial: _Trial) -> Report:
        """Check a presentation that was opened, and use it up if it is accepted."""
        shown, asked = trial.shown, trial.asked
        if asked is not None and (trial.is_resumed or trial.is_cut_off):
            height = await self._find_use(shown)
            if height and (trial.is_resumed or self._claim(trial, asked)):
                return await self._check_again(trial, asked.accepted, height)
        views = await self._read_sides(trial)
        report = self._judge(trial, views)
        fresh = report
        if self._signer is not None and any(view and view.is_idle for view in views):
            # What may have changed since a node's latest block shows in the block of the use.
            fresh = self._judge(trial, [take_as_latest(view) for view in views])
        if fresh.verdict is not Verdict.ACCEPT:
            return report
        return await self._use_up(trial, fresh)

    async def verify(
        self,
        data: bytes,
        subject: Subject,
        *,
        files: Mapping[str, bytes] = NO_FILES,
        show_rejected: bool = False,
    ) -> Report:
        """Check an unsealed presentation completely, without using it up. See `receive`."""
        _require_subject(subject)
        try:
            shown, schema = self._open(data)
        except FormError as error:
            return report_malformed(error)
        trial = _Trial(shown, schema, subject, files, self._asked.get(shown.nonce))
        report = self._judge(trial, await self._read_sides(trial))
        return _with_shown(report, trial, show_rejected=show_rejected)

    def _open(self, data: bytes) -> tuple[Presentation, Schema]:
        """Return a presentation, and the rules for it; `FormError` if it has none here."""
        shown = decode_presentation(data)
        schema = self.member.schemas.get(shown.header.schema)
        if schema is None:
            raise FormError(f"schema {shown.header.schema}", is_version=True)
        return shown, schema

    def _judge(
        self, trial: _Trial, views: list[LedgerView | None], *, is_used_up: bool = False
    ) -> Report:
        """Make all checks; with `is_used_up`, this trial itself has used the presentation up."""
        shown, asked = trial.shown, trial.asked
        is_ours = is_used_up or trial.is_resumed
        expected = Expectation(
            receiver=self.member.name,
            receiver_org=self.member.org_id,
            jurisdiction=self.member.side,
            subject=trial.subject,
            request=None if asked is None else asked.request,
            schema=trial.schema,
            is_used=asked is not None and asked.is_used and not is_ours,
            now_s=int(self._clock_s()),
            is_resumed=is_ours,
            max_age_s=self._max_age_s,
        )
        judged = judge_proof(shown.header, shown.anchor, trial.schema, self._trust)
        integrity = check_integrity(shown, trial.files, trial.schema)
        lines = [Line(Check.PACKAGE, Result.PASS), integrity]
        lines += _merge([_check_ledger(shown, view, judged, expected) for view in views])
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

    # --- using up ---------------------------------------------------------------------------

    async def _use_up(self, trial: _Trial, report: Report) -> Report:
        """Use an accepted presentation up, here and on the ledger; a second use is refused."""
        shown = trial.shown
        asked = self._asked[shown.nonce]
        if asked.is_used and not trial.is_resumed:
            return _with_finding(report, Result.FAIL, Finding(VerdictCode.REPLAYED))
        used = replace(
            asked,
            is_used=True,
            attempt=trial.attempt,
            judged=trial.sealed_digest,
            accepted=encode_lines(report.lines),
        )
        self._asked[shown.nonce] = used  # first, so that no other task uses it meanwhile
        if self._signer is None:
            return report
        is_ours = trial.is_resumed or trial.is_cut_off
        consent = NO_CONSENT if shown.consent is None else shown.consent.ledger_id
        origin = Jurisdiction[shown.header.jurisdiction]
        call = encode_consume(shown.id, consent, VerdictClass.ACCEPT, origin)
        try:
            height = (await self._signer.send(VERIFICATION_LOG_ADDRESS, call)).height
        except RegistryRefused as error:
            height = await self._find_use(shown) if is_ours else 0
            if not height:  # else our own call was still on its way
                self._give_back(used, asked)
                finding = await self._read_reason(error, shown)
                if finding is None:
                    raise
                return _with_finding(report, Result.FAIL, finding)
        except ClientError as error:
            self._note_cut_off(used)
            finding = Finding(VerdictCode.FRESHNESS_UNKNOWN, f"not known to be used up: {error}")
            return _with_finding(report, Result.UNKNOWN, finding)
        except BaseException:
            self._note_cut_off(used)
            raise
        return await self._check_again(trial, used.accepted, height)

    def _claim(self, trial: _Trial, asked: Asked) -> bool:
        """Take over a use that was cut off; False if another task has done so meanwhile."""
        if self._asked.get(trial.shown.nonce) != asked:
            return False
        self._asked[trial.shown.nonce] = replace(asked, is_used=True, attempt=NO_ATTEMPT)
        return True

    def _note_cut_off(self, used: Asked) -> None:
        """Note that a presentation may have been used up, if no attempt can show it later."""
        if used.attempt == NO_ATTEMPT:
            self._give_back(used, replace(used, is_used=False, attempt=CUT_OFF))

    async def _check_again(self, trial: _Trial, accepted: bytes, height: int) -> Report:
        """Return the report on a presentation that was used up, as things stood in that block.

        `accepted` has the lines of the report that led to its use.
        """
        views = await self._read_sides(trial, height)
        now = self._judge(trial, views, is_used_up=True)
        return Report(
            tuple(
                now[line.check] if line.check in _MAY_CHANGE else line
                for line in decode_lines(accepted)
            )
        )

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
            consent = await self._registries[0].get_consent(shown.consent.ledger_id)
            block = await self._registries[0].get_latest_block()
            if consent.withdrawn_height:
                return Finding(VerdictCode.CONSENT_WITHDRAWN, str(consent.withdrawn_height))
            if block["time"] >= consent.expires_at_s:
                return Finding(VerdictCode.CONSENT_EXPIRED)
        return Finding(VerdictCode.CONSENT_MISSING, "not live on the ledger")

    async def _find_use(self, shown: Presentation) -> int:
        """Return the block in which this verifier used a presentation up; 0 if it did not."""
        return await self._registries[0].get_use_height(self.member.org_id, shown.id)

    # --- reading ----------------------------------------------------------------------------

    async def _read_sides(self, trial: _Trial, use: int = 0) -> list[LedgerView | None]:
        """Read from every side; retry for `AGREE_WAIT_S` while they differ or lag behind.

        Once a presentation is used up, in block `use`, what is read is the state of that block.
        """
        views: list[LedgerView | None] = [None] * max(1, len(self._registries))
        seen = self._heads.get(HEAD)
        needed = max(use, seen.height if seen else 0)
        with trio.move_on_after(AGREE_WAIT_S):
            while True:
                await self._read_all(trial, views, use)
                known = [view for view in views if view is not None]
                is_there = all(has_caught_up(view, trial.shown, needed) for view in known)
                if is_there and len({repr(view.facts) for view in known}) <= 1:
                    break
                await trio.sleep(AGREE_POLL_S)
        clock_s = int(self._clock_s())
        note_head(self._heads, HEAD, views, clock_s)
        return [view and judge_age(view, seen, use, clock_s) for view in views]

    async def _read_all(self, trial: _Trial, views: list[LedgerView | None], use: int) -> None:
        """Read from every side at once; a side that does not answer delays no other."""

        async def read(position: int, registry: Registry) -> None:
            try:
                views[position] = await read_view(
                    registry, trial.shown, self.member, trial.schema.number, use
                )
            except (ClientError, RemoteError, RegistryRefused):
                views[position] = None

        async with trio.open_nursery() as nursery:
            for position, registry in enumerate(self._registries):
                nursery.start_soon(read, position, registry)


def _check_ledger(
    shown: Presentation, view: LedgerView | None, judged: Judged, expected: Expectation
) -> list[Line]:
    if view is None:
        return check_offline(shown, judged, expected.now_s, expected.age_limit_s)
    return [
        check_issuer(shown, view),
        check_anchor(shown, view, judged, expected.schema),
        check_status(view),
        check_time(shown, view, expected.age_limit_s),
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


def _require_subject(given: object) -> None:
    if not isinstance(given, Subject):
        raise TypeError(
            f"a subject is a `Subject`, such as `document.subject`, whom the document must be "
            f"about; not {given!r}"
        )


def _with_shown(report: Report, trial: _Trial, *, show_rejected: bool) -> Report:
    """Return a report with what is shown, where a receiver is to see it."""
    if report.verdict is Verdict.REJECT and not show_rejected:
        return report
    wanted = () if trial.asked is None else trial.asked.request.fields
    return replace(report, shown=collect_shown(trial.shown, trial.files, trial.schema, wanted))


def _with_finding(report: Report, result: Result, finding: Finding) -> Report:
    """Return a report with one more finding on replay, and its result."""
    replay = report[Check.REPLAY]
    changed = replace(replay, result=result, findings=[*replay.findings, finding])
    return Report(tuple(changed if line is replay else line for line in report.lines))
