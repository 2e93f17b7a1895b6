"""The composition root: builds every part of a node and runs them in one nursery.

Only wiring here. `run_node` returns when it is cancelled, and raises when the node must stop.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from consensus.certificates import MessageVerifier
from consensus.epochs import Epochs
from consensus.records import ViewRecord
from consensus.replica import Replica
from consensus.state import ReplicaConfig
from consensus.timeouts import TimeoutPolicy
from consensus.types import Domain
from consensus.window import compute_window_max
from node.chain.transaction import Transaction
from node.clock import Clock, SystemClock
from node.config import GenesisConfig, NodeConfig
from node.core.driver import Driver
from node.core.events import BlockCommittedEvent, Events
from node.core.proposals import Proposals
from node.core.scheduler import Scheduler, run_in_thread
from node.core.sealer import Sealer
from node.core.sync import Sync
from node.crypto import is_signed_by
from node.errors import BadInput, ConfigError, PortTaken
from node.execution.account_db import decode_account
from node.execution.executor import ExecutedBlock
from node.execution.flat_state import TABLE_ACCOUNT
from node.execution.genesis import build_genesis
from node.gateway.framing import FrameKind
from node.gateway.gateway import Gateway
from node.gateway.tls import build_contexts
from node.identity import NodeKey, load_node_key
from node.ledger import vote_trace
from node.ledger.first_start import end_first_start, is_first_start
from node.ledger.ledger import Ledger
from node.ledger.opening import open_chain
from node.ledger.storage import Storage
from node.ledger.vote_trace import FileTrace, VoteTrace
from node.limits.descriptors import DescriptorBudget, divide, raise_limit
from node.metrics import CpuTimes
from node.pool.gossip import Gossip
from node.pool.txpool import TxPool
from node.rpc.backend import Backend
from node.rpc.http.access import Access
from node.rpc.http.server import RpcServer
from node.rpc.methods import build_methods
from node.traffic_tap import Tap

EXPIRE_EVERY_S = 30.0

log = logging.getLogger("INITIALIZER")


@dataclass(slots=True)
class Node:
    """The parts of a running node."""

    genesis: GenesisConfig
    config: NodeConfig
    key: NodeKey
    ledger: Ledger
    events: Events
    gateway: Gateway
    pool: TxPool
    gossip: Gossip
    scheduler: Scheduler
    sync: Sync
    driver: Driver | None
    sealer: Sealer | None
    rpc: RpcServer
    clock: Clock


def build_verifier(genesis: GenesisConfig, ledger: Ledger, window: int) -> MessageVerifier:
    """Return the checker of consensus messages of a chain."""
    epochs = Epochs(genesis.validators)
    epochs.on_commit(ledger.head.number, None)
    return MessageVerifier(
        Domain(genesis.chain_id, genesis.group_id),
        epochs,
        ledger.genesis_certificate,
        is_signed_by,
        window,
    )


def _list_members(genesis: GenesisConfig, config: NodeConfig, key: NodeKey) -> list[bytes]:
    """Return the node ids of the group; `ConfigError` if this node is not among them."""
    members = [bytes.fromhex(node) for node, _ in genesis.sealers]
    members += [bytes.fromhex(node) for node in genesis.observers]
    if key.node_id not in members:
        raise ConfigError(
            f"{config.folder}: node id {key.node_id.hex()[:16]}… is in no list of "
            "config.genesis; take the node.pem and config.genesis of one network"
        )
    return members


@dataclass(frozen=True, slots=True)
class Environment:
    """What a node stands on: its chain, its clock, its key; real ones or simulated ones."""

    key: NodeKey
    ledger: Ledger
    clock: Clock
    tap: Tap
    contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None
    """TLS contexts of the gateway; None if links are handed to it."""
    run: Callable[[Callable[[], object]], Awaitable[object]] = run_in_thread
    """How long work is run."""
    descriptors: DescriptorBudget = field(default_factory=DescriptorBudget)
    """What may be open of each kind."""


def build_node(genesis: GenesisConfig, config: NodeConfig) -> Node:
    """Open a node's folder and connect all parts; nothing runs yet."""
    key = load_node_key(config.conf_path / "node.pem")
    limit = raise_limit()
    descriptors = divide(limit, len(_list_members(genesis, config, key)))
    log.info("descriptors,limit=%d,parts=%s", limit, descriptors)
    tap = Tap(config.log_path / "tap.bin" if config.tap else None)
    contexts = build_contexts(config.conf_path)
    block = build_genesis(genesis)
    trace = FileTrace(config.folder / vote_trace.NAME)
    is_new = is_first_start(config)
    ledger = open_chain(
        config.data_path,
        lambda storage, lost: open_ledger(
            genesis, block, storage, trace, is_first_start=is_new, lost=lost
        ),
        descriptors.rocksdb_files,
    )
    surroundings = Environment(key, ledger, SystemClock(), tap, contexts, descriptors=descriptors)
    node = assemble_node(genesis, config, surroundings)
    end_first_start(config)
    return node


def open_ledger(
    genesis: GenesisConfig,
    block: ExecutedBlock,
    storage: Storage,
    trace: VoteTrace,
    *,
    is_first_start: bool,
    lost: str = "",
) -> Ledger:
    """Open the chain; one that begins at a first start has the record of its first view.

    `lost` says why a chain that begins at another start does so, if that is known.
    """
    first_view = ViewRecord(Epochs(genesis.validators).latest.first_height, 0, 0)
    return Ledger(storage, block, trace, [first_view] if is_first_start else (), lost=lost)


def assemble_node(genesis: GenesisConfig, config: NodeConfig, on: Environment) -> Node:
    """Connect all parts of a node; nothing runs yet."""
    key, clock, ledger, cpu = on.key, on.clock, on.ledger, on.ledger.cpu
    events = Events()
    verifier = build_verifier(genesis, ledger, config.pipeline_size)
    gateway = Gateway(
        node_id=key.node_id,
        members=_list_members(genesis, config, key),
        genesis_hash=ledger.genesis_hash,
        contexts=on.contexts,
        tap=on.tap,
        entrants_max=on.descriptors.entrants,
    )
    scheduler = Scheduler(genesis, ledger, verifier, events, on.run, config.evm, cpu)
    pool = TxPool(
        genesis,
        config.pool_limit,
        lambda sender: decode_account(ledger.get(TABLE_ACCOUNT, sender))[0],
        lambda tx_hash: ledger.find_transaction(tx_hash) is not None,
    )
    proposals = Proposals(genesis, ledger, pool, gateway, scheduler, clock)
    driver = _build_driver(
        config, key, ledger, verifier, gateway, scheduler, genesis.block_tx_count_limit, cpu
    )

    async def deliver(event: object) -> None:
        if driver is not None:
            await driver.deliver(event)  # type: ignore[arg-type]

    sync = Sync(
        ledger, gateway, scheduler, deliver, verifier.epochs, is_validator=driver is not None
    )
    sealer = None
    if driver is not None:
        sealer = Sealer(genesis, config, verifier.domain, pool, proposals, deliver, clock)
        driver.attach(proposals, sealer, sync)
    gossip = Gossip(gateway, pool, clock, cpu)
    backend = Backend(
        genesis, config, key.node_id, ledger, pool, gateway, scheduler, sync, driver, clock, cpu
    )
    rpc = _build_rpc(config, backend, on)
    node = Node(
        genesis, config, key, ledger, events, gateway, pool, gossip, scheduler, sync, driver,
        sealer, rpc, clock,
    )  # fmt: skip
    _connect(node, proposals, backend, verifier.epochs)
    return node


def _build_rpc(config: NodeConfig, backend: Backend, on: Environment) -> RpcServer:
    access = Access(config.listen_host, config.rpc_hosts, config.rpc_origins)
    is_threaded = on.run is run_in_thread
    methods = build_methods(backend)
    return RpcServer(
        methods,
        on.tap,
        access,
        backend.is_busy,
        connections_max=on.descriptors.rpc_connections,
        is_threaded=is_threaded,
    )


def _build_driver(
    config: NodeConfig,
    key: NodeKey,
    ledger: Ledger,
    verifier: MessageVerifier,
    gateway: Gateway,
    scheduler: Scheduler,
    tx_hashes_max: int,
    cpu: CpuTimes,
) -> Driver | None:
    """Recover the replica from disk; None for an observer."""
    epoch = verifier.epochs.latest
    if epoch.validators.index_of(key.node_id) is None:
        return None
    window_max = compute_window_max(len(epoch.validators))
    if config.pipeline_size > window_max:
        raise ConfigError(
            f"{config.folder}: [consensus] pipeline_size {config.pipeline_size} is too large for "
            f"{len(epoch.validators)} validators; at most {window_max}"
        )
    replica_config = ReplicaConfig(
        verifier.domain,
        key.node_id,
        ledger.genesis_certificate,
        window=config.pipeline_size,
        timeouts=TimeoutPolicy(base_ms=config.consensus_timeout_ms),
        tx_hashes_max=tx_hashes_max,
    )
    head = ledger.head.number
    records = ledger.load_records()
    is_memory_lost = not any(isinstance(item, ViewRecord) for item in records)
    if is_memory_lost:
        log.warning(
            "abstaining: %s; it votes again when the chain has outgrown what it may have signed,"
            "height=%d",
            ledger.lost_votes,
            head,
        )
    try:
        replica, effects = Replica.recover(
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
    return Driver(
        node_id=key.node_id,
        replica=replica,
        first_effects=effects,
        verifier=verifier,
        gateway=gateway,
        ledger=ledger,
        scheduler=scheduler,
        cpu=cpu,
    )


def _connect(node: Node, proposals: Proposals, backend: Backend, epochs: Epochs) -> None:
    """Register who hears of what."""
    gateway, pool, driver, sealer = node.gateway, node.pool, node.driver, node.sealer

    def on_added(transaction: Transaction, is_local: bool) -> None:
        if is_local:
            node.gossip.offer(transaction)
        backend.on_added(transaction)
        if driver is not None and sealer is not None:
            sealer.notice()
            driver.note_pending(pool.has_ready)

    def on_block(event: BlockCommittedEvent) -> None:
        header = event.block.header
        epochs.on_commit(header.number, None)
        pool.on_block(event.block.transactions)
        proposals.on_block(header.number)
        if driver is not None and sealer is not None:
            driver.note_pending(pool.has_ready)
            sealer.on_block(len(event.block.transactions))
        node.sync.announce_to_observers()
        backend.on_block(event)
        logging.getLogger("CONSENSUS").info(
            "[PBFT][METRIC]^^^^^^^^Report,sealer=%d,txs=%d,committedIndex=%d,committedHash=%s,"
            "stateRoot=%s,synced=%s",
            header.sealer,
            len(event.block.transactions),
            header.number,
            header.hash.hex()[:16],
            header.state_root.hex()[:16],
            str(event.is_synced).lower(),
        )

    def on_links(connected: frozenset[bytes]) -> None:
        node.gossip.on_links(connected)
        node.sync.announce()
        if driver is not None:
            driver.note_links(connected)

    async def respond(node_id: bytes, what: object) -> object:
        match what:
            case ["blocks", start, count]:
                return node.sync.answer_blocks(start, count)
            case ["proposal", height, digest]:
                return proposals.answer_proposal(height, digest)
            case ["txs", hashes]:
                return proposals.answer_transactions(hashes)
        raise BadInput("unknown request")

    pool.on_added = on_added
    node.events.subscribe(on_block)
    gateway.on_links_changed = on_links
    gateway.respond_with(respond)
    gateway.route(FrameKind.SYNC_STATUS, node.sync.handle_status)
    gateway.route(FrameKind.TRANSACTIONS, node.gossip.handle)
    if driver is not None:
        node.sync.is_abstaining = lambda: driver.replica.phase == "abstaining"
        node.sync.on_abstaining = lambda: driver.note_links(gateway.connected)
        gateway.route(FrameKind.CONSENSUS, driver.handle_frame)


async def _expire_for_ever(node: Node) -> None:
    while True:
        await trio.sleep(EXPIRE_EVERY_S)
        dropped = node.pool.expire(node.clock.elapsed_s() - node.config.tx_expiration_s)
        if dropped:
            log.warning("expired,txs=%d", len(dropped))


async def run_services(node: Node) -> None:
    """Run everything of a node that needs no socket, until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.gossip.run)
        nursery.start_soon(node.sync.run)
        nursery.start_soon(_expire_for_ever, node)
        if node.driver is not None and node.sealer is not None:
            nursery.start_soon(node.sealer.run)
            nursery.start_soon(node.driver.run)


async def run_node(node: Node, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run a node until it is cancelled or must stop."""
    config = node.config
    try:
        p2p = await trio.open_tcp_listeners(config.p2p_port, host=config.listen_host)
        rpc = await trio.open_tcp_listeners(config.rpc_port, host=config.listen_host)
        web3 = await trio.open_tcp_listeners(config.web3_port, host=config.listen_host)
    except OSError as error:
        raise PortTaken(
            f"{config.folder}: a port of {config.p2p_port}, {config.rpc_port}, "
            f"{config.web3_port} cannot be opened ({error.strerror}); stop what uses it or "
            "change config.ini"
        ) from error
    async with trio.open_nursery() as nursery:
        own = (config.listen_host, config.p2p_port)
        others = [address for address in config.peers if address != own]
        nursery.start_soon(node.gateway.run, p2p, others)
        nursery.start_soon(node.rpc.run, [*rpc, *web3])
        nursery.start_soon(run_services, node)
        log.info(
            "running,node=%s,nodeId=%s,height=%d",
            config.name,
            node.key.node_id.hex()[:16],
            node.ledger.head.number,
        )
        on_ready()
