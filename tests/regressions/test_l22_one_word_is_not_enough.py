"""L22: a validator is passed over if more than f weight names it, up to the agreed height."""

from lowu.consensus.leaders import select_passed_over
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit


def select(*named, validators=kit.VALIDATORS, opener=0):
    changes = [kit.view_change(sender, 5, passed_over=who) for sender, who in enumerate(named)]
    return select_passed_over(validators, changes, opener)


def test_one_of_four_decides_nothing():
    assert select([(2, 16)], [], []) == {}
    assert select([(2, 16)], [(3, 16)], [(1, 16)]) == {}


def test_two_of_four_do():
    assert select([(2, 16)], [(2, 16)], []) == {2: 16}


def test_the_longer_claim_of_one_does_not_count():
    assert select([(2, 256)], [(2, 16)], []) == {2: 16}
    assert select([(2, 256)], [(2, 16)], [(2, 32)]) == {2: 32}


def test_weights_decide_and_not_heads():
    weights = enumerate((3, 1, 1, 2))
    validators = ValidatorSet(tuple(Validator(kit.node_id(i), weight) for i, weight in weights))
    assert validators.fault_threshold == 2
    assert select([], [(2, 9)], [(1, 9)], validators=validators) == {}
    assert select([(2, 9)], [], [], validators=validators, opener=3) == {2: 9}
    assert select([], [(3, 9)], [(3, 9)], [(2, 9)], validators=validators) == {}
