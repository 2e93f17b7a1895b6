"""The regulator's view: counts and alerts from an observer's node, without any document content.

The counts are stored with the height they reach, so that after a restart the regulator continues
there and counts no event twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from eth_abi.abi import decode

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    VerdictClass,
)
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.responses import EventLog, answers_of
from lowu.institutions.package.forms import FormError
from lowu.institutions.service.store import Store
from lowu.node.client import ClientError, RemoteError, RpcClient

MASS = 3
"""So many withdrawals by one issuer raise an alert,"""
MASS_BLOCKS = 20
"""if they fall within so many blocks."""
RANGE_BLOCKS = 1_000
"""Blocks read in one request."""
LAG_BLOCKS = 1_000
"""Blocks that a node may be behind the height read before."""
RANGES_MAX = 1_000
"""Block ranges read in one `catch_up`, however high a chain the node claims."""
SCHEMAS_MAX = 256
"""Highest schema number that is accepted."""
_KEY = b"view/2"
"""Changes with the form of `View`: a view of an older form is ignored, and counted again."""


@dataclass(slots=True)
class View:
    """Counts and alerts up to a height."""

    height: int = 0
    registered: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By issuer and schema number; a batch counts once."""
    last_registered: dict[int, int] = field(default_factory=dict)
    """By issuer: the height of its last registration."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """By verdict class; only presentations that were used up are on chain."""
    withdrawn: Counter[int] = field(default_factory=Counter)
    """By issuer: revoked anchors and batch leaves, including erased leaves."""
    erased: Counter[int] = field(default_factory=Counter)
    """By issuer: anchors and batch leaves marked as erased; some were revoked before."""
    withdrawals: dict[int, list[int]] = field(default_factory=dict)
    """By issuer: the heights of its last `MASS` withdrawals."""
    mass_withdrawals: dict[int, int] = field(default_factory=dict)
    """By issuer that withdrew many at once: the height of the last alert."""
    compromised: dict[tuple[int, int], int] = field(default_factory=dict)
    """By issuer and key number: the height from which the key is reported as stolen."""

    def dormant(self, issuers: Iterable[int], blocks: int | None = None) -> list[int]:
        """Return the issuers that registered nothing, ever or in the last `blocks` blocks."""
        since = 0 if blocks is None else self.height - blocks + 1
        return [item for item in issuers if self.last_registered.get(item, -1) < since]


class Regulator:
    """Follows the chain at an observer's node."""

    def __init__(self, client: RpcClient, store: Store, *, from_height: int = 0) -> None:
        self._registry = Registry(client)
        self._kept = store.open("regulator", _encode, _decode)
        self.view = self._kept.get(_KEY) or View(height=from_height - 1)

    async def catch_up(self) -> View:
        """Read new blocks, up to a limit per call; return the updated view.

        Raises:
            ClientError: the node could not be asked, or is far behind the height read before.
            RemoteError: the node refused. What was read so far is kept.
        """
        head = (await self._registry.get_latest_block())["number"]
        if head < self.view.height - LAG_BLOCKS:
            raise ClientError(
                f"{self._registry.client.url}: at block {head}, but {self.view.height} was read "
                "before. Either the node lags behind, or the store is of another chain: then "
                "remove the store, and counting starts again"
            )
        blocks = RANGE_BLOCKS
        for _ in range(RANGES_MAX):
            if self.view.height >= head:
                break
            last = min(head, self.view.height + blocks)
            try:
                await self._read(self.view.height + 1, last)
            except RemoteError:
                if blocks == 1:
                    raise
                blocks //= 2  # a node limits the events in one answer
        return self.view

    async def _read(self, first: int, last: int) -> None:
        view = _decode(_encode(self.view))  # if the node fails half way, nothing is half counted
        events = {
            topics: await self._registry.find_logs(address, [topics], first, last)
            for address, topics in _FOLLOWED
        }
        with answers_of(self._registry.client.url):
            for item in (item for found in events.values() for item in found):
                if not first <= item.height <= last:
                    raise FormError(f"event of block {item.height}, not of {first} to {last}")
            for item in events[_REGISTERED]:
                view.registered[item.number(1), item.number(3, SCHEMAS_MAX)] += 1
                view.last_registered[item.number(1)] = item.height
            for item in events[_CONSUMED]:
                (verdict,) = decode(["uint8"], item.data)
                view.verdicts[VerdictClass(verdict).name] += 1
            for item in events[_WITHDRAWN]:
                _note_withdrawal(view, item)
            for item in events[_ERASED]:
                view.erased[item.number(1)] += 1
            for item in events[_COMPROMISED]:
                (since,) = decode(["uint64"], item.data)
                view.compromised[item.number(1), item.number(2)] = since
        view.height = last
        self._kept[_KEY] = view
        self.view = view


def is_mass(heights: list[int]) -> bool:
    """Whether the latest withdrawals, in order, are many and close enough for an alert."""
    return len(heights) >= MASS and heights[-1] - heights[-MASS] < MASS_BLOCKS


def _note_withdrawal(view: View, item: EventLog) -> None:
    issuer = item.number(1)
    view.withdrawn[issuer] += 1
    heights = [*view.withdrawals.get(issuer, []), item.height][-MASS:]
    view.withdrawals[issuer] = heights
    if is_mass(heights):
        view.mass_withdrawals[issuer] = heights[-1]


def _topics(contract: str, *names: str) -> tuple[bytes, ...]:
    events = load_artifact(contract).events
    return tuple(events[name].topic for name in names)


_REGISTERED = _topics("HashRegistry", "AnchorRegistered", "BatchRegistered")
_WITHDRAWN = _topics("HashRegistry", "AnchorRevoked", "LeafRevoked")
_ERASED = _topics("HashRegistry", "AnchorErased", "LeafErased")
_CONSUMED = _topics("VerificationLog", "PresentationConsumed")
_COMPROMISED = _topics("OrgRegistry", "KeyCompromised")
_FOLLOWED = (
    (HASH_REGISTRY_ADDRESS, _REGISTERED),
    (HASH_REGISTRY_ADDRESS, _WITHDRAWN),
    (HASH_REGISTRY_ADDRESS, _ERASED),
    (VERIFICATION_LOG_ADDRESS, _CONSUMED),
    (ORG_REGISTRY_ADDRESS, _COMPROMISED),
)


def _encode(view: View) -> bytes:
    return json.dumps(
        {
            "height": view.height,
            "registered": [[*key, count] for key, count in view.registered.items()],
            "last_registered": list(view.last_registered.items()),
            "verdicts": view.verdicts,
            "withdrawn": list(view.withdrawn.items()),
            "erased": list(view.erased.items()),
            "withdrawals": list(view.withdrawals.items()),
            "mass_withdrawals": list(view.mass_withdrawals.items()),
            "compromised": [[*key, since] for key, since in view.compromised.items()],
        }
    ).encode()


def _decode(data: bytes) -> View:
    raw = json.loads(data)
    return View(
        height=raw["height"],
        registered=Counter({(issuer, schema): n for issuer, schema, n in raw["registered"]}),
        last_registered=dict(raw["last_registered"]),
        verdicts=Counter(raw["verdicts"]),
        withdrawn=Counter(dict(raw["withdrawn"])),
        erased=Counter(dict(raw["erased"])),
        withdrawals=dict(raw["withdrawals"]),
        mass_withdrawals=dict(raw["mass_withdrawals"]),
        compromised={(issuer, key): since for issuer, key, since in raw["compromised"]},
    )
