"""What honest nodes may vote for, and what a view change must carry (P03, P05–P07, P14, P18).

The checker is notified of every message, from any sender, and of what honest nodes persist and
execute. It keeps everything by epoch: an epoch's first height is part of every key.
"""

from __future__ import annotations

from lowu.consensus import effects as fx
from lowu.consensus.certificates import select_reproposals
from lowu.consensus.codec import compute_digest
from lowu.consensus.epochs import Epoch
from lowu.consensus.invariants import is_strong_quorum
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    ViewChange,
)
from lowu.consensus.records import (
    NewViewRecord,
    Record,
    ViewRecord,
    VoteKind,
    VoteRecord,
    record_key,
)
from lowu.consensus.replica import Replica
from lowu.consensus.simulation.checking.leadership import LeaderChecker
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.node import SimNode
from lowu.consensus.types import ZERO_HASH, Domain, Hash32, Height, NodeIndex, View


def vote_of(epoch: Height, message: Message, digest: Hash32) -> VoteRecord | None:
    """Return the record that must be durable before a vote leaves; None if it is no vote.

    `digest` is that of a PRE-PREPARE's proposal.
    """
    match message:
        case PrePrepare(view=view, proposal=proposal):
            kind = VoteKind.PRE_PREPARE
            return VoteRecord(epoch, kind, proposal.height, view, digest, ZERO_HASH)
        case Prepare(view=view, height=height, digest=voted):
            return VoteRecord(epoch, VoteKind.PREPARE, height, view, voted, ZERO_HASH)
        case Commit(view=view, height=height, digest=voted):
            return VoteRecord(epoch, VoteKind.COMMIT, height, view, voted, ZERO_HASH)
        case Checkpoint(height=height, digest=voted, block_hash=result):
            return VoteRecord(epoch, VoteKind.CHECKPOINT, height, 0, voted, result)
    return None


class VoteChecker:
    """P03, P05, P06, P07, P14, P18: over everything that honest nodes send."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self.leaders = LeaderChecker()
        self._votes: dict[tuple[int, Height, VoteKind, Height, View], tuple[Hash32, Hash32]] = {}
        self._left: dict[tuple[int, Height], View] = {}
        self._asked: dict[Height, dict[NodeIndex, View]] = {}
        """The highest view that each validator has asked for, by epoch."""
        self._prepared: dict[tuple[Height, Height, View], Hash32] = {}
        self._committed_in: dict[tuple[int, Height, Height], View] = {}
        """The last view in which an honest node sent COMMIT, by node, epoch and height."""
        self._offered: set[tuple[Height, View, Hash32]] = set()
        self._early: dict[tuple[Height, View, Hash32], list[tuple[Epoch, PrePrepare]]] = {}
        """Proposals of who does not lead by the NEW-VIEWs so far: a later one may let it."""
        self._proposals: dict[Hash32, Proposal] = {}
        self._commits: dict[tuple[Height, Height, View, Hash32], set[NodeIndex]] = {}
        self._ordered: dict[tuple[Height, Height], tuple[View, Hash32]] = {}
        self._highest: dict[int, Height] = {}
        """The highest height that each honest or wiped node has voted for."""
        self._lost: dict[int, Height] = {}
        """The same, at the time when the node lost its disk."""

    def on_any(self, epoch: Epoch, message: Message, digest: Hash32) -> None:
        """Note what a valid message, from any sender, offers, commits or asks for."""
        first = epoch.first_height
        match message:
            case PrePrepare(view=view, proposal=proposal, sender=sender):
                if not self.leaders.may_lead(epoch, proposal.height, view, sender):
                    self._early.setdefault((first, view, digest), []).append((epoch, message))
                elif sender == proposal.proposer:
                    self._proposals[digest] = proposal
                    self._offer(first, view, proposal.height, digest)
            case NewView():
                self._note_new_view(epoch, message)
            case Commit(view=view, height=height, digest=voted, sender=sender):
                self._note_commit(epoch, height, view, voted, sender)
            case ViewChange(view=view, sender=sender):
                asked = self._asked.setdefault(first, {})
                asked[sender] = max(view, asked.get(sender, 0))

    def _offer(self, first: Height, view: View, height: Height, digest: Hash32) -> None:
        self._offered.add((first, view, digest))
        self.leaders.on_offer(first, view, height)

    def _note_new_view(self, epoch: Epoch, message: NewView) -> None:
        if message.view_changes:
            self.leaders.on_new_view(epoch, message)
            for item in select_reproposals(self._domain, message.view_changes).proposals:
                digest = compute_digest(self._domain, item)
                self._offer(epoch.first_height, message.view, item.height, digest)

    def _note_commit(
        self, epoch: Epoch, height: Height, view: View, digest: Hash32, sender: NodeIndex
    ) -> None:
        at = (epoch.first_height, height)
        voters = self._commits.setdefault((*at, view, digest), set())
        voters.add(sender)
        if at not in self._ordered and is_strong_quorum(epoch.validators, voters):
            self._ordered[at] = (view, digest)

    def on_persist(self, epoch: Epoch, record: Record, index: NodeIndex | None) -> None:
        """Note a record that a node made durable; a crash may keep its message off the wire."""
        if isinstance(record, NewViewRecord):
            self._note_new_view(epoch, record.new_view)
        if not isinstance(record, VoteRecord) or index is None:
            return
        if record.kind is VoteKind.PRE_PREPARE:
            self._offer(record.epoch, record.view, record.height, record.digest)
        elif record.kind is VoteKind.COMMIT:
            self._note_commit(epoch, record.height, record.view, record.digest, index)

    def on_execute(self, node: SimNode, replica: Replica, effect: fx.ExecuteProposal) -> None:
        """P06: a quorum committed what a node executes, in one view, or it is settled."""
        height, epoch = effect.proposal.height, replica.epoch
        if replica.is_settled(height):
            return
        for (first, at, _, digest), voters in self._commits.items():
            is_same = (first, at, digest) == (epoch.first_height, height, effect.digest)
            if is_same and is_strong_quorum(epoch.validators, voters):
                return
        raise Violation(f"P06 node {node.instance} executes {height}, which no quorum committed")

    def on_send(self, node: SimNode, message: Message, digest: Hash32) -> None:
        """Check a message that an honest node sends; `digest` is that of a PRE-PREPARE."""
        if node.replica is None:
            return
        epoch = node.replica.epoch
        first = epoch.first_height
        if isinstance(message, Prepare):
            offer = (first, message.view, message.digest)
            self._check_offer(node, offer, message.height)
        vote = vote_of(first, message, digest)
        if vote is not None:
            self._check(node, vote)
        if isinstance(message, Commit):
            self._check_survival(node, epoch, message)
        elif isinstance(message, ViewChange):
            self._check_view_change(node, node.replica, message)

    def _check_view_change(self, node: SimNode, replica: Replica, message: ViewChange) -> None:
        """P06: what it must carry; P14: it is durable; P18: something caused it."""
        first, view = replica.epoch.first_height, message.view
        carried = {item.proposal.height: item.view for item in message.prepared}
        for (instance, epoch, height), voted in self._committed_in.items():
            is_own = (instance, epoch) == (node.instance, first)
            if is_own and height > message.stable.height and carried.get(height, -1) < voted:
                raise Violation(
                    f"P06 node {node.instance} asks for view {view} without the certificate of "
                    f"height {height} that it committed in view {voted}"
                )
        record = node.records.get(b"view")
        is_durable = isinstance(record, ViewRecord) and (record.epoch, record.to_view) >= (
            first,
            view,
        )
        if not is_durable:
            raise Violation(
                f"P14 node {node.instance} sent VIEW-CHANGE {view} before it was durable"
            )
        key = (node.instance, first)
        before = self._left.get(key, 0)
        self._left[key] = max(view, before)
        if view > before:
            self._check_cause(node, replica, view, before)

    def _check_cause(self, node: SimNode, replica: Replica, view: View, before: View) -> None:
        """P18: a node asks for views one by one, or because more than f weight asks for one."""
        asked = self._asked.get(replica.epoch.first_height, {})
        others = {index: at for index, at in asked.items() if index != replica.index}
        validators = replica.validators
        if validators.has_honest(index for index, at in others.items() if at >= view):
            return
        if before <= replica.view:  # from a view that worked: a time-out, or leaders skipped
            is_caused = view <= replica.view + len(validators)
        else:  # from one that did not open: a time-out, once a quorum had asked for it
            backers = [index for index, at in asked.items() if at >= before]
            is_caused = view == before + 1 and is_strong_quorum(validators, backers)
        if not is_caused:
            raise Violation(f"P18 node {node.instance} ran from view {before} to {view} alone")

    def _check_offer(self, node: SimNode, offer: tuple[Height, View, Hash32], at: Height) -> None:
        """P03: a node prepares only what a leader offered, and not above a barrier in flight."""
        for epoch, message in self._early.pop(offer, ()):
            self.on_any(epoch, message, offer[2])
        if offer not in self._offered:
            raise Violation(f"P03 node {node.instance} prepares {at} in {offer[1]}: never offered")
        proposal = self._proposals.get(offer[2])
        below = self._proposals.get(proposal.previous) if proposal is not None else None
        is_above_barrier = below is not None and below.is_barrier
        if is_above_barrier and node.replica is not None and node.replica.stable.height < at - 1:
            raise Violation(f"P03 node {node.instance} prepares {at} above a barrier in flight")

    def _check(self, node: SimNode, vote: VoteRecord) -> None:
        self._highest[node.instance] = max(vote.height, self._highest.get(node.instance, 0))
        key = (node.instance, vote.epoch, vote.kind, vote.height, vote.view)
        result = (vote.digest, vote.block_hash)
        is_first = key not in self._votes
        if self._votes.setdefault(key, result) != result:
            raise Violation(f"P05 node {node.instance} signed two {vote.kind.name} at {key[3:]}")
        if not is_first:
            return
        left = self._left.get((node.instance, vote.epoch), 0)
        if vote.kind is not VoteKind.CHECKPOINT and vote.view < left:
            raise Violation(f"P07 node {node.instance} voted in view {vote.view} after leaving it")
        is_settled = vote.height <= len(node.chain)  # the block is durable, its votes deleted
        if not is_settled and node.records.get(record_key(vote)) != vote:
            raise Violation(
                f"P14 node {node.instance} sent {vote.kind.name} {key[3:]} before it was durable"
            )

    def _check_survival(self, node: SimNode, epoch: Epoch, vote: Commit) -> None:
        """P06: one digest per view, and no other once a quorum may have ordered one."""
        at = (epoch.first_height, vote.height)
        ordered = self._ordered.get(at)
        if ordered is not None and vote.view > ordered[0] and vote.digest != ordered[1]:
            raise Violation(f"P06 height {vote.height}: prepared anew in view {vote.view}")
        if self._prepared.setdefault((*at, vote.view), vote.digest) != vote.digest:
            raise Violation(f"P06 height {vote.height}: two prepared in view {vote.view}")
        key = (node.instance, *at)
        self._committed_in[key] = max(vote.view, self._committed_in.get(key, 0))

    def on_send_after_wipe(self, node: int, message: Message) -> None:
        """F22: a node that lost its disk votes only above the heights that it voted for before."""
        vote = vote_of(0, message, ZERO_HASH)
        if vote is None:
            return
        if vote.height <= self._lost.get(node, 0):
            raise Violation(f"P05 node {node} votes at {vote.height}, where its votes are lost")
        self._highest[node] = max(vote.height, self._highest.get(node, 0))

    def on_wipe(self, node: int) -> None:
        """Note that a node lost its disk: its votes and views are forgotten, its heights kept."""
        self._lost[node] = self._highest.get(node, 0)
        self._votes = {key: vote for key, vote in self._votes.items() if key[0] != node}
        self._left = {key: view for key, view in self._left.items() if key[0] != node}
        kept = {key: view for key, view in self._committed_in.items() if key[0] != node}
        self._committed_in = kept
