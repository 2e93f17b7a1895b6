"""A holder answers only who it knows to be asking (N-H1)."""

from dataclasses import replace

import pytest

from lowu.contracts.registry import OrgStatus
from lowu.institutions.documents.schemas import DAY_S
from lowu.institutions.package.forms import FormError
from lowu.institutions.roles.holder import Agreement
from tests.unit.document_world import HOLDER_KEY, NOVA_KEY, NOW_S, SUBJECT, TRUST, World, resigned


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sealing_key": "aa" * 32}, "not signed by a key of nova"),
        ({"fields": ("/header",)}, "not signed by a key of nova"),
        ({"purpose": "CARD"}, "not signed by a key of nova"),
        ({"key_id": 2}, "not signed by a key of nova"),
        ({"receiver": "bea-hk"}, "organisation 2 is not that"),
        ({"receiver_org": 1}, "organisation 1 is not that"),
        ({"receiver_org": 9}, "organisation 9 is not that"),
        ({"ledger": 1}, "for ledger 1, not for 20200"),
        ({"expires_at": NOW_S}, "over"),
    ],
)
def test_a_request_that_was_changed_on_its_way(world, changes, text):
    request = replace(world.ask(), **changes)
    for act in (
        lambda: world.holder.consent(world.doc_id, request),
        lambda: world.holder.build(world.doc_id, request, None),
        lambda: world.holder.present(world.doc_id, request, None),
    ):
        with pytest.raises(FormError, match=text):
            act()


@pytest.mark.parametrize(
    ("trust", "text"),
    [
        (replace(TRUST, keys=TRUST.keys[:1]), "not signed"),
        (
            replace(TRUST, keys=(TRUST.keys[0], replace(TRUST.keys[1], retired_height=3))),
            "not signed",
        ),
        (
            replace(TRUST, keys=(TRUST.keys[0], replace(TRUST.keys[1], compromised_height=3))),
            "not signed",
        ),
        (
            replace(TRUST, orgs=(TRUST.orgs[0], replace(TRUST.orgs[1], status=OrgStatus.EXITED))),
            "suspended, or no member",
        ),
        (
            replace(
                TRUST, orgs=(TRUST.orgs[0], replace(TRUST.orgs[1], suspended_until=NOW_S + DAY_S))
            ),
            "suspended, or no member",
        ),
    ],
)
def test_a_receiver_whose_standing_or_key_has_ended(world, trust, text):
    request = world.ask()
    world.holder.trust = trust
    with pytest.raises(FormError, match=text):
        world.holder.build(world.doc_id, request, None)


def test_without_anything_known_nothing_is_answered(world):
    world.holder.trust = None
    with pytest.raises(FormError, match="needs a node or a trust file"):
        world.holder.present(world.doc_id, world.ask(), None)


async def test_an_answer_is_one_to_the_whole_request(world):
    """The receiver holds the digest of its own request against the answer."""
    request = world.ask()
    shown = world.show(request)
    for other in (replace(request, sealing_key="aa" * 32), replace(request, fields=("/header",))):
        report = await world.verify(resigned(shown, request=other.digest))
        assert report.codes == ["HOLDER_MISMATCH(answers another request)"]
    assert shown.id != resigned(shown, request=b"r" * 32).id


async def test_an_answer_that_is_sealed_for_another_request_of_ours(world):
    request, other = world.ask(), world.ask()
    shown = world.show(request)
    from lowu.institutions.exchange.presentation import encode_presentation, seal

    report = await world.nova.receive(seal(encode_presentation(shown), other), SUBJECT)
    assert report.codes == ["HOLDER_MISMATCH(answers no request of ours)"]


def test_only_what_applies_is_asked(world):
    request = world.ask()
    assert world.holder.find_questions(world.doc_id, request) == Agreement(True, False)
    receipt = world.holder.consent(world.doc_id, request)
    assert not receipt.is_cross_border and not receipt.is_sensitive
    assert HOLDER_KEY != NOVA_KEY


def test_an_anchor_that_names_another_than_it_is_for(world):
    (anchor,) = world.package.anchors
    wrong = replace(world.package, anchors=(replace(anchor, audience="szcredit"),))
    with pytest.raises(FormError, match="its anchor for szcredit is for organisation 2"):
        world.keep(wrong)
