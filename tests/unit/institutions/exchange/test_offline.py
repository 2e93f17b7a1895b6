"""Verifying with a proof of registration: online and offline."""

from dataclasses import replace

import pytest

from lowu.contracts.registry import AnchorKind
from lowu.contracts.schemas.document_schema import DAY_S
from lowu.institutions.exchange.trust import (
    Handover,
    TrustedKey,
    decode_trust,
    encode_trust,
    handover_digest,
)
from lowu.institutions.package.batch import build_batch
from lowu.institutions.package.format import BatchPlace, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Holder
from lowu.institutions.roles.issuer import Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.verification.report import (
    describe_report,
    render_html,
    summarise,
)
from lowu.institutions.verification.verdicts import Check, Verdict
from lowu.institutions.verification.wording import WORDINGS
from lowu.node.crypto import sign
from tests.unit import document_world
from tests.unit.document_world import CHAIN_ID, HOLDER_KEY, ISSUER_KEY, NOW_S, RECEIPT, World
from tests.unit.proof_kit import KEYS as PRIVATE_KEYS
from tests.unit.proof_kit import VALIDATORS, batch_call, build_proof, register_call

KEYS = (TrustedKey(1, 1, ISSUER_KEY.public_key),)
TRUST = replace(document_world.TRUST, validators=VALIDATORS, keys=KEYS, height=1)
HEIGHT = 1
"""The height at which `build_proof` registers."""


def prove(world, proof):
    """Give the world's package a proof, and set its ledger to the proof's height."""
    (anchor,) = world.package.anchors
    anchor = replace(anchor, registered_height=HEIGHT, proof=proof)
    world.package = replace(world.package, anchors=(anchor,))
    world.holder.keep(world.package)
    record = world.ledger.records[anchor.anchor]
    world.ledger.records[anchor.anchor] = replace(record, registered_height=HEIGHT)
    return world


def build_world():
    world = World()
    header, anchor = world.package.header, world.package.anchors[0].anchor
    call = register_call(anchor, header.valid_until_day)
    return prove(world, build_proof(call, time_s=NOW_S + 5))


@pytest.fixture(scope="module")
def proven_package():
    return build_world().package


@pytest.fixture
def world():
    return build_world()


class Proving:
    """A signer whose node serves a proof of each registration."""

    def __init__(self, proof):
        self.proof = proof

    async def send(self, to, data):
        return RECEIPT

    async def prove(self, receipt, issuer, anchor):
        return self.proof


async def test_an_issuer_hands_out_no_proof_that_does_not_hold(world):
    (anchor,) = world.package.anchors
    whole = anchor.proof
    others = (
        replace(whole, receipt=whole.receipt[:-1] + b"x"),
        replace(whole, header=b""),
        replace(whole, chain_id="\ud800"),
        replace(whole, path=()),
    )
    for proof, expected, height in (
        (whole, whole, HEIGHT),
        (None, None, RECEIPT.height),
        *((other, None, RECEIPT.height) for other in others),
    ):
        issuer = Issuer(Member("szcredit", 1, "SZ", ISSUER_KEY, CHAIN_ID), Proving(proof))
        issued = await issuer.register(world.package)
        (placed,) = issued.package.anchors
        assert (placed.proof, placed.registered_height) == (expected, height)


async def offline(world, shown, trust=TRUST):
    report = await world.verify(shown, verifier=world.nova.trusting(trust))
    return report, {line.check.value: line.result.value for line in report.lines}


async def test_with_the_ledger_a_proof_is_checked_too(world):
    report = await world.verify(world.show())
    assert (report.verdict, report.codes) == (Verdict.ACCEPT, [])


async def test_without_a_line_it_is_authentic_and_no_more(world):
    report, results = await offline(world, world.show())
    assert report.verdict is Verdict.INDETERMINATE
    assert [results[f"V{number}"] for number in (1, 2, 3, 4, 6, 7)] == ["PASS"] * 6
    assert results["V5"] == results["V8"] == results["V9"] == "UNKNOWN"
    assert {code.split("(")[0] for code in report.codes} == {"FRESHNESS_UNKNOWN"}
    evidence = report[Check.ANCHOR].evidence
    assert evidence["signed_by"] == "3 of 4 validators" and evidence["registered_height"] == 1
    assert evidence["nodes_asked"] == 0
    assert summarise(report) == WORDINGS["en"].offline == describe_report(report)["summary"]
    assert WORDINGS["en"].offline in render_html(report, "a page")


async def test_it_is_not_used_up_without_a_line(world):
    request = world.ask()
    sealed = world.holder.present(world.doc_id, request, world.agree(request))
    away = world.nova.trusting(TRUST)
    for _ in range(2):
        report = await away.receive(sealed, world.document.subject)
        assert report.verdict is Verdict.INDETERMINATE
    assert (await world.nova.receive(sealed, world.document.subject)).verdict is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("change", "check", "code"),
    [
        ({"chain_id": "other"}, Check.ANCHOR, "PROOF_INVALID"),
        ({"keys": (TrustedKey(1, 1, HOLDER_KEY.public_key),)}, Check.ISSUER, "SIG_INVALID"),
        ({"keys": (replace(KEYS[0], retired_height=1),)}, Check.ISSUER, "KEY_RETIRED_BEFORE"),
        ({"keys": (replace(KEYS[0], compromised_height=1),)}, Check.ISSUER, "KEY_COMPROMISED"),
        ({"time_s": NOW_S + 400 * DAY_S}, Check.TIME, "EXPIRED"),
    ],
)
async def test_what_speaks_against_it_is_found(world, change, check, code):
    report, _ = await offline(world, world.show(), replace(TRUST, **change))
    assert report.verdict is Verdict.REJECT
    assert report[check].findings[0].code.value == code


async def test_what_is_not_known_is_unknown(world):
    report, results = await offline(world, world.show(), replace(TRUST, keys=()))
    assert (results["V3"], report.verdict) == ("UNKNOWN", Verdict.INDETERMINATE)
    shown = world.show()
    bare = replace(shown, anchor=replace(shown.anchor, proof=None)).signed(HOLDER_KEY)
    report, results = await offline(world, bare)
    assert (results["V4"], report.verdict) == ("UNKNOWN", Verdict.INDETERMINATE)


async def test_a_key_that_ended_later_still_counts(world):
    later = replace(KEYS[0], retired_height=2, compromised_height=2)
    _, results = await offline(world, world.show(), replace(TRUST, keys=(later,)))
    assert results["V3"] == "PASS"


async def test_validators_that_are_not_known_prove_nothing(world):
    """N-M5: after the validators changed, a genuine proof was PROOF_INVALID, online too."""
    unknown = replace(TRUST, validators=VALIDATORS[1:])
    report, results = await offline(world, world.show(), unknown)
    assert (results["V4"], report.verdict) == ("UNKNOWN", Verdict.INDETERMINATE)
    assert "validators other than those known here" in report.codes[0]
    world.nova = world.verifier(trust=unknown)
    assert (await world.verify(world.show())).verdict is Verdict.ACCEPT  # the ledger settles it


async def test_validators_hand_over_to_the_next(world):
    """N-M5: from the validators that the receiver knows, signed hand-overs lead to others."""
    before = (1, 2, 3)
    old = replace(TRUST, validators=tuple(VALIDATORS[place] for place in before))

    def hand_over(height, signers, validators=VALIDATORS):
        item = Handover(height, validators, ())
        digest = handover_digest(old, item)
        keys = [PRIVATE_KEYS[old.validators[place][0]] for place in signers]
        signatures = tuple((n, sign(key, digest)) for n, key in zip(signers, keys, strict=True))
        return replace(old, handovers=(replace(item, signatures=signatures),))

    trust = decode_trust(encode_trust(hand_over(1, (0, 1, 2))))
    _, results = await offline(world, world.show(), trust)
    assert results["V4"] == "PASS"
    _, results = await offline(world, world.show(), hand_over(2, (0, 1, 2)))
    assert results["V4"] == "UNKNOWN"  # at the proof's height they were others
    for bad in (
        hand_over(1, (0, 1)),
        hand_over(1, (1, 0, 2)),
        replace(hand_over(1, (0, 1, 2)), group_id="group0", chain_id="chain1"),
        replace(old, handovers=(replace(hand_over(1, (0, 1, 2)).handovers[0], height=0),)),
    ):
        _, results = await offline(world, world.show(), bad)
        assert results["V4"] == "FAIL"


async def test_an_old_trust_file_says_little(world):
    shown = world.show()
    world.ledger.time_s += 31 * DAY_S
    report, results = await offline(world, shown)
    assert results["V3"] == "UNKNOWN" and "31 days old" in " ".join(report.codes)


async def test_the_call_says_what_was_registered(world):
    """N-M: events have neither key nor validity; a proof of others was as good offline."""
    header, anchor = world.package.header, world.package.anchors[0].anchor
    proof = build_proof(register_call(anchor, header.valid_until_day + 1), time_s=NOW_S + 5)
    shown = world.show()
    shown = replace(shown, anchor=replace(shown.anchor, proof=proof)).signed(HOLDER_KEY)
    report, _ = await offline(world, shown)
    assert "PROOF_INVALID(the registration has another key or validity)" in report.codes


async def test_a_proof_of_something_else_is_refused(world):
    """Refused: a proof of another anchor, or of another height than package or ledger states."""
    other = build_proof(register_call(b"\xaa" * 32), time_s=NOW_S + 5)
    shown = world.show()
    for anchor in (
        replace(shown.anchor, proof=other),
        replace(shown.anchor, registered_height=2),
    ):
        wrong = replace(shown, anchor=anchor).signed(HOLDER_KEY)
        for report in (await world.verify(wrong), (await offline(world, wrong))[0]):
            assert report[Check.ANCHOR].findings[0].code.value == "PROOF_INVALID"
    moved = {
        key: replace(record, registered_height=5) for key, record in world.ledger.records.items()
    }
    world.ledger.records.update(moved)
    report = await world.verify(shown)
    assert report.codes == ["PROOF_INVALID(the record is of another block)"]


async def test_a_late_registration_shows_without_a_line():
    world = World()
    header, anchor = world.package.header, world.package.anchors[0].anchor
    call = register_call(anchor, header.valid_until_day)
    prove(world, build_proof(call, time_s=NOW_S + 8 * DAY_S))
    report, _ = await offline(world, world.show())
    assert "REGISTERED_LATE" in report.codes


async def test_a_document_of_a_batch():
    world = World()
    header, anchor = world.package.header, world.package.anchors[0]
    anchors = [bytes([number]) * 32 for number in range(4)] + [anchor.anchor]
    root, paths = build_batch(anchors)
    call = batch_call(root, len(anchors), header.valid_until_day)
    proof = build_proof(call, time_s=NOW_S + 5)
    placed = replace(
        anchor, registered_height=HEIGHT, batch=BatchPlace(root, 4, paths[4]), proof=proof
    )
    world.package = replace(world.package, anchors=(placed,))
    world.holder.receive(encode_package(world.package))
    world.ledger.register(header, root, AnchorKind.BATCH)
    report, results = await offline(world, world.show())
    assert (results["V4"], report.verdict) == ("PASS", Verdict.INDETERMINATE)
    for place in (None, BatchPlace(root, 3, paths[4]), BatchPlace(root, 4, paths[3])):
        shown = world.show()
        wrong = replace(shown, anchor=replace(shown.anchor, batch=place)).signed(HOLDER_KEY)
        report, results = await offline(world, wrong)
        assert (results["V4"], report.verdict) == ("FAIL", Verdict.REJECT)


def test_a_holder_refuses_a_package_with_a_bad_proof(proven_package):
    holder = Holder("acme", DocumentKey(HOLDER_KEY.private_key), trust=TRUST)
    holder.receive(encode_package(proven_package))
    (anchor,) = proven_package.anchors
    changed = replace(anchor.proof, signatures=anchor.proof.signatures[1:])
    broken = replace(proven_package, anchors=(replace(anchor, proof=changed),))
    with pytest.raises(FormError, match=r"proof of registration for nova .* quorum"):
        holder.receive(encode_package(broken))
