"""Block 0: the registry contracts at their fixed addresses, the organisations enrolled.

The contracts are deployed by running their creation code, and organisations are enrolled by
the governor's calls, so block 0 holds nothing that a transaction could not have written.
The state root, and with it the genesis hash, follows from the configuration alone.
"""

from __future__ import annotations

from functools import lru_cache, partial

from lowu.contracts.abi import load_artifact
from lowu.contracts.group import encode_begin
from lowu.contracts.registry import (
    CONSENSUS_ADDRESS,
    CONSENT_LOG_ADDRESS,
    GOVERNANCE_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    SYSTEM_CONFIG_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    Suite,
    decode_registry_error,
    org_function,
)
from lowu.contracts.system_config import encode_first_settings
from lowu.node.chain.block import VERSION, Header
from lowu.node.chain.merkle import EMPTY_ROOT
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.roster import Roster
from lowu.node.crypto import keccak256
from lowu.node.errors import ConfigError
from lowu.node.execution.evm import BlockContext, Evm, Outcome
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.execution.flat_state import EmptyState, compute_state_root
from lowu.node.genesis_config import GenesisConfig, OrgEntry, SchemaEntry

GENESIS_GAS = 30_000_000


@lru_cache(maxsize=8)
def build_genesis(genesis: GenesisConfig) -> ExecutedBlock:
    """Return block 0; `ConfigError` if an organisation cannot be enrolled.

    It is built once in a process. A supervisor does so before it forks the nodes, which then have
    the contracts compiled as well.
    """
    evm = Evm(
        EmptyState(),
        BlockContext(
            number=0,
            time_s=genesis.timestamp_ms // 1000,
            gas_limit=GENESIS_GAS,
            chain_id=genesis.web3_chain_id,
            block_hash=lambda number: None,
        ),
    )
    governor = bytes.fromhex(genesis.governor[2:])
    _deploy(evm, governor, genesis.has_system_config)
    for schema in genesis.schemas:
        _register_schema(evm, governor, schema)
    for start, end in genesis.routes:
        _govern(evm, governor, f"route {start} to {end}", "setRoute", start, end, True)
    for org in genesis.orgs:
        _enrol(evm, governor, org)
    first = encode_begin(genesis.nodes, is_one_side_allowed=genesis.allow_one_side_quorum)
    _check(evm.call(governor, CONSENSUS_ADDRESS, 0, first, GENESIS_GAS), "the list of nodes")
    settings = genesis.settings if genesis.has_system_config else None
    if settings is not None:
        values = encode_first_settings(settings)
        _check(evm.call(governor, SYSTEM_CONFIG_ADDRESS, 0, values, GENESIS_GAS), "the settings")
    writes = evm.writes()
    validators = genesis.validators
    header = Header(
        version=VERSION,
        number=0,
        parent_hash=bytes(32),
        proposal_digest=genesis.digest,
        tx_root=EMPTY_ROOT,
        receipt_root=EMPTY_ROOT,
        state_root=compute_state_root(bytes(32), writes),
        gas_used=0,
        timestamp_ms=genesis.timestamp_ms,
        sealer=0,
        sealer_list=tuple(item.node_id for item in validators.validators),
        weights=tuple(item.weight for item in validators.validators),
        extra_data=b"",
    )
    return ExecutedBlock(header, (), (), (), writes, Roster.of(genesis.nodes, settings))


def _check(outcome: Outcome, what: str) -> None:
    if outcome.status is not ReceiptStatus.SUCCESS:
        code = decode_registry_error(outcome.output)
        reason = code.name if code is not None else outcome.status.name
        raise ConfigError(f"genesis: {what} failed: {reason}")


_CONTRACTS = (
    ("OrgRegistry", ORG_REGISTRY_ADDRESS, (None, GOVERNANCE_ADDRESS)),
    ("HashRegistry", HASH_REGISTRY_ADDRESS, (ORG_REGISTRY_ADDRESS,)),
    ("ConsentLog", CONSENT_LOG_ADDRESS, (ORG_REGISTRY_ADDRESS,)),
    ("VerificationLog", VERIFICATION_LOG_ADDRESS, (ORG_REGISTRY_ADDRESS, CONSENT_LOG_ADDRESS)),
    ("Governance", GOVERNANCE_ADDRESS, (ORG_REGISTRY_ADDRESS,)),
    ("Consensus", CONSENSUS_ADDRESS, (ORG_REGISTRY_ADDRESS, GOVERNANCE_ADDRESS)),
    ("SystemConfig", SYSTEM_CONFIG_ADDRESS, (ORG_REGISTRY_ADDRESS, GOVERNANCE_ADDRESS)),
)
"""Name, address and constructor's arguments, all addresses; None stands for the governor."""


def _deploy(evm: Evm, governor: bytes, has_system_config: bool) -> None:
    for name, address, arguments in _CONTRACTS:
        if address == SYSTEM_CONFIG_ADDRESS and not has_system_config:
            continue
        values = [governor if item is None else item for item in arguments]
        code = load_artifact(name).encode_deploy(["address"] * len(values), values)
        _check(evm.create_at(governor, address, code, GENESIS_GAS), name)


def _govern(evm: Evm, governor: bytes, whom: str, function: str, *arguments: object) -> None:
    """Call OrgRegistry as the governor."""
    data = org_function(function).encode_call(*arguments)
    outcome = evm.call(governor, ORG_REGISTRY_ADDRESS, 0, data, GENESIS_GAS)
    _check(outcome, f"{function} for {whom}")


def _register_schema(evm: Evm, governor: bytes, schema: SchemaEntry) -> None:
    rules = (schema.version, bytes.fromhex(schema.rules), schema.jurisdiction, schema.max_age_s)
    witnesses = (schema.min_witness, schema.is_cross_witnessed)
    disclosure = (bytes.fromhex(schema.must_disclose), schema.sensitivity)
    what = (schema.number, *rules, *witnesses, *disclosure)
    _govern(evm, governor, f"schema {schema.id}", "registerSchema", *what)


def _enrol(evm: Evm, governor: bytes, org: OrgEntry) -> None:
    send = partial(_govern, evm, governor, f"organisation {org.name}")
    send("admitOrg", org.id, keccak256(org.name.encode()), org.jurisdiction, org.roles)
    send("setAccount", org.id, bytes.fromhex(org.account[2:]), org.roles)
    send("addKey", org.id, 1, int(Suite.SHA256_P256), bytes.fromhex(org.key))
    for schema in org.schemas:
        send("accredit", org.id, schema, 0)
