"""Liars that game the choice of leaders (rules R-LEAD-2 to R-LEAD-4).

mute     votes for everything, and never proposes or opens a view
accuse   names every honest validator for as long as it may, or longer; leaves VIEW-CHANGEs that
         name a liar out of its NEW-VIEWs, if it can
"""

from __future__ import annotations

from dataclasses import replace

from lowu.consensus.leaders import ROUNDS_MAX, rounds_to_heights
from lowu.consensus.messages import NewView, PrePrepare, ViewChange
from lowu.consensus.simulation.node import Liar
from lowu.consensus.simulation.simulated_links import Parcel, Post

FALSIFIED_SHARE = 0.3


def mute(liar: Liar, posts: list[Post]) -> list[Post]:
    """Drop the PRE-PREPAREs and NEW-VIEWs that a liar sends as a leader."""
    return [
        post
        for post in posts
        if not (isinstance(post[1], PrePrepare | NewView) and post[1].sender == liar.index)
    ]


def accuse(liar: Liar, posts: list[Post]) -> list[Post]:
    """Name honest leaders, and leave out VIEW-CHANGEs that name a liar; the same to all peers."""
    changed: dict[Parcel, Parcel] = {}
    result: list[Post] = []
    for peer, parcel, extra in posts:
        if parcel not in changed:
            changed[parcel] = _accusing(liar, parcel)
        result.append((peer, changed[parcel], extra))
    return result


def _accusing(liar: Liar, parcel: Parcel) -> Parcel:
    replica = liar.node.replica
    if replica is None or isinstance(parcel, bytes) or parcel.sender != liar.index:
        return parcel
    liars = {item.index for item in liar.accomplices}
    if isinstance(parcel, ViewChange):
        rounds = liar.random.choice((1, ROUNDS_MAX, ROUNDS_MAX, ROUNDS_MAX + 1))
        until = parcel.stable.height + rounds_to_heights(replica.validators, rounds)
        others = (index for index in range(len(replica.validators)) if index not in liars)
        return liar.signed(replace(parcel, passed_over=tuple((index, until) for index in others)))
    if isinstance(parcel, NewView):
        asked = {change.sender: change for change in parcel.view_changes}
        for change in (item for item in liar.memory if isinstance(item, ViewChange)):
            is_member = change.sender < len(replica.validators)  # senders may have left since
            if change.view == parcel.view and is_member:
                asked.setdefault(change.sender, change)
        kind = [
            index for index in asked if not liars & {name for name, _ in asked[index].passed_over}
        ]
        rest = [index for index in sorted(asked) if index not in kind]
        while rest and not replica.validators.has_quorum(kind):
            kind.append(rest.pop())
        chosen = [asked[index] for index in sorted(kind)]
        if liar.random.random() < FALSIFIED_SHARE:
            chosen = [replace(change, passed_over=()) for change in chosen]
        return liar.signed(replace(parcel, view_changes=tuple(chosen)))
    return parcel
