"""Forged certificates, signed with all the keys of a run's liars.

Liars collude: each may use the keys of all. They hold at most f weight, which is never a quorum,
so every certificate here is false. The product must refuse each, and the checkers watch it do so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lowu.consensus.messages import (
    Checkpoint,
    CommitCertificate,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    Proposal,
    ViewChange,
)
from lowu.consensus.simulation.node import Liar, compute_tx_root
from lowu.consensus.simulation.simulated_links import Parcel, Post
from lowu.consensus.types import NodeIndex, Signature, hash_bytes

Claim = Callable[[NodeIndex], Message]
"""The vote that a certificate claims a validator cast."""


def forge(liar: Liar, posts: list[Post]) -> list[Post]:
    """Forge a certificate in half of the VIEW-CHANGEs and NEW-VIEWs that a liar sends."""
    return [
        (peer, _forged(liar, parcel) if liar.random.random() < 0.5 else parcel, extra)
        for peer, parcel, extra in posts
    ]


def _forged(liar: Liar, parcel: Parcel) -> Parcel:
    match parcel:
        case ViewChange():
            return forge_view_change(liar, parcel)
        case NewView(view_changes=changes) if parcel.sender == liar.index and changes:
            changed = [
                forge_view_change(liar, change) if change.sender in _keys(liar) else change
                for change in changes
            ]
            return liar.signed(replace(parcel, view_changes=tuple(changed)))
    return parcel


def act_forge(liar: Liar, index: NodeIndex) -> list[Post]:
    """Ask for the next view without cause, with a forged certificate."""
    replica = liar.node.replica
    if replica is None or liar.random.random() < 0.6:
        return []
    change = ViewChange(replica.view + 1, replica.stable, (), index)
    return [(peer, forge_view_change(liar, change), 0) for peer in liar.some_peers()]


def forge_view_change(liar: Liar, change: ViewChange) -> ViewChange:
    """Return a signed VIEW-CHANGE whose stable or prepared certificate is forged."""
    if liar.random.random() < 0.3:
        changed = replace(change, stable=forge_commit(liar, change.stable))
    else:
        changed = replace(change, prepared=(_forge_prepared(liar, change),))
    sender = _keys(liar).get(change.sender, liar)
    return sender.signed(changed)


def forge_commit(liar: Liar, below: CommitCertificate) -> CommitCertificate:
    """Return a certificate for a block that does not exist, signed as well as the liars can."""
    made_up = invent_commit(below)
    height, digest, block_hash = made_up.height, made_up.digest, made_up.block_hash
    signatures = _signatures(liar, lambda index: Checkpoint(height, digest, block_hash, index))
    return replace(made_up, signatures=signatures)


def invent_commit(below: CommitCertificate) -> CommitCertificate:
    """Return a certificate for a block that does not exist, with the signatures of `below`."""
    digest = hash_bytes(below.digest)
    return replace(below, height=below.height + 1, digest=digest, block_hash=hash_bytes(digest))


def _forge_prepared(liar: Liar, change: ViewChange) -> PreparedCertificate:
    """Claim that an invented proposal was prepared at the next height in an earlier view."""
    view = liar.random.randrange(max(1, change.view))
    body = tuple(sorted(liar.node.pool))[:1]
    replica = liar.node.replica
    height = change.stable.height + 1
    proposer = 0 if replica is None else replica.validators.leader(height, view)
    time_ms = liar.random.choice((1, 10**6, 10**15))
    root = compute_tx_root(body)
    proposal = Proposal(height, change.stable.digest, root, time_ms, proposer, False)
    digest = liar.digest(proposal)
    liar.node.bodies[digest] = body
    signatures = _signatures(liar, lambda index: Prepare(view, height, digest, index))
    return PreparedCertificate(view, proposal, signatures)


def _keys(liar: Liar) -> dict[NodeIndex, Liar]:
    """Return, by validator index, the liar that holds its key."""
    return {item.index: item for item in liar.accomplices if item.index is not None}


def _signatures(liar: Liar, claim: Claim) -> tuple[tuple[NodeIndex, Signature], ...]:
    """Return signatures that look like a quorum's, in one of five ways."""
    random, replica = liar.random, liar.node.replica
    everybody = range(len(replica.validators)) if replica is not None else range(1)
    real = {index: item.signed(claim(index)).signature for index, item in _keys(liar).items()}
    others = [index for index in everybody if index not in real]
    match random.randrange(5):
        case 0:  # only validators whose keys the liars hold
            signed = real
        case 1:  # one key for all validators
            signed = {index: liar.signed(claim(index)).signature for index in everybody}
        case 2:  # one signature again and again
            pair = min(real.items(), default=(0, b""))
            return (pair,) * len(everybody)
        case 3:  # others' signatures of something else
            seen = {m.sender: m.signature for m in liar.memory if type(m) is type(claim(0))}
            signed = {**{index: seen[index] for index in others if index in seen}, **real}
        case _:  # random signatures
            signed = {**{index: random.randbytes(8) for index in others}, **real}
    return tuple(sorted(signed.items()))
