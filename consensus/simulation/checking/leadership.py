"""Which validator may lead, computed again, and which ones nodes named (P25; R-LEAD-2 to 4).

`LeaderChecker` is notified of everything that is sent in an epoch and of what honest nodes make
durable. It counts weights by itself: a validator of weight 3 is three voters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowu.consensus.certificates import VerifiedMessage
from lowu.consensus.effects import Broadcast, Effect
from lowu.consensus.epochs import Epoch
from lowu.consensus.messages import NewView, PrePrepare, ViewChange
from lowu.consensus.records import NewViewRecord, Record, ViewRecord
from lowu.consensus.replica import Replica
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.node import SimNode
from lowu.consensus.types import Height, NodeIndex, View
from lowu.consensus.validators import ValidatorSet

TURNS_MAX = 64
"""Rule R-LEAD-4: the most rounds of turns for which a leader may be passed over at a time."""


def work_out_passed_over(
    validators: ValidatorSet, changes: Sequence[ViewChange], opener: NodeIndex
) -> dict[NodeIndex, Height]:
    """Return the leaders to pass over in a view that `opener` opens with these VIEW-CHANGEs."""
    weights = [validator.weight for validator in validators.validators]
    faulty_max = (sum(weights) - 1) // 3
    agreed: dict[NodeIndex, Height] = {}
    for index in range(len(weights)):
        votes = [
            dict(change.passed_over).get(index, 0)
            for change in changes
            for _ in range(weights[change.sender])
        ]
        votes.sort(reverse=True)
        if index != opener and len(votes) > faulty_max and votes[faulty_max]:
            agreed[index] = votes[faulty_max]
    kept: dict[NodeIndex, Height] = {}
    for index in sorted(agreed, key=lambda item: (-agreed[item], item)):
        if sum(weights[item] for item in kept) + weights[index] <= faulty_max:
            kept[index] = agreed[index]
    return kept


def work_out_leader(
    validators: ValidatorSet, height: Height, view: View, passed: Mapping[NodeIndex, Height]
) -> NodeIndex:
    """Return the validator that must lead a height in a view that passes over `passed`."""
    size = len(validators.validators)
    turn = height // validators.leader_period + view
    at = turn % size
    able = [index for index in range(size) if index not in passed or height > passed[index]]
    return at if at in able else able[(turn // size + at) % len(able)]


class LeaderChecker:
    """P25: leaders follow the rule; none is passed over that no honest node has named."""

    def __init__(self) -> None:
        self._passed: dict[tuple[Height, View], list[dict[NodeIndex, Height]]] = {}
        """By epoch and view: the leaders passed over, one entry for each differing NEW-VIEW."""
        self._named: dict[tuple[Height, NodeIndex], Height] = {}
        """The greatest height up to which an honest node asked to pass a leader over, by epoch."""
        self._asked: dict[tuple[int, Height], View] = {}
        """The highest view that a node has asked for durably, by node and epoch."""
        self._offered: set[tuple[Height, View, Height]] = set()
        self._starts: dict[tuple[Height, View], Height] = {}
        """The stable height that a view starts from, by epoch and view."""
        self._expected: dict[int, tuple[NewView, dict[NodeIndex, Height]]] = {}

    def on_new_view(self, epoch: Epoch, message: NewView) -> None:
        """Note a NEW-VIEW, whichever node made it."""
        passed = work_out_passed_over(epoch.validators, message.view_changes, message.sender)
        key = (epoch.first_height, message.view)
        start = max(change.stable.height for change in message.view_changes)
        self._starts[key] = max(start, self._starts.get(key, 0))
        known = self._passed.setdefault(key, [])
        if passed not in known:
            known.append(passed)

    def may_lead(self, epoch: Epoch, height: Height, view: View, index: NodeIndex) -> bool:
        """Whether a validator leads a height in a view, by any of that view's NEW-VIEWs."""
        known = self._passed.get((epoch.first_height, view), [{}])
        return any(
            work_out_leader(epoch.validators, height, view, passed) == index for passed in known
        )

    def on_offer(self, epoch: Height, view: View, height: Height) -> None:
        """Note that a proposal, new or re-proposed, was offered for a height in a view."""
        self._offered.add((epoch, view, height))

    def on_persist(self, node: SimNode, record: Record) -> None:
        """Note a record that a node made durable."""
        if isinstance(record, ViewRecord):
            key = (node.instance, record.epoch)
            self._asked[key] = max(record.to_view, self._asked.get(key, 0))

    def on_step(self, node: SimNode, effects: tuple[Effect, ...]) -> None:
        """Check an honest node's step, before any of its effects is performed."""
        if node.replica is None:
            return
        for effect in effects:
            if isinstance(effect, Broadcast) and isinstance(effect.message, ViewChange):
                self._check_names(node, node.replica, effect.message)
        self._check_passed_over(node, node.replica)

    def on_refused(
        self, node: SimNode, replica: Replica, verified: VerifiedMessage, reason: str
    ) -> None:
        """Check that an honest replica did not refuse the leader of a height as not its leader."""
        message, epoch = verified.message, replica.epoch
        is_of_now = isinstance(message, PrePrepare) and (
            (verified.epoch, message.view) == (epoch.first_height, replica.view)
        )
        if not isinstance(message, PrePrepare) or not is_of_now or "its leader" not in reason:
            return
        height = message.proposal.height
        passed = replica.passed_over
        if work_out_leader(epoch.validators, height, message.view, passed) == message.sender:
            raise Violation(f"P25 node {node.instance} refuses the leader of {height}: {reason}")

    def _check_names(self, node: SimNode, replica: Replica, message: ViewChange) -> None:
        """Check that a node that leaves a view names its leader, if that leader offered nothing."""
        epoch, view = replica.epoch, replica.view
        for index, until in message.passed_over:
            key = (epoch.first_height, index)
            self._named[key] = max(until, self._named.get(key, 0))
        asked = self._asked.get((node.instance, epoch.first_height), 0)
        height = message.stable.height + 1
        is_offered = (epoch.first_height, view, height) in self._offered
        is_offered |= height <= self._starts.get((epoch.first_height, view), 0)
        is_leaving = asked <= view < message.view and replica.phase == "changing"
        if not is_leaving or is_offered:
            return
        leader = work_out_leader(epoch.validators, height, view, replica.passed_over)
        named = [index for index, _ in message.passed_over]
        if leader != message.sender and leader not in named:
            raise Violation(
                f"P25 node {node.instance} leaves view {view}, whose leader of {height} offered "
                f"nothing, and names {named} instead of {leader}"
            )

    def _check_passed_over(self, node: SimNode, replica: Replica) -> None:
        """Check that a replica passes over what its NEW-VIEW and an honest node's request say."""
        record = node.records.get(b"new-view")
        is_current = isinstance(record, NewViewRecord) and (
            (record.epoch, record.new_view.view) == (replica.epoch.first_height, replica.view)
        )
        if not isinstance(record, NewViewRecord) or not is_current:
            return
        message, epoch = record.new_view, replica.epoch
        known = self._expected.get(node.instance)
        if known is None or known[0] is not message:
            changes, opener = message.view_changes, message.sender
            known = message, work_out_passed_over(epoch.validators, changes, opener)
            self._expected[node.instance] = known
        if dict(replica.passed_over) != known[1]:
            raise Violation(
                f"P25 node {node.instance} passes over {dict(replica.passed_over)} in view "
                f"{replica.view}, not {known[1]}"
            )
        for index, until in known[1].items():
            if self._named.get((epoch.first_height, index), 0) < until:
                raise Violation(
                    f"P25 validator {index} is passed over up to {until}, as no honest one asks"
                )


def check_names(message: ViewChange, validators: ValidatorSet) -> None:
    """P25: a VIEW-CHANGE taken as valid names each leader once, and for a bounded time."""
    names = [index for index, _ in message.passed_over]
    low = message.stable.height
    high = low + TURNS_MAX * len(validators.validators) * validators.leader_period
    is_bounded = all(low < until <= high for _, until in message.passed_over)
    is_sound = len(set(names)) == len(names) and all(name < len(validators) for name in names)
    if not is_bounded or not is_sound:
        raise Violation(f"P25 believed of validator {message.sender}: pass over {names} for ever")
