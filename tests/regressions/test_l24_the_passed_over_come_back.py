"""L24: a validator that is passed over leads again above the agreed height (R-LEAD-2)."""

from collections import Counter

from lowu.consensus.validators import ValidatorSet
from tests.unit import consensus_kit as kit


def test_it_leads_again():
    leaders = [kit.VALIDATORS.leader(height, 0, {1: 5}) for height in range(1, 14)]
    assert leaders == [2, 2, 3, 0, 3, 2, 3, 0, 1, 2, 3, 0, 1]


def test_its_turns_go_round_among_the_others():
    """No validator gets more than its share of the freed turns, so a liar gains nothing."""
    turns = Counter(kit.VALIDATORS.leader(height, 2, {1: 10**6}) for height in range(1, 1201))
    assert turns == {0: 400, 2: 400, 3: 400}


def test_every_view_of_one_height_is_opened_by_another():
    """Within n views every validator opens one, passed over or not (section 9)."""
    for height in (1, 2, 7):
        assert {kit.VALIDATORS.leader(height, view) for view in range(4)} == {0, 1, 2, 3}


def test_periods():
    slow = ValidatorSet(kit.VALIDATORS.validators, leader_period=3)
    assert [slow.leader(height, 0, {1: 99}) for height in range(1, 13)] == [
        *(0, 0, 2, 2, 2, 2, 2, 2, 3, 3, 3, 0)
    ]
