"""L23: validators of at most f weight are passed over at once, those named longest first."""

from lowu.consensus.leaders import select_passed_over
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit


def test_one_of_four():
    changes = [kit.view_change(i, 5, passed_over=[(1, 16), (2, 32), (3, 32)]) for i in (0, 1, 2)]
    assert select_passed_over(kit.VALIDATORS, changes, 0) == {2: 32}


def test_two_of_seven_and_the_lighter_one_where_the_heavier_does_not_fit():
    seven = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(7)))
    changes = [kit.view_change(i, 5, passed_over=[(4, 8), (5, 9), (6, 9)]) for i in range(5)]
    assert select_passed_over(seven, changes, 0) == {5: 9, 6: 9}
    weighted = ValidatorSet(tuple(Validator(kit.node_id(i), w) for i, w in enumerate((4, 1, 3, 1))))
    assert weighted.fault_threshold == 2
    changes = [kit.view_change(i, 5, passed_over=[(2, 99), (3, 9)]) for i in (0, 1, 2)]
    assert select_passed_over(weighted, changes, 0) == {3: 9}
