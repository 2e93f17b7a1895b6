"""A node's own state as RPC shows it: consensus, links, sync, pool, disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lowu.consensus.records import EvidenceRecord
from lowu.consensus.replica import Replica
from lowu.node.clock import Clock
from lowu.node.config import NodeConfig
from lowu.node.core.clock_check import ClockCheck
from lowu.node.core.sync import Sync
from lowu.node.errors import BadInput
from lowu.node.gateway.gateway import Gateway
from lowu.node.ledger.ledger import Ledger
from lowu.node.metrics import BlockPhases, CpuTimes
from lowu.node.simulation.byzantine import ByzantineGateway
from lowu.node.simulation.failpoints import Failpoints
from lowu.node.simulation.ordered_faults import DelayedStorage, ShiftedClock
from lowu.node.topology.faults.fail_order import parse_order


@dataclass(frozen=True, slots=True)
class ConsensusStatus:
    """Where a node stands in consensus."""

    is_validator: bool
    view: int = 0
    phase: str = "observing"
    next_leader: int = -1
    """Index of the validator that leads the next height; -1 at an observer."""
    failed_attempts: int = 0
    """View time-outs since the last committed block."""
    checkpoint_height: int = 0
    """The highest block that it has signed a CHECKPOINT of, or has committed."""


class NodeStatus:
    """One node as its RPC shows it."""

    def __init__(
        self,
        config: NodeConfig,
        ledger: Ledger,
        gateway: Gateway,
        sync: Sync,
        replica: Replica,
        clock_check: ClockCheck,
        cpu: CpuTimes,
        phases: BlockPhases,
        clock: Clock,
        disk: DelayedStorage | None = None,
        failpoints: Failpoints | None = None,
    ) -> None:
        """Take the parts."""
        self.config = config
        self._ledger = ledger
        self._gateway = gateway
        self._sync = sync
        self._replica = replica
        self._clock_check = clock_check
        self._cpu = cpu
        self._phases = phases
        self._clock = clock
        self._disk = disk
        self._failpoints = failpoints

    def set_lies(self, names: Iterable[str]) -> None:
        """Have the node lie so from now on; `BadInput` if it may not, or for an unknown lie."""
        if not isinstance(self._gateway, ByzantineGateway):
            raise BadInput("this node does not lie: its network has not the setting allow_lies")
        self._gateway.set_lies(names)

    def shift_clock(self, ahead_ms: int) -> None:
        """Have the node's clock be so far ahead, or behind; `BadInput` if it may not."""
        if not isinstance(self._clock, ShiftedClock):
            raise BadInput("this node's clock is not shifted: its network has not allow_lies")
        self._clock.ahead_ms = ahead_ms

    def slow_disk(self, delay_ms: int) -> None:
        """Have each durable write take so much longer; `BadInput` if it may not."""
        if self._disk is None:
            raise BadInput("this node's disk is not slowed: its network has not allow_lies")
        self._disk.delay_s = delay_ms / 1_000

    def fail(self, order: str) -> None:
        """Have the node fail at a durable step, once; `BadInput` if it may not."""
        if self._failpoints is None:
            raise BadInput("this node does not fail to order: its network has not allow_lies")
        self._failpoints.arm(parse_order(order) if order else None)

    @property
    def node_id(self) -> bytes:
        """The node's id."""
        return self._gateway.node_id

    @property
    def connected(self) -> frozenset[bytes]:
        """Node ids linked now."""
        return self._gateway.connected

    @property
    def consensus(self) -> ConsensusStatus:
        """Where the node stands in consensus now."""
        replica = self._replica
        if replica.validators.index_of(self.node_id) is None:
            height = self._ledger.head.number
            return ConsensusStatus(is_validator=False, checkpoint_height=height)
        return ConsensusStatus(
            is_validator=True,
            view=replica.view,
            phase=replica.phase,
            next_leader=replica.next_leader,
            failed_attempts=replica.failed_attempts,
            checkpoint_height=replica.checkpoint_height,
        )

    @property
    def clock_behind_ms(self) -> int:
        """How far this machine's clock is behind the other proposers'; 0 if it is in step."""
        return self._clock_check.behind_ms

    @property
    def lost_votes(self) -> str:
        """Why the validator's votes count as lost; empty if they do not."""
        return self._ledger.lost_votes

    @property
    def storage_damage(self) -> dict[str, int | str]:
        """Reads of damaged records since the start, the first of them, and what was mended."""
        damage = self._ledger.damage
        return {"reads": damage.reads, "first": damage.first, "mended": damage.mended}

    def list_evidence(self) -> list[EvidenceRecord]:
        """Return the stored proofs of equivocation."""
        records = self._ledger.load_records()
        return [record for record in records if isinstance(record, EvidenceRecord)]

    @property
    def is_syncing(self) -> bool:
        """Whether the node fetches blocks now."""
        return self._sync.is_syncing

    @property
    def known_highest(self) -> int:
        """The highest height that a linked peer has announced and that is not in doubt."""
        return self._sync.known_highest

    @property
    def peer_heights(self) -> dict[bytes, tuple[int, bytes]]:
        """The height and block hash that each peer announced last."""
        return self._sync.peer_heights

    def sync_progress(self) -> dict[str, str] | None:
        """Return how far the node is behind, in eth_syncing's form; None if it is not."""
        height, highest = self._ledger.head.number, self.known_highest
        if not self.is_syncing or highest <= height:
            return None
        heights = {"startingBlock": 0, "currentBlock": height, "highestBlock": highest}
        return {name: hex(number) for name, number in heights.items()}

    def cpu_times(self) -> dict[str, float]:
        """Return CPU seconds of the node's process by part."""
        return self._cpu.read()

    def block_phases(self, first: int, count: int) -> list[tuple[int, tuple[float | None, ...]]]:
        """Return when blocks passed each phase here; see `BlockPhases.read`."""
        return self._phases.read(first, count)
