"""Votes of the consortium on institutions, their nodes, and routes: E14 and E15."""

from __future__ import annotations

import secrets
from typing import Any

from lowu.contracts.registry import (
    NO_CONSENT,
    VERIFICATION_LOG_ADDRESS,
    Jurisdiction,
    OrgStatus,
    ProposalStatus,
    Role,
    VerdictClass,
    encode_consume,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.actors.actors import Actors
from lowu.experiments.scenarios.growing import (
    group_call,
    plan_own_node,
    read_group_of,
    start_own_node,
    stop_own_nodes,
)
from lowu.experiments.scenarios.presenting import ACME_USCC
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.documents.document import build_enterprise_report
from lowu.institutions.documents.personal import build_asset_certificate, build_hk_company_report
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.governance import (
    Call,
    GovernanceProposal,
    route_calls,
    schema_calls,
    status_calls,
)
from lowu.institutions.ledger.registry import Registry
from lowu.node.topology.plan import PlannedNode

MACAO = ("nam-kwong", "mo-bank-1")
VOTERS = ("qianhai-ix", "webank", "hkstp")
"""Both voters of Shenzhen and one of Hong Kong's two: more than two thirds of the weight."""


async def _decide(actors: Actors, calls: list[Call]) -> GovernanceProposal:
    return await actors.vote(await actors.propose(VOTERS[0], calls), *VOTERS)


async def _consume(actors: Actors, verifier: str, origin: Jurisdiction) -> str:
    """Have a verifier use up a made-up presentation; return the ledger's answer."""
    call = encode_consume(secrets.token_bytes(32), NO_CONSENT, VerdictClass.ACCEPT, origin)
    try:
        await actors.signers[verifier].send(VERIFICATION_LOG_ADDRESS, call)
    except RegistryRefused as error:
        return str(error)
    return "used up"


async def play_newcomer(stage: Stage) -> None:
    """Play E14: a bank is voted in with a node of its own, takes part, and is voted out."""
    actors = stage.actors
    roles = Role.ADMIN | Role.ISSUER | Role.VERIFIER
    calls = actors.draft("new-bank-hk", Jurisdiction.HK, roles, ["hk.ecr/1"], via="hkstp")
    org_id = actors.issuers["new-bank-hk"].member.org_id
    elsewhere = Registry(actors.clients["szcredit"])
    rejected = await actors.propose("hkstp", calls)
    found = await actors.vote(rejected, "hkstp", "bea-hk")
    stage.fact("a proposal with only one side in favour", "OPEN", found.status.name)
    found = await actors.vote(rejected, "qianhai-ix", "webank", is_yes=False)
    stage.fact("the same proposal with one side against", "REJECTED", found.status.name)
    status = (await elsewhere.get_org(org_id)).status
    stage.fact("status of the bank at a node of the other side", "UNKNOWN", status.name)
    found = await _decide(actors, calls)
    stage.fact("a proposal with both sides in favour", "PASSED", found.status.name)
    node, call = plan_own_node(stage, "new-bank-hk", Jurisdiction.HK)
    await _decide(actors, [call])
    await start_own_node(stage, "new-bank-hk", Jurisdiction.HK)
    before = await read_group_of(stage, node)
    stage.fact("whether the bank's node, with all blocks, votes yet", False, before["votes"])
    document = build_enterprise_report(330, actors.now_s(), ACME_USCC)
    issued = await actors.issue("szcredit", document, "acme-sz", "new-bank-hk")
    report = await actors.hand_over("acme-sz", issued, document, "new-bank-hk")
    stage.verdict("the new bank verifies a report by its own node", "ACCEPT", report)
    await _play_vote_of_node(stage, node, before)
    own = build_hk_company_report(331, actors.now_s())
    issued = await actors.issue("new-bank-hk", own, "corp-hk", "baihang")
    report = await actors.hand_over("corp-hk", issued, own, "baihang")
    stage.verdict("the new bank issues a report", "ACCEPT", report)
    leaving = [group_call("remove", node.key.node_id.hex())]
    found = await _decide(actors, [*leaving, *status_calls(org_id, OrgStatus.EXITED)])
    stage.fact("the vote to remove the bank and its node", "PASSED", found.status.name)
    await stop_own_nodes(stage, [node])
    actors.draft("new-bank-hk", Jurisdiction.HK, roles, [], via="hkstp")  # which it has left
    answer = await _consume(actors, "new-bank-hk", Jurisdiction.SZ)
    stage.fact("a verification by the removed bank", "ORG_NOT_ACTIVE", answer)
    report = await actors.hand_over("corp-hk", issued, own, "baihang")
    stage.verdict("a report of the removed bank", "REJECT ISSUER_SUSPENDED(EXITED)", report)


async def _play_vote_of_node(stage: Stage, node: PlannedNode, before: dict[str, Any]) -> None:
    """Give the bank's node a vote; not one by which its side would decide alone."""
    actors, node_id = stage.actors, node.key.node_id.hex()
    alone = await actors.propose(VOTERS[0], [group_call("addSealer", node_id, 100)])
    try:
        told = (await actors.vote(alone, *VOTERS)).status.name
    except RegistryRefused as error:
        told = str(error)
    stage.fact("a vote that makes one side a quorum", "QUORUM_NOT_BOUNDARY_SAFE", told)
    found = await _decide(actors, [group_call("addSealer", node_id, 1)])
    stage.fact("the vote to give its node a vote", "PASSED", found.status.name)
    wanted = {"validators": before["validators"] + 1, "quorum": 6, "votes": True}
    stage.fact("the group as that node has it", wanted, await read_group_of(stage, node))


async def _grow_to_macao(stage: Stage, roles: Role) -> list[PlannedNode]:
    """Let two members of Macao run nodes, both with a vote from one block on."""
    actors, mo, nodes = stage.actors, Jurisdiction.MO, []
    joining = actors.draft("mo-bank-1", mo, roles | Role.VERIFIER, [], via="qianhai-ix")
    await _decide(actors, joining)
    for name in MACAO:
        _, call = plan_own_node(stage, name, mo)
        await _decide(actors, [call])
        nodes.append(await start_own_node(stage, name, mo))
    before = await read_group_of(stage, nodes[0])
    await _decide(actors, [group_call("addSealer", item.key.node_id.hex(), 1) for item in nodes])
    stage.fact("validators before", 7, before["validators"])
    for node in nodes:
        wanted = {"validators": 9, "quorum": 7, "votes": True}
        told = await read_group_of(stage, node)
        stage.fact(f"the group as the node of {node.spec.institution} has it", wanted, told)
    return nodes


async def play_macao(stage: Stage) -> None:
    """Play E15: Macao joins; its documents are accepted where a route is open."""
    actors = stage.actors
    hk, mo = Jurisdiction.HK, Jurisdiction.MO
    roles = Role.ADMIN | Role.ISSUER
    joining = actors.draft("nam-kwong", mo, roles, ["mo.asset/1"], via="qianhai-ix")
    found = await _decide(actors, [*schema_calls(SCHEMAS["mo.asset/1"]), *joining])
    stage.fact("a schema and an issuer in one proposal", "PASSED", found.status.name)
    nodes = await _grow_to_macao(stage, roles)
    document = build_asset_certificate(340, actors.now_s())
    for receiver, what, expected in (
        ("baihang", "in Shenzhen", "ACCEPT"),
        ("fusion", "in Hong Kong", "REJECT JURISDICTION_RULE"),
    ):
        issued = await actors.issue_unchecked("nam-kwong", document, "owner", receiver)
        report = await actors.hand_over("owner", issued, document, receiver)
        stage.verdict(f"a certificate from Macao, shown {what}", expected, report)
    try:
        await actors.issue("nam-kwong", document, "owner", "fusion")
        told = "issued"
    except ValueError as error:
        told = str(error).partition(",")[0]
    stage.fact("an issuer's desk, asked for that", "no route leads from MO to HK", told)
    answer = await _consume(actors, "fusion", mo)
    stage.fact("the ledger's answer to that use in Hong Kong", "JURISDICTION_RULE", answer)
    found = await _decide(actors, route_calls(mo, hk))
    stage.fact("the vote to open the route", ProposalStatus.PASSED.name, found.status.name)
    report = await actors.hand_over("owner", issued, document, "fusion")
    stage.verdict("the same certificate with the route open", "ACCEPT", report)
    leaving = [group_call("remove", node.key.node_id.hex()) for node in nodes]
    found = await _decide(actors, [*route_calls(mo, hk, is_open=False), *leaving])
    stage.fact("the vote to close the route", ProposalStatus.PASSED.name, found.status.name)
    await stop_own_nodes(stage, nodes)


SCENARIOS = (
    Scenario("E14", "a bank is voted in with its node, and out", play_newcomer),
    Scenario("E15", "Macao joins with its nodes, and a route is voted on", play_macao),
)
