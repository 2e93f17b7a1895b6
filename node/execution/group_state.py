"""What the state says about the group: its nodes, and who votes on them."""

from __future__ import annotations

from lowu.contracts.group import consensus_function, decode_nodes
from lowu.contracts.registry import CONSENSUS_ADDRESS, ORG_REGISTRY_ADDRESS, Role
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
    """Return the nodes of the group that the ledger has in a state.

    Raises:
        DamagedData: the contract does not answer, which no chain can reach.
    """
    data = consensus_function("getNodes").encode_call()
    outcome = Evm(state, block).call(bytes(20), CONSENSUS_ADDRESS, 0, data, ROSTER_GAS)
    if outcome.status is not ReceiptStatus.SUCCESS:
        raise DamagedData(f"the group's nodes cannot be read: {outcome.status.name}")
    return Roster.of(decode_nodes(outcome.output))


def has_vote(state: StateReader, account: bytes) -> bool:
    """Whether an account has the role that votes on proposals; cheap, as anybody may ask."""
    place = keccak256(account.rjust(32, b"\0") + ACCOUNTS_SLOT.to_bytes(32, "big"))
    slot = encode_slot(ORG_REGISTRY_ADDRESS, int.from_bytes(place, "big"))
    packed = int.from_bytes(state.get(TABLE_STORAGE, slot), "big")
    return bool(packed >> 16 & Role.GOVERNOR)
