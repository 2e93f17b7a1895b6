"""Whether an observer can tell which anchors belong to one document (threats T2 and T3).

Every document gets an anchor for each of two receivers. The observer has only the registry's
events. For each anchor it guesses the other anchor of the document: by the bytes, or by the
nearest time of registration. Documents whose second anchor is registered at once are measured
separately from those whose second anchor follows later and in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from lowu.experiments.actors.actors import Actors, SeenEvent
from lowu.institutions.documents.document import build_enterprise_report
from lowu.institutions.roles.issuer import Issued

RECEIVERS = ("nova", "bea-hk")


@dataclass(frozen=True, slots=True)
class Linked:
    """The share of anchors that were guessed right, by bytes and by time."""

    documents: int
    by_bytes: float
    by_time: float
    chance: float
    """Share that a random guess gets right."""


async def measure(actors: Actors, count: int, random: Random, *, is_at_once: bool) -> Linked:
    """Register `count` documents for two receivers each, and guess."""
    issuer = actors.issuers["szcredit"]
    start = int(await actors.clients["hkma"].call("eth_blockNumber"), 16)
    issued: list[Issued] = []
    pairs: dict[bytes, bytes] = {}

    async def add(position: int) -> None:
        other = await issuer.add_audience(issued[position], actors.audience(RECEIVERS[1]))
        first = issued[position].anchor
        pairs[first], pairs[other.anchor] = other.anchor, first

    for number in range(count):
        document = build_enterprise_report(9_000 + number, actors.now_s())
        issued.append(await actors.issue("szcredit", document, "acme-sz", RECEIVERS[0]))
        if is_at_once:
            await add(number)
    if not is_at_once:
        for position in random.sample(range(count), count):
            await add(position)
    seen = [
        event
        for event in await actors.find_events("hkma", "AnchorRegistered", None, start + 1)
        if event.anchor in pairs
    ]
    return Linked(
        count,
        _share(seen, pairs, lambda one, other: _distance(one.anchor, other.anchor)),
        _share(seen, pairs, lambda one, other: abs(one.height - other.height)),
        1 / (2 * count - 1),
    )


def _distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _share(
    seen: Sequence[SeenEvent],
    pairs: dict[bytes, bytes],
    distance: Callable[[SeenEvent, SeenEvent], int],
) -> float:
    """Return the share of anchors whose nearest other is the right one; ties count in part."""
    right = 0.0
    for one in seen:
        others = [other for other in seen if other is not one]
        nearest = min(distance(one, other) for other in others)
        candidates = [other.anchor for other in others if distance(one, other) == nearest]
        right += (pairs[one.anchor] in candidates) / len(candidates)
    return right / len(seen)
