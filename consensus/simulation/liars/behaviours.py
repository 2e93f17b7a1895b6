"""Validators that lie: named behaviours over an otherwise honest replica.

A Byzantine node runs the product's replica and alters its messages. The liars of a run collude:
they tell the same second versions to the same victims, and may sign with each other's keys, but
with no other node's. Each behaviour takes the posts of one message (receiver, parcel, extra
delay) and returns the posts to send instead; some also act by themselves from time to time. One
node may have several behaviours, applied in the order of their names.

    equivocate   two proposals for one height, and votes for both
    forge        certificates signed with all the liars' keys, which are too few
    view_lie     VIEW-CHANGEs without certificates or for far views, forged NEW-VIEWs, false
                 heights
    mutate       any field of any message changed a little, signed again or not
    replay       old messages of any sender, also as another type
    propose_ill  proposals with wrong bodies, times, parents, proposers or flags
    misexecute   CHECKPOINTs for a wrong result
    silent       no messages to some peers, or to all
    delay        late proposals, by up to 0.9 of the time-out
    flood        votes for many heights, views and digests
    garbage      bytes that are no message
    censor       proposals without some clients' transactions
    withhold     proposals with transactions that only some peers are shown
    mishelp      wrong bodies and forged blocks for peers that ask
    mute         votes, but no message as a leader
    accuse       honest validators named as leaders that failed
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from random import Random
from types import MappingProxyType
from typing import Any, Protocol

from lowu.consensus.codec import encode_message
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from lowu.consensus.replica import Replica
from lowu.consensus.simulation.liars.forgery import act_forge, forge, invent_commit
from lowu.consensus.simulation.liars.misrule import accuse, mute
from lowu.consensus.simulation.node import Liar, SimNode, compute_tx_root
from lowu.consensus.simulation.simulated_links import Parcel, Post
from lowu.consensus.types import VIEW_MAX, NodeIndex, hash_bytes

DELAY_MS_MAX = 2_700
"""0.9 of the base time-out."""
FLOOD_MESSAGES = 12


def alter(liar: Liar, peers: list[SimNode], message: Message) -> list[Post]:
    """Return the posts to send instead of a message."""
    liar.memory.append(message)
    posts: list[Post] = [(peer, message, 0) for peer in peers]
    for name in sorted(liar.names):
        posts = CHANGES[name](liar, posts)
    return posts


def act(liar: Liar) -> list[Post]:
    """Return the posts that a liar sends of its own accord."""
    posts: list[Post] = []
    for name in sorted(liar.names):
        if name in ACTIONS and liar.index is not None:
            posts += ACTIONS[name](liar, liar.index)
    return posts


def _unchanged(liar: Liar, posts: list[Post]) -> list[Post]:
    return posts


# --- equivocation ---------------------------------------------------------------------------


def _equivocate(liar: Liar, posts: list[Post]) -> list[Post]:
    return [(peer, _double(liar, peer, parcel), extra) for peer, parcel, extra in posts]


def _double(liar: Liar, peer: SimNode, parcel: Parcel) -> Parcel:
    match parcel:
        case PrePrepare(sender=sender) if sender == liar.index:
            second, told = _second_version(liar, parcel)
            return second if peer.instance in told else parcel
        case Prepare(digest=digest) | Commit(digest=digest) | Checkpoint(digest=digest):
            if digest in liar.doubles and peer.instance in liar.doubles[digest][1]:
                return liar.signed(replace(parcel, digest=liar.doubles[digest][0]))
    return parcel


def _second_version(liar: Liar, message: PrePrepare) -> tuple[PrePrepare, frozenset[int]]:
    first = liar.digest(message.proposal)
    tx_hashes = message.tx_hashes[:-1] or message.tx_hashes
    proposal = replace(
        message.proposal,
        timestamp_ms=message.proposal.timestamp_ms + (first[0] & 1),
        tx_root=compute_tx_root(tx_hashes),
    )
    second = liar.digest(proposal)
    if first not in liar.doubles:
        liar.doubles[first] = (second, frozenset(peer.instance for peer in liar.some_peers()))
        liar.node.bodies[second] = tx_hashes
    changed = replace(message, proposal=proposal, tx_hashes=tx_hashes)
    return liar.signed(changed), liar.doubles[first][1]


# --- lies in view changes -------------------------------------------------------------------


def _view_lie(liar: Liar, posts: list[Post]) -> list[Post]:
    return [(peer, _false_view(liar, parcel), extra) for peer, parcel, extra in posts]


def _false_view(liar: Liar, parcel: Parcel) -> Parcel:
    random = liar.random
    match parcel:
        case ViewChange(view=view, prepared=prepared):
            changed = random.choice(
                (
                    replace(parcel, prepared=()),
                    replace(parcel, prepared=prepared[:-1]),
                    replace(parcel, prepared=prepared[1:]),
                    replace(parcel, view=view + random.choice((1, 2, 1_000))),
                    replace(parcel, view=VIEW_MAX - 1),
                    replace(parcel, passed_over=()),
                    replace(parcel, stable=invent_commit(parcel.stable)),
                )
            )
            return liar.signed(changed)
        case NewView() if parcel.sender == liar.index:
            return _forged_new_view(liar, parcel)
        case Status(stable_height=height):
            return liar.signed(replace(parcel, stable_height=height + random.choice((1, 3, 2**40))))
    return parcel


def _forged_new_view(liar: Liar, message: NewView) -> NewView:
    """Drop a VIEW-CHANGE, strip one of its certificates, or add all that the liar has seen."""
    changes = list(message.view_changes)
    position = liar.random.randrange(len(changes))
    match liar.random.randrange(4):
        case 0:
            del changes[position]
        case 1:
            changes[position] = replace(changes[position], prepared=())
        case 2:
            changes[position] = liar.signed(replace(changes[position], prepared=()))
        case _:
            known = [m for m in liar.memory if isinstance(m, ViewChange) and m.view == message.view]
            by_sender = {change.sender: change for change in [*changes, *known]}
            changes = [by_sender[sender] for sender in sorted(by_sender)]
    return liar.signed(replace(message, view_changes=tuple(changes)))


def _act_view_lie(liar: Liar, index: NodeIndex) -> list[Post]:
    """Ask for another view without cause, or open one that is not the liar's to open."""
    replica = liar.node.replica
    if replica is None or liar.random.random() < 0.6:
        return []
    view = replica.view + liar.random.choice((1, 1, 2, 5))
    stable = replica.stable
    message: Message = ViewChange(view, stable, (), index)
    match liar.random.randrange(5):
        case 0 if stable.height == 0:
            message = ViewChange(view, replace(stable, digest=hash_bytes(b"genesis?")), (), index)
        case 1:  # everything forged
            n = len(replica.validators)
            view += (index - replica.validators.leader(stable.height + 1, view)) % n
            forged = (liar.signed(ViewChange(view, stable, (), sender)) for sender in range(n))
            message = NewView(view, tuple(forged), index)
        case 2:  # its own real VIEW-CHANGE, many times
            own = liar.signed(ViewChange(view, stable, (), index))
            message = NewView(view, (own,) * replica.validators.quorum, index)
        case 3 | 4:  # others' real VIEW-CHANGEs: too few, or not the liar's to open
            message = _stolen_view(liar, replica, index) or message
    return [(peer, liar.signed(message), 0) for peer in liar.some_peers()]


def _stolen_view(liar: Liar, replica: Replica, index: NodeIndex) -> NewView | None:
    asked = [m for m in liar.memory if isinstance(m, ViewChange) and m.view > replica.view]
    if not asked:
        return None
    view = liar.random.choice(asked).view
    by_sender = {m.sender: m for m in asked if m.view == view}
    senders = sorted(by_sender)
    if liar.random.random() < 0.6:
        senders = senders[: replica.validators.fault_threshold + 1]
    return NewView(view, tuple(by_sender[sender] for sender in senders), index)


# --- small-scope mutation -------------------------------------------------------------------


def _mutate(liar: Liar, posts: list[Post]) -> list[Post]:
    return [
        (peer, _mutated(liar, parcel) if liar.random.random() < 0.3 else parcel, extra)
        for peer, parcel, extra in posts
    ]


def _mutated(liar: Liar, parcel: Parcel) -> Parcel:
    if isinstance(parcel, bytes):
        return parcel
    changed: Message = mutate_value(liar, parcel)
    return liar.signed(changed) if liar.random.random() < 0.7 else changed


class Mutator(Protocol):
    """A random source, and older messages to take fields from."""

    random: Random
    memory: deque[Message]


def mutate_value(liar: Mutator, value: Any) -> Any:
    """Return `value` with one small change in it."""
    random = liar.random
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return max(0, value + random.choice((-1, 1, 1, 2, 2**33)))
    if isinstance(value, bytes):
        position = random.randrange(len(value)) if value else 0
        flipped = bytes([value[position] ^ 1]) if value else b"\0"
        return value[:position] + flipped + value[position + 1 :]
    if isinstance(value, tuple):
        if not value or random.random() < 0.3:
            return value[:-1] if random.random() < 0.5 else value + value[-1:]
        position = random.randrange(len(value))
        return (*value[:position], mutate_value(liar, value[position]), *value[position + 1 :])
    if is_dataclass(value):
        name = random.choice([item.name for item in fields(value)])
        whole: Any = value
        same = [m for m in liar.memory if type(m) is type(value)]
        if same and random.random() < 0.4:  # an older value of the same field
            return replace(whole, **{name: getattr(random.choice(same), name)})
        return replace(whole, **{name: mutate_value(liar, getattr(value, name))})
    return value


# --- proposals, results, help ---------------------------------------------------------------


def _propose_ill(liar: Liar, posts: list[Post]) -> list[Post]:
    """Propose something wrong: mostly the same to all peers, sometimes something else to each."""
    changed: dict[Parcel, Parcel] = {}
    is_one_for_all = liar.random.random() < 0.7
    result: list[Post] = []
    for peer, parcel, extra in posts:
        ill = parcel
        if isinstance(parcel, PrePrepare) and parcel.sender == liar.index:
            if parcel not in changed or not is_one_for_all:
                changed[parcel] = _ill_proposal(liar, parcel)
            ill = changed[parcel]
        result.append((peer, ill, extra))
    return result


def _ill_proposal(liar: Liar, message: PrePrepare) -> PrePrepare:
    proposal, hashes = message.proposal, message.tx_hashes
    unknown = hash_bytes(b"nobody sent this")
    first = hashes[0] if hashes else unknown
    doubled = (*hashes, first)
    match liar.random.randrange(8):
        case 0:  # a list that does not match the root; receivers' lists may differ (F11)
            return replace(message, tx_hashes=(liar.random.choice((unknown, first)),))
        case 1:
            proposal, hashes = replace(proposal, tx_root=compute_tx_root((unknown,))), (unknown,)
        case 2:
            proposal, hashes = replace(proposal, tx_root=compute_tx_root(doubled)), doubled
        case 3:
            proposal = replace(proposal, timestamp_ms=proposal.timestamp_ms + 3_600_000)
        case 4:
            proposal = replace(proposal, timestamp_ms=0)
        case 5:
            proposal = replace(proposal, previous=unknown)
        case 6:
            proposal = replace(proposal, is_barrier=not proposal.is_barrier)
        case _:
            committed = sorted(liar.node.committed)[:1] or [unknown]
            hashes = tuple(committed)
            proposal = replace(proposal, tx_root=compute_tx_root(hashes))
    ill = liar.signed(replace(message, proposal=proposal, tx_hashes=hashes))
    liar.node.bodies[liar.digest(proposal)] = hashes
    return ill


def _misexecute(liar: Liar, posts: list[Post]) -> list[Post]:
    return [
        (
            peer,
            liar.signed(replace(parcel, block_hash=hash_bytes(parcel.block_hash)))
            if isinstance(parcel, Checkpoint) and liar.random.random() < 0.7
            else parcel,
            extra,
        )
        for peer, parcel, extra in posts
    ]


# --- messages left out, late, or too many ---------------------------------------------------


def _silent(liar: Liar, posts: list[Post]) -> list[Post]:
    if liar.victims is None:
        everybody = frozenset(peer.instance for peer in liar.peers)
        some = frozenset(peer.instance for peer in liar.some_peers())
        liar.victims = everybody if liar.random.random() < 0.4 else some
    return [post for post in posts if post[0].instance not in liar.victims]


def _delay(liar: Liar, posts: list[Post]) -> list[Post]:
    extra_ms = liar.random.randint(0, DELAY_MS_MAX)
    return [
        (peer, parcel, extra + (extra_ms if isinstance(parcel, PrePrepare) else 0))
        for peer, parcel, extra in posts
    ]


def _act_replay(liar: Liar, index: NodeIndex) -> list[Post]:
    if not liar.memory:
        return []
    old = liar.random.choice(liar.memory)
    if isinstance(old, Prepare | Commit) and liar.random.random() < 0.5:
        kind = Commit if isinstance(old, Prepare) else Prepare
        old = kind(old.view, old.height, old.digest, old.sender, old.signature)
    return [(peer, old, 0) for peer in liar.some_peers()]


def _act_flood(liar: Liar, index: NodeIndex) -> list[Post]:
    replica = liar.node.replica
    if replica is None:
        return []
    posts: list[Post] = []
    for _ in range(FLOOD_MESSAGES):
        height = replica.stable.height + liar.random.choice((0, 1, 2, 3, 9, 60, 2**40))
        view = replica.view + liar.random.choice((0, 0, 1, 5, 2**40))
        digest = hash_bytes(liar.random.randbytes(4))
        message: Message
        match liar.random.randrange(4):
            case 0:
                message = Prepare(view, height, digest, index)
            case 1:
                message = Commit(view, height, digest, index)
            case 2:
                message = Checkpoint(height, digest, digest, index)
            case _:
                message = Status(view, height, index)
        posts += [(peer, liar.signed(message), 0) for peer in liar.some_peers()]
    return posts


def _garbage(liar: Liar, posts: list[Post]) -> list[Post]:
    return [
        (peer, _spoil(liar, parcel) if liar.random.random() < 0.3 else parcel, extra)
        for peer, parcel, extra in posts
    ]


def _spoil(liar: Liar, parcel: Parcel) -> bytes:
    data = bytearray(parcel if isinstance(parcel, bytes) else encode_message(parcel))
    random = liar.random
    match random.randrange(4):
        case 0:
            data = data[: random.randrange(len(data) + 1)]
        case 1:
            data += random.randbytes(random.randint(1, 8))
        case 2:
            data = bytearray(random.randbytes(random.randint(0, 64)))
        case _:
            for _ in range(random.randint(1, 4)):
                data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data)


CHANGES: Mapping[str, Callable[[Liar, list[Post]], list[Post]]] = MappingProxyType(
    {
        "accuse": accuse,
        "censor": _unchanged,
        "delay": _delay,
        "equivocate": _equivocate,
        "flood": _unchanged,
        "forge": forge,
        "garbage": _garbage,
        "misexecute": _misexecute,
        "mishelp": _unchanged,
        "mutate": _mutate,
        "mute": mute,
        "propose_ill": _propose_ill,
        "replay": _unchanged,
        "silent": _silent,
        "view_lie": _view_lie,
        "withhold": _unchanged,
    }
)
"""How each behaviour changes outgoing posts. censor, mishelp and withhold act in the edge."""
ACTIONS: Mapping[str, Callable[[Liar, NodeIndex], list[Post]]] = MappingProxyType(
    {"flood": _act_flood, "forge": act_forge, "replay": _act_replay, "view_lie": _act_view_lie}
)
"""The posts that a behaviour sends of its own accord."""
