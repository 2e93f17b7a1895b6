"""What a regulator sees from an observer's node: counts and alerts, and nothing of a document."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode

from contracts.abi import load_artifact
from contracts.registry import HASH_REGISTRY_ADDRESS, VERIFICATION_LOG_ADDRESS, VerdictClass
from node.client import RpcClient

MASS = 3
"""Withdrawals by one issuer that are an alert,"""
MASS_BLOCKS = 20
"""within so many blocks."""


@dataclass(frozen=True, slots=True)
class View:
    """What was seen since a height."""

    registered: Counter[tuple[int, int]]
    """By issuer and schema number; a batch counts once."""
    verdicts: Counter[str]
    """By class; only presentations that were used up are on chain."""
    mass_revocations: list[int]
    """Issuers that withdrew many at once."""
    dormant: list[int]
    """Issuers, of those asked about, that registered nothing."""


async def _logs(
    client: RpcClient, contract: str, address: bytes, name: str, from_height: int
) -> list[dict[str, Any]]:
    wanted = {
        "address": "0x" + address.hex(),
        "fromBlock": hex(from_height),
        "toBlock": "latest",
        "topics": ["0x" + load_artifact(contract).events[name].topic.hex()],
    }
    found: list[dict[str, Any]] = await client.call("eth_getLogs", wanted)
    return found


def _issuer(item: dict[str, Any]) -> int:
    return int(item["topics"][1], 16)


async def observe(client: RpcClient, from_height: int, issuers: list[int]) -> View:
    """Count what an observer's node has since a height."""
    registered: Counter[tuple[int, int]] = Counter()
    for name in ("AnchorRegistered", "BatchRegistered"):
        for item in await _logs(client, "HashRegistry", HASH_REGISTRY_ADDRESS, name, from_height):
            registered[(_issuer(item), _schema(item))] += 1
    verdicts: Counter[str] = Counter()
    for item in await _logs(
        client,
        "VerificationLog",
        VERIFICATION_LOG_ADDRESS,
        "PresentationConsumed",
        from_height,
    ):
        (verdict,) = decode(["uint8"], bytes.fromhex(item["data"][2:]))
        verdicts[VerdictClass(verdict).name] += 1
    revoked: dict[int, list[int]] = {}
    for name in ("AnchorRevoked", "LeafRevoked"):
        for item in await _logs(client, "HashRegistry", HASH_REGISTRY_ADDRESS, name, from_height):
            revoked.setdefault(_issuer(item), []).append(int(item["blockNumber"], 16))
    active = {issuer for issuer, _ in registered}
    return View(
        registered,
        verdicts,
        [issuer for issuer, heights in sorted(revoked.items()) if is_mass(heights)],
        [issuer for issuer in issuers if issuer not in active],
    )


def _schema(item: dict[str, Any]) -> int:
    return int(item["topics"][3], 16)


def is_mass(heights: list[int]) -> bool:
    """Whether so many heights lie so close together that it is an alert."""
    ordered = sorted(heights)
    return any(
        later - first < MASS_BLOCKS
        for first, later in zip(ordered, ordered[MASS - 1 :], strict=False)
    )
