"""Attacks find what can be found, and stop when their time is up."""

import hashlib
import time
from random import Random

import pytest
import trio

from lowu.commands.attack.attack_exchange import HELP
from lowu.experiments.attacks.dictionary import (
    MARK,
    SUM_MAX,
    build_document,
    build_form,
    compute_check,
    search_share,
)
from lowu.experiments.attacks.exchange import ATTACKS, play_attack
from lowu.experiments.attacks.legacy import compare
from lowu.experiments.attacks.linkability import measure
from lowu.experiments.attacks.mutation import TRIALS, prepare
from lowu.experiments.attacks.structural import try_structures
from lowu.institutions.documents.identifiers import compute_hkid_check, is_hkid
from lowu.institutions.roles.regulator import is_mass
from lowu.testing.networks import VirtualNetwork


def digest(seed, number):
    return hashlib.sha256(build_form(seed, number)).digest()


def test_the_form_is_a_file_about_somebody():
    document = build_document(3, 1_800_000_000)
    number = document.subject.id_value
    assert is_hkid(number) and len(number) == len(MARK)
    assert document.content["file"].digest == digest(3, number)
    assert build_form(3, MARK).count(MARK.encode()) == 1


@pytest.mark.parametrize("digits", ["000000", "123456", "999999", "451144"])
@pytest.mark.parametrize("letters", ["QA", "QX", "QZ"])
def test_check_digits_from_sums(letters, digits):
    weights = (7, 6, 5, 4, 3, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=True))
    assert total <= SUM_MAX
    assert compute_check(letters, total) == compute_hkid_check(letters, digits)


def test_a_number_in_the_share_is_found():
    number = f"QX123456({compute_hkid_check('QX', '123456')})"
    wanted = frozenset([digest(3, number)])
    share = ("QX", 122, 125, 3, wanted)
    assert search_share(*share, time.monotonic() + 60) == (number, 1_000)
    assert search_share("QX", 124, 126, 3, wanted, time.monotonic() + 60) == ("", 2_000)
    assert search_share("QY", 122, 125, 3, wanted, time.monotonic() + 60) == ("", 3_000)
    assert search_share("QX", 0, 999, 3, wanted, time.monotonic()) == ("", 1_000)


@pytest.mark.parametrize(
    ("heights", "is_alert"),
    [
        ([], False),
        ([1, 2], False),
        ([1, 2, 20], True),
        ([1, 2, 21], False),
        ([1, 40, 45, 50], True),
    ],
)
def test_many_withdrawals_at_once_are_an_alert(heights, is_alert):
    assert is_mass(heights) is is_alert


def test_no_change_of_some_is_accepted():
    async def play(actors, faults):
        case = await prepare(actors)
        return [await trial(case, 150, Random("test")) for trial in TRIALS.values()]

    for outcome in VirtualNetwork("seed-7").play(play):
        assert outcome.tried > 100 and outcome.accepted == []
        assert len(outcome.refused) >= 3


def test_no_structure_is_wrongly_accepted():
    """Each verdict is that of the oracle, which shares no code with the verifier."""
    outcome = trio.run(try_structures, 200, 7)
    assert outcome.tried == 200
    assert outcome.accepted == [] and outcome.refused == []
    assert outcome.agreed["ACCEPT"] > 5 and len(outcome.agreed) > 12


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_the_exchange_fail(name):
    async def play(actors, faults):
        return await play_attack(name, actors)

    deeds = VirtualNetwork("seed-7").play(play)
    assert deeds and [deed for deed in deeds if not deed.is_held_off] == []


def test_every_attack_has_a_command():
    assert list(HELP) == list(ATTACKS)


def test_the_old_way_gives_in_and_the_registry_does_not():
    async def play(actors, faults):
        return await compare(actors, Random(7))

    found = VirtualNetwork("seed-7").play(play)
    assert len(found) == 8
    assert [item for item in found if not item.is_as_expected] == []


@pytest.mark.parametrize("is_at_once", [True, False])
def test_anchors_of_one_document_are_linked_by_time_only(is_at_once):
    async def play(actors, faults):
        return await measure(actors, 12, Random(3), is_at_once=is_at_once)

    linked = VirtualNetwork("seed-7").play(play)
    assert linked.by_bytes <= 10 * linked.chance  # fails by chance once in 50,000 runs
    assert linked.by_time > 0.4 if is_at_once else linked.by_time < 0.3
