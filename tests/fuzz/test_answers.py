"""A node may answer anything: its client gets a `ClientError`, a refusal or a value, no crash."""

import json
from collections import Counter
from random import Random

import h11
import pytest
import trio

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    NO_CONSENT,
    Jurisdiction,
    hash_function,
)
from lowu.experiments.scenarios.presenting import issue_report
from lowu.institutions.exchange.presentation import encode_presentation
from lowu.institutions.exchange.trust import read_trust
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.governance import Voter, count_proposals, read_proposal, route_calls
from lowu.institutions.ledger.legacy_evidence import deploy_legacy
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.roles.issuer import Issuer
from lowu.institutions.roles.regulator import Regulator
from lowu.institutions.verification.verdicts import Verdict
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.limits.json_limits import DEPTH_MAX
from lowu.testing.networks import VirtualNetwork
from tests.fuzz.kit import ODD, change
from tests.store_kit import open_store

LIES = 60
"""False answers tried for each question."""


def word(number):
    return number.to_bytes(32, "big").hex()


WELL_FORMED = (
    "0x0", "0x1", "0x" + "f" * 64, "0x" + "ff" * 32, "0x" + "ff" * 20, "0xABcd", "0x", "0xa b1",
    "0x" + "00" * 640, "0x" + word(32) * 20, "0x" + "00" * 200_000, "0x" + word(2**255) * 20,
    "0x" + word(32) + word(1) * 4 + word(160) + word(2**63),
    "0x" + word(32) + word(2**62) + word(64) * 2000,
    "0x08c379a0" + word(32) + word(2**63), "\u202e\x1b[31m",
)  # fmt: skip
"""Values that look like bytes or numbers, up to their bounds and beyond."""


class Liar(RpcClient):
    """A client that asks an honest node and changes its answer."""

    def __init__(self, honest, random):
        super().__init__(honest.url)
        self.honest, self.random = honest, random

    async def _exchange(self, body):
        requests = json.loads(body)
        is_many = isinstance(requests, list)
        answers = []
        for request in requests if is_many else [requests]:
            head = {"jsonrpc": "2.0", "id": request["id"]}
            try:
                result = await self.honest.call(request["method"], *request["params"])
            except RemoteError as error:
                body = {"code": error.code, "message": error.message, "data": error.data}
                answers.append({**head, "error": body})
            else:
                answers.append({**head, "result": result})
        answer = answers if is_many else answers[0]
        kind = self.random.choice(("true", "result", "value", "structure"))
        if kind == "result":
            self.random.choice(answers)["result"] = self.random.choice(WELL_FORMED)
        if kind in ("true", "result"):
            return answer
        return change(answer, self.random, WELL_FORMED if kind == "value" else ODD)

    async def wait_for_receipt(self, tx_hash, timeout_s=60.0):
        await trio.sleep(timeout_s / 10)  # as if it polled
        return await self.call("eth_getTransactionReceipt", tx_hash)


def questions(actors, liar, store, issued):
    """Return the queries that institutions send to a node, by name."""
    registry, org = Registry(liar), actors.issuers["szcredit"].member.org_id
    members = {item.spec.id: item for item in actors.plan.institutions}
    signer = Signer(liar, members["szcredit"].account_key)
    witness = hash_function("witness").encode_call(org, issued.anchor)
    issuer = Issuer(actors.issuers["szcredit"].member, signer)
    voter = Voter(Signer(liar, members["webank"].account_key))
    routes = route_calls(Jurisdiction.SZ, Jurisdiction.HK)
    return {
        "org": lambda: registry.get_org(org),
        "key": lambda: registry.get_key(org, 1),
        "account": lambda: registry.get_account(bytes(20)),
        "consent": lambda: registry.get_consent(NO_CONSENT),
        "keys": registry.find_keys,
        "use": lambda: registry.get_use_height(org, bytes(32)),
        "leaf erasure": lambda: registry.get_leaf_erasure(org, bytes(32), 0),
        "proof": lambda: registry.find_proof(org, issued.anchor),
        "trust": lambda: read_trust(registry, [org], [(org, 1)]),
        "proposals": lambda: count_proposals(registry),
        "proposal": lambda: read_proposal(registry, 1),
        "regulator": Regulator(liar, store).catch_up,
        "refused": lambda: signer.send(HASH_REGISTRY_ADDRESS, witness, timeout_s=3),
        "registers again": lambda: issuer.register(issued.package),
        "deploys": lambda: deploy_legacy(signer),
        "proposes": lambda: voter.propose(routes),
    }


def test_no_answer_ends_who_asked(tmp_path):
    async def play(actors, faults):
        _, issued = await issue_report(actors, 1)
        found = Counter()
        store = open_store(tmp_path / "store.sqlite3")
        for name in questions(actors, actors.clients["nova"], store, issued):
            for number in range(LIES):
                liar = Liar(actors.clients["nova"], Random(f"{name}/{number}"))
                ask = questions(actors, liar, store, issued)[name]
                try:
                    await ask()
                except (ClientError, RemoteError, RegistryRefused):
                    found["failed"] += 1
                else:
                    found["answered"] += 1
        return found

    found = VirtualNetwork("seed-7").play(play)
    assert found["failed"] > 300 and found["answered"] > 200


def test_a_liar_beside_an_honest_node_never_has_a_revoked_report_accepted():
    async def play(actors, faults):
        document, issued = await issue_report(actors, 1)
        request = actors.ask("nova", document)
        doc_id = issued.package.header.doc_id
        receipt = await actors.agree("acme-sz", doc_id, request)
        shown = encode_presentation(actors.holders["acme-sz"].build(doc_id, request, receipt))
        await actors.revoke("szcredit", issued.anchor)
        verdicts = Counter()
        for number in range(LIES):
            liar = Registry(Liar(actors.clients["nova"], Random(number)))
            honest = Registry(actors.clients["szcredit"])
            nova = actors.verifiers["nova"].reading(liar, honest)
            verdicts[(await nova.verify(shown, document.subject)).verdict] += 1
        return verdicts

    verdicts = VirtualNetwork("seed-7").play(play)
    assert verdicts[Verdict.REJECT] == LIES


HONEST = b'{"jsonrpc": "2.0", "id": 1, "result": "0x1"}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Wire:
    """A connection on which the given bytes arrive."""

    def __init__(self, data):
        self.data = data

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()

    async def receive_some(self, limit):
        await trio.lowlevel.checkpoint()
        found, self.data = self.data[:100], self.data[100:]
        return found

    async def aclose(self):
        await trio.lowlevel.checkpoint()


async def ask_over(data):
    """Call a node that answers with these bytes and then closes the connection."""
    client = RpcClient("http://127.0.0.1:1", timeout_s=5)
    client._stream, client._http = Wire(data), h11.Connection(h11.CLIENT)
    return await client.call("eth_blockNumber")


async def test_bytes_of_a_connection():
    assert await ask_over(HEAD % len(HONEST) + HONEST) == "0x1"
    random, whole = Random(1), HEAD % len(HONEST) + HONEST
    refused = 0
    for _ in range(2_000):
        data = bytearray(whole)
        for _ in range(random.choice((1, 1, 3))):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            await ask_over(bytes(data[: random.randint(1, len(data))]))
        except (ClientError, RemoteError):
            refused += 1
    assert refused > 1_000


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 100_000,
        b'{"id":1,"result":' + b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1) + b"}",
        b"5",
        b"null",
        b'{"id": [], "result": 1}',
        b'{"id": 1, "error": 5}',
        b'{"id": 1, "error": {"code": "x", "message": 1}}',
        b'{"id": 2, "result": 1}',
        b"\xff\xfe",
    ],
)
async def test_answers_of_a_wrong_form(answer):
    with pytest.raises(ClientError):
        await ask_over(HEAD % len(answer) + answer)
