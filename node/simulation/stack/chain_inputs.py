"""Block 0 of a simulated cluster, and what its clients register."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from lowu.contracts.account import Account
from lowu.contracts.registry import HASH_REGISTRY_ADDRESS, Role, encode_register_anchor
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.node.chain.transaction import Transaction, decode_transaction
from lowu.node.crypto import compute_public_key
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import GenesisConfig, OrgEntry, SchemaEntry
from lowu.node.simulation.stack.group_changes import GOVERNOR_KEY
from lowu.node.simulation.virtual_time import EPOCH_MS

TRANSACTIONS_MAX = 12
CHAIN_ID = 20_200
ISSUER = int(Role.ISSUER)


@lru_cache
def make_genesis(nodes: int, observers: int) -> tuple[GenesisConfig, ExecutedBlock]:
    """Return the genesis of a cluster and its block 0."""
    keys = [derive_node_key(index) for index in range(nodes)]
    watching = [derive_node_key(index) for index in range(nodes, nodes + observers)]
    genesis = GenesisConfig(
        chain_id="sim",
        group_id="group0",
        web3_chain_id=CHAIN_ID,
        timestamp_ms=EPOCH_MS - 1_000,
        tx_gas_limit=30_000_000,
        block_tx_count_limit=4,
        leader_period=1,
        sealers=tuple((compute_public_key(key).hex(), 1) for key in keys),
        observers=tuple(compute_public_key(key).hex() for key in watching),
        governor=Account(GOVERNOR_KEY).address.lower(),
        orgs=tuple(
            OrgEntry(number + 1, f"org{number}", 1 + number % 2, ISSUER, address, "11" * 64, (1,))
            for number, address in enumerate(_account_addresses())
        ),
        schemas=(SchemaEntry.of(SCHEMAS["cn.ecr/1"]),),
    )
    return genesis, build_genesis(genesis)


def derive_node_key(index: int) -> bytes:
    """Return a node's private key."""
    return hashlib.sha256(b"lowu/sim/node/%d" % index).digest()


def _account_key(number: int) -> bytes:
    return hashlib.sha256(b"lowu/sim/%d" % number).digest()


@lru_cache
def _account_addresses() -> tuple[str, ...]:
    return tuple(Account(_account_key(number)).address.lower() for number in range(3))


@lru_cache
def sign_registrations() -> tuple[Transaction, ...]:
    """Return registrations by three issuers, each in nonce order."""
    found = []
    for position in range(TRANSACTIONS_MAX):
        account = Account(_account_key(position % 3))
        anchor = hashlib.sha256(b"anchor %d" % position).digest()
        raw, _ = account.sign_transaction(
            to=HASH_REGISTRY_ADDRESS,
            data=encode_register_anchor(anchor, schema=1),
            gas=250_000,
            nonce=position // 3,
            chain_id=CHAIN_ID,
        )
        found.append(decode_transaction(raw))
    return tuple(found)
