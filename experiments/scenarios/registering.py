"""Registrations that go on while a scenario does something to the network, and what must hold."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from lowu.contracts.registry import HASH_REGISTRY_ADDRESS, AnchorState, encode_register_anchor
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.actors.actors import Actors
from lowu.institutions.ledger.registry import Registry
from lowu.node.client import RemoteError, TransactionTimeout

ISSUERS = {"szcredit": "cn.ecr/1", "bea-hk": "grp.kyc/1"}
"""One issuer of each side, and the schema that it registers."""
IMPATIENCE_S = 5.0
NOT_KEPT = 4_444
"""What a node answers that has not kept a block."""
BLOCKS_ASKED = 500
"""Blocks read in one request."""


@dataclass(slots=True)
class RegisteredLoad:
    """Anchors that one institution registered, one after another."""

    acknowledged: list[bytes] = field(default_factory=list)
    timed_out: list[bytes] = field(default_factory=list)


async def register_one(actors: Actors, name: str, load: RegisteredLoad, timeout_s: float) -> None:
    """Register an anchor for an issuer, and note whether it was acknowledged in time."""
    anchor = secrets.token_bytes(32)
    call = encode_register_anchor(
        anchor, schema=SCHEMAS[ISSUERS[name]].number, key_id=actors.issuers[name].member.key_id
    )
    try:
        await actors.signers[name].send(HASH_REGISTRY_ADDRESS, call, timeout_s)
    except TransactionTimeout:
        load.timed_out.append(anchor)
    else:
        load.acknowledged.append(anchor)


async def keep_registering(actors: Actors, name: str, load: RegisteredLoad) -> None:
    """Register one anchor after another, for ever."""
    while True:
        await register_one(actors, name, load, IMPATIENCE_S)


async def count_wrong(actors: Actors, loads: dict[str, RegisteredLoad]) -> int:
    """Return how many registrations, acknowledged or timed out, are not there exactly once."""
    missing = 0
    for name, load in loads.items():
        registry = Registry(actors.clients[name])
        for anchor in (*load.acknowledged, *load.timed_out):
            record = await registry.get_record(actors.issuers[name].member.org_id, anchor)
            seen = await actors.find_events(name, "AnchorRegistered", anchor, 0)
            missing += record.state is not AnchorState.ACTIVE or len(seen) != 1
    return missing


async def count_forks(actors: Actors) -> int:
    """Return the number of heights at which nodes have different blocks.

    A node that has loaded a state has no blocks below it.
    """
    hashes: dict[int, set[str]] = {}
    for node in actors.plan.nodes:
        client = next(
            actors.clients[item.spec.id] for item in actors.plan.institutions if item.node is node
        )
        top = (await Registry(client).get_latest_block())["number"]
        for first in range(0, top + 1, BLOCKS_ASKED):
            numbers = range(first, min(first + BLOCKS_ASKED, top + 1))
            params = [[hex(number), False] for number in numbers]
            blocks = await client.call_many("eth_getBlockByNumber", params)
            for number, block in zip(numbers, blocks, strict=True):
                if not isinstance(block, RemoteError):
                    hashes.setdefault(number, set()).add(block["hash"])
                elif block.code != NOT_KEPT:
                    raise block
    return sum(len(found) > 1 for found in hashes.values())
