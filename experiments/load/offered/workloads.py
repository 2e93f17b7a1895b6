"""Workloads of one transaction each: registrations, and those by which systems are compared."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random
from typing import Any

import trio

from lowu.contracts.abi import load_artifact
from lowu.contracts.account import Account
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    encode_register_anchor,
    encode_register_batch,
)
from lowu.experiments.load.offered.dialects import Dialect, has_failed, read_created, read_number
from lowu.experiments.load.offered.steps import WorkloadCall
from lowu.node.client import ClientError, RemoteError, RpcClient

CUSTOMERS = 10_000
"""Of SmallBank."""
BATCH_MAX = 10_000
YCSB_KEYS = 10_000
YCSB_ZIPF = 0.99
YCSB_BYTES = 100
"""Of a value: YCSB's are ten times as long, which costs a chain 30 times a registration."""
YCSB_SCAN_MAX = 20
AMOUNT_MAX = 100
SUPPLY = 10**24
DEPLOY_GAS = 5_000_000
RECEIPT_S = 60.0
"""How long the transaction that sets something up is waited for."""
POLL_S = 0.05
GAS_MAX = 250_000
"""No workload's transaction has a higher limit."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of transaction."""

    told: str
    contract: str
    """The artifact that is deployed before the load; empty if none is."""
    build: Callable[[int, int, bytes, Random], WorkloadCall]
    """Makes a call of its number, the sender's schema, the contract's address and randomness."""


def _register(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    data = encode_register_anchor((number + 1).to_bytes(32, "big"), schema=schema)
    return WorkloadCall(HASH_REGISTRY_ADDRESS, data, GAS_MAX)


def _do_nothing(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    return WorkloadCall(address, b"", 21_000)


def _approve(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    spender = "0x" + random.randbytes(20).hex()
    data = load_artifact("Token").functions["approve"].encode_call(spender, number + 1)
    return WorkloadCall(address, data, 100_000)


def _transfer(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    to = "0x" + random.randbytes(20).hex()
    data = load_artifact("Token").functions["transfer"].encode_call(to, 1)
    return WorkloadCall(address, data, 100_000)


def _small_bank(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    functions = load_artifact("SmallBank").functions
    one, other = random.randrange(CUSTOMERS), random.randrange(CUSTOMERS)
    amount = 1 + random.randrange(AMOUNT_MAX)
    name = random.choice(
        ("transactSavings", "depositChecking", "sendPayment", "writeCheck", "amalgamate")
    )
    if name == "sendPayment":  # of nothing: a balance that is too small would revert it
        data = functions[name].encode_call(one, other, 0)
    elif name == "amalgamate":
        data = functions[name].encode_call(one, other)
    else:
        data = functions[name].encode_call(one, amount)
    return WorkloadCall(address, data, 150_000)


def _register_batch(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    """Registers the root of a tree of 1 to 10,000 documents."""
    root, count = (number + 1).to_bytes(32, "big"), 1 + random.randrange(BATCH_MAX)
    return WorkloadCall(
        HASH_REGISTRY_ADDRESS, encode_register_batch(root, count, schema=schema), GAS_MAX
    )


def _set_number(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    data = load_artifact("Performance").functions["set"].encode_call(number + 1)
    return WorkloadCall(address, data, 100_000)


def _transfer_apart(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
    data = (
        load_artifact("Performance")
        .functions["transfer"]
        .encode_call(f"from-{number}", f"to-{number}", 1)
    )
    return WorkloadCall(address, data, 150_000)


def _ycsb(shares: Mapping[str, float]) -> Callable[[int, int, bytes, Random], WorkloadCall]:
    """Return a YCSB workload of these operations, by share."""

    def build(number: int, schema: int, address: bytes, random: Random) -> WorkloadCall:
        functions = load_artifact("KeyValue").functions
        (kind,) = random.choices(list(shares), list(shares.values()))
        key = bisect(_zipf(), random.random())
        if kind == "latest":  # the newest keys are read most
            kind, key = "read", max(0, YCSB_KEYS + number - key)
        if kind == "insert":
            kind, key = "update", YCSB_KEYS + number
        if kind == "read":
            data = functions["read"].encode_call(key)
        elif kind == "scan":
            data = functions["scan"].encode_call(key, 1 + random.randrange(YCSB_SCAN_MAX))
        else:
            data = functions[kind].encode_call(key, random.randbytes(YCSB_BYTES))
        return WorkloadCall(address, data, GAS_MAX)

    return build


@cache
def _zipf() -> list[float]:
    """Return the shares, summed up, of keys whose popularity falls as YCSB's zipfian does."""
    weights = [1 / (rank + 1) ** YCSB_ZIPF for rank in range(YCSB_KEYS)]
    total = sum(weights)
    return [item / total for item in accumulate(weights)]


YCSB = {
    "ycsb-a": {"read": 0.5, "update": 0.5},
    "ycsb-b": {"read": 0.95, "update": 0.05},
    "ycsb-c": {"read": 1.0},
    "ycsb-d": {"latest": 0.95, "insert": 0.05},
    "ycsb-e": {"scan": 0.95, "insert": 0.05},
    "ycsb-f": {"read": 0.5, "modify": 0.5},
}
"""YCSB's core workloads: their operations, by share."""
WORKLOADS = {
    "register": Workload("anchors are registered, by every issuer", "", _register),
    "nothing": Workload("transactions that do nothing (DoNothing)", "", _do_nothing),
    "transfer": Workload("ERC-20 transfers, each to a fresh account", "Token", _transfer),
    "approve": Workload("ERC-20 approvals, each a new slot", "Token", _approve),
    "smallbank": Workload(
        "SmallBank's five writing operations, over 10,000 customers", "SmallBank", _small_bank
    ),
    "batch": Workload("roots of 1 to 10,000 documents are registered", "", _register_batch),
    "performance": Workload("one number is set (PerformanceOk)", "Performance", _set_number),
    "parallel": Workload(
        "transfers that touch no account twice (ParallelOk)", "Performance", _transfer_apart
    ),
    **{
        name: Workload(f"YCSB's workload {name[-1].upper()}", "KeyValue", _ycsb(shares))
        for name, shares in YCSB.items()
    },
}


async def deploy(
    client: RpcClient,
    names: Sequence[str],
    senders: Sequence[str],
    account: Account,
    dialect: Dialect,
) -> dict[str, bytes]:
    """Create the contracts of workloads by a fresh account; return their addresses.

    Tokens are handed out to the senders.

    Raises:
        ClientError, RemoteError: the node does not answer, refuses, or commits nothing.
        ValueError: a contract could not be created.
    """
    found: dict[str, bytes] = {}
    nonce = 0

    async def send(to: bytes, data: bytes) -> Any:
        nonlocal nonce
        method, params = dialect.ask_height()
        height = read_number(await client.call(method, *params))
        call = WorkloadCall(to, data, DEPLOY_GAS)
        raw, tx_hash = dialect.sign(account, call, nonce, height)
        nonce += 1
        method, params = dialect.send(raw)
        await client.call(method, *params)
        receipt = await _wait_for_receipt(client, dialect, tx_hash)
        if has_failed(receipt, dialect):
            raise ValueError("a workload's contract could not be set up: its transaction reverted")
        return receipt

    for name in names:
        artifact = load_artifact(name)
        creation = artifact.bytecode
        if name == "Token":
            creation = artifact.encode_deploy(["uint256"], [SUPPLY])
        found[name] = read_created(await send(b"", creation))
        for sender in senders if name == "Token" else ():
            share = SUPPLY // len(senders)
            await send(found[name], artifact.functions["transfer"].encode_call(sender, share))
    return found


async def _wait_for_receipt(client: RpcClient, dialect: Dialect, tx_hash: str) -> Any:
    method, params = dialect.ask_receipt(tx_hash)
    with trio.move_on_after(RECEIPT_S):
        while True:
            with suppress(ClientError, RemoteError):  # FISCO BCOS 3.x refuses what is not there
                receipt = await client.call(method, *params)
                if receipt is not None:
                    return receipt
            await trio.sleep(POLL_S)
    raise ClientError(f"{client.url}: no receipt of {tx_hash} within {RECEIPT_S:.0f} s")
