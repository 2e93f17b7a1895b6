"""What the group has set for all nodes: FISCO BCOS's SystemConfig contract, its keys, its calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lowu.contracts.abi import Function, load_artifact

NO_SUCH_KEY = -1
"""The height that the contract returns for a key that it does not have."""


class SystemKey(StrEnum):
    """FISCO BCOS's names of the settings that may be changed while the chain runs."""

    TX_COUNT_LIMIT = "tx_count_limit"
    LEADER_PERIOD = "consensus_leader_period"
    TX_GAS_LIMIT = "tx_gas_limit"


BOUNDS = {
    SystemKey.TX_COUNT_LIMIT: (1, 10_000),
    SystemKey.LEADER_PERIOD: (1, 1_000_000),
    SystemKey.TX_GAS_LIMIT: (3_000_000, 100_000_000),
}
"""The least and the most that the contract takes. Genesis may have less gas than that; but with
less than votes need the group could not raise it again."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What holds for all nodes at some height."""

    tx_count_limit: int
    """Transactions in one block."""
    leader_period: int
    """Blocks that one leader proposes before the next one does."""
    tx_gas_limit: int
    """Gas that one transaction may use."""

    def get(self, key: SystemKey) -> int:
        """Return the value of a key."""
        values = {
            SystemKey.TX_COUNT_LIMIT: self.tx_count_limit,
            SystemKey.LEADER_PERIOD: self.leader_period,
            SystemKey.TX_GAS_LIMIT: self.tx_gas_limit,
        }
        return values[key]


def system_function(name: str) -> Function:
    """Return a function of SystemConfig."""
    return load_artifact("SystemConfig").functions[name]


def encode_first_settings(settings: GroupSettings) -> bytes:
    """Return the call that genesis makes with its settings."""
    return system_function("begin").encode_call(
        settings.tx_count_limit, settings.leader_period, settings.tx_gas_limit
    )


def decode_settings(data: bytes) -> GroupSettings:
    """Return the settings in the answer of `getValues`."""
    return GroupSettings(*system_function("getValues").decode_output(data))
