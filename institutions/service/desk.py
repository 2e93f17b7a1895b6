"""An institution's desk: the service that carries out its orders, through one node after another.

The first try of an order goes through the institution's own node, each further try through the
next of its connections.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from lowu.institutions.exchange.trust import Trust
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.roles.issuer import Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.service.actions import issuer_actions, verifier_actions, witness_actions
from lowu.institutions.service.recording import RecordingIssuer, RecordingVerifier
from lowu.institutions.service.runner import Service
from lowu.institutions.service.store import Store
from lowu.institutions.verification.report import NO_NAMES, Names


class Desk(Service):
    """The service that carries out an institution's orders."""

    def __init__(
        self,
        member: Member,
        signers: Sequence[Signer],
        store: Store,
        org_ids: Mapping[str, int],
        now_s: Callable[[], int],
        *,
        other_sides: Sequence[Registry] = (),
        trust: Trust | None = None,
        names: Names = NO_NAMES,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Create a desk.

        Args:
            member: the institution, with the document key it uses.
            signers: its account at its own node first, then at others; empty for an offline
                desk, which can only request and verify.
            store: keeps its orders, answers and records.
            org_ids: the ids of organisations by name.
            now_s: the time, in seconds since 1970.
            other_sides: the registry at further nodes that a verification also reads.
            trust: validators and keys against which an offline desk checks proofs.
            names: what its reports call organisations, by id.
            randomness: returns random bytes, for salts, nonces and keys.
        """
        verifiers = [
            RecordingVerifier(
                member,
                registry=None if signer is None else signer.registry,
                signer=signer,
                store=store,
                clock_s=now_s,
                other_sides=other_sides,
                trust=trust,
                randomness=randomness,
            )
            for signer in signers or (None,)
        ]
        self._issuers = [
            RecordingIssuer(Issuer(member, signer, randomness), store) for signer in signers
        ]

        def signer_for(number: int) -> Signer:
            return signers[number % len(signers)]

        actions = verifier_actions(
            lambda number: verifiers[number % len(verifiers)],
            signer_for,
            now_s,
            names,
            confirmations=len(other_sides),
            is_offline=not signers,
        )
        if signers:
            issuers = self._issuers
            actions |= issuer_actions(lambda number: issuers[number % len(signers)], org_ids, now_s)
            actions |= witness_actions(signer_for, member.org_id, org_ids)
        super().__init__(store, actions)

    async def register_left(self) -> None:
        """Register stored packages that may not be registered yet (see `RecordingIssuer`)."""
        await self._issuers[0].register_left()
