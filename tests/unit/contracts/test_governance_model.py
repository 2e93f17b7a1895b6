"""Governance against a model of it: every small vote, and hostile members in any order.

The model counts with fractions, from the rule in docs/REGISTRY.md: voters and weights are those of
the proposal's opening, votes of members that have left do not count, and more than two thirds of
all weight passes.
"""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import ORG_REGISTRY_ADDRESS, ProposalStatus, RegistryErrorCode, Role
from tests.unit.registry_world import MEMBERS, Refused, World, account_of

GOVERNORS = {
    name: (number, int(side))
    for name, (number, side, roles) in MEMBERS.items()
    if roles & Role.GOVERNOR
}
NEWCOMERS = {f"new-{number}": (number, 1 + number % 2) for number in range(20, 24)}
NOTHING = [
    (
        ORG_REGISTRY_ADDRESS,
        load_artifact("OrgRegistry").functions["setQuota"].encode_call(6, 1, 1),
    )
]
CODE, STATUS = RegistryErrorCode, ProposalStatus


def decide(electorate, weights, votes):
    """Return the status of a proposal, given `votes` as (side, whether in favour)."""
    total = sum(weights.values())
    share = {side: Fraction(weights[side], max(1, electorate[side])) for side in weights}
    in_favour = sum(share[side] for side, is_yes in votes if is_yes)
    against = sum(share[side] for side, is_yes in votes if not is_yes)
    if in_favour > Fraction(2, 3) * total:
        return STATUS.PASSED
    return STATUS.REJECTED if against >= Fraction(1, 3) * total else STATUS.OPEN


def test_every_vote_of_two_sides_with_two_voters_each():
    world, passed = World(), set()
    for ballot in product((True, False, None), repeat=4):
        number = world.call("issuer-sz", "Governance", "propose", NOTHING, 10)
        votes, status = [], STATUS.OPEN
        for who, is_yes in zip(GOVERNORS, ballot, strict=True):
            if is_yes is None or status is not STATUS.OPEN:
                continue
            votes.append((GOVERNORS[who][1], is_yes))
            status = decide({1: 2, 2: 2}, {1: 1, 2: 1}, votes)
            assert world.call(who, "Governance", "vote", number, is_yes) == status, ballot
        if status is STATUS.PASSED:
            passed.add(frozenset(side for side, is_yes in votes if is_yes))
    assert passed == {frozenset({1, 2})}  # no side passes anything alone


class Consortium(RuleBasedStateMachine):
    """Members that vote, are suspended, leave and join while proposals are open."""

    @initialize()
    def begin(self):
        self.world = World()
        self.members = dict(GOVERNORS)
        """By name: organisation and side of those that may vote."""
        self.joined = {}
        """By name of a newcomer: the height of its admission."""
        self.proposals = {}

    def _try(self, *call):
        try:
            return self.world.call(*call), None
        except Refused as refusal:
            return None, refusal.code

    @rule(who=st.sampled_from([*GOVERNORS, *NEWCOMERS, "regulator"]))
    def propose(self, who):
        number, code = self._try(who, "Governance", "propose", NOTHING, 12)
        assert (code is None) is (who in self.members)
        if code is None:
            electorate = {1: 0, 2: 0}
            for _, side in self.members.values():
                electorate[side] += 1
            self.proposals[number] = {
                "electorate": electorate,
                "voters": dict(self.members),
                "height": self.world.height,
                "votes": {},
                "status": STATUS.OPEN,
                "fresh": set(self.fresh),
            }

    @property
    def fresh(self):
        """Those admitted in this block: they have no say in what is proposed in it."""
        return {name for name, height in self.joined.items() if height == self.world.height}

    @rule(
        who=st.sampled_from([*GOVERNORS, *NEWCOMERS]),
        back=st.integers(0, 2),
        is_yes=st.booleans(),
    )
    def vote(self, who, back, is_yes):
        number = max(0, max(self.proposals, default=0) - back)
        status, code = self._try(who, "Governance", "vote", number, is_yes)
        item = self.proposals.get(number)
        is_open = (
            item is not None
            and item["status"] is STATUS.OPEN
            and self.world.height <= item["height"] + 12
        )
        has_say = is_open and who in self.members and who in item["voters"]
        if not has_say or who in item["votes"] or who in item["fresh"]:
            assert code is not None
            return
        item["votes"][who] = is_yes
        counted = [
            (item["voters"][name][1], vote)
            for name, vote in item["votes"].items()
            if name in self.members
        ]
        assert code is None
        assert status == decide(item["electorate"], {1: 1, 2: 1}, counted)
        item["status"] = STATUS(status)

    @rule(who=st.sampled_from(list(GOVERNORS)), days=st.integers(1, 30))
    def suspend(self, who, days):
        """A suspension by a vote or by a regulator changes nothing about who may vote."""
        number, side = GOVERNORS[who]
        until = self.world.time_s + days * 86_400
        _, code = self._try("regulator", "OrgRegistry", "suspendOrg", number, until)
        assert (code is None) is (side == 1 and who in self.members)
        if who in self.members:
            self._try("governor", "OrgRegistry", "setOrgStatus", number, 2)

    @rule(who=st.sampled_from(list(GOVERNORS)))
    def expel(self, who):
        if who in self.members and len(self.members) > 2:
            self.world.org("governor", "setOrgStatus", self.members.pop(who)[0], 3)

    @rule(who=st.sampled_from(list(NEWCOMERS)))
    def admit(self, who):
        number, side = NEWCOMERS[who]
        if who not in self.joined:
            roles = int(Role.GOVERNOR)
            self.world.org("governor", "admitOrg", number, b"m" * 32, side, roles)
            self.world.org("governor", "setAccount", number, account_of(who), roles)
            self.members[who], self.joined[who] = (number, side), self.world.height

    @rule(count=st.integers(1, 5))
    def pass_blocks(self, count):
        self.world.pass_blocks(count)

    @invariant()
    def nothing_passes_without_both_sides(self):
        for item in self.proposals.values():
            sides = {item["voters"][name][1] for name, vote in item["votes"].items() if vote}
            assert item["status"] is not STATUS.PASSED or sides == {1, 2}


TestConsortium = pytest.mark.timeout(600)(Consortium.TestCase)
TestConsortium.settings = settings(
    max_examples=8,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
