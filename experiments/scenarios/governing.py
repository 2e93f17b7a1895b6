"""Votes of the consortium on institutions and routes: E14 and E15."""

from __future__ import annotations

import secrets

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
    """Play E14: a bank is voted in while the network runs, takes part, and is voted out."""
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
    document = build_enterprise_report(330, actors.now_s(), ACME_USCC)
    issued = await actors.issue("szcredit", document, "acme-sz", "new-bank-hk")
    report = await actors.hand_over("acme-sz", issued, document, "new-bank-hk")
    stage.verdict("the new bank verifies a report", "ACCEPT", report)
    own = build_hk_company_report(331, actors.now_s())
    issued = await actors.issue("new-bank-hk", own, "corp-hk", "baihang")
    report = await actors.hand_over("corp-hk", issued, own, "baihang")
    stage.verdict("the new bank issues a report", "ACCEPT", report)
    found = await _decide(actors, status_calls(org_id, OrgStatus.EXITED))
    stage.fact("the vote to remove the bank", "PASSED", found.status.name)
    answer = await _consume(actors, "new-bank-hk", Jurisdiction.SZ)
    stage.fact("a verification by the removed bank", "ORG_NOT_ACTIVE", answer)
    report = await actors.hand_over("corp-hk", issued, own, "baihang")
    stage.verdict("a report of the removed bank", "REJECT ISSUER_SUSPENDED(EXITED)", report)


async def play_macao(stage: Stage) -> None:
    """Play E15: Macao joins; its documents are accepted where a route is open."""
    actors = stage.actors
    hk, mo = Jurisdiction.HK, Jurisdiction.MO
    roles = Role.ADMIN | Role.ISSUER
    joining = actors.draft("nam-kwong", mo, roles, ["mo.asset/1"], via="qianhai-ix")
    found = await _decide(actors, [*schema_calls(SCHEMAS["mo.asset/1"]), *joining])
    stage.fact("a schema and an issuer in one proposal", "PASSED", found.status.name)
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
    found = await _decide(actors, route_calls(mo, hk, is_open=False))
    stage.fact("the vote to close the route", ProposalStatus.PASSED.name, found.status.name)


SCENARIOS = (
    Scenario("E14", "a bank is voted in, and out", play_newcomer),
    Scenario("E15", "Macao joins, and a route is voted on", play_macao),
)
