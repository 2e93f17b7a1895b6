"""A consortium of real nodes in one process and in virtual time, under faults.

Only sockets, TLS, disks, threads and the clock are simulated. Driver, pool, gossip, sealer,
proposals, py-evm, scheduler, ledger, sync, gateway and frames are the product's code. A run has
the two phases of the core's simulation: first faults while clients send transactions; then the
faults heal, and every node must commit every transaction.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from lowu.consensus.invariants import BlockFact, check_agreement
from lowu.consensus.messages import Message, Status
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.types import Domain
from lowu.contracts.account import Account
from lowu.node.app import Environment, Node, assemble_node, open_ledger, run_services
from lowu.node.chain.transaction import Transaction
from lowu.node.config import Engine, NodeConfig
from lowu.node.errors import BadInput, StorageError
from lowu.node.execution.account_db import decode_account
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.execution.flat_state import TABLE_ACCOUNT
from lowu.node.gateway.gateway import Gateway
from lowu.node.identity import NodeKey
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.schema import (
    KEY_VOTES,
)
from lowu.node.settings import Kept
from lowu.node.simulation.links import StreamLink
from lowu.node.simulation.stack.chain_inputs import (
    CHAIN_ID,
    TRANSACTIONS_MAX,
    derive_node_key,
    make_genesis,
    sign_registrations,
)
from lowu.node.simulation.stack.disk import (
    FaultyStorage,
    FaultyTrace,
    list_block_keys,
    read_disk,
)
from lowu.node.simulation.stack.group_changes import (
    GOVERNOR_KEY,
    GroupChanges,
    mix,
    sign_changes,
)
from lowu.node.simulation.stack.liar import LyingGateway
from lowu.node.simulation.stack.vote_watch import VoteWatch
from lowu.node.simulation.virtual_time import VirtualClock, run_inline, run_virtual
from lowu.node.traffic_tap import Tap

LIVENESS_S = 200.0
DOMAIN = Domain("sim", "group0")
_EAGER_CACHE = CodeCache(gas_an_operation=0, join_every=1)
"""Compiles contracts at once, since runs are short; one node compares results with py-evm's."""
COMPARING = 0
"""The node that runs each message in both engines, which takes ten times as long. It executes the
blocks that all have; results that differ between nodes show as blocks that do."""
LOAD_BLOCKS = (0, 2, 3, 5)
"""Blocks from which on a node loads a state; 0 for never."""
SCRUB_S = 2
"""In runs in which records are damaged; the others take no time for it."""
DISK_FAILURE_RATES = (0.0, 0.0, 0.002, 0.01)


@dataclass(slots=True)
class StackResult:
    """Result of one run."""

    blocks: int
    frames: int
    virtual_s: float
    recovery_s: float
    faults: Counter[str]
    trace_hash: str


@dataclass(slots=True)
class SimulatedMember:
    """One node of the cluster: the parts that survive a crash, and the running node."""

    index: int
    key: NodeKey
    storage: FaultyStorage
    trace: FaultyTrace
    skew_ms: int
    is_first_start: bool = True
    is_loss_due: bool = False
    must_abstain: bool = False
    """Whether it has lost votes since its last run."""
    may_abstain: bool = False
    """Whether it has ever lost a step with vote records."""
    height: int = 0
    """Highest height that it has reported as committed."""
    node: Node | None = None
    scope: trio.CancelScope | None = None


@dataclass(slots=True)
class Cluster:
    """One run."""

    seed: int
    nodes: int = 4
    """Number of validators; some runs have an observer as well."""
    random: Random = field(init=False)
    window: int = field(init=False)
    _wiped: int = field(init=False)
    """Index of the one node that may lose its disk, which counts as a Byzantine fault."""
    _kept: Kept = field(init=False)
    _is_rotting: bool = field(init=False)
    """Whether bits turn on the disks of this run, which needs a random source of its own."""
    _rot_random: Random = field(init=False)
    _liar: int = field(init=False)
    """Index of the liar, if no node loses its disk."""
    members: list[SimulatedMember] = field(init=False)
    faults: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    is_faulty: bool = True
    trace: list[str] | None = None
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    _links: dict[tuple[int, int], StreamLink] = field(default_factory=dict)
    _blocks: dict[int, bytes] = field(default_factory=dict)
    _cut_until_s: dict[tuple[int, int], float] = field(default_factory=dict)
    _votes: VoteWatch = field(default_factory=lambda: VoteWatch(DOMAIN))

    def __post_init__(self) -> None:
        self.random = Random(f"stack/{self.seed}/{self.nodes}")  # noqa: S311  (repeatable)
        rate = self.random.choice(DISK_FAILURE_RATES)
        self.window = self.random.choice((1, 2, 50))
        self._wiped = self.random.randrange(self.nodes) if self.random.random() < 0.5 else -1
        self._liar = -1
        if self._wiped < 0 and self.random.random() < 0.5:
            self._liar = self.random.randrange(self.nodes)
        period = Random(f"load/{self.seed}/{self.nodes}").choice(LOAD_BLOCKS)  # noqa: S311
        self._rot_random = Random(f"rot/{self.seed}/{self.nodes}")  # noqa: S311
        self._is_rotting = self._wiped < 0 and self._rot_random.random() < 0.4
        self._kept = Kept(snapshot_blocks=period, scrub_s=SCRUB_S if self._is_rotting else 0)
        skews = self.random.choice(((0,), (0, 0, 300, -300), (0, 5_000, -5_000)))
        self.members = [
            SimulatedMember(
                index,
                NodeKey.from_private(derive_node_key(index)),
                FaultyStorage(Random(f"disk/{self.seed}/{index}"), rate),  # noqa: S311
                FaultyTrace(Random(f"trace/{self.seed}/{index}"), rate),  # noqa: S311
                self.random.choice(skews),
            )
            for index in range(self.nodes + self.random.choice((0, 0, 1)))
        ]

    def note(self, text: str) -> None:
        """Add an event to the trace."""
        line = f"{trio.current_time():10.4f} {text}"
        self._hash.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    # --- nodes ------------------------------------------------------------------------------

    def _assemble(self, member: SimulatedMember) -> Node:
        genesis, block = make_genesis(self.nodes, len(self.members) - self.nodes)
        config = NodeConfig(
            f"node{member.index}",
            Path(),
            "sim",
            0,
            0,
            0,
            (),
            pipeline_size=self.window,
            evm=Engine.BOTH if member.index == COMPARING else Engine.COMPILED,
            kept=self._kept,
        )
        ledger = open_ledger(
            genesis,
            block,
            member.storage,
            member.trace,
            self._kept,
            is_first_start=member.is_first_start,
        )
        clock = VirtualClock(member.skew_ms)
        make_gateway: Callable[..., Gateway] = Gateway
        if member.index == self._liar:
            random = Random(f"liar/{self.seed}")  # noqa: S311
            make_gateway = partial(LyingGateway, random, member.key, DOMAIN)
        on = Environment(
            member.key, ledger, clock, Tap(None), None, run_inline, make_gateway=make_gateway
        )
        node = assemble_node(genesis, config, on)
        member.is_first_start = False
        self._check_abstention(member, node)
        node.events.subscribe(lambda event: self._on_block(member, event.block))
        replica = node.driver.replica

        def on_send(message: Message) -> None:
            self._on_send(member, ledger, replica.epoch.first_height, message)

        node.driver.on_send = on_send
        self._watch_loads(member, node)
        return node

    def _watch_loads(self, member: SimulatedMember, node: Node) -> None:
        """Note a state that the node loads instead of executing blocks."""
        snapshots = node.sync.snapshots
        if snapshots is None:
            return
        end = snapshots.on_loaded

        def on_loaded(height: int) -> None:
            self.faults["load"] += 1
            self.note(f"{member.index} loads {height}")
            member.height = height
            end(height)

        snapshots.on_loaded = on_loaded

    def _check_abstention(self, member: SimulatedMember, node: Node) -> None:
        """Check that a validator abstains if, and only if, it has lost votes (R-SAFE-3)."""
        is_abstaining = node.driver.replica.phase == "abstaining"
        if member.must_abstain and not is_abstaining:
            raise Violation(f"P05 node {member.index} has lost votes and does not abstain")
        if is_abstaining and not member.may_abstain:
            raise Violation(f"P17 node {member.index} abstains and has lost nothing")
        member.must_abstain = False

    def _on_send(
        self, member: SimulatedMember, ledger: Ledger, epoch: int, message: Message
    ) -> None:
        """Check a vote; sometimes make its sender lose its disk right then, when it hurts most."""
        self._votes.on_send(member.index, ledger, message, epoch)
        is_vote = not isinstance(message, Status)
        if member.scope is None or not is_vote or member.index != self._wiped:
            return
        if self.is_faulty and self.random.random() < 0.1:
            member.is_loss_due = True
            member.scope.cancel()

    def _on_block(self, member: SimulatedMember, block: ExecutedBlock) -> None:
        header = block.header
        self.note(f"{member.index} commit {header.number} {header.hash.hex()[:16]}")
        if header.number != member.height + 1:
            raise Violation(f"P02 node {member.index} commits {header.number} out of order")
        member.height = header.number
        if self._blocks.setdefault(header.number, header.hash) != header.hash:
            raise Violation(f"P01 two blocks at height {header.number} (node {member.index})")

    async def _live(self, member: SimulatedMember) -> None:
        """Run a node; restart it when its disk fails or it crashes."""
        while True:
            member.storage.reopen()
            try:
                member.node = self._assemble(member)
                head = member.node.ledger.head.number
                self.note(f"{member.index} start {head}")
                if head < member.height:
                    raise Violation(f"P13 node {member.index} lost block {member.height}")
                member.height = head  # a write may have succeeded although its sync failed
                with trio.CancelScope() as member.scope:
                    await run_services(member.node)
            except* StorageError:
                self.faults["disk"] += 1
                self.note(f"{member.index} disk failed")
            finally:
                self._unlink(member.index)
                member.node, member.scope = None, None
            if member.is_loss_due:
                self._lose(member)
            await trio.sleep(self.random.choice((0.05, 0.5, 3.0)) if self.is_faulty else 0.05)

    def _lose(self, member: SimulatedMember) -> None:
        """Wipe a node's disk, or undo its newest writes; votes may be among them."""
        member.is_loss_due = False
        storage = member.storage
        steps = storage.get(KEY_VOTES)
        if self.random.random() < 0.3:
            self.faults["wipe"] += 1
            self.note(f"{member.index} wipe")
            storage.wipe()
        else:
            self.faults["loss"] += 1
            writes = self.random.choice((1, 2, 5, 20))
            self.note(f"{member.index} loses {writes} writes")
            storage.lose(writes)
        head, records = read_disk(storage)
        member.height = head
        member.may_abstain |= storage.get(KEY_VOTES) != steps
        if self._votes.has_lost(member.index, head, records):
            member.must_abstain = True
            self._votes.on_wipe(member.index)

    def _unlink(self, index: int) -> None:
        for pair, link in self._links.items():
            if index in pair:
                link.break_off()

    # --- links ------------------------------------------------------------------------------

    async def _keep_link(self, first: SimulatedMember, second: SimulatedMember) -> None:
        """Keep relinking two nodes, as their dialling would."""
        pair = (first.index, second.index)
        random = Random(f"link/{self.seed}/{pair}")  # noqa: S311
        while True:
            await trio.sleep(0.05 + random.random() * 0.1)
            is_cut = self.is_faulty and trio.current_time() < self._cut_until_s.get(pair, 0)
            if first.node is None or second.node is None or is_cut:
                continue
            link = StreamLink(random, partial(self._on_bytes, pair))
            self._links[pair] = link
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, first.node, link, 0, first, second)
                nursery.start_soon(self._serve, second.node, link, 1, second, first)

    async def _serve(
        self, node: Node, link: StreamLink, side: int, own: SimulatedMember, other: SimulatedMember
    ) -> None:
        try:
            await node.gateway.serve_link(link.ends[side], other.key.node_id, is_dialer=side == 0)
        except BadInput as error:
            if self._liar not in (own.index, other.index):  # an honest node must not be blamed
                text = f"P12 {node.config.name} blames node {other.index}: {error}"
                raise Violation(text) from error
            self.faults["blame"] += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        link.break_off()

    def _on_bytes(self, pair: tuple[int, int], side: int, data: bytes) -> None:
        self.frames += 1
        self.note(f"{pair[side]}>{pair[1 - side]} {len(data)} {zlib.crc32(data):08x}")

    # --- faults and clients -----------------------------------------------------------------

    async def _strike_for_ever(self) -> None:
        while self.is_faulty:
            await trio.sleep(self.random.choice((0.1, 0.4, 1.5)))
            if not self.is_faulty:
                return
            kind = self.random.random()
            if kind < 0.4 and self._links:
                pair = self.random.choice(sorted(self._links))
                if not self._links[pair].is_broken:
                    self.faults["cut"] += 1
                    outage_s = self.random.choice((0.0, 1.0, 6.0))
                    self._cut_until_s[pair] = trio.current_time() + outage_s
                    self._links[pair].break_off()
            elif kind < 0.6:
                member = self.random.choice(self.members)
                if member.scope is not None:
                    self.faults["crash"] += 1
                    self.note(f"{member.index} crash")
                    member.scope.cancel()
            elif kind >= 0.6 and self._is_rotting:
                self._rot(self._rot_random.choice(self.members))

    def _rot(self, member: SimulatedMember) -> None:
        """Turn a bit in a record of an old block, if the node has one, which its peers have too."""
        if member.node is None or member.node.ledger.is_loading:
            return
        ledger, storage = member.node.ledger, member.storage
        old = range(ledger.base + 1, ledger.head.number - 1)
        if not old or any(value is None for _, value in storage.scan_damaged()):
            return  # two at a time may be all that there are
        keys = list_block_keys(ledger.block(self._rot_random.choice(old)))
        key = self._rot_random.choice(keys)
        self.faults["rot"] += 1
        self.note(f"{member.index} damaged {key.hex()}")
        storage.rot(key, self._rot_random.randrange(8 * len(storage.records[key])))

    async def _submit(self, transactions: tuple[Transaction, ...]) -> None:
        for transaction in transactions:
            await trio.sleep(self.random.random() * 0.6)
            for member in self.members:
                if member.node is not None and self.random.random() < 0.6:
                    self._give(member.node, transaction)

    def _add_changes(self, registrations: Sequence[Transaction]) -> tuple[Transaction, ...]:
        """Return registrations with the run's changes of the group among them."""
        random = Random(f"group/{self.seed}/{self.nodes}")  # noqa: S311
        observers = len(self.members) - self.nodes
        suspect = max(self._wiped, self._liar)
        changes = GroupChanges(random, self.nodes, observers, suspect).draw()
        self.faults["group"] += len(changes)
        _, block = make_genesis(self.nodes, observers)
        governor = bytes.fromhex(Account(GOVERNOR_KEY).address[2:])
        nonce = decode_account(block.writes[TABLE_ACCOUNT, governor])[0]
        node_ids = [member.key.node_id for member in self.members]
        return tuple(mix(random, registrations, sign_changes(changes, node_ids, nonce, CHAIN_ID)))

    @staticmethod
    def _give(node: Node, transaction: Transaction) -> None:
        with suppress(BadInput, StorageError):
            node.pool.add(transaction.raw, trio.current_time(), is_local=True)

    def _missing(self, transactions: tuple[Transaction, ...]) -> list[str]:
        """Return, for each node, what it has not committed, or that heads differ."""
        missing = []
        heads = set()
        for member in self.members:
            if member.index == self._liar:
                continue
            if member.node is None:
                missing.append(f"node {member.index} is down")
                continue
            if any(value is None for _, value in member.storage.scan_damaged()):
                missing.append(f"node {member.index} has damaged records")
                continue
            ledger = member.node.ledger
            heads.add((ledger.head.number, ledger.header(ledger.head.number).hash))
            count = sum(ledger.find_transaction(item.hash) is not None for item in transactions)
            if count < len(transactions) and not ledger.base:
                missing.append(f"node {member.index}: {count} at height {ledger.head.number}")
        return missing or (["heads differ"] if len(heads) > 1 else [])

    async def run(self) -> StackResult:
        """Run both phases; raise `Violation` if a property is broken."""
        registrations = sign_registrations()[: self.random.choice((3, 6, TRANSACTIONS_MAX))]
        transactions = self._add_changes(registrations)
        async with trio.open_nursery() as nursery:
            for member in self.members:
                nursery.start_soon(self._live, member)
            for first in self.members:
                for second in self.members[first.index + 1 :]:
                    nursery.start_soon(self._keep_link, first, second)
            nursery.start_soon(self._strike_for_ever)
            with trio.move_on_after(self.random.choice((2.0, 5.0, 12.0))):
                await self._submit(transactions)
                await trio.sleep_forever()
            healed_s = trio.current_time()
            await self._heal(transactions, healed_s)
            check_agreement(
                {f"node {item.index}": read_chain(item.node) for item in self.members if item.node}
            )
            result = StackResult(
                max(self._blocks, default=0),
                self.frames,
                trio.current_time(),
                trio.current_time() - healed_s,
                self.faults,
                self._hash.hexdigest(),
            )
            nursery.cancel_scope.cancel()
        return result

    async def _heal(self, transactions: tuple[Transaction, ...], healed_s: float) -> None:
        self.is_faulty = False
        for member in self.members:
            member.storage.failure_rate = member.trace.failure_rate = 0.0
        self.note("heal")
        while missing := self._missing(transactions):
            if trio.current_time() - healed_s > LIVENESS_S:
                raise Violation(f"P17 not settled {LIVENESS_S:.0f} s after healing: {missing}")
            for member in self.members:  # clients resend until they see a receipt
                if member.node is not None:
                    for transaction in transactions:
                        self._give(member.node, transaction)
            await trio.sleep(0.25)


def read_chain(node: Node) -> list[BlockFact]:
    """Return the facts about each block in a node's ledger."""
    ledger = node.ledger
    headers = (ledger.header(number) for number in range(ledger.base, ledger.head.number + 1))
    return [
        BlockFact(item.number, item.hash, item.parent_hash, item.state_root, item.receipt_root)
        for item in headers
    ]


def run_stack(seed: int, nodes: int = 4, trace: list[str] | None = None) -> StackResult:
    """Run whole nodes under one seed; raise `Violation` if a property is broken."""
    cluster = Cluster(seed, nodes, trace=trace)
    usual, CompiledComputation.cache = CompiledComputation.cache, _EAGER_CACHE
    try:
        return run_virtual(seed, cluster.run)
    finally:
        CompiledComputation.cache = usual
