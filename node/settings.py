"""Every setting of a network file and of a node's config.ini: its range, and what it means.

docs/SETTINGS.md is written from this.
"""

from __future__ import annotations

from dataclasses import dataclass

TX_GAS_LIMIT_MIN, BLOCK_GAS_MAX = 100_000, 100_000_000
"""The second limits the sum in a block: at worst some 20 s of py-evm (docs/adr/0005)."""
BLOCK_TX_COUNT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the table [network]."""

    key: str
    kind: type
    """`int`, `bool`, `str`, or `list` of texts."""
    meaning: str
    low: int = 0
    high: int = 1
    is_fixed: bool = False
    """Whether a chain keeps it for good: it is in block 0, or keys follow from it."""
    ini: str = ""
    """Where it stands in config.ini: section and key."""


@dataclass(frozen=True, slots=True)
class NodeSetting:
    """One key of config.ini that a network file does not have."""

    section: str
    key: str
    default: str
    values: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What a node keeps besides the chain."""

    history_blocks: int = 256
    """Blocks below the head whose state can be read."""
    snapshot_blocks: int = 1_000
    """Blocks between two states that are kept for nodes that are far behind; 0 for none."""
    scrub_s: int = 60
    """Seconds after which all of it is read again, looking for damage; 0 for never."""
    keep_blocks: int = 0
    """Blocks whose transactions and receipts are kept, at least; 0 for all."""

    def find_problem(self) -> str:
        """Return why a node cannot keep so little; "" if it can.

        A node that is less than `snapshot_blocks` behind fetches blocks, and others have to have
        them, also those that have just loaded a state.
        """
        least = 2 * self.snapshot_blocks
        if self.keep_blocks and not self.snapshot_blocks:
            return "keep_blocks must be 0, for all, as nodes that are behind load no state"
        if 0 < self.keep_blocks < least:
            return f"keep_blocks must be 0, for all, or at least 2 × snapshot_blocks, {least}"
        return ""


_PORTS = (1_024, 65_000)
_LONG_MS = 600_000

SETTINGS = {
    item.key: item
    for item in (
        Setting("name", str, "name of the network: 1 to 32 letters, digits, '.', '_', '-'",
                is_fixed=True),
        Setting("seed", int, "all keys follow from it; for simulation only", 0, 2**53,
                is_fixed=True),
        Setting("chain_id", str, "FISCO BCOS's name of the chain", is_fixed=True),
        Setting("group_id", str, "FISCO BCOS's name of the group", is_fixed=True),
        Setting("web3_chain_id", int, "the number that transactions are signed for; if left out, "
                "`lowu up` draws one for each folder", 1, 2**53, is_fixed=True),
        Setting("genesis_time_ms", int, "time of block 0, in ms since 1970", 0, 2**53,
                is_fixed=True),
        Setting("tx_gas_limit", int, "gas that one transaction may use", TX_GAS_LIMIT_MIN,
                BLOCK_GAS_MAX,
                is_fixed=True),
        Setting("block_tx_count_limit", int, "transactions in one block", 1, BLOCK_TX_COUNT_MAX,
                is_fixed=True),
        Setting("leader_period", int, "blocks that one leader proposes before the next one does",
                1, 1_000_000, is_fixed=True),
        Setting("allow_one_side_quorum", bool, "whether one jurisdiction's validators may be a "
                "quorum alone"),
        Setting("consensus_timeout_ms", int, "ms without a block until validators change the "
                "leader", 100, _LONG_MS, ini="consensus.consensus_timeout"),
        Setting("min_seal_time_ms", int, "ms that a leader waits for more transactions", 1,
                _LONG_MS, ini="consensus.min_seal_time"),
        Setting("pipeline_size", int, "blocks proposed ahead of the last committed one; may only "
                "grow on a chain", 1, 1_000, ini="consensus.pipeline_size"),
        Setting("pool_limit", int, "transactions that a node's pool holds", 1, 10_000_000,
                ini="txpool.limit"),
        Setting("history_blocks", int, "blocks below the last one whose state a node still answers "
                "for; 0 for the last block only", 0, 1_000_000, ini="storage.history_blocks"),
        Setting("snapshot_blocks", int, "blocks between two states that a node keeps for others; "
                "one that is so far behind loads such a state; 0 for never", 0, 1_000_000,
                ini="storage.snapshot_blocks"),
        Setting("scrub_s", int, "seconds after which a node reads all its records again, and mends "
                "what it finds damaged from its peers; 0 for never", 0, 1_000_000,
                ini="storage.scrub_s"),
        Setting("keep_blocks", int, "blocks whose transactions and receipts a node keeps, at least "
                "2 × snapshot_blocks; 0 for all", 0, 1_000_000_000, ini="storage.keep_blocks"),
        Setting("p2p_port", int, "first port of nodes among themselves; node i has this plus i",
                *_PORTS, ini="p2p.listen_port"),
        Setting("rpc_port", int, "first port of FISCO BCOS's JSON-RPC", *_PORTS,
                ini="rpc.listen_port"),
        Setting("web3_port", int, "first port of Ethereum's JSON-RPC", *_PORTS,
                ini="web3_rpc.listen_port"),
        Setting("rpc_hosts", list, "names, besides those of this machine, under which JSON-RPC is "
                "served", ini="rpc.allowed_hosts"),
        Setting("rpc_origins", list, "origins whose web pages may use JSON-RPC",
                ini="rpc.allowed_origins"),
        Setting("tap", bool, "whether nodes copy all their traffic, unencrypted, to log/tap.bin",
                ini="others.tap"),
        Setting("allow_lies", bool, "whether clients may have nodes lie, slow their disks, shift "
                "their clocks and fail at durable steps, for experiments only",
                ini="others.allow_lies"),
    )
}  # fmt: skip
"""By key, in the order in which people read them."""

NODE_SETTINGS = (
    NodeSetting("p2p", "listen_ip", "127.0.0.1", "an address", "where the node listens for others"),
    NodeSetting("p2p", "nodes_file", "nodes.json", "a file", "the addresses of all nodes"),
    NodeSetting("rpc", "listen_ip", "127.0.0.1", "an address", "written for FISCO BCOS's tools"),
    NodeSetting("web3_rpc", "listen_ip", "127.0.0.1", "an address", "the same"),
    NodeSetting("txpool", "txs_expiration_time", "600", "1 to 86400",
                "seconds until a transaction that no block takes is dropped"),
    NodeSetting("executor", "evm", "compiled", "compiled, interpreted, both",
                "the EVM; `both` runs both and stops at a difference"),
    NodeSetting("log", "level", "info", "trace, debug, info, warning, error",
                "the least important messages in the log"),
)  # fmt: skip
