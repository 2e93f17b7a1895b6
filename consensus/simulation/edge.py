"""What surrounds a replica in a node: sealer, bodies, execution, commits, block sync.

The real node does the same over disks and sockets (node/core/proposals.py, scheduler.py, sync.py);
here it takes a few virtual milliseconds. Answers to effects come back as inputs, sometimes late.
A Byzantine peer may serve wrong data, so everything fetched is checked.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from lowu.consensus import effects as fx
from lowu.consensus import inputs as ev
from lowu.consensus.catch_up import is_witnessed
from lowu.consensus.codec import compute_digest
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import CommitCertificate, Proposal
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.checking.watch import PropertyWatch
from lowu.consensus.simulation.clients import Clients
from lowu.consensus.simulation.disks import find_state, keeps, mend, pin, rot
from lowu.consensus.simulation.faults import Rot
from lowu.consensus.simulation.kernel import Kernel
from lowu.consensus.simulation.liars.forgery import forge_commit
from lowu.consensus.simulation.node import (
    Liar,
    SimBlock,
    SimNode,
    compute_block_hash,
    compute_tx_root,
)
from lowu.consensus.types import Hash32, hash_bytes
from lowu.consensus.validators import ValidatorSet

SEAL_WAIT_MS = 10
CLOCK_AHEAD_MS_MAX = 15_000
"""Rule R-PP-3."""
ANNOUNCE_MS = 1_000
SYNC_BLOCKS_MAX = 16
LATE_MS = (0, 0, 1, 3, 40, 300)
"""Delays before a sealed or fetched block reaches the replica: others may overtake it."""
CENSORED_SHARE = 3


class Edge:
    """Performs the slow effects of all instances of a world."""

    def __init__(self, world: Kernel, clients: Clients, checkers: PropertyWatch) -> None:
        self._world, self._clients, self._checkers = world, clients, checkers
        self._random = Random(f"edge/{world.plan.seed}")
        self._rounds = 0
        self._abstaining: list[int] = []
        self._block_txs_max = world.plan.block_txs_max

    # --- sealing ----------------------------------------------------------------------------

    def build(self, node: SimNode, effect: fx.BuildProposal) -> None:
        """Seal a block for the replica as soon as transactions are waiting."""
        node.building = effect
        self.notice(node)

    def notice(self, node: SimNode) -> None:
        """Seal soon, if a block is wanted and transactions are waiting."""
        if node.building is None or node.is_seal_due or not node.pool:
            return
        node.is_seal_due = True
        self._world.later(node, SEAL_WAIT_MS, lambda: self._seal(node))

    def _seal(self, node: SimNode) -> None:
        node.is_seal_due = False
        wanted = node.building
        if wanted is None:
            return
        taken = {tx for digest in wanted.ancestors for tx in node.bodies.get(digest, ())}
        ready = [tx for tx in node.pool if tx not in taken]
        if node.lies_by("censor"):
            ready = [tx for tx in ready if tx[0] % CENSORED_SHARE]
        if node.lies_by("withhold") and self._world.is_faulty_phase:
            ready.insert(0, self._clients.make_private(node))
        if not ready:
            return
        system = [tx for tx in ready if tx in self._clients.system]
        tx_hashes = (system[0],) if system else tuple(ready[: self._block_txs_max])
        proposal = Proposal(
            wanted.height,
            wanted.previous,
            compute_tx_root(tx_hashes),
            max(self._world.now_ms + node.clock_skew_ms, wanted.timestamp_ms_min),
            wanted.proposer,
            bool(system),
        )
        node.building = None
        node.bodies[compute_digest(self._world.domain, proposal)] = tx_hashes
        event = ev.ProposalBuilt(wanted.view, proposal, tx_hashes)
        self._world.answer(node, self._random.choice(LATE_MS), event)

    # --- bodies -----------------------------------------------------------------------------

    def verify(self, node: SimNode, effect: fx.VerifyProposal) -> None:
        """Obtain and check the bodies of a proposal."""

        def answer() -> None:
            verdict = self._judge(node, effect)
            event = ev.ProposalVerified(effect.proposal.height, effect.digest, verdict)
            self._world.step(node, event)

        self._world.later(node, self._random.randint(0, 3), answer)

    def _judge(self, node: SimNode, effect: fx.VerifyProposal) -> ev.ProposalVerdict:
        proposal, digest = effect.proposal, effect.digest
        if digest in node.bodies:
            return ev.ProposalVerdict.VALID
        is_lost = self._random.random() < self._world.plan.rates.lost_answer
        if is_lost and self._world.network.is_faulty:
            return ev.ProposalVerdict.UNKNOWN
        body = effect.tx_hashes
        if body is None:
            body = self._fetch(node, proposal, digest)
        elif not self._has_all(node, body):
            return ev.ProposalVerdict.UNKNOWN
        if body is None:
            return ev.ProposalVerdict.UNKNOWN
        if compute_tx_root(body) != proposal.tx_root:
            return ev.ProposalVerdict.INVALID
        if not effect.is_vouched and not self._is_sound(node, effect, body):
            return ev.ProposalVerdict.INVALID
        node.bodies[digest] = body
        return ev.ProposalVerdict.VALID

    def _has_all(self, node: SimNode, body: tuple[Hash32, ...]) -> bool:
        peers = self._linked_peers(node)
        return all(self._clients.is_obtainable(node, tx_hash, peers) for tx_hash in body)

    def _is_sound(self, node: SimNode, effect: fx.VerifyProposal, body: tuple[Hash32, ...]) -> bool:
        """Whether a fresh proposal's content may be voted for."""
        proposal = effect.proposal
        taken = {tx for digest in effect.ancestors for tx in node.bodies.get(digest, ())}
        taken |= node.committed
        is_barrier = any(tx in self._clients.system for tx in body)
        clock_ms = self._world.now_ms + node.clock_skew_ms
        return (
            0 < len(body) == len(set(body))
            and taken.isdisjoint(body)
            and proposal.is_barrier == is_barrier
            and proposal.timestamp_ms <= clock_ms + CLOCK_AHEAD_MS_MAX
        )

    def _fetch(
        self, node: SimNode, proposal: Proposal, digest: Hash32
    ) -> tuple[Hash32, ...] | None:
        """Ask linked peers in random order for a body; take the first that fits the root."""
        peers = self._linked_peers(node)
        self._random.shuffle(peers)
        for peer in peers:
            body = peer.bodies.get(digest)
            if peer.lies_by("withhold"):
                continue
            if peer.lies_by("mishelp"):
                system = sorted(self._clients.system)
                body = (*system[:1], *sorted(peer.pool)[:2])
            if body is not None and compute_tx_root(body) == proposal.tx_root:
                return body
        return None

    def _linked_peers(self, node: SimNode) -> list[SimNode]:
        is_linked, may_fetch = self._world.network.is_linked, self._world.network.may_fetch
        return [
            peer
            for peer in self._world.nodes
            if peer is not node
            and peer.replica is not None
            and is_linked(node.instance, peer.instance)
            and (may_fetch is None or may_fetch(node, peer))
        ]

    # --- execution and commits ----------------------------------------------------------------

    def execute(self, node: SimNode, effect: fx.ExecuteProposal) -> None:
        """Execute an ordered proposal and answer with its block hash."""
        proposal = effect.proposal
        if proposal.height <= len(node.chain):
            return  # block sync was faster
        parent = node.executed.get(proposal.previous)
        if len(node.chain) == proposal.height - 1:
            parent = node.head_hash(self._world.genesis.block_hash)
        if parent is None:
            raise Violation(f"P02 node {node.instance} executes {proposal.height} in the air")
        body = node.bodies.get(effect.digest)
        if body is None:
            raise Violation(f"P03 node {node.instance} executes {proposal.height} without bodies")
        validators = self.compute_change(node, body)
        block_hash = compute_block_hash(parent, effect.digest, validators)
        if 0 < node.diverges_at <= proposal.height:
            block_hash = hash_bytes(block_hash)
        node.executed[effect.digest] = block_hash
        node.proposals[effect.digest] = proposal
        delay_ms = self._random.randint(0, 5) + node.execution_ms
        event = ev.ProposalExecuted(proposal.height, effect.digest, block_hash)
        self._world.answer(node, delay_ms, event)

    def compute_change(self, node: SimNode, body: tuple[Hash32, ...]) -> ValidatorSet | None:
        """Return the validators that a block's system transaction names, if it changes them."""
        system = self._clients.system
        named = [system[tx] for tx in body if tx in system]
        if not named or named[-1] == node.epochs.latest.validators:
            return None
        return named[-1]

    def commit(self, node: SimNode, certificate: CommitCertificate) -> None:
        """Make an executed block durable."""
        if certificate.height <= len(node.chain):
            return  # block sync was faster
        if node.executed.get(certificate.digest) != certificate.block_hash:
            raise Violation(f"P11 node {node.instance} commits what it did not compute")
        body = node.bodies[certificate.digest]
        validators = self.compute_change(node, body)
        block = SimBlock(certificate, node.proposals[certificate.digest], body, validators)
        self._append(node, block)
        event = ev.BlockCommitted(certificate.height, certificate.block_hash, validators)
        self._world.answer(node, 1, event)

    def _append(self, node: SimNode, block: SimBlock) -> None:
        self._checkers.on_commit(node, block)
        node.append(block)
        pin(node, self._world.plan.snapshot_blocks)
        if self._world.trace.is_on:
            text = f"{block.certificate.height} {block.certificate.block_hash.hex()[:8]}"
            self._world.trace_event(node, "commit", f"{text} txs={len(block.tx_hashes)}")
        self._clients.note_pool(node)

    # --- block sync -----------------------------------------------------------------------------

    def announce_for_ever(self) -> None:
        """Let every running instance learn its peers' heights from time to time.

        Validators may learn them rarely: they have to notice by themselves what they miss.
        Only a node that missed a change of validators cannot: it knows no validator to ask.
        """
        self._rounds += 1
        is_for_all = self._rounds % (self._world.plan.announce_ms // ANNOUNCE_MS) == 0
        newest = max(node.epochs.latest.first_height for node in self._world.nodes)
        for node in self._world.nodes:
            if node.replica is None:
                continue
            is_member = node.replica.index is not None and node.replica.epoch.first_height == newest
            if (is_for_all or not is_member) and not self._world.network.loses():
                self.sync(node)
                self._tell_caught_up(node)
            if node.damaged:
                self._mend(node)
        self._announce_abstaining()
        self._world.at(ANNOUNCE_MS, self.announce_for_ever)

    def _announce_abstaining(self) -> None:
        """Announce the links again when a validator begins to abstain, or stops abstaining."""
        replicas = [(node.instance, node.replica) for node in self._world.nodes]
        abstaining = [i for i, replica in replicas if replica and replica.phase == "abstaining"]
        if abstaining != self._abstaining:
            self._abstaining = abstaining
            self._world.announce_links()

    def _tell_caught_up(self, node: SimNode) -> None:
        """Tell an abstaining replica once it has what a quorum, itself included, had at its start.

        Its validators are those of its epoch (R-WIPE-1), and it is none of its own witnesses. Liars
        claim to have nothing, which is the worst for it.
        """
        if node.replica is None or node.replica.phase != "abstaining":
            return
        for peer in self._linked_peers(node):
            if peer.replica is None or peer.replica.phase != "abstaining":
                claim = 0 if peer.liar is not None else len(peer.chain)
                node.heard.setdefault(peer.node_id, claim)
        level = {node_id for node_id, height in node.heard.items() if height <= len(node.chain)}
        if is_witnessed(node.epochs.latest.validators, level, node.node_id):
            self._world.answer(node, 1, ev.CaughtUp(len(node.chain)))

    def request_sync(self, node: SimNode) -> None:
        """Fetch blocks soon."""
        delay_ms = self._world.network.draw_delay_ms()
        self._world.later(node, delay_ms, lambda: self.sync(node))

    def sync(self, node: SimNode) -> None:
        """Load a state, or fetch blocks from a peer that claims to have more; check and commit."""
        if node.replica is None:
            return
        peers, head = self._linked_peers(node), len(node.chain)
        period = self._world.plan.snapshot_blocks
        owner, height = find_state(node, peers, period) if period else (node, 0)
        if height:
            self._load(node, owner, height)
        else:
            self._fetch_blocks(node, peers)
        if len(node.chain) > head:
            last = node.chain[-1]
            event = ev.Synced(last.certificate, last.proposal.timestamp_ms, node.epochs.latest)
            self._world.answer(node, self._random.choice(LATE_MS), event)

    def _load(self, node: SimNode, owner: SimNode, height: int) -> None:
        """Go on from a peer's state: in one step, as a crash leaves either the old or the new one.

        All blocks up to it are checked, which the real node need not do.
        """
        for block in owner.chain[len(node.chain) : height]:
            if not self._import(node, block):
                raise Violation(f"P03 node {node.instance}: the state of {height} is not proven")
        node.base, node.states = height, [height]
        node.damaged.clear()
        self._world.faults["load"] += 1
        self._world.trace_event(node, "load", f"height={height} from {owner.instance}")

    def _fetch_blocks(self, node: SimNode, peers: list[SimNode]) -> None:
        """Fetch blocks from one peer that has the next one, or lies."""
        head = len(node.chain)
        ahead = [peer for peer in peers if keeps(peer, head + 1) or peer.lies_by("mishelp")]
        if not ahead:
            return
        peer = self._random.choice(ahead)
        for block in peer.chain[head : head + SYNC_BLOCKS_MAX]:
            offered = block
            if peer.liar is not None and peer.lies_by("mishelp"):
                offered = self._forge(peer.liar, block)
            elif not keeps(peer, block.certificate.height):
                break
            if not self._import(node, offered):
                break

    def rot(self, fault: Rot) -> None:
        """Let a block become unreadable, before the healing."""
        if self._world.is_faulty_phase and rot(self._world, fault):
            self._world.faults["rot"] += 1
            damaged = sorted(self._world.nodes[fault.instance].damaged)
            self._world.trace_event(self._world.nodes[fault.instance], "rot", str(damaged))

    def _mend(self, node: SimNode) -> None:
        mended = mend(node, self._linked_peers(node))
        if mended:
            self._world.trace_event(node, "mend", str(mended))

    def _forge(self, liar: Liar, block: SimBlock) -> SimBlock:
        certificate = block.certificate
        match self._random.randrange(4):
            case 0:
                forged = replace(certificate, block_hash=hash_bytes(certificate.block_hash))
            case 1:
                forged = replace(certificate, signatures=certificate.signatures[:-1])
            case 2:
                made_up = forge_commit(liar, replace(certificate, height=certificate.height - 1))
                forged = replace(made_up, digest=certificate.digest)
            case _:
                return replace(block, tx_hashes=block.tx_hashes[:-1])
        return replace(block, certificate=forged)

    def _import(self, node: SimNode, block: SimBlock) -> bool:
        """Check a fetched block completely; commit it if it is right (R-CU-3)."""
        certificate, proposal = block.certificate, block.proposal
        try:
            node_verifier = self._world.verifier_of(node)
            node_verifier.verify_commit(certificate)
        except InvalidMessage:
            return False
        head = node.chain[-1].certificate if node.chain else self._world.genesis
        validators = self.compute_change(node, block.tx_hashes)
        result = compute_block_hash(head.block_hash, certificate.digest, validators)
        is_right = (
            proposal.height == certificate.height == head.height + 1
            and proposal.previous == head.digest
            and compute_digest(self._world.domain, proposal) == certificate.digest
            and compute_tx_root(block.tx_hashes) == proposal.tx_root
        )
        if not is_right:
            return False
        if result != certificate.block_hash:
            raise Violation(f"P11 node {node.instance}: a certified block has another result")
        self._append(node, replace(block, validators=validators))
        return True
