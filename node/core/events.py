"""What happened, as typed events. Logging, RPC and the pool are subscribers.

Subscribers are called in order, synchronously, right after the fact; they must be quick and
must not raise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lowu.consensus.messages import CommitCertificate
from lowu.node.execution.executor import ExecutedBlock

log = logging.getLogger("CONSENSUS")


@dataclass(frozen=True, slots=True)
class BlockCommittedEvent:
    """A block is durable on this node."""

    block: ExecutedBlock
    certificate: CommitCertificate
    is_synced: bool
    """Fetched from a peer rather than ordered here."""


Subscriber: TypeAlias = Callable[[BlockCommittedEvent], None]


class Events:
    """Hands events to subscribers."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, *subscribers: Subscriber) -> None:
        """Call `subscribers`, in this order, with every block committed from now on."""
        self._subscribers += subscribers

    def block_committed(self, event: BlockCommittedEvent) -> None:
        """Tell everybody."""
        for subscriber in self._subscribers:
            subscriber(event)


def log_block(event: BlockCommittedEvent) -> None:
    """Log a block as FISCO BCOS does, for tools that read its logs."""
    header = event.block.header
    log.info(
        "[PBFT][METRIC]^^^^^^^^Report,sealer=%d,txs=%d,committedIndex=%d,committedHash=%s,"
        "stateRoot=%s,synced=%s",
        header.sealer,
        len(event.block.transactions),
        header.number,
        header.hash.hex()[:16],
        header.state_root.hex()[:16],
        str(event.is_synced).lower(),
    )
