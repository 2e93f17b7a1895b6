"""Orders: carried out once, retried until a node answers, and refused with a reason."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from lowu.contracts.registry import (
    AnchorState,
    RegistryErrorCode,
    RevokeReason,
    consent_function,
    encode_revoke,
)
from lowu.institutions.documents.samples import SAMPLES
from lowu.institutions.exchange.erasure import decode_erasure
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.transactor import NotTaken
from lowu.institutions.package.format import decode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.roles.member import Member
from lowu.institutions.service.actions import (
    issuer_actions,
    verifier_actions,
    wallet_actions,
    witness_actions,
)
from lowu.institutions.service.document_file import write_document
from lowu.institutions.service.inbox import AT_ONCE, Mailbox, MailboxError
from lowu.institutions.service.orders import FILES_MAX, ORDER_BYTES_MAX, Answer, Order
from lowu.institutions.service.recording import RecordingVerifier, Wallet
from lowu.institutions.service.runner import NameTakenError, NoAnswerYetError, Service
from lowu.node.client import ClientError, RemoteError
from tests.store_kit import open_store
from tests.unit.document_world import (
    CHAIN_ID,
    HOLDER_KEY,
    NOVA_KEY,
    NOW_S,
    ORGS,
    RECEIPT,
    TRUST,
    USCC,
    World,
)
from tests.unit.institutions.service.test_desks import Node, issuer_desk

DOCUMENT = write_document(SAMPLES["cn.ecr/1"](1, NOW_S))
BOXES = {"cross_border": True}
ISSUING = {"for": "nova", "holder_key": HOLDER_KEY.public_key.hex()}
DOWN = ClientError("down")
S, CODE = AnchorState, RegistryErrorCode


def now_s():
    return NOW_S


def issuing(order_id="one", **fields):
    return Order(order_id, "issue", ISSUING | fields, {"document.json": DOCUMENT})


def issuer(node, path):
    desk = issuer_desk(node, path)
    return Service(open_store(path), issuer_actions(lambda number: desk, ORGS, now_s))


async def test_an_order_is_done_once(tmp_path):
    node = Node()
    service = issuer(node, tmp_path / "s")
    first, again = [await service.do(issuing()) for _ in range(2)]
    assert first == again and first.is_ok and first.details["height"] == 7
    assert decode_package(first.files["package.json"]).anchors[0].audience == "nova"
    assert len(node.sent) == 1
    with pytest.raises(NameTakenError, match="take a new name"):
        await service.do(issuing(**{"for": "szcredit"}))
    assert (await service.do(issuing("two"))).details["anchor"] != first.details["anchor"]
    after_restart = issuer(Node(DOWN), tmp_path / "s")
    assert await after_restart.do(issuing(), tries=1) == first


async def test_it_is_tried_until_a_node_answers(tmp_path, autojump_clock):
    asked = []
    node = Node(DOWN, DOWN, DOWN)
    desk = issuer_desk(node, tmp_path / "s")

    def desk_for(number):
        asked.append(number)
        return desk

    service = Service(open_store(tmp_path / "s"), issuer_actions(desk_for, ORGS, now_s))
    answer = await service.do(issuing())
    assert answer.is_ok and asked == [0, 1, 2, 3]
    assert len(set(node.sent)) == 1  # the same anchor each time


async def test_what_was_cut_off_goes_on_with_the_same_anchor(tmp_path, autojump_clock):
    node = Node(DOWN, DOWN)
    with pytest.raises(NoAnswerYetError):
        await issuer(node, tmp_path / "s").do(issuing(), tries=2)
    answer = await issuer(node, tmp_path / "s").do(issuing(), tries=1)
    assert answer.is_ok and len(node.sent) == 3 and len(set(node.sent)) == 1


CHANGES = {
    "revoke": ({}, CODE.ALREADY_REVOKED, {"state": S.REVOKED}),
    "suspend": ({}, CODE.NOT_ACTIVE, {"state": S.SUSPENDED}),
    "reinstate": ({}, CODE.NOT_ACTIVE, {"state": S.ACTIVE}),
    "supersede": (
        {"newer": "22" * 32},
        CODE.TERMINAL_STATE,
        {"state": S.SUPERSEDED, "superseded_by": b"\x22" * 32},
    ),
    "witness": ({"issuer": "szcredit"}, CODE.NOT_ACTIVE, {"is_witnessed": True}),
}
"""By action: its fields, the registry's refusal of a repetition, and the resulting record."""
NOT_MADE = {"state": S.PENDING_WITNESS, "superseded_by": b"\x33" * 32, "is_witnessed": False}


class ChangedNode(Node):
    """A node whose registry has the given record."""

    def __init__(self, *errors, **record):
        super().__init__(*errors)
        self.record = SimpleNamespace(**{**NOT_MADE, **record})

    async def get_record(self, issuer, anchor):
        return self.record

    async def has_witnessed(self, issuer, anchor, witness):
        assert (issuer, witness) == (1, 4)
        return self.record.is_witnessed


@pytest.mark.parametrize("action", CHANGES)
async def test_a_change_is_made_before_if_the_ledger_says_so(tmp_path, autojump_clock, action):
    fields, code, made = CHANGES[action]
    order = Order("x", action, {"anchor": "11" * 32, **fields})

    async def do(node, name):
        desk = issuer_desk(node, tmp_path / name)
        actions = issuer_actions(lambda number: desk, ORGS, now_s)
        actions |= witness_actions(lambda number: node, 4, {"szcredit": 1})
        return await Service(open_store(tmp_path / name), actions).do(order)

    refusal = RegistryRefused(code, "")
    changed = {} if action == "witness" else {"changed": [{"anchor": "11" * 32, "for": ""}]}
    assert (await do(ChangedNode(), "a")).details == {"height": 7, **changed}
    refused = await do(ChangedNode(refusal, **made), "b")  # another sender made the change
    assert not refused.is_ok and refused.details["code"] == code.name
    lost = await do(ChangedNode(DOWN, refusal, **made), "c")
    assert lost.is_ok and lost.details == {"was_done_before": True, **changed}
    down = await do(ChangedNode(DOWN, refusal), "d")  # the first try sent nothing
    assert not down.is_ok and down.details["code"] == code.name
    if action == "supersede":
        by_another = {**made, "superseded_by": b"\x44" * 32}
        assert not (await do(ChangedNode(DOWN, refusal, **by_another), "e")).is_ok


async def test_what_a_node_does_not_take_is_tried_again(tmp_path, autojump_clock):
    full = NotTaken("the pool is full")
    node = Node(full, RemoteError(-32000, "no result within 30 s", None), full)
    answer = await issuer(node, tmp_path / "s").do(issuing())
    assert answer.is_ok and len(set(node.sent)) == 1


async def test_what_is_erased_is_not_handed_out_again(tmp_path):
    service = issuer(Node(), tmp_path / "s")
    issued = await service.do(issuing())
    erasing = Order("gone", "erase", {"anchor": issued.details["anchor"]})
    erased = await service.do(erasing)
    assert erased.is_ok and erased.details["orders_erased"] == ["one"]
    again = await service.do(issuing())
    assert not again.is_ok and "has since been erased" in again.details["error"]
    assert await service.do(erasing) == erased
    salt = decode_package(issued.files["package.json"]).disclosures[0].salt
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert salt.hex().encode() not in data and salt not in data, path


async def test_a_document_gets_another_receiver_once(tmp_path):
    node = Node()
    service = issuer(node, tmp_path / "s")
    issued = await service.do(issuing())
    fields = {"anchor": issued.details["anchor"], "for": "szcredit"}
    first = await service.do(Order("more", "add-receiver", fields))
    again = await service.do(Order("again", "add-receiver", fields))
    assert first.is_ok and first.details == again.details and len(node.sent) == 2
    package = decode_package(first.files["package.json"])
    assert [item.audience for item in package.anchors] == ["nova", "szcredit"]
    for fields, text in (
        ({"anchor": "11" * 32, "for": "nova"}, "no document"),
        ({"anchor": issued.details["anchor"], "for": "x"}, "receiver 'x' is not known"),
    ):
        answer = await service.do(Order(text, "add-receiver", fields))
        assert text in answer.details["error"]


async def test_a_document_is_revoked_for_all_its_receivers(tmp_path):
    """N-H2: only the anchor that was named was revoked; the others went on being accepted."""
    node = Node()
    service = issuer(node, tmp_path / "s")
    first = (await service.do(issuing())).details["anchor"]
    more = await service.do(Order("more", "add-receiver", {"anchor": first, "for": "szcredit"}))
    second = more.details["anchor"]
    other = (await service.do(issuing("other"))).details["anchor"]
    for only, wanted in ((False, [second, first]), (True, [second])):
        node.sent.clear()
        fields = {"anchor": second, "reason": "DISPUTED", "only": only}
        answer = await service.do(Order(f"end {only}", "revoke", fields))
        assert [item["anchor"] for item in answer.details["changed"]] == wanted
        reason = RevokeReason.DISPUTED
        assert node.sent == [encode_revoke(bytes.fromhex(item), reason) for item in wanted]
    assert other not in wanted


async def test_a_document_that_has_ended_gets_no_other_receiver(tmp_path):
    """N-H2: the new receiver accepted what the others had been told was revoked."""
    node = Node()
    desk = issuer_desk(node, tmp_path / "s")
    service = Service(open_store(tmp_path / "s"), issuer_actions(lambda number: desk, ORGS, now_s))
    first = (await service.do(issuing())).details["anchor"]
    fields = {"anchor": first, "for": "szcredit"}
    for state in (AnchorState.SUSPENDED, AnchorState.REVOKED, AnchorState.SUPERSEDED):
        node.states[bytes.fromhex(first)] = state
        answer = await service.do(Order(state.name, "add-receiver", fields))
        assert f"is {state.name} for nova" in answer.details["error"] and len(node.sent) == 1
    node.states.clear()

    async def end_meanwhile(to, data):
        node.states[bytes.fromhex(first)] = AnchorState.REVOKED
        return await Node.send(node, to, data)

    node.send = end_meanwhile
    answer = await service.do(Order("meanwhile", "add-receiver", fields))
    assert "is REVOKED for nova" in answer.details["error"]
    ((added, _),) = desk.refused.items()
    assert node.sent[-1] == encode_revoke(added, RevokeReason.CORRECTED)
    assert list(desk.issued) == [bytes.fromhex(first)]


async def test_a_change_goes_on_where_it_was_refused(tmp_path):
    """N-H2: after one anchor was revoked alone, the document could not be revoked any more."""
    node = Node()
    desk = issuer_desk(node, tmp_path / "s")
    orgs = ORGS | {"bea-hk": 9}
    service = Service(open_store(tmp_path / "s"), issuer_actions(lambda number: desk, orgs, now_s))
    first = (await service.do(issuing())).details["anchor"]
    more = [
        (await service.do(Order(name, "add-receiver", {"anchor": first, "for": name}))).details
        for name in ("szcredit", "bea-hk")
    ]
    anchors = [first, *(item["anchor"] for item in more)]
    gone = RegistryRefused(CODE.ALREADY_REVOKED, "")
    node.states[bytes.fromhex(first)] = AnchorState.REVOKED
    node.errors, node.sent = [gone], []
    answer = await service.do(Order("again", "revoke", {"anchor": first}))
    assert answer.is_ok and len(node.sent) == 3
    assert {item["anchor"] for item in answer.details["changed"]} == set(anchors[1:])
    node.states |= {bytes.fromhex(item): AnchorState.REVOKED for item in anchors[1:]}
    node.errors = [gone] * 3
    answer = await service.do(Order("for nothing", "revoke", {"anchor": first}))
    assert answer.details["code"] == "ALREADY_REVOKED"
    node.states.clear()
    node.errors, node.sent = [None, RegistryRefused(CODE.QUOTA_EXCEEDED, "")], []
    answer = await service.do(Order("one fails", "revoke", {"anchor": first}))
    assert answer.details["code"] == "QUOTA_EXCEEDED" and len(node.sent) == 3
    node.errors, node.sent = [], []
    await service.do(Order("early", "revoke", {"anchor": first, "since": 5}))
    wanted = {encode_revoke(bytes.fromhex(item), RevokeReason.CORRECTED, 7) for item in anchors[1:]}
    assert wanted < set(node.sent)  # since its registration, not before


async def test_a_document_that_nobody_could_read_is_not_issued(tmp_path):
    """N-D1, N-D5, N-H5: one such document kept the issuer from revoking any other."""
    node = Node()
    service = issuer(node, tmp_path / "s")
    document = json.loads(DOCUMENT)
    large = {"annex": ["x" * 60_000 for _ in range(40)]}
    for name, change, text in (
        ("time", {"report_time": -1}, "report_time"),
        ("old", {"report_time": 1_000}, "days ago, of 1970-01-01T00:16:40Z; receivers take"),
        ("number", {"report_time": 1.5}, "report_time"),
        ("text", {"report_time": "1800000000"}, "report_time"),
        ("subject", {"subject": ["USCC", "9" * 70_000]}, "subject's number"),
        ("subject type", {"subject": [1, "9"]}, "subject's type"),
        ("size", {"content": document["content"] | large}, "large contents"),
    ):
        files = {"document.json": json.dumps(document | change).encode()}
        answer = await service.do(Order(name, "issue", ISSUING, files))
        assert text in answer.details["error"] and "cause" not in answer.details, name
    twice = DOCUMENT.replace(b'"content"', b'"subject": ["USCC", "1"], "content"', 1)
    answer = await service.do(Order("twice", "issue", ISSUING, {"document.json": twice}))
    assert "key 'subject' twice" in answer.details["error"] and not node.sent


async def test_a_document_that_was_destroyed_is_not_carried_again(tmp_path):
    service = issuer(Node(), tmp_path / "s")
    issued = await service.do(issuing())
    gone = await service.do(Order("gone", "erase", {"anchor": issued.details["anchor"]}))
    store = open_store(tmp_path / "acme")
    wallet = Wallet("acme", HOLDER_KEY, store, trust=TRUST, clock_s=lambda: NOW_S)
    wallet.carry(issued.files["package.json"])
    wallet.forget(decode_erasure(gone.files["erasure.json"]))
    with pytest.raises(FormError, match="has destroyed document"):
        wallet.carry(issued.files["package.json"])


async def test_a_damaged_record_keeps_no_other_document_from_being_revoked(tmp_path):
    desk = issuer_desk(Node(), tmp_path / "s")
    service = Service(open_store(tmp_path / "s"), issuer_actions(lambda number: desk, ORGS, now_s))
    first = (await service.do(issuing())).details["anchor"]
    open_store(tmp_path / "s").open("issued", bytes, bytes)[b"a" * 32] = b"{"
    assert (await service.do(Order("end", "revoke", {"anchor": first}))).is_ok
    assert await desk.register_left() == []


async def test_an_order_that_nobody_foresaw_is_answered_with_its_cause(tmp_path):
    """N-H5: one order ended the service, and again at each start."""

    async def overflow(attempt):
        return len(bytes(5)).to_bytes(0, "big")

    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = Service(open_store(tmp_path / "s"), {"odd": overflow, "wait": wait_not})
    put(mailbox, "one", {"do": "odd"})
    put(mailbox, "two", {"do": "wait"})
    assert await mailbox.serve_once(service, lambda name, item: told.append(name), tries=1)
    found = answer_of(mailbox, "one")
    assert "failed unexpectedly (OverflowError" in found["error"] and "overflow" in found["cause"]
    assert found["code"] == "UNEXPECTED" and answer_of(mailbox, "two")["ok"]
    assert await service.do(Order("one", "odd")) == await service.do(Order("one", "odd"))


async def wait_not(attempt):
    return Answer(True, {})


async def test_what_the_registry_refuses_is_kept_aside(tmp_path):
    refusal = RegistryRefused(CODE.NOT_ACCREDITED, "")
    desk = issuer_desk(Node(refusal), tmp_path / "s")
    service = Service(open_store(tmp_path / "s"), issuer_actions(lambda number: desk, ORGS, now_s))
    assert (await service.do(issuing())).details["code"] == "NOT_ACCREDITED"
    assert len(desk.refused) == 1 and len(desk.issued) == 0


@pytest.mark.parametrize(
    ("action", "fields", "text"),
    [
        ("dance", {}, "there are: add-receiver, erase, issue"),
        ("issue", {}, "'for' must be given"),
        ("issue", ISSUING | {"holder_key": "zz"}, "64 bytes in hex"),
        ("issue", ISSUING | {"profile": "x"}, "'x' is not a valid Profile"),
        ("issue", ISSUING | {"for": "nobody"}, "receiver 'nobody' is not known"),
        ("revoke", {"anchor": "11" * 32, "only": 1}, "true or false"),
        ("revoke", {"anchor": 7}, "as a text"),
        ("revoke", {"anchor": "11" * 32, "reason": "X"}, "CORRECTED"),
        ("revoke", {"anchor": "11" * 32, "since": -1}, "from 0"),
        ("revoke", {"anchor": "11" * 32, "since": 2**64}, "from 0"),
        ("erase", {"anchor": "11" * 32}, "no document"),
    ],
)
async def test_mistakes_are_told(tmp_path, action, fields, text):
    node = Node()
    order = Order("x", action, fields, {"document.json": DOCUMENT})
    answer = await issuer(node, tmp_path / "s").do(order)
    assert not answer.is_ok and text in answer.details["error"] and not node.sent


async def test_files_are_attached(tmp_path):
    files = {"document.json": DOCUMENT, "scan.png": b"a scan"}
    fields = ISSUING | {"attach": {"/annex/scan": "scan.png"}}
    answer = await issuer(Node(), tmp_path / "s").do(Order("x", "issue", fields, files))
    (leaf,) = (
        leaf
        for leaf in decode_package(answer.files["package.json"]).disclosures
        if leaf.path == "/annex/scan"
    )
    assert leaf.value.startswith("sha-256:") and leaf.value.endswith(":6:image/png")
    for wrong, text in (({"/scan": 5}, "'attach'"), ({"/a": "b"}, "needs a file 'b'"), (7, "'att")):
        order = Order(str(wrong), "issue", ISSUING | {"attach": wrong}, files)
        assert text in (await issuer(Node(), tmp_path / "s").do(order)).details["error"]


async def test_a_file_that_is_missing_is_named(tmp_path):
    answer = await issuer(Node(), tmp_path / "s").do(Order("x", "issue", ISSUING))
    assert "needs a file 'document.json'; there are: none" in answer.details["error"]


# --- from a request to a verdict ------------------------------------------------------------------


class Consuming:
    """A signer whose calls use up a presentation, and whose answers may be lost."""

    def __init__(self, world, *, lost=0):
        self.world, self.lost, self.calls = world, lost, 0

    async def send(self, to, data):
        self.calls += 1
        use = (2, data[4:36])
        if use in self.world.ledger.consumed:
            raise RegistryRefused(RegistryErrorCode.PRESENTATION_CONSUMED, "")
        self.world.ledger.consumed[use] = RECEIPT.height
        if self.lost:
            self.lost -= 1
            raise ClientError("no answer")
        return RECEIPT


class People:
    """A holder's wallet and Nova's desk as services."""

    def __init__(self, path, *, lost=0):
        self.world = World()
        self.path = path
        self.signer = Consuming(self.world, lost=lost)
        self.wallet = Wallet("acme", HOLDER_KEY, open_store(path / "acme"), clock_s=now_s)
        self.wallet.holder.keep(self.world.package)
        actions = wallet_actions(self.wallet, CHAIN_ID, self.read_trust)
        self.holder = Service(open_store(path / "acme"), actions)
        self.open()

    async def read_trust(self):
        return TRUST

    def open(self):
        """Start or restart Nova's desk."""
        desk = RecordingVerifier(
            Member("nova", 2, "HK", NOVA_KEY, CHAIN_ID),
            registry=self.world.ledger,
            signer=self.signer,
            store=open_store(self.path / "nova"),
            clock_s=lambda: self.world.ledger.time_s,
        )
        actions = verifier_actions(lambda number: desk, lambda number: self.signer, now_s)
        self.nova = Service(open_store(self.path / "nova"), actions)

    async def present(self):
        """Return an order to verify the holder's presentation."""
        asked = await self.nova.do(Order("ask", "request", {"schema": "cn.ecr/1"}))
        agreed = await self.holder.do(Order("agree", "consent", BOXES, asked.files))
        receipt = self.wallet.consents[bytes.fromhex(agreed.details["consent"])]
        self.world.ledger.log(receipt)
        assert agreed.files.keys() == {"ledger-consent.json"}
        shown = await self.holder.do(Order("show", "present", {}, asked.files))
        (told,) = self.wallet.presented.values()
        assert told["receiver"] == "nova" and told["consent"] == receipt.digest.hex()
        return Order("check", "verify", {"subject": f"USCC:{USCC}"}, shown.files)


async def test_a_verdict_by_orders(tmp_path):
    people = People(tmp_path)
    order = await people.present()
    answer = await people.nova.do(order)
    assert answer.is_ok and answer.details["verdict"] == "ACCEPT"
    assert b"Authentic" in answer.files["report.html"]
    assert await people.nova.do(order) == answer and people.signer.calls == 1
    other = await people.nova.do(Order("again", "verify", order.fields, order.files))
    assert other.details["codes"] == ["REPLAYED"]


async def test_a_lost_answer_is_no_replay_for_who_used_it_up(tmp_path, autojump_clock):
    people = People(tmp_path, lost=1)
    order = await people.present()
    answer = await people.nova.do(order)
    assert answer.is_ok and people.signer.calls == 1
    other = await people.nova.do(Order("again", "verify", order.fields, order.files))
    assert other.details["codes"] == ["REPLAYED"]


async def test_nor_after_a_crash(tmp_path, autojump_clock):
    people = People(tmp_path, lost=1)
    order = await people.present()
    with pytest.raises(NoAnswerYetError):
        await people.nova.do(order, tries=1)
    other = await people.nova.do(Order("again", "verify", order.fields, order.files), tries=1)
    assert other.details["codes"] == ["REPLAYED"]
    people.open()
    answer = await people.nova.do(order, tries=1)
    assert answer.is_ok and people.signer.calls == 1


async def test_a_use_that_was_on_its_way_is_recognised(tmp_path, autojump_clock):
    people = People(tmp_path)
    order = await people.present()
    usual, people.signer.send = people.signer.send, None

    async def not_sent(to, data):
        people.signer.send = usual
        raise ClientError("down")

    async def late(to, data):  # committed between the check and the call
        people.world.ledger.consumed[2, data[4:36]] = RECEIPT.height
        raise RegistryRefused(RegistryErrorCode.PRESENTATION_CONSUMED, "")

    people.signer.send = not_sent
    with pytest.raises(NoAnswerYetError):
        await people.nova.do(order, tries=1)
    people.signer.send = late
    assert (await people.nova.do(order, tries=1)).is_ok


async def test_consents_are_logged_and_ended(tmp_path):
    people = People(tmp_path)
    asked = await people.nova.do(Order("ask", "request", {"schema": "cn.ecr/1"}))
    refused = await people.holder.do(Order("no", "consent", {"withdraw": True}, asked.files))
    assert "no consent to withdraw" in refused.details["error"]
    alone = await people.holder.do(Order("alone", "consent", {}, asked.files))
    assert "agree to that separately (cross_border)" in alone.details["error"]
    agreed = await people.holder.do(Order("yes", "consent", BOXES, asked.files))
    ended = await people.holder.do(Order("end", "consent", {"withdraw": True}, asked.files))
    people.signer = node = Node()
    people.open()
    for name, item in (("log", agreed), ("stop", ended)):
        assert (await people.nova.do(Order(name, "consent", {}, item.files))).is_ok
    log, stop = (consent_function(name).selector for name in ("grant", "withdraw"))
    assert [data[:4] for data in node.sent] == [log, stop]
    broken = await people.nova.do(Order("z", "consent", {}, {"ledger-consent.json": b"{}"}))
    assert "an object with" in broken.details["error"]


async def test_a_wallet_s_mistakes_are_told(tmp_path):
    people = People(tmp_path)
    asked = await people.nova.do(Order("ask", "request", {"schema": "cn.ecr/1"}))
    for fields in (5, None, [1]):
        order = Order(f"o{fields}", "present", {"fields": fields}, asked.files)
        assert "a list of texts" in (await people.holder.do(order)).details["error"]


async def test_time_that_passes_does_not_undo_what_was_used_up(tmp_path, autojump_clock):
    people = People(tmp_path, lost=1)
    order = await people.present()
    with pytest.raises(NoAnswerYetError):
        await people.nova.do(order, tries=1)
    people.world.ledger.time_s += 3600  # presentation and consent have expired
    for known, consent in people.world.ledger.consents.items():
        people.world.ledger.consents[known] = replace(consent, withdrawn_height=9)
    people.open()
    answer = await people.nova.do(order)
    assert answer.is_ok and answer.details["codes"] == []
    assert [line["check"] for line in answer.details["checks"]] == [f"V{n}" for n in range(1, 10)]


async def test_of_two_processes_one_uses_a_presentation(tmp_path):
    people = People(tmp_path)
    order = await people.present()
    first, people.nova = people.nova, None
    people.open()  # another process, on the same store

    async def meanwhile(to, data):
        people.signer.send = usual
        assert (await first.do(order)).details["codes"] == ["REPLAYED"]
        return await usual(to, data)

    usual, people.signer.send = people.signer.send, meanwhile
    other = await people.nova.do(Order("other", "verify", order.fields, order.files))
    assert other.is_ok and people.signer.calls == 1
    people.open()
    third = await people.nova.do(Order("third", "verify", order.fields, order.files))
    assert third.details["codes"] == ["REPLAYED"]


# --- folders --------------------------------------------------------------------------------------


def put(mailbox, name, order):
    data = order if isinstance(order, bytes) else json.dumps(order).encode()
    (mailbox.inbox / f"{name}.order.json").write_bytes(data)


def answer_of(mailbox, name):
    return json.loads((mailbox.outbox / name / "answer.json").read_text())


def seen(folder):
    return sorted(item.name for item in folder.iterdir())


async def test_orders_as_files(tmp_path):
    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = issuer(Node(), tmp_path / "s")
    for name, data in (("document.json", DOCUMENT), ("large.json", bytes(5 * 1024 * 1024))):
        (mailbox.inbox / name).write_bytes(data)
    (mailbox.inbox / "deep.json").write_bytes(b"[" * 100_000)
    (mailbox.inbox / "secret.json").symlink_to(tmp_path / "elsewhere.json")
    (tmp_path / "elsewhere.json").write_bytes(DOCUMENT)
    (mailbox.inbox / "folder.json").mkdir()
    os.mkfifo(mailbox.inbox / "pipe.json")
    issue = {"do": "issue", **ISSUING}
    late = DOCUMENT.replace(str(NOW_S).encode(), b"1e999", 1)
    (mailbox.inbox / "late.json").write_bytes(late)
    bad = {
        "list": (b"[]", "whose 'do' says"),
        "json": (b"{", "brackets do not match"),
        "deep": (b"[" * 50_000, "nested deeper"),
        "huge": (b" " * (ORDER_BYTES_MAX + 1), "larger than"),
        "nan": (b'{"do": "issue", "n": NaN}', "NaN"),
        "odd": (b'{"do": "issue", "n": "\\ud800"}', "surrogate"),
        "away": (issue | {"files": ["none.json"]}, "not beside the order"),
        "path": (issue | {"files": ["../x"]}, "plain names"),
        "own": (issue | {"files": ["order.json"]}, "is an order, or called like one"),
        "many": (issue | {"files": {f"f{n}": "a" for n in range(FILES_MAX + 1)}}, "up to"),
        "fat": (issue | {"files": ["large.json"]}, "larger than"),
        "link": (issue | {"files": {"document.json": "secret.json"}}, "cannot be read"),
        "dir": (issue | {"files": {"document.json": "folder.json"}}, "not a plain file"),
        "pipe": (issue | {"files": {"document.json": "pipe.json"}}, "not a plain file"),
        "nest": (issue | {"files": {"document.json": "deep.json"}}, "nested deeper"),
        "late": (issue | {"files": {"document.json": "late.json"}}, "number"),
        "no name": ({"do": "issue"}, "up to 64 letters"),
    }
    for name, (order, _) in bad.items():
        put(mailbox, name, order)
    put(mailbox, "right", issue | {"files": ["document.json"]})
    put(mailbox, "..", {"do": "issue"})
    put(mailbox, ".hidden", {"do": "issue"})
    assert await mailbox.serve_once(service, lambda name, item: told.append(name), tries=1)
    for name, (_, text) in bad.items():
        assert text in answer_of(mailbox, name)["error"], name
    assert answer_of(mailbox, "right")["files"] == ["package.json"]
    assert decode_package((mailbox.outbox / "right" / "package.json").read_bytes())
    assert sorted(told) == sorted([*bad, "right"])
    assert seen(mailbox.inbox) == ["...order.json", ".hidden.order.json"]
    assert seen(mailbox.work) == []


async def test_a_name_that_is_taken_harms_no_answer(tmp_path):
    mailbox, service = Mailbox(tmp_path / "desk"), issuer(Node(), tmp_path / "s")

    async def order(**fields):
        (mailbox.inbox / "my.json").write_bytes(DOCUMENT)
        files = {"document.json": "my.json"}
        put(mailbox, "one", {"do": "issue", **ISSUING, "files": files, **fields})
        assert await mailbox.serve_once(service, lambda name, item: None, tries=1)

    await order()
    first = (mailbox.outbox / "one" / "package.json").read_bytes()
    await order(purpose="another")
    assert "take a new name" in answer_of(mailbox, "one+refused")["error"]
    assert (mailbox.outbox / "one" / "package.json").read_bytes() == first
    await order()
    assert (mailbox.outbox / "one" / "package.json").read_bytes() == first
    put(mailbox, "gone", {"do": "erase", "anchor": answer_of(mailbox, "one")["anchor"]})
    assert await mailbox.serve_once(service, lambda name, item: None, tries=1)
    assert seen(mailbox.outbox) == ["gone", "one+refused"]


async def test_what_was_taken_is_what_is_done(tmp_path, autojump_clock):
    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = issuer(Node(*[DOWN] * 3), tmp_path / "s")
    (mailbox.inbox / "document.json").write_bytes(DOCUMENT)
    put(mailbox, "one", {"do": "issue", **ISSUING, "files": ["document.json"]})

    def tell(name, item):
        told.append((name, item and item.is_ok))

    assert not await mailbox.serve_once(service, tell, tries=2)
    (mailbox.inbox / "document.json").write_bytes(b"another")  # for another order
    again = Mailbox(tmp_path / "desk")  # after a crash
    assert again.take() == ["one"]
    assert await again.serve_once(issuer(Node(), tmp_path / "s"), tell, tries=2)
    assert told == [("one", None), ("one", True)] and again.take() == []
    assert seen(mailbox.inbox) == ["document.json"]


async def test_an_order_that_was_half_taken_is_whole(tmp_path):
    mailbox = Mailbox(tmp_path / "desk")
    (mailbox.work / "one").mkdir()
    (mailbox.work / "one" / "document.json").write_bytes(DOCUMENT)
    put(mailbox, "one", {"do": "issue", **ISSUING, "files": ["document.json"]})
    assert mailbox.take() == ["one"]
    assert mailbox.read("one").file("document.json") == DOCUMENT


async def test_an_order_that_is_taken_back_is_forgotten(tmp_path, monkeypatch):
    mailbox = Mailbox(tmp_path / "desk")
    put(mailbox, "one", {"do": "issue"})
    put(mailbox, "two", {"do": "issue"})
    usual = mailbox._take

    def take(name):
        if name == "one":
            (mailbox.inbox / "one.order.json").unlink()
        usual(name)

    monkeypatch.setattr(mailbox, "_take", take)
    assert mailbox.take() == ["two"]


def test_one_process_at_a_time_serves_a_folder(tmp_path):
    first, second = Mailbox(tmp_path), Mailbox(tmp_path)
    with first.alone(), pytest.raises(MailboxError, match="served by another"), second.alone():
        pass
    with second.alone():
        pass


async def test_orders_that_no_node_answers_let_others_pass(tmp_path, autojump_clock, nursery):
    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = Service(open_store(tmp_path / "s"), {"wait": wait, "fail": fail})
    for number in range(AT_ONCE + 4):
        put(mailbox, f"a{number}", {"do": "fail"})
    nursery.start_soon(mailbox.serve, service, lambda name, item: told.append((name, item)))
    with trio.fail_after(60):
        while len(told) < AT_ONCE:
            await trio.sleep(0.1)
        for number in range(40):
            put(mailbox, f"n{number}", {"do": "wait"})
        while sum(item is not None for _, item in told) < 40:
            await trio.sleep(0.1)
    assert {name for name, item in told if item} == {f"n{number}" for number in range(40)}
    assert seen(mailbox.work) == sorted(f"a{number}" for number in range(AT_ONCE + 4))
    nursery.cancel_scope.cancel()


async def wait(attempt):
    await trio.sleep(0.5)
    return Answer(True, {})


async def fail(attempt):
    raise DOWN


@pytest.mark.parametrize(
    ("action", "wrong", "text"),
    [
        ("issue", "holder", "did you mean 'holder_key'?"),
        ("revoke", "onyl", "did you mean 'only'?"),
        ("add-receiver", "x", "there are: anchor, for"),
    ],
)
async def test_a_misspelt_field_of_an_order_is_refused(tmp_path, action, wrong, text):
    """It meant nothing: `"field"` for `"fields"` showed all that had been asked for."""
    node = Node()
    order = Order("x", action, {**ISSUING, wrong: True} if action == "issue" else {wrong: True})
    answer = await issuer(node, tmp_path / "s").do(order)
    assert f"{action}: unknown field {wrong!r}; {text}" in answer.details["error"]
    assert not node.sent
