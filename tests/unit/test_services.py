"""Orders: done once, tried again until a node answers, and refused in words."""

import json

import pytest
import trio

from contracts.registry import RegistryErrorCode, consent_function
from institutions.desk_services import (
    issuer_actions,
    verifier_actions,
    wallet_actions,
    witness_actions,
)
from institutions.desks import VerifierDesk, Wallet, write_document
from institutions.mailbox import Mailbox
from institutions.orders import FILES_MAX, ORDER_BYTES_MAX, Answer, Order
from institutions.package import decode_package
from institutions.registry import RegistryRefused
from institutions.samples import SAMPLES
from institutions.service import NoAnswerYetError, Service
from institutions.store import Store
from node.client import ClientError
from tests.unit.document_world import HOLDER_KEY, NOVA_KEY, NOW_S, USCC, World
from tests.unit.test_desks import Node, issuer_desk

DOCUMENT = write_document(SAMPLES["cn.ecr/1"](1, NOW_S))
ISSUING = {"for": "nova", "holder_key": HOLDER_KEY.public_key.hex()}
DOWN = ClientError("down")


def now_s():
    return NOW_S


def issuing(order_id="one", **fields):
    return Order(order_id, "issue", ISSUING | fields, {"document.json": DOCUMENT})


def issuer(node, path):
    desk = issuer_desk(node, path)
    return Service(Store(path), issuer_actions(lambda number: desk, now_s))


async def test_an_order_is_done_once(tmp_path):
    node = Node()
    service = issuer(node, tmp_path / "s")
    first, again = [await service.do(issuing()) for _ in range(2)]
    assert first == again and first.is_ok and first.details["height"] == 7
    assert decode_package(first.files["package.json"]).anchors[0].audience == "nova"
    assert len(node.sent) == 1
    other = await service.do(issuing(**{"for": "fusion"}))
    assert not other.is_ok and "take a new name" in other.details["error"]
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

    service = Service(Store(tmp_path / "s"), issuer_actions(desk_for, now_s))
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
    "revoke": ({}, RegistryErrorCode.ALREADY_REVOKED),
    "suspend": ({}, RegistryErrorCode.NOT_ACTIVE),
    "reinstate": ({}, RegistryErrorCode.NOT_ACTIVE),
    "supersede": ({"newer": "22" * 32}, RegistryErrorCode.TERMINAL_STATE),
    "witness": ({"issuer": "szcredit"}, RegistryErrorCode.ALREADY_WITNESSED),
}


@pytest.mark.parametrize("action", CHANGES)
async def test_a_change_made_before_is_success_only_when_tried_again(
    tmp_path, autojump_clock, action
):
    fields, code = CHANGES[action]
    order = Order("x", action, {"anchor": "11" * 32, **fields})

    def service(node, name):
        desk = issuer_desk(node, tmp_path / name)
        actions = issuer_actions(lambda number: desk, now_s)
        actions |= witness_actions(lambda number: node, {"szcredit": 1})
        return Service(Store(tmp_path / name), actions)

    done = await service(Node(), "a").do(order)
    assert done.is_ok and done.details == {"height": 7}
    refused = await service(Node(RegistryRefused(code, "")), "b").do(order)
    assert not refused.is_ok and refused.details["code"] == code.name
    lost = await service(Node(DOWN, RegistryRefused(code, "")), "c").do(order)
    assert lost.is_ok and lost.details == {"was_done_before": True}
    other = RegistryRefused(RegistryErrorCode.ROLE_REQUIRED, "")
    assert not (await service(Node(DOWN, other), "d").do(order)).is_ok


@pytest.mark.parametrize(
    ("action", "fields", "text"),
    [
        ("dance", {}, "there are: erase, issue"),
        ("issue", {}, "'for' has to be given"),
        ("issue", ISSUING | {"holder_key": "zz"}, "64 bytes in hex"),
        ("issue", ISSUING | {"profile": "x"}, "'x' is not a valid Profile"),
        ("revoke", {"anchor": 7}, "as a text"),
        ("revoke", {"anchor": "11" * 32, "reason": "X"}, "CORRECTED"),
        ("revoke", {"anchor": "11" * 32, "since": -1}, "from 0"),
        ("erase", {"anchor": "11" * 32}, "no document"),
    ],
)
async def test_mistakes_are_told(tmp_path, action, fields, text):
    node = Node()
    order = Order("x", action, fields, {"document.json": DOCUMENT})
    answer = await issuer(node, tmp_path / "s").do(order)
    assert not answer.is_ok and text in answer.details["error"] and not node.sent


async def test_a_file_that_is_missing_is_named(tmp_path):
    answer = await issuer(Node(), tmp_path / "s").do(Order("x", "issue", ISSUING))
    assert "needs a file 'document.json'; there are: none" in answer.details["error"]


# --- from a request to a verdict ------------------------------------------------------------------


class Consuming:
    """A signer whose calls use a presentation up, and whose answers may be lost."""

    def __init__(self, world, *, lost=0):
        self.world, self.lost, self.calls = world, lost, 0

    async def send(self, to, data):
        self.calls += 1
        presentation = data[4:36]
        if presentation in self.world.ledger.consumed:
            raise RegistryRefused(RegistryErrorCode.PRESENTATION_CONSUMED, "")
        self.world.ledger.consumed.add(presentation)
        if self.lost:
            self.lost -= 1
            raise ClientError("no answer")
        return {"blockNumber": "0x7", "logs": []}


class People:
    """A holder's wallet and Nova's desk as services."""

    def __init__(self, path, *, lost=0):
        self.world = World()
        self.path = path
        self.signer = Consuming(self.world, lost=lost)
        self.wallet = Wallet("acme", HOLDER_KEY, Store(path / "acme"))
        self.wallet.holder.keep(self.world.package)
        self.holder = Service(Store(path / "acme"), wallet_actions(self.wallet, 20200, now_s))
        self.open()

    def open(self):
        """Start Nova's desk, again perhaps."""
        desk = VerifierDesk(
            name="nova",
            org_id=2,
            jurisdiction="HK",
            registry=self.world.ledger,
            document_key=NOVA_KEY,
            signer=self.signer,
            store=Store(self.path / "nova"),
        )
        actions = verifier_actions(lambda number: desk, lambda number: self.signer, now_s)
        self.nova = Service(Store(self.path / "nova"), actions)

    async def present(self):
        """Return an order to verify what the holder shows."""
        asked = await self.nova.do(Order("ask", "request", {"schema": "cn.ecr/1"}))
        agreed = await self.holder.do(Order("agree", "consent", {}, asked.files))
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
        people.world.ledger.consumed.add(data[4:36])
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
    assert "no consent to take back" in refused.details["error"]
    agreed = await people.holder.do(Order("yes", "consent", {}, asked.files))
    ended = await people.holder.do(Order("end", "consent", {"withdraw": True}, asked.files))
    people.signer = node = Node()
    people.open()
    for name, item in (("log", agreed), ("stop", ended)):
        assert (await people.nova.do(Order(name, "consent", {}, item.files))).is_ok
    log, stop = (consent_function(name).selector for name in ("grant", "withdraw"))
    assert [data[:4] for data in node.sent] == [log, stop]
    broken = await people.nova.do(Order("z", "consent", {}, {"ledger-consent.json": b"{}"}))
    assert "an object with" in broken.details["error"]


# --- folders --------------------------------------------------------------------------------------


def put(mailbox, name, order):
    data = order if isinstance(order, bytes) else json.dumps(order).encode()
    (mailbox.inbox / f"{name}.order.json").write_bytes(data)


def answer_of(mailbox, name):
    return json.loads((mailbox.outbox / name / "answer.json").read_text())


async def test_orders_as_files(tmp_path):
    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = issuer(Node(), tmp_path / "s")
    (mailbox.inbox / "document.json").write_bytes(DOCUMENT)
    (mailbox.inbox / "large.json").write_bytes(bytes(5 * 1024 * 1024))
    bad = {
        "list": (b"[]", "whose 'do' says"),
        "json": (b"{", "not JSON"),
        "deep": (b"[" * 50_000, "not JSON"),
        "huge": (b" " * (ORDER_BYTES_MAX + 1), "larger than"),
        "away": ({"do": "issue", "files": ["none.json"]}, "not beside the order"),
        "path": ({"do": "issue", "files": ["../x"]}, "plain names"),
        "many": ({"do": "issue", "files": ["a"] * (FILES_MAX + 1)}, "plain names"),
        "fat": ({"do": "issue", "files": ["large.json"]}, "larger than"),
        "no name": ({"do": "issue"}, "up to 64 letters"),
    }
    for name, (order, _) in bad.items():
        put(mailbox, name, order)
    put(mailbox, "right", {"do": "issue", **ISSUING, "files": ["document.json"]})
    put(mailbox, "..", {"do": "issue"})
    put(mailbox, ".hidden", {"do": "issue"})
    assert await mailbox.serve_once(service, lambda name, item: told.append(name), tries=1)
    for name, (_, text) in bad.items():
        assert text in answer_of(mailbox, name)["error"], name
    assert answer_of(mailbox, "right")["files"] == ["package.json"]
    assert decode_package((mailbox.outbox / "right" / "package.json").read_bytes())
    assert sorted(told) == sorted([*bad, "right"])
    left = {item.name for item in mailbox.inbox.iterdir()}
    assert left == {"document.json", "large.json", "...order.json", ".hidden.order.json"}


async def test_what_no_node_answers_stays_in_the_inbox(tmp_path, autojump_clock):
    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = issuer(Node(*[DOWN] * 3), tmp_path / "s")
    (mailbox.inbox / "document.json").write_bytes(DOCUMENT)
    put(mailbox, "one", {"do": "issue", **ISSUING, "files": ["document.json"]})

    def tell(name, item):
        told.append((name, item and item.is_ok))

    assert not await mailbox.serve_once(service, tell, tries=2)
    assert mailbox.list_orders() == ["one"]
    assert await mailbox.serve_once(service, tell, tries=2)
    assert told == [("one", None), ("one", True)] and mailbox.list_orders() == []


async def test_a_service_takes_orders_as_they_come(tmp_path, autojump_clock, nursery):
    mailbox, told = Mailbox(tmp_path / "desk"), []
    service = Service(Store(tmp_path / "s"), {"wait": wait})
    nursery.start_soon(mailbox.serve, service, lambda name, item: told.append(name))
    for number in range(40):
        put(mailbox, f"n{number}", {"do": "wait"})
    with trio.fail_after(60):
        while len(told) < 40:
            await trio.sleep(0.1)
    assert set(told) == {f"n{number}" for number in range(40)} and mailbox.list_orders() == []
    nursery.cancel_scope.cancel()


async def wait(attempt):
    await trio.sleep(0.5)
    return Answer(True, {})
