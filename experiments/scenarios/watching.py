"""Nodes that crash or lie, and a regulator that watches: X3, X7 and X9."""

from __future__ import annotations

import secrets
from collections import Counter

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    RevokeReason,
    encode_register_anchor,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.actors.lying_node import lying_node
from lowu.experiments.faults.killed_nodes import kill_node, start_node
from lowu.experiments.scenarios.presenting import ACME_USCC
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.documents.document import build_enterprise_report, build_kyc_file
from lowu.institutions.exchange.presentation import encode_presentation
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.roles.regulator import Regulator
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.service.store import Store
from lowu.node.client import RpcClient


async def play_lying_node(stage: Stage) -> None:
    """Play X3: the receiver's own node hides that a report was revoked."""
    actors = stage.actors
    document = build_enterprise_report(303, actors.now_s(), ACME_USCC)
    issued = await actors.issue("szcredit", document, "acme-sz", "nova")
    await actors.revoke("szcredit", issued.anchor)
    honest = actors.verifiers["nova"]
    request = actors.ask("nova", document)
    doc_id = issued.package.header.doc_id
    receipt_of_consent = await actors.agree("acme-sz", doc_id, request)
    shown = encode_presentation(
        actors.holders["acme-sz"].build(doc_id, request, receipt_of_consent)
    )

    async def ask(verifier: Verifier, what: str, expected: str) -> None:
        stage.verdict(what, expected, await verifier.verify(shown, document.subject))

    await ask(honest, "a revoked report, read from an honest node", "REJECT REVOKED(CORRECTED)")
    async with lying_node(actors.clients["nova"].url) as url, RpcClient(url) as client:
        liar = Registry(client)
        await ask(honest.reading(liar), "the report, read only from a lying node", "ACCEPT")
        both = honest.reading(liar, Registry(actors.clients["szcredit"]))
        await ask(both, "the report, also read from the other side", "REJECT REVOKED(CORRECTED)")


async def play_retry(stage: Stage) -> None:
    """Play X7: a node is killed once it has a transaction; its client retries at another node."""
    actors = stage.actors
    item = next(one for one in actors.plan.institutions if one.spec.id == "szcredit")
    anchor = secrets.token_bytes(32)
    call = encode_register_anchor(
        anchor, schema=SCHEMAS["cn.ecr/1"].number, key_id=actors.issuers["szcredit"].member.key_id
    )
    height = (await Registry(actors.clients["nova"]).get_latest_block())["number"]
    await actors.signers["szcredit"].submit(HASH_REGISTRY_ADDRESS, call)
    await kill_node(stage.folder, item.node)
    try:
        elsewhere = Signer(actors.clients["nova"], item.account_key)
        receipt = await elsewhere.send(HASH_REGISTRY_ADDRESS, call)
        stage.fact("the second call succeeds", True, receipt.is_success)
        seen = await actors.find_events("nova", "AnchorRegistered", anchor, height)
        stage.fact("registration events of the anchor", 1, len(seen))
        message = {
            "from": elsewhere.address,
            "to": "0x" + HASH_REGISTRY_ADDRESS.hex(),
            "data": "0x" + call.hex(),
        }
        answer = await actors.clients["nova"].call("eth_call", message, "latest")
        stage.fact("a further call reports a duplicate (1: yes)", 1, int(answer, 16))
    finally:
        await start_node(stage.folder, item.node)
    actors.registrations += 1
    actors.anchors.append(anchor)


async def play_regulator(stage: Stage) -> None:
    """Play X9: compare counts read from an observer's node with what was done."""
    actors = stage.actors
    height = (await Registry(actors.clients["hkma"]).get_latest_block())["number"] + 1
    truth: Counter[tuple[int, int]] = Counter()
    issued_all = []
    for number in range(4):
        document = build_enterprise_report(390 + number, actors.now_s(), ACME_USCC)
        issued = await actors.issue("szcredit", document, "acme-sz", "nova")
        issued_all.append(issued)
        truth[(actors.issuers["szcredit"].member.org_id, SCHEMAS["cn.ecr/1"].number)] += 1
        report = await actors.hand_over("acme-sz", issued, document, "nova")
        stage.verdict(f"Nova receives report {number + 1}", "ACCEPT", report)
    document = build_kyc_file(395, actors.now_s())
    await actors.issue("bea-cn", document, "corp-sz", "bea-hk")
    truth[(actors.issuers["bea-cn"].member.org_id, SCHEMAS["grp.kyc/1"].number)] += 1
    for issued in issued_all[:3]:
        await actors.revoke("szcredit", issued.anchor, RevokeReason.DISPUTED)
    issuers = [actors.issuers[name].member.org_id for name in ("szcredit", "bea-cn", "baihang")]
    with Store(stage.folder / "regulator.sqlite3") as store:
        desk = Regulator(actors.clients["hkma"], store, from_height=height)
        view = await desk.catch_up()
    stage.fact("registrations by issuer and schema", dict(truth), dict(view.registered))
    stage.fact("withdrawals by issuer", {issuers[0]: 3}, dict(view.withdrawn))
    stage.fact("verdicts on chain", {"ACCEPT": 4}, dict(view.verdicts))
    stage.fact("alert: many withdrawals at once", issuers[:1], list(view.mass_withdrawals))
    stage.fact("alert: issuers without registrations", issuers[2:], view.dormant(issuers))


SCENARIOS = (
    Scenario("X3", "a node that lies to its clients", play_lying_node),
    Scenario("X7", "retry after a node is killed", play_retry),
    Scenario("X9", "the regulator's view", play_regulator),
)
