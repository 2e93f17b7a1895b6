"""The replica as a node begins with it: recovered from what is on its disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.effects import Effect
from lowu.consensus.records import ViewRecord
from lowu.consensus.replica import Replica
from lowu.consensus.state import ReplicaConfig
from lowu.consensus.timeouts import TimeoutPolicy
from lowu.consensus.window import compute_window_max
from lowu.node.config import NodeConfig
from lowu.node.errors import ConfigError
from lowu.node.identity import NodeKey
from lowu.node.ledger.ledger import Ledger
from lowu.node.settings import BLOCK_TX_COUNT_MAX

log = logging.getLogger("INITIALIZER")


def recover_replica(
    config: NodeConfig, key: NodeKey, ledger: Ledger, verifier: MessageVerifier
) -> tuple[Replica, Sequence[Effect]]:
    """Recover the replica from disk, with the effects of that.

    Raises:
        ConfigError: the pipeline is longer than the group allows.
    """
    epoch, first = verifier.epochs.latest, verifier.epochs.at(1)
    window_max = compute_window_max(len(first.validators))  # later ones fit it by themselves
    if config.pipeline_size > window_max:
        raise ConfigError(
            f"{config.folder}: [consensus] pipeline_size {config.pipeline_size} is too large for "
            f"{len(first.validators)} validators; at most {window_max}"
        )
    replica_config = ReplicaConfig(
        verifier.domain,
        key.node_id,
        ledger.genesis_certificate,
        window=config.pipeline_size,
        timeouts=TimeoutPolicy(base_ms=config.consensus_timeout_ms),
        tx_hashes_max=BLOCK_TX_COUNT_MAX,
    )
    head = ledger.head.number
    records = ledger.load_records()
    is_memory_lost = not any(isinstance(item, ViewRecord) for item in records)
    if is_memory_lost and epoch.validators.index_of(key.node_id) is not None:
        log.warning(
            "abstaining: %s; it votes again when the chain has outgrown what it may have signed,"
            "height=%d",
            ledger.lost_votes,
            head,
        )
    try:
        return Replica.recover(
            replica_config,
            key.sign,
            epoch,
            records,
            ledger.certificate(head),
            ledger.header(head).timestamp_ms,
            is_memory_lost=is_memory_lost,
        )
    except ValueError as error:
        raise ConfigError(f"{config.folder}: [consensus] pipeline_size: {error}") from error
