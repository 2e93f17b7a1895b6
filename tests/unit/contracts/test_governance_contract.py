"""Governance: proposals, votes by organisation, weights by jurisdiction; in both EVM engines."""

import pytest
from eth_keys import keys

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    GOVERNANCE_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    ProposalStatus,
    RegistryErrorCode,
    Role,
)
from tests.unit.registry_world import World, account_of, refused

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


def weigh(side, weight):
    call = load_artifact("Governance").functions["setWeight"].encode_call(side, weight)
    return GOVERNANCE_ADDRESS, call


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
    world.org("governor", "setOrgStatus", 2, 3)
    refused(CODE.ORG_NOT_ACTIVE, vote, world, "issuer-hk", proposal)
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
    assert world.call("regulator", "Governance", "getTally", proposal, 2) == (1, 2, 0, 0)


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
    assert world.org("regulator", "getOrg", 1)[-3:] == (5, 0, 0)


DAYS_30 = 30 * 86_400


def test_regulators_suspend_where_they_stand_and_for_a_time(world):
    """N-H4: one regulator suspended the other side's voters, and its own side decided alone."""
    now, suspend = world.time_s, ("regulator", "suspendOrg")
    for status in (1, 2, 3):
        refused(CODE.ROLE_REQUIRED, world.org, "regulator", "setOrgStatus", 1, status)
    refused(CODE.ROLE_REQUIRED, world.org, "issuer-sz", "suspendOrg", 3, now + 9)
    refused(CODE.JURISDICTION_RULE, world.org, *suspend, 2, now + 9)
    refused(CODE.NOT_FOUND, world.org, *suspend, 99, now + 9)
    for until in (now, now - 1, now + DAYS_30 + 1):
        refused(CODE.BAD_VALIDITY, world.org, *suspend, 1, until)
    world.org(*suspend, 1, now + 9)
    assert world.events() == ["OrgSuspended"]
    refused(CODE.ORG_NOT_ACTIVE, world.register, ANCHOR)
    world.pass_blocks(seconds=9)
    world.register(ANCHOR)  # it has ended by itself
    world.org(*suspend, 1, world.time_s + DAYS_30)
    world.org(*suspend, 1, 0)
    world.register(b"\x09" * 32)
    world.org("governor", "setOrgStatus", 1, 3)
    refused(CODE.TERMINAL_STATE, world.org, *suspend, 1, world.time_s + 9)


def test_whoever_is_suspended_votes(world):
    """N-H4: with all governors suspended no proposal could ever be made again."""
    for org in (1, 2, 3, 4):
        world.org("governor", "setOrgStatus", org, 2)
    world.org("regulator", "suspendOrg", 1, world.time_s + 9)
    refused(CODE.ORG_NOT_ACTIVE, world.register, ANCHOR)
    back = [(ORG_REGISTRY_ADDRESS, org_call("setOrgStatus", org, 1)) for org in (1, 2, 3, 4)]
    proposal = propose_all(world, back)
    for who in ("issuer-sz", "witness-sz", "issuer-hk"):
        vote(world, who, proposal)
    world.register(ANCHOR)  # the vote has ended the regulator's suspension too


def test_whoever_joins_later_or_has_left_has_no_say(world):
    """N-M6: two of four voted yes and were expelled; that counted as two of two."""
    roles = int(Role.GOVERNOR)
    proposal = propose(world, ADMIT)
    world.org("governor", "admitOrg", 9, b"m" * 32, 2, roles)
    world.org("governor", "setAccount", 9, account_of("late"), roles)
    refused(CODE.ROLE_REQUIRED, vote, world, "late", proposal)
    vote(world, "issuer-sz", proposal)
    vote(world, "issuer-hk", proposal)
    for org in (1, 2):
        world.org("governor", "setOrgStatus", org, 3)
    tally = ("regulator", "Governance", "getTally", proposal)
    assert [world.call(*tally, side) for side in (1, 2, 3)] == [
        (1, 2, 0, 0),
        (1, 2, 0, 0),
        (0, 0, 0, 0),
    ]
    assert vote(world, "witness-sz", proposal) == ProposalStatus.OPEN
    assert vote(world, "witness-hk", proposal) == ProposalStatus.OPEN  # half of all weight


def test_a_side_that_has_lost_its_voters_still_weighs(world):
    for org in (2, 4):
        world.org("governor", "setOrgStatus", org, 3)
    proposal = propose(world, ADMIT)
    for who in ("issuer-sz", "witness-sz"):
        assert vote(world, who, proposal) == ProposalStatus.OPEN


def test_a_side_may_give_up_its_weight_by_vote_but_not_the_last(world):
    proposal = propose_all(world, [weigh(1, 0), weigh(2, 0)])
    for who in ("issuer-sz", "witness-sz"):
        vote(world, who, proposal)
    refused(CODE.JURISDICTION_RULE, vote, world, "issuer-hk", proposal)
    proposal = propose_all(world, [weigh(2, 0)])
    for who in ("issuer-sz", "witness-sz", "issuer-hk"):
        vote(world, who, proposal)
    alone = propose(world, ADMIT)
    vote(world, "issuer-sz", alone)
    assert vote(world, "witness-sz", alone) == ProposalStatus.PASSED


def test_no_proposal_leaves_nobody_who_can_pass_another(world):
    """N-H4: the exit of a side's last voter ended the governance for ever."""

    exits = [(ORG_REGISTRY_ADDRESS, org_call("setOrgStatus", org, 3)) for org in (2, 4)]
    world.org("governor", "admitOrg", 9, b"m" * 32, 3, int(Role.GOVERNOR))  # Macao: two of three
    world.org("governor", "setAccount", 9, account_of("macao"), int(Role.GOVERNOR))
    world.org("governor", "renounceGovernor")
    world.pass_blocks()
    proposal = propose_all(world, exits)
    for who in ("issuer-sz", "witness-sz", "macao"):
        vote(world, who, proposal)
    refused(CODE.JURISDICTION_RULE, vote, world, "issuer-hk", proposal)
    assert vote(world, "issuer-hk", propose(world, ADMIT)) == ProposalStatus.OPEN
    proposal = propose_all(world, [weigh(2, 0), *exits])
    for who in ("issuer-sz", "witness-sz", "macao"):
        vote(world, who, proposal)
    assert vote(world, "issuer-hk", proposal) == ProposalStatus.PASSED
    proposal = propose_all(world, [weigh(2, 1)])
    for who in ("issuer-sz", "witness-sz"):
        vote(world, who, proposal)
    refused(CODE.JURISDICTION_RULE, vote, world, "macao", proposal)


def test_an_organisation_that_is_not_active_writes_nothing(world):
    """N-M7: an administrator of an organisation that had left added keys and reported a theft."""
    acts = [
        ("addKey", 1, 2, 1, bytes(64)),
        ("retireKey", 1, 1),
        ("reportCompromised", 1, 1, 1),
        ("setAccount", 1, account_of("issuer-sz"), 0),
    ]
    world.org("regulator", "suspendOrg", 1, world.time_s + 9)
    for act in acts:
        refused(CODE.ORG_NOT_ACTIVE, world.org, "issuer-sz", *act)
    world.pass_blocks(seconds=9)
    world.org("governor", "setOrgStatus", 1, 3)
    for act in acts:
        refused(CODE.ORG_NOT_ACTIVE, world.org, "issuer-sz", *act)


def test_an_account_agrees_to_its_claim(world):
    """N-M7: an administrator claimed a stranger's address, which then could join nobody else."""
    key, roles = keys.PrivateKey(b"\x44" * 32), int(Role.ISSUER)
    account = key.public_key.to_canonical_address()
    refused(CODE.SIGNATURE_INVALID, world.org, "issuer-sz", "setAccount", 1, account, roles)

    def sign(signer, org):
        signature = signer.sign_msg_hash(world.org("regulator", "claimOf", org, account))
        halves = (item.to_bytes(32, "big") for item in (signature.r, signature.s))
        return signature.v + 27, *halves

    claim = ("issuer-sz", "claimAccount", 1, account, roles)
    agreed = sign(key, 1)
    for bad in (sign(key, 2), sign(keys.PrivateKey(b"\x45" * 32), 1), (27, bytes(32), bytes(32))):
        refused(CODE.SIGNATURE_INVALID, world.org, *claim, *bad)
    refused(CODE.ROLE_REQUIRED, world.org, "issuer-hk", *claim[1:], *agreed)
    refused(CODE.ROLE_REQUIRED, world.org, *claim[:-1], int(Role.VERIFIER), *agreed)
    world.org(*claim, *agreed)
    assert world.org("regulator", "getAccount", account) == (1, roles)
    world.org("issuer-sz", "setAccount", 1, account, 0)
    refused(CODE.SIGNATURE_INVALID, world.org, *claim, *agreed)  # it holds once
    refused(CODE.SIGNATURE_INVALID, world.org, "issuer-sz", "setAccount", 1, account, roles)


def test_an_organisations_governor_does_not_govern_alone(world):
    for who in ("issuer-sz", "witness-hk"):
        refused(CODE.ROLE_REQUIRED, world.org, who, "admitOrg", 50, b"m" * 32, 1, 2)
        refused(CODE.ROLE_REQUIRED, world.org, who, "accredit", 1, 1, 0)
