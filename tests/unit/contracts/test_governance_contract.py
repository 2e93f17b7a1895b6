"""Governance: proposals, votes by organisation, weights by jurisdiction; in both EVM engines."""

import pytest

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    GOVERNANCE_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    ProposalStatus,
    RegistryErrorCode,
    Role,
)
from tests.unit.registry_world import World, refused

ANCHOR = b"\x07" * 32
CODE = RegistryErrorCode


@pytest.fixture
def world():
    return World()


def org_call(name, *arguments):
    return load_artifact("OrgRegistry").functions[name].encode_call(*arguments)


def propose(world, data, who="issuer-sz", target=ORG_REGISTRY_ADDRESS, blocks=10):
    return propose_all(world, [(target, data)], who, blocks)


def propose_all(world, calls, who="issuer-sz", blocks=10):
    return world.call(who, "Governance", "propose", calls, blocks)


def vote(world, who, proposal, is_yes=True):
    return world.call(who, "Governance", "vote", proposal, is_yes)


ADMIT = org_call("admitOrg", 77, b"m" * 32, 2, int(Role.ADMIN | Role.ISSUER))


def test_an_organisation_is_voted_in_by_both_sides(world):
    proposal = propose(world, ADMIT)
    assert vote(world, "issuer-sz", proposal) == ProposalStatus.OPEN
    refused(CODE.ALREADY_VOTED, vote, world, "issuer-sz", proposal)
    assert vote(world, "witness-sz", proposal) == ProposalStatus.OPEN  # half the weight
    assert world.org("regulator", "getOrg", 77)[3] == 0
    assert vote(world, "issuer-hk", proposal) == ProposalStatus.PASSED
    assert world.events() == ["Voted", "Decided", "OrgAdmitted"]
    assert world.org("regulator", "getOrg", 77)[3] == 1
    refused(CODE.TERMINAL_STATE, vote, world, "witness-hk", proposal)


def test_a_third_against_rejects(world):
    proposal = propose(world, ADMIT)
    vote(world, "issuer-hk", proposal, is_yes=False)
    assert vote(world, "witness-sz", proposal, is_yes=False) == ProposalStatus.REJECTED
    refused(CODE.TERMINAL_STATE, vote, world, "issuer-sz", proposal)


def test_votes_are_for_governors_in_good_standing_and_in_time(world):
    refused(CODE.ROLE_REQUIRED, propose, world, ADMIT, who="verifier-hk")
    refused(CODE.NO_SUCH_PROPOSAL, vote, world, "issuer-sz", 5)
    refused(CODE.MALFORMED, propose, world, b"\1\2\3")
    refused(CODE.MALFORMED, propose, world, ADMIT, blocks=0)
    refused(CODE.MALFORMED, propose, world, ADMIT, target=b"\x01" * 20)
    proposal = propose(world, ADMIT, blocks=3)
    world.org("regulator", "setOrgStatus", 2, 2)
    refused(CODE.ORG_NOT_ACTIVE, vote, world, "issuer-hk", proposal)
    # With one organisation suspended, the other of its side has all the side's weight.
    vote(world, "witness-hk", proposal)
    assert vote(world, "issuer-sz", proposal) == ProposalStatus.PASSED
    late = propose(world, ADMIT, blocks=3)
    world.pass_blocks(4)
    refused(CODE.TERMINAL_STATE, vote, world, "issuer-sz", late)


def test_a_proposal_that_cannot_be_carried_out_says_why_and_stays_open(world):
    proposal = propose(world, org_call("admitOrg", 1, b"m" * 32, 2, 1))
    vote(world, "issuer-sz", proposal)
    vote(world, "witness-sz", proposal)
    refused(CODE.TERMINAL_STATE, vote, world, "issuer-hk", proposal)
    found = world.call("regulator", "Governance", "getProposal", proposal)
    assert found[1] == ProposalStatus.OPEN
    assert world.call("regulator", "Governance", "getTally", proposal, 2) == (0, 0)


def test_calls_are_made_in_order_all_or_none(world):
    account = b"\x77" * 20
    whole = [
        (ORG_REGISTRY_ADDRESS, ADMIT),
        (ORG_REGISTRY_ADDRESS, org_call("setAccount", 77, account, int(Role.ISSUER))),
        (ORG_REGISTRY_ADDRESS, org_call("accredit", 77, 1, 0)),
    ]
    broken = propose_all(world, [*whole, (ORG_REGISTRY_ADDRESS, org_call("setQuota", 99, 1, 0))])
    for who in ("issuer-sz", "witness-sz"):
        vote(world, who, broken)
    refused(CODE.NOT_FOUND, vote, world, "issuer-hk", broken)
    assert world.org("regulator", "getOrg", 77)[3] == 0
    proposal = propose_all(world, whole)
    for who in ("issuer-sz", "witness-sz", "issuer-hk"):
        vote(world, who, proposal)
    assert world.events() == ["Voted", "Decided", "OrgAdmitted", "AccountChanged", "Accredited"]
    assert world.org("regulator", "isAccredited", 77, 1)
    refused(CODE.MALFORMED, propose_all, world, [])
    refused(CODE.MALFORMED, propose_all, world, whole * 6)


def test_routes_are_opened_by_vote(world):
    routed = [
        (start, end)
        for start in range(6)
        for end in range(6)
        if world.org("regulator", "isRouted", start, end)
    ]
    assert routed == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 3), (4, 4)]
    refused(CODE.ROLE_REQUIRED, world.org, "issuer-sz", "setRoute", 3, 2, True)
    for wrong in ((0, 1), (1, 0), (5, 1), (1, 5), (2, 2)):
        refused(CODE.MALFORMED, world.org, "governor", "setRoute", *wrong, True)
    for is_open in (True, False):
        proposal = propose(world, org_call("setRoute", 3, 2, is_open))
        for who in ("issuer-sz", "witness-sz", "issuer-hk"):
            vote(world, who, proposal)
        assert world.events() == ["Voted", "Decided", "RouteSet"]
        assert world.org("regulator", "isRouted", 3, 2) is is_open


def test_weights_change_by_vote_only(world):
    data = load_artifact("Governance").functions["setWeight"].encode_call(1, 3)
    refused(CODE.ROLE_REQUIRED, world.call, "governor", "Governance", "setWeight", 1, 3)
    proposal = propose(world, data, target=GOVERNANCE_ADDRESS)
    for who in ("issuer-sz", "witness-sz", "issuer-hk"):
        vote(world, who, proposal)
    assert world.call("regulator", "Governance", "getWeight", 1) == 3
    # One side now has three quarters of the weight.
    proposal = propose(world, ADMIT)
    vote(world, "issuer-sz", proposal)
    assert vote(world, "witness-sz", proposal) == ProposalStatus.PASSED


def test_after_the_governor_steps_down_only_votes_govern(world):
    world.org("governor", "renounceGovernor")
    refused(CODE.ROLE_REQUIRED, world.org, "governor", "setQuota", 1, 5, 0)
    proposal = propose(world, org_call("setQuota", 1, 5, 0))
    for who in ("issuer-sz", "witness-sz", "issuer-hk"):
        vote(world, who, proposal)
    assert world.org("regulator", "getOrg", 1)[-2:] == (5, 0)


def test_regulators_suspend_and_nothing_else(world):
    for status in (1, 3):
        refused(CODE.ROLE_REQUIRED, world.org, "regulator", "setOrgStatus", 1, status)
    refused(CODE.ROLE_REQUIRED, world.org, "issuer-hk", "setOrgStatus", 1, 2)
    world.org("regulator", "setOrgStatus", 1, 2)
    refused(CODE.ORG_NOT_ACTIVE, world.register, ANCHOR)
    assert world.org("regulator", "countGovernors", 1) == 1
    world.org("governor", "setOrgStatus", 1, 1)
    world.register(ANCHOR)
    assert world.org("regulator", "countGovernors", 1) == 2
    world.org("governor", "setOrgStatus", 1, 3)
    refused(CODE.TERMINAL_STATE, world.org, "governor", "setOrgStatus", 1, 1)
    assert world.org("regulator", "countGovernors", 1) == 1


def test_an_organisations_governor_does_not_govern_alone(world):
    for who in ("issuer-sz", "witness-hk"):
        refused(CODE.ROLE_REQUIRED, world.org, who, "admitOrg", 50, b"m" * 32, 1, 2)
        refused(CODE.ROLE_REQUIRED, world.org, who, "accredit", 1, 1, 0)
