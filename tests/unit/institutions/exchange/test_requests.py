"""A holder answers only who it knows to be asking (N-H1)."""

from dataclasses import replace

import pytest

from lowu.contracts.registry import OrgStatus
from lowu.contracts.schemas.document_schema import DAY_S
from lowu.institutions.exchange.request import decode_request, encode_request
from lowu.institutions.package.format import compute_anchor, encode_package, find_file_digest
from lowu.institutions.package.forms import FormError, outermost
from lowu.institutions.roles.holder import Agreement
from lowu.institutions.roles.issuer import Audience
from lowu.institutions.service.recording import Wallet
from tests.store_kit import open_store
from tests.unit.document_world import (
    HOLDER_KEY,
    ISSUER_KEY,
    NOVA_KEY,
    NOW_S,
    SUBJECT,
    TRUST,
    World,
    resigned,
)


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


def by_another(world, **changes):
    """Return a package that its issuer signed with changes to the header."""
    header = replace(world.package.header, **changes)
    package = replace(world.package, header=header)
    (item,) = package.anchors
    digest = find_file_digest(package.disclosures)
    anchor = compute_anchor(header, item.org, item.blind, digest)
    return replace(
        package,
        anchors=(replace(item, anchor=anchor),),
        issuer_signature=ISSUER_KEY.sign(header.doc_digest),
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"must_disclose": ("",)}, "does not follow schema"),  # all was shown, whatever was asked
        ({"jurisdiction": "HK"}, "not of HK"),  # and nothing was asked about the boundary
        ({"issued_at": NOW_S + 10**6}, "of the future"),  # the newest for ever
        ({"report_time": NOW_S - 1}, "has another document"),
        ({"issuer_org": 9}, "organisation 9.*not known as of block 10; with a trust file"),
        ({"key_id": 2}, "key 2 of organisation 1.*not known"),
    ],
)
def test_an_issuer_that_lies_to_the_holder_of_a_document(world, changes, text):
    with pytest.raises(FormError, match=text):
        world.keep(by_another(world, **changes))
    assert world.holder.find(world.doc_id) == world.package


def test_an_older_copy_takes_no_receiver_away(world):
    more = world.issuer.readdress(world.package, Audience("szcredit", 1))
    world.keep(more)
    world.keep(world.package)
    assert world.holder.find(world.doc_id).anchors == more.anchors


def test_no_issuer_fills_a_package_until_it_cannot_be_read(world, tmp_path):
    """Two copies of one document, each as large as it may be, are not kept as one."""
    store = open_store(tmp_path / "s")
    wallet = Wallet("acme", HOLDER_KEY, store, trust=TRUST, clock_s=lambda: NOW_S)
    copies = []
    for _ in range(2):
        copy = replace(world.package, anchors=())
        for _ in range(40):
            copy = world.issuer.readdress(copy, Audience("szcredit", 1))
        copies.append(encode_package(copy))
    doc_id = wallet.carry(copies[0])
    with pytest.raises(FormError, match="anchors"):
        wallet.carry(copies[1])
    (kept,) = wallet.holder.packages
    assert kept.header.doc_id == doc_id and len(kept.anchors) == 40


def test_an_anchor_for_an_organisation_that_is_not_known(world):
    (anchor,) = world.package.anchors
    digest = find_file_digest(world.package.disclosures)
    value = compute_anchor(world.package.header, 999, anchor.blind, digest)
    wrong = replace(world.package, anchors=(replace(anchor, org=999, anchor=value),))
    with pytest.raises(FormError, match="which is not nova as of block 10"):
        world.keep(wrong)


def test_a_request_for_many_fields_spoils_no_wallet(world, tmp_path):
    """One consent that could not be read again kept the holder from withdrawing any."""
    store = open_store(tmp_path / "s")
    wallet = Wallet("acme", HOLDER_KEY, store, trust=TRUST, clock_s=lambda: NOW_S)
    wallet.holder.keep(world.package)
    many = tuple(f"/annex/{n}" for n in range(512))
    with pytest.raises(FormError, match="more than 512 fields"):
        wallet.agree(world.doc_id, world.ask(fields=many), Agreement())
    asked = world.ask(fields=("/annex", *(f"/annex/{n}" for n in range(511))))
    receipt = wallet.agree(world.doc_id, asked, Agreement())
    assert set(receipt.fields) == {"/annex", *world.package.header.must_disclose}
    assert wallet.find_consent(world.doc_id, "nova", "LOAN") == receipt
    store.open("consents", bytes, bytes)[b"damaged"] = b"{}"
    assert wallet.find_consent(world.doc_id, "nova", "LOAN") == receipt


def test_a_path_that_is_none_is_refused_where_it_is_asked_for(world):
    for path in ("summary", "/~2", "/a" * 33):
        with pytest.raises(FormError):
            world.ask(fields=(path,))


def test_a_purpose_is_one_of_those_that_there_are(world):
    asked = replace(world.ask(), purpose="MARKETING\x1b[2J")
    with pytest.raises(FormError, match="purpose: one of LOAN, ACCOUNT"):
        decode_request(encode_request(asked))


@pytest.mark.parametrize(
    ("paths", "left"),
    [
        (["/a", "/a/b", "/ab", "/a"], ("/a", "/ab")),
        (["/a/b", "/a"], ("/a",)),
        (["/a", ""], ("",)),
        (["/", "//x", "/a~1b"], ("/", "/a~1b")),
        ([], ()),
    ],
)
def test_the_outermost_of_paths(paths, left):
    assert outermost(paths) == left


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ("/summary", "a list of paths, such as ['/summary'], and not one text"),
        (["summary"], "'summary' is not a JSON Pointer"),
        (["/sumary"], "/sumary: the schema has no such field; did you mean /summary?"),
        (["/summary/lender"], "did you mean /summary/lenders?"),
        (["/loans/first"], "/loans is an array, whose elements are /0, /1 and so on"),
        (["/summary/lenders/0"], "/summary/lenders is a value and has no fields"),
        (["/loans/*/lender"], "name the whole array, without *, or one of its elements"),
        (["/annex/*"], "name the whole array"),
    ],
)
def test_what_is_asked_for_is_checked_where_it_is_typed(world, fields, text):
    """A misspelt field gave ACCEPT: the answer held all that the question could mean."""
    with pytest.raises(FormError) as refused:
        world.ask(fields=fields)
    assert text in str(refused.value)


def test_a_holder_chooses_from_a_list_of_paths(world):
    request = world.ask()
    for act in (world.holder.build, world.holder.present):
        with pytest.raises(FormError, match="a list of paths"):
            act(world.doc_id, request, None, "/summary")
    with pytest.raises(FormError, match="a list of paths"):
        world.holder.consent(world.doc_id, request, fields="/summary")


@pytest.mark.parametrize("path", ["/loans/*/nope", "/loans/007", "/loans/foo", "/loans/-1"])
def test_a_holder_cannot_choose_what_no_list_has(world, path):
    with pytest.raises(ValueError, match="the document has no field"):
        world.show(fields=("/header", path))
    assert world.show(fields=("/header", "/loans/400"))  # beyond its end: its size shows that


def test_a_holder_is_warned_of_more_than_it_agreed_to(world, tmp_path):
    store = open_store(tmp_path / "s")
    wallet = Wallet("acme", HOLDER_KEY, store, trust=TRUST, clock_s=lambda: NOW_S)
    wallet.holder.keep(world.package)
    wallet.agree(world.doc_id, world.ask(fields=("/summary",)), Agreement(True, True))
    whole = world.ask()
    (warning,) = wallet.warn(wallet.preview(world.doc_id, whole), whole)
    assert warning.startswith("beyond the consent, so the receiver will refuse it: ")


def test_a_holder_is_warned_of_what_will_be_refused(world, tmp_path):
    wallet = Wallet(
        "acme", HOLDER_KEY, open_store(tmp_path / "s"), trust=TRUST, clock_s=lambda: NOW_S
    )
    wallet.holder.keep(world.package)
    request = world.ask(fields=("/summary", "/loans"))

    def warn(*fields):
        return wallet.warn(wallet.preview(world.doc_id, request, fields), request)

    assert warn() == ["no consent was given, so the receiver will refuse it"]
    receipt = wallet.agree(world.doc_id, request, Agreement(True, True))
    assert warn() == []
    assert warn("/loans", "/header/report_no", "/header/uscc") == [
        "not shown in full, so the receiver will refuse it: /summary, /summary/overdue_accounts"
    ]
    wallet.withdrawn[receipt.digest] = b""
    assert warn() == ["the consent was withdrawn, so the receiver will refuse it"]
    assert not wallet.presented
