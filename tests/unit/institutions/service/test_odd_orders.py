"""Orders that would do something else than they say, or harm others in the same folder."""

import os

import pytest

from lowu.institutions.package.canonical import CanonicalError, load_json
from lowu.institutions.service.inbox import Mailbox
from lowu.institutions.service.orders import Order
from tests.unit.institutions.service.test_services import (
    BOXES,
    Node,
    People,
    answer_of,
    issuer,
    put,
    seen,
)


async def serve(mailbox, service):
    assert await mailbox.serve_once(service, lambda name, item: None, tries=1)


async def test_an_order_takes_no_order_with_it(tmp_path):
    """An order that listed itself, or another one, made it disappear without an answer."""
    mailbox, service = Mailbox(tmp_path / "desk"), issuer(Node(), tmp_path / "s")
    put(mailbox, "self", {"do": "revoke", "files": ["self.order.json"]})
    put(mailbox, "aa", {"do": "revoke", "files": {"x": "zz.order.json"}})
    put(mailbox, "zz", {"do": "nothing"})
    (mailbox.inbox / "dangling.order.json").symlink_to("/nonexistent")
    await serve(mailbox, service)
    for name in ("self", "aa"):
        assert "is an order, or called like one" in answer_of(mailbox, name)["error"]
    assert "nothing" in answer_of(mailbox, "zz")["error"]
    assert "cannot be read" in answer_of(mailbox, "dangling")["error"]
    assert seen(mailbox.inbox) == seen(mailbox.work) == []


async def test_what_an_order_left_behind_ends_no_desk(tmp_path):
    mailbox, service = Mailbox(tmp_path / "desk"), issuer(Node(), tmp_path / "s")
    for name, is_folder in (("k", False), ("l", True)):
        place = mailbox.work / name
        place.mkdir()
        (place / "d").mkdir() if is_folder else (place / "d").write_bytes(b"")
    (mailbox.inbox / "d").mkdir()
    put(mailbox, "k", {"do": "revoke", "files": ["d"]})
    await serve(mailbox, service)
    (mailbox.inbox / "d").write_bytes(b"")
    put(mailbox, "l", {"do": "revoke", "files": ["d"]})
    await serve(mailbox, service)
    assert seen(mailbox.outbox) == ["k", "l"] and seen(mailbox.work) == []


async def test_no_name_takes_the_place_of_another_s_answer(tmp_path):
    mailbox, service = Mailbox(tmp_path / "desk"), issuer(Node(), tmp_path / "s")
    names = ["one+refused", "\x1b]0;\nforged: done", "two words", os.fsdecode(b"\xff")]
    for name in names:
        put(mailbox, name, {"do": "revoke"})
    await serve(mailbox, service)
    odd, other, third, plain = seen(mailbox.outbox)
    assert plain == "two words"
    assert all(name.startswith("misnamed+") for name in (odd, other, third))


async def test_a_withdrawal_is_no_consent_however_it_is_written(tmp_path):
    people = People(tmp_path)
    asked = await people.nova.do(Order("ask", "request", {"schema": "cn.ecr/1"}))
    order = Order("end", "consent", {"withdraw": "yes", **BOXES}, asked.files)
    answer = await people.holder.do(order)
    assert not answer.is_ok and "'withdraw'" in answer.details["error"]
    assert answer.files == {} and len(people.wallet.consents) == 0


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"confirm": ["szcredit"]}, "a desk asks its own nodes"),
        ({"offline": True}, "a desk asks its own nodes"),
        ({"lang": "fr"}, "language"),
        ({"show_rejected": "yes"}, "'show_rejected'"),
        ({"password": 5}, "'password'"),
        ({"attach": 5}, "'attach'"),
    ],
)
async def test_a_mistake_in_an_order_uses_nothing_up(tmp_path, wrong, text):
    people = People(tmp_path)
    order = await people.present()
    mistaken = Order("wrong", "verify", {**order.fields, **wrong}, order.files)
    refused = await people.nova.do(mistaken)
    assert not refused.is_ok and text in refused.details["error"]
    assert (await people.nova.do(order)).details["verdict"] == "ACCEPT"


def test_a_key_that_stands_twice_among_many_is_found_at_once():
    """Each key was counted among all: 90,000 of them took minutes, on a desk's only thread."""
    keys = ",".join(f'"{number}":0' for number in range(90_000))
    with pytest.raises(CanonicalError, match="key '7' twice"):
        load_json(f'{{{keys},"7":1}}'.encode())
