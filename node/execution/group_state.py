"""What the state says about the group: its nodes and settings, and who votes on them."""

from __future__ import annotations

from lowu.contracts.abi import Function
from lowu.contracts.group import consensus_function, decode_nodes
from lowu.contracts.registry import (
    CONSENSUS_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    SYSTEM_CONFIG_ADDRESS,
    Role,
)
from lowu.contracts.system_config import decode_settings, system_function
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.roster import Roster
from lowu.node.crypto import keccak256
from lowu.node.errors import DamagedData
from lowu.node.execution.account_db import encode_slot
from lowu.node.execution.evm import BlockContext, Evm
from lowu.node.execution.flat_state import TABLE_STORAGE, StateReader

ROSTER_GAS = 100_000_000
"""More than reading the most nodes that a group can have needs."""
ACCOUNTS_SLOT = 2
"""Where OrgRegistry keeps its accounts: a mapping to the organisation (2 bytes) and roles (1)."""


def read_roster(state: StateReader, block: BlockContext) -> Roster:
    """Return the nodes of the group, and their settings, that the ledger has in a state.

    Raises:
        DamagedData: a contract does not answer, which no chain can reach.
    """
    evm = Evm(state, block)

    def read(address: bytes, function: Function) -> bytes:
        outcome = evm.call(bytes(20), address, 0, function.encode_call(), ROSTER_GAS)
        if outcome.status is not ReceiptStatus.SUCCESS:
            raise DamagedData(f"{function.name} of the group fails: {outcome.status.name}")
        return outcome.output

    nodes = decode_nodes(read(CONSENSUS_ADDRESS, consensus_function("getNodes")))
    values = read(SYSTEM_CONFIG_ADDRESS, system_function("getValues"))
    # Nothing is there on a chain of an earlier format.
    return Roster.of(nodes, decode_settings(values) if values else None)


def has_vote(state: StateReader, account: bytes) -> bool:
    """Whether an account has the role that votes on proposals; cheap, as anybody may ask."""
    place = keccak256(account.rjust(32, b"\0") + ACCOUNTS_SLOT.to_bytes(32, "big"))
    slot = encode_slot(ORG_REGISTRY_ADDRESS, int.from_bytes(place, "big"))
    packed = int.from_bytes(state.get(TABLE_STORAGE, slot), "big")
    return bool(packed >> 16 & Role.GOVERNOR)
