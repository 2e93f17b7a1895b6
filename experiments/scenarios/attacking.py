"""Attacks by members and observers: squatting on anchors, guessing documents."""

from __future__ import annotations

import secrets
from dataclasses import replace

import trio

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    encode_register_anchor,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.attacks.dictionary import publish, search
from lowu.experiments.scenarios.presenting import ACME_USCC
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.documents.document import build_enterprise_report
from lowu.institutions.ledger.legacy_evidence import LegacyEvidence, deploy_legacy
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.package.format import Profile
from lowu.institutions.roles.issuer import Issued

BUDGET_S = 60.0
PROCESSES = 2


async def play_squatting(stage: Stage) -> None:
    """Play X4: a member registers szcredit's anchor before szcredit does."""
    actors = stage.actors
    document = build_enterprise_report(260, actors.now_s(), ACME_USCC)
    package = actors.issuers["szcredit"].build_package(
        document,
        audience=actors.audience("nova"),
        holder_key=actors.holders["acme-sz"].key.public_key,
        issued_at_s=actors.now_s(),
    )
    anchor = package.anchors[0].anchor
    squatting = encode_register_anchor(anchor, schema=SCHEMAS["grp.kyc/1"].number)
    await actors.signers["bea-cn"].send(HASH_REGISTRY_ADDRESS, squatting)
    actors.registrations += 1
    issued = await actors.register("szcredit", package, document, "acme-sz")
    registry = Registry(actors.clients["nova"])
    states = [
        (await registry.get_record(actors.issuers[name].member.org_id, anchor)).state.name
        for name in ("bea-cn", "szcredit")
    ]
    stage.fact("states of the squatter's and the issuer's record", ["ACTIVE", "ACTIVE"], states)
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("the report of the real issuer", "ACCEPT", report)
    header = replace(package.header, issuer_org=actors.issuers["bea-cn"].member.org_id)
    forged = replace(issued.package, header=header)
    actors.holders["acme-sz"].keep(forged)
    claimed = Issued(forged, anchor)
    report = await actors.hand_over("acme-sz", claimed, document, "nova")
    stage.verdict("the same report, claimed as the squatter's", "REJECT TAMPERED_HEADER", report)


async def play_legacy_squatting(stage: Stage) -> None:
    """Play X4 again on a contract that keeps evidence as WeIdentity's does."""
    actors = stage.actors
    attacker, issuer = actors.signers["bea-cn"], actors.signers["szcredit"]
    address, key = await deploy_legacy(attacker), secrets.token_bytes(32)
    taken = []
    for signer in (attacker, issuer):
        evidence = LegacyEvidence(actors.clients["bea-cn"], signer, address)
        own = signer.address
        taken.append(await evidence.create(key, said_signer=own, said_time_s=actors.now_s()))
    stage.fact("old contract: attacker's call stored, issuer's call stored", [True, False], taken)
    found = (await evidence.read(key)).signer
    stage.fact("old contract: signer of the stored evidence", attacker.address.lower(), found)


async def play_both_squattings(stage: Stage) -> None:
    """Play X4: squatting is harmless in our registry, and succeeds on the old contract."""
    await play_squatting(stage)
    await play_legacy_squatting(stage)


async def play_dictionary(stage: Stage) -> None:
    """Play X5: guess a form from its anchor, for each package profile."""
    form = await publish(stage.actors, 5)
    for profile, expected in (
        (Profile.FILE_PLAIN, form.number),
        (Profile.FILE_BLIND, ""),
        (Profile.FIELDS, ""),
    ):
        found = await trio.to_thread.run_sync(
            search, 5, [form.anchors[profile]], BUDGET_S, PROCESSES
        )
        stage.fact(f"number guessed under {profile}", expected or "none", found.value or "none")


SCENARIOS = (
    Scenario("X4", "squatting on an anchor, here and on an old contract", play_both_squattings),
    Scenario("X5", "guessing an eight-field form", play_dictionary),
)
