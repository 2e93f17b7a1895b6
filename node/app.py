"""The composition root: builds every part of a node and runs them in one nursery.

Only wiring here. `run_node` returns when it is cancelled, and raises when the node must stop.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.epochs import Epochs
from lowu.consensus.records import ViewRecord
from lowu.consensus.replica import Replica
from lowu.consensus.types import Domain
from lowu.node.chain.transaction import Transaction
from lowu.node.clock import Clock, SystemClock
from lowu.node.config import NodeConfig
from lowu.node.core.driver import Driver
from lowu.node.core.events import Events, Subscriber, log_block
from lowu.node.core.inbox import Inbox
from lowu.node.core.membership import Membership
from lowu.node.core.proposals.bodies import BodyStore
from lowu.node.core.proposals.checks import ProposalChecker
from lowu.node.core.proposals.fetch import BodyExchange
from lowu.node.core.recovery import recover_replica
from lowu.node.core.scheduler import Run, Scheduler, run_in_thread
from lowu.node.core.scrub import Scrub
from lowu.node.core.sealer import Sealer
from lowu.node.core.snapshots import SnapshotClient, SnapshotServer
from lowu.node.core.sync import Sync
from lowu.node.crypto import is_signed_by
from lowu.node.errors import ConfigError, PortTaken
from lowu.node.execution.account_db import decode_account
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.execution.flat_state import TABLE_ACCOUNT
from lowu.node.execution.genesis import build_genesis
from lowu.node.execution.group_state import has_vote
from lowu.node.gateway.framing import FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import (
    BlocksRequest,
    BodyRequest,
    ChunkRequest,
    PeerRequest,
    RecordsRequest,
    SnapshotRequest,
    TransactionsRequest,
)
from lowu.node.gateway.tls import build_contexts
from lowu.node.genesis_config import GenesisConfig
from lowu.node.identity import NodeKey, load_node_key
from lowu.node.ledger import vote_trace
from lowu.node.ledger.first_start import end_first_start, is_first_start
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.opening import open_chain
from lowu.node.ledger.storage import Storage
from lowu.node.ledger.vote_trace import FileTrace, VoteTrace
from lowu.node.limits.descriptors import DescriptorBudget, divide, raise_limit
from lowu.node.metrics import BlockPhases, CpuTimes
from lowu.node.pool.gossip import Gossip
from lowu.node.pool.txpool import TxPool
from lowu.node.rpc.http.access import Access
from lowu.node.rpc.http.server import RpcServer
from lowu.node.rpc.methods import Methods, build_methods
from lowu.node.rpc.reader import ChainReader
from lowu.node.rpc.status import NodeStatus
from lowu.node.rpc.waiter import CommitWaiter
from lowu.node.settings import Kept
from lowu.node.simulation.byzantine import ByzantineGateway, CensoringPool
from lowu.node.simulation.failpoints import (
    FailingStorage,
    FailingTrace,
    Failpoints,
    find_situation,
    read_failpoints,
)
from lowu.node.simulation.ordered_faults import DelayedStorage, ShiftedClock
from lowu.node.topology.faults.fail_order import Failpoint
from lowu.node.traffic_tap import Tap

EXPIRE_EVERY_S = 30.0
NEWCOMERS = 8
"""Nodes that may join while a node runs, for which it has descriptors."""

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
    driver: Driver
    sealer: Sealer
    rpc: RpcServer
    clock: Clock
    snapshots: SnapshotServer
    scrub: Scrub


def _check_member(genesis: GenesisConfig, config: NodeConfig, key: NodeKey) -> None:
    """Raise `ConfigError` if this node is not of the group, and does not wait to be added to it."""
    is_first = any(item.node_id == key.node_id for item in genesis.nodes)
    if not is_first and not config.is_newcomer:
        raise ConfigError(
            f"{config.folder}: node id {key.node_id.hex()[:16]}… is in no list of "
            "config.genesis; take the node.pem and config.genesis of one network"
        )


@dataclass(frozen=True, slots=True)
class Environment:
    """What a node stands on: its chain, its clock, its key; real ones or simulated ones."""

    key: NodeKey
    ledger: Ledger
    clock: Clock
    tap: Tap
    contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None
    """TLS contexts of the gateway; None if links are handed to it."""
    run: Run = run_in_thread
    """Runs CPU and disk work."""
    descriptors: DescriptorBudget = field(default_factory=DescriptorBudget)
    """What may be open of each kind."""
    disk: DelayedStorage | None = None
    """The ledger's disk, if it can be slowed to order."""
    failpoints: Failpoints | None = None
    """Where the node may be told to fail, if it may be."""
    make_gateway: Callable[..., Gateway] = Gateway
    """Takes a gateway's arguments; a simulated liar has a gateway of its own."""


def build_node(genesis: GenesisConfig, config: NodeConfig) -> Node:
    """Open a node's folder and connect all parts; nothing runs yet."""
    key = load_node_key(config.conf_path / "node.pem")
    limit = raise_limit()
    _check_member(genesis, config, key)
    descriptors = divide(limit, max(len(genesis.nodes), len(config.peers)) + NEWCOMERS)
    log.info("descriptors,limit=%d,parts=%s", limit, descriptors)
    tap = Tap(config.log_path / "tap.bin" if config.tap else None)
    contexts = build_contexts(config.conf_path)
    block = build_genesis(genesis)
    trace_path = config.folder / vote_trace.NAME
    trace: VoteTrace = FileTrace(trace_path)
    is_new = is_first_start(config)
    disk: DelayedStorage | None = None
    failpoints = read_failpoints(config)
    if failpoints is not None:
        trace = FailingTrace(trace, failpoints, trace_path)

    def build(storage: Storage, lost: str) -> Ledger:
        nonlocal disk
        if failpoints is not None:
            failing = FailingStorage(storage, failpoints, config.data_path)
            storage = disk = DelayedStorage(failing)
        kept = config.kept
        return open_ledger(genesis, block, storage, trace, kept, is_first_start=is_new, lost=lost)

    def step(point: Failpoint, write: Callable[[], None]) -> None:
        write() if failpoints is None else failpoints.step(point, write)

    ledger = open_chain(
        config.data_path, build, descriptors.rocksdb_files, partial(step, Failpoint.SET_ASIDE)
    )
    environment = Environment(
        key, ledger, SystemClock(), tap, contexts,
        descriptors=descriptors, disk=disk, failpoints=failpoints,
    )  # fmt: skip
    node = assemble_node(genesis, config, environment)
    step(Failpoint.FIRST_START, partial(end_first_start, config))
    return node


def open_ledger(
    genesis: GenesisConfig,
    block: ExecutedBlock,
    storage: Storage,
    trace: VoteTrace,
    kept: Kept | None = None,
    *,
    is_first_start: bool,
    lost: str = "",
    cpu: CpuTimes | None = None,
) -> Ledger:
    """Open the chain; one that begins at a first start has the record of its first view.

    `lost` says why a chain that begins at another start does so, if that is known.
    """
    first_view = ViewRecord(Epochs(genesis.validators).latest.first_height, 0, 0)
    first_records = [first_view] if is_first_start else ()
    return Ledger(storage, block, trace, first_records, cpu, lost, kept or Kept())


def assemble_node(genesis: GenesisConfig, config: NodeConfig, on: Environment) -> Node:
    """Connect all parts of a node, each built of those before it; nothing runs yet."""
    if config.allow_lies:
        on = replace(on, clock=ShiftedClock(on.clock))
    key, clock, ledger, cpu = on.key, on.clock, on.ledger, on.ledger.cpu
    events, membership = Events(), Membership(genesis, ledger)
    verifier = MessageVerifier(
        Domain(genesis.chain_id, genesis.group_id),
        membership.epochs,
        ledger.genesis_certificate,
        is_signed_by,
        config.pipeline_size,
    )
    make_gateway = on.make_gateway
    if config.allow_lies:
        make_gateway = partial(ByzantineGateway, key, verifier.domain)
    gateway = make_gateway(
        node_id=key.node_id,
        members=lambda: membership.roster.node_ids,
        genesis_hash=ledger.genesis_hash,
        contexts=on.contexts,
        tap=on.tap,
        entrants_max=on.descriptors.entrants,
    )
    scheduler = Scheduler(genesis, ledger, verifier, events, membership, on.run, config.evm, cpu)
    make_pool: Callable[..., TxPool] = TxPool
    if isinstance(gateway, ByzantineGateway):
        make_pool = partial(CensoringPool, gateway)
    pool = make_pool(
        genesis,
        config.pool_limit,
        lambda sender: decode_account(ledger.get(TABLE_ACCOUNT, sender))[0],
        ledger.has_transaction,
        lambda sender: decode_account(ledger.get(TABLE_ACCOUNT, sender))[1],
        partial(has_vote, ledger),
        lambda: membership.next_settings.tx_gas_limit,
    )
    bodies = BodyStore(ledger)
    exchange = BodyExchange(bodies, pool, gateway, membership)
    checker = ProposalChecker(
        genesis, ledger, membership, pool, bodies, exchange, scheduler.lock, clock
    )
    inbox, sync, sealer, driver = _build_consensus(
        genesis, config, on, verifier, membership, gateway, scheduler, pool, bodies, checker
    )
    reader = ChainReader(genesis, ledger, membership, scheduler.block_context, clock)
    status = NodeStatus(
        config, ledger, gateway, sync, driver.replica, checker.clock_check, cpu, driver.phases,
        clock, on.disk, on.failpoints,
    )  # fmt: skip
    waiter = CommitWaiter(pool, reader, clock, cpu)
    rpc = _build_rpc(config, build_methods(reader, status, waiter), waiter.is_busy, on)
    scrub = Scrub(ledger, gateway, scheduler, verifier, on.run, clock, config.kept.scrub_s)
    node = Node(
        genesis, config, key, ledger, events, gateway, pool, Gossip(gateway, pool, clock, cpu),
        scheduler, sync, driver, sealer, rpc, clock, SnapshotServer(ledger, on.run), scrub,
    )  # fmt: skip
    events.subscribe(*_on_block(node, membership, bodies, inbox, waiter))
    _on_arrival(node, exchange, inbox, waiter)
    return node


def _build_consensus(
    genesis: GenesisConfig,
    config: NodeConfig,
    on: Environment,
    verifier: MessageVerifier,
    membership: Membership,
    gateway: Gateway,
    scheduler: Scheduler,
    pool: TxPool,
    bodies: BodyStore,
    checker: ProposalChecker,
) -> tuple[Inbox, Sync, Sealer, Driver]:
    """Build the parts that follow the chain and vote; those of an observer wait for its vote."""
    ledger = on.ledger
    replica, first_effects = recover_replica(config, on.key, ledger, verifier)
    inbox = Inbox()
    abstains = partial(_is_abstaining, replica)
    snapshots = SnapshotClient(
        genesis.validators, ledger, gateway, scheduler, verifier, on.run,
        config.kept.snapshot_blocks,
    )  # fmt: skip
    sync = Sync(ledger, gateway, scheduler, membership, inbox, abstains, snapshots)
    sealer = Sealer(
        genesis, config, verifier.domain, membership, pool, bodies, inbox.deliver, on.clock
    )
    if on.failpoints is not None:
        on.failpoints.find_situation = partial(find_situation, replica)

    def on_loaded(height: int) -> None:
        membership.restart()
        pool.on_block(pool.transactions())
        bodies.on_block(height)

    snapshots.on_loaded = on_loaded
    driver = Driver(
        node_id=on.key.node_id,
        replica=replica,
        first_effects=first_effects,
        verifier=verifier,
        inbox=inbox,
        gateway=gateway,
        ledger=ledger,
        scheduler=scheduler,
        bodies=bodies,
        checker=checker,
        sealer=sealer,
        sync=sync,
        membership=membership,
        cpu=ledger.cpu,
        phases=BlockPhases(on.clock.elapsed_s),
    )
    return inbox, sync, sealer, driver


def _is_abstaining(replica: Replica) -> bool:
    return replica.phase == "abstaining"


def _build_rpc(
    config: NodeConfig, methods: Methods, is_busy: Callable[[], bool], on: Environment
) -> RpcServer:
    return RpcServer(
        methods,
        on.tap,
        Access(config.listen_host, config.rpc_hosts, config.rpc_origins),
        is_busy,
        connections_max=on.descriptors.rpc_connections,
        is_threaded=on.run is run_in_thread,
    )


def _on_block(
    node: Node,
    membership: Membership,
    bodies: BodyStore,
    inbox: Inbox,
    waiter: CommitWaiter,
) -> list[Subscriber]:
    """Return what follows on a committed block, in this order."""
    pool, sealer = node.pool, node.sealer
    return [
        lambda event: membership.on_block(event.block.header.number),
        lambda event: pool.on_block(event.block.transactions),
        lambda event: bodies.on_block(event.block.header.number),
        lambda event: inbox.note_pending(pool.has_ready),
        lambda event: sealer.on_block(len(event.block.transactions)),
        lambda event: node.sync.announce_to_observers(),
        waiter.on_block,
        log_block,
    ]


def _on_arrival(node: Node, exchange: BodyExchange, inbox: Inbox, waiter: CommitWaiter) -> None:
    """Say which part handles what arrives: transactions, links, frames and requests of peers."""
    gateway, pool, driver, sealer, sync = (
        node.gateway, node.pool, node.driver, node.sealer, node.sync,
    )  # fmt: skip

    def on_added(transaction: Transaction, is_local: bool) -> None:
        if is_local:
            node.gossip.offer(transaction)
        waiter.on_added(transaction)
        sealer.notice()
        inbox.note_pending(pool.has_ready)

    def on_links(connected: frozenset[bytes]) -> None:
        node.gossip.on_links(connected)
        driver.note_links(connected)

    async def respond(request: PeerRequest) -> object:
        match request:
            case BlocksRequest():
                return sync.answer_blocks(request)
            case BodyRequest():
                return exchange.answer_body(request)
            case TransactionsRequest():
                return exchange.answer_transactions(request)
            case RecordsRequest():
                return await node.scrub.answer(request)
            case SnapshotRequest():
                return node.snapshots.answer_offer()
            case ChunkRequest():
                return await node.snapshots.answer_chunk(request)

    pool.on_added = on_added
    gateway.on_links_changed = on_links
    gateway.on_linked = sync.announce_to
    gateway.respond_with(respond)
    gateway.route(FrameKind.SYNC_STATUS, sync.handle_status)
    gateway.route(FrameKind.TRANSACTIONS, node.gossip.handle)
    sync.on_abstaining = lambda: driver.note_links(gateway.connected)
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
        nursery.start_soon(node.snapshots.run)
        nursery.start_soon(node.scrub.run)
        nursery.start_soon(_expire_for_ever, node)
        if isinstance(node.gateway, ByzantineGateway):
            nursery.start_soon(node.gateway.send_late_ones)
        nursery.start_soon(node.sealer.run)
        nursery.start_soon(node.driver.run)


async def _listen(config: NodeConfig, port: int) -> list[trio.SocketListener]:
    try:
        return list(await trio.open_tcp_listeners(port, host=config.listen_host))
    except OSError as error:
        raise PortTaken(
            f"{config.folder}: port {port} of {config.listen_host} cannot be opened "
            f"({error.strerror}); stop what uses it or change config.ini"
        ) from error


async def run_node(node: Node, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run a node until it is cancelled or must stop."""
    config = node.config
    p2p, rpc, web3 = [
        await _listen(config, port) for port in (config.p2p_port, config.rpc_port, config.web3_port)
    ]
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
