"""Workloads of several steps, or that read: what institutions do with the registry of documents.

A step begins once the one before it is committed, or answered. The calls are those of the
institutions' desks; documents themselves are not made, as no node ever sees one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from lowu.contracts.registry import (
    CONSENT_LOG_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    AnchorState,
    ConsentId,
    Jurisdiction,
    RevokeReason,
    VerdictClass,
    encode_consume,
    encode_grant,
    encode_register_anchor,
    encode_revoke,
)
from lowu.experiments.load.offered.steps import ReadStep, Sender, SendStep, Step, WorkloadCall
from lowu.institutions.exchange.consent import ledger_address, sign_consent
from lowu.institutions.ledger.facts import Facts, Query, decode_facts, facts_calls

STOCK = 100
"""Anchors of each issuer that are registered before the load, to be verified in it."""
GAS_MAX = 250_000
KEY_ID = 1
EXPIRES_AT_S = 2**40
"""Of consents: none runs out in a run, whatever its clock says."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What a journey follows from."""

    number: int
    """No two journeys of a run have the same."""
    issuer: int
    """The place of the account that begins it, among `senders`."""
    senders: Sequence[Sender]
    chain_id: int
    random: Random

    @property
    def anchor(self) -> bytes:
        """The anchor of a document that nobody else has."""
        return (self.number + 1).to_bytes(32, "big")

    def choose_receiver(self) -> int:
        """Return the place of an institution that receives, over the boundary if there is one."""
        here = self.senders[self.issuer]
        able = [place for place, item in enumerate(self.senders) if item.is_receiver]
        beyond = [place for place in able if self.senders[place].side != here.side]
        others = [place for place in able if place != self.issuer]
        return self.random.choice(beyond or others or able)


@dataclass(frozen=True, slots=True)
class Journey:
    """One kind of several steps, or of a read."""

    told: str
    plan: Callable[[Draw], tuple[Step, ...]]
    needs_receiver: bool = False
    needs_stock: bool = False


def stock_anchor(place: int) -> bytes:
    """Return the anchor at a place of every issuer's stock."""
    return sha256(b"lowu stock %d" % place).digest()


def _send(sender: int, to: bytes, data: bytes) -> SendStep:
    return SendStep(sender, WorkloadCall(to, data, GAS_MAX))


def _register(draw: Draw) -> SendStep:
    schema = draw.senders[draw.issuer].schema
    data = encode_register_anchor(draw.anchor, schema=schema, key_id=KEY_ID)
    return _send(draw.issuer, HASH_REGISTRY_ADDRESS, data)


def _read(
    draw: Draw,
    receiver: int,
    issuer: int,
    anchor: bytes,
    is_right: Callable[[Facts], bool],
    *,
    presentation: bytes,
    consent: ConsentId | None = None,
) -> ReadStep:
    """Read all that a verification depends on, as a receiver does."""
    here, there = draw.senders[receiver], draw.senders[issuer]
    query = Query(
        org=there.org,
        key_id=KEY_ID,
        schema=there.schema,
        anchor=anchor,
        leaf=None,
        consent=consent,
        presentation=presentation,
        verifier=here.org,
        route=(there.side, here.side),
    )
    return ReadStep(
        receiver, facts_calls(query), lambda answers: is_right(decode_facts(query, answers))
    )


def _verify(draw: Draw) -> tuple[Step, ...]:
    issuers = [place for place, item in enumerate(draw.senders) if item.is_issuer]
    issuer = draw.random.choice(issuers)
    anchor = stock_anchor(draw.random.randrange(STOCK))
    shown = draw.random.randbytes(32)
    return (_read(draw, draw.issuer, issuer, anchor, _is_active, presentation=shown),)


def _is_active(facts: Facts) -> bool:
    return facts.state is AnchorState.ACTIVE


def _revoke(draw: Draw) -> tuple[Step, ...]:
    end = encode_revoke(draw.anchor, RevokeReason.CORRECTED)
    return _register(draw), _send(draw.issuer, HASH_REGISTRY_ADDRESS, end)


def _grant(draw: Draw, receiver: int) -> tuple[ConsentId, SendStep]:
    """Return a consent of a holder's, and how the receiver logs it."""
    key = max(1, int.from_bytes(draw.random.randbytes(32), "big") >> 1).to_bytes(32, "big")
    digest = draw.random.randbytes(32)
    consent = bytes.fromhex(ledger_address(key)), digest
    signed = sign_consent(key, draw.chain_id, digest, EXPIRES_AT_S, is_withdrawal=False)
    return consent, _send(
        receiver, CONSENT_LOG_ADDRESS, encode_grant(consent, EXPIRES_AT_S, signed)
    )


def _consume(draw: Draw, receiver: int, presentation: bytes, consent: ConsentId) -> SendStep:
    origin = Jurisdiction(draw.senders[draw.issuer].side)
    data = encode_consume(presentation, consent, VerdictClass.ACCEPT, origin)
    return _send(receiver, VERIFICATION_LOG_ADDRESS, data)


def _consent(draw: Draw) -> tuple[Step, ...]:
    receiver = draw.choose_receiver()
    consent, granted = _grant(draw, receiver)
    return granted, _consume(draw, receiver, draw.random.randbytes(32), consent)


def _flow(draw: Draw) -> tuple[Step, ...]:
    receiver = draw.choose_receiver()
    shown = draw.random.randbytes(32)
    consent, granted = _grant(draw, receiver)

    def is_presentable(facts: Facts) -> bool:
        is_agreed = facts.consent is not None and facts.consent.granted_height > 0
        return _is_active(facts) and is_agreed and facts.is_routed and not facts.is_consumed

    def read(is_right: Callable[[Facts], bool]) -> ReadStep:
        return _read(
            draw, receiver, draw.issuer, draw.anchor, is_right, presentation=shown, consent=consent
        )

    return (
        _register(draw),
        granted,
        read(is_presentable),
        _consume(draw, receiver, shown, consent),
        read(lambda facts: _is_active(facts) and facts.is_consumed),
    )


JOURNEYS = {
    "verify": Journey(
        "a registration is looked up as receivers do; nothing is sent", _verify, needs_stock=True
    ),
    "revoke": Journey("an anchor is registered, and then revoked", _revoke),
    "consent": Journey(
        "a consent is logged, and a presentation used up under it", _consent, needs_receiver=True
    ),
    "flow": Journey(
        "a whole exchange: registered, consented, looked up, used up, looked up again",
        _flow,
        needs_receiver=True,
    ),
}
