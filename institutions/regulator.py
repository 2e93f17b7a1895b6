"""The regulator's desk: counts and alerts from an observer's node, and nothing of a document.

What was counted is stored with the height up to which it was, so that the desk goes on where it
stopped and no event counts twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import decode

from contracts.abi import load_artifact
from contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    VerdictClass,
)
from institutions.registry import Registry
from institutions.store import Store
from node.client import RemoteError, RpcClient

MASS = 3
"""Withdrawals by one issuer that are an alert,"""
MASS_BLOCKS = 20
"""within so many blocks."""
RANGE_BLOCKS = 1_000
"""Read at once."""
_KEY = b"view"


@dataclass(slots=True)
class View:
    """What has been seen up to a height."""

    height: int = 0
    registered: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By issuer and schema number; a batch counts once."""
    last_registered: dict[int, int] = field(default_factory=dict)
    """By issuer: the height of its last registration."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """By class; only presentations that were used up are on chain."""
    withdrawals: dict[int, list[int]] = field(default_factory=dict)
    """By issuer: the heights of the last `MASS` of them."""
    mass_withdrawals: dict[int, int] = field(default_factory=dict)
    """Issuers that withdrew many at once, and the height at which that was seen."""
    compromised: dict[tuple[int, int], int] = field(default_factory=dict)
    """By issuer and key: since when it was reported as stolen."""

    def dormant(self, issuers: Iterable[int], blocks: int | None = None) -> list[int]:
        """Return who of some issuers registered nothing, at all or in so many last blocks."""
        since = 0 if blocks is None else self.height - blocks + 1
        return [item for item in issuers if self.last_registered.get(item, -1) < since]


class RegulatorDesk:
    """Follows the chain at an observer's node."""

    def __init__(self, client: RpcClient, store: Store, *, from_height: int = 0) -> None:
        self._client = client
        self._kept = store.open("regulator", _encode, _decode)
        self.view = self._kept.get(_KEY) or View(height=from_height - 1)

    async def catch_up(self) -> View:
        """Read what is new; return all that has been seen.

        Raises:
            ClientError: the node could not be asked; what was read so far is kept.
        """
        head = (await Registry(self._client).get_latest_block())["number"]
        blocks = RANGE_BLOCKS
        while self.view.height < head:
            last = min(head, self.view.height + blocks)
            try:
                await self._read(self.view.height + 1, last)
            except RemoteError:
                if blocks == 1:
                    raise
                blocks //= 2  # a node gives a limited number of events at once
        return self.view

    async def _read(self, first: int, last: int) -> None:
        view = _decode(_encode(self.view))  # a node that fails half way leaves nothing half counted
        for item in await self._find(HASH_REGISTRY_ADDRESS, _REGISTERED, first, last):
            issuer = _number(item, 1)
            view.registered[issuer, _number(item, 3)] += 1
            view.last_registered[issuer] = _height(item)
        for item in await self._find(VERIFICATION_LOG_ADDRESS, _CONSUMED, first, last):
            (verdict,) = decode(["uint8"], bytes.fromhex(item["data"][2:]))
            view.verdicts[VerdictClass(verdict).name] += 1
        for item in await self._find(HASH_REGISTRY_ADDRESS, _WITHDRAWN, first, last):
            issuer = _number(item, 1)
            heights = [*view.withdrawals.get(issuer, []), _height(item)][-MASS:]
            view.withdrawals[issuer] = heights
            if is_mass(heights):
                view.mass_withdrawals[issuer] = heights[-1]
        for item in await self._find(ORG_REGISTRY_ADDRESS, _COMPROMISED, first, last):
            (since,) = decode(["uint64"], bytes.fromhex(item["data"][2:]))
            view.compromised[_number(item, 1), _number(item, 2)] = since
        view.height = last
        self._kept[_KEY] = view
        self.view = view

    async def _find(
        self, address: bytes, topics: list[str], first: int, last: int
    ) -> list[dict[str, Any]]:
        wanted = {
            "address": "0x" + address.hex(),
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [topics],
        }
        found: list[dict[str, Any]] = await self._client.call("eth_getLogs", wanted)
        return found


def is_mass(heights: list[int]) -> bool:
    """Whether the last withdrawals, in order, are so many and so close that it is an alert."""
    return len(heights) >= MASS and heights[-1] - heights[-MASS] < MASS_BLOCKS


def _topics(contract: str, *names: str) -> list[str]:
    events = load_artifact(contract).events
    return ["0x" + events[name].topic.hex() for name in names]


_REGISTERED = _topics("HashRegistry", "AnchorRegistered", "BatchRegistered")
_WITHDRAWN = _topics("HashRegistry", "AnchorRevoked", "LeafRevoked")
_CONSUMED = _topics("VerificationLog", "PresentationConsumed")
_COMPROMISED = _topics("OrgRegistry", "KeyCompromised")


def _number(item: dict[str, Any], place: int) -> int:
    return int(item["topics"][place], 16)


def _height(item: dict[str, Any]) -> int:
    return int(item["blockNumber"], 16)


def _encode(view: View) -> bytes:
    return json.dumps(
        {
            "height": view.height,
            "registered": [[*key, count] for key, count in view.registered.items()],
            "last_registered": list(view.last_registered.items()),
            "verdicts": view.verdicts,
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
        withdrawals=dict(raw["withdrawals"]),
        mass_withdrawals=dict(raw["mass_withdrawals"]),
        compromised={(issuer, key): since for issuer, key, since in raw["compromised"]},
    )
