"""Quorum arithmetic (R-QUO-1, B36)."""

import pytest

from lowu.consensus.quorum import compute_fault_threshold, compute_quorum
from lowu.consensus.validators import Validator, ValidatorSet


@pytest.mark.parametrize("total", range(1, 400))
def test_two_quorums_share_an_honest_validator(total):
    f, quorum = compute_fault_threshold(total), compute_quorum(total)
    assert 3 * f + 1 <= total
    assert 2 * quorum - total > f, "two quorums meet in more than f"
    assert total - f >= quorum, "the honest alone are a quorum"


def test_known_sizes():
    sizes = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 10: 7, 13: 9, 31: 21}
    assert {n: compute_quorum(n) for n in sizes} == sizes


def test_no_weight_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        compute_fault_threshold(0)


def make(count, **kwargs):
    return ValidatorSet(tuple(Validator(bytes([i]) * 64) for i in range(count)), **kwargs)


def test_validators_are_sorted_by_node_id():
    shuffled = ValidatorSet(tuple(Validator(bytes([i]) * 64) for i in (3, 1, 2)))
    assert [v.node_id[0] for v in shuffled.validators] == [1, 2, 3]
    assert shuffled.index_of(bytes([2]) * 64) == 1
    assert shuffled.index_of(bytes([9]) * 64) is None


def test_leaders_rotate():
    validators = make(4, leader_period=2)
    assert [validators.leader(h, 0) for h in range(6)] == [0, 0, 1, 1, 2, 2]
    assert [validators.leader(3, v) for v in range(5)] == [1, 2, 3, 0, 1]


def test_weight_of_repeated_indices_counts_once():
    assert make(4).weight_of([0, 0, 0, 1]) == 2
    assert not make(4).has_quorum([0, 0, 0, 0])
    assert make(4).has_honest([0, 1])


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ((), "1 to 256"),
        ((Validator(b"a"), Validator(b"a")), "share"),
        ((Validator(b"a", 0),), "weight"),
        ((Validator(b"a", 10_001),), "weight"),
    ],
)
def test_bad_sets_are_refused(members, text):
    with pytest.raises(ValueError, match=text):
        ValidatorSet(members)
