"""B36: any two quorums share an honest validator, for every weight (R-QUO-1)."""

import pytest

from lowu.consensus.quorum import compute_fault_threshold, compute_quorum


@pytest.mark.parametrize("total", range(1, 401))
def test_two_quorums_meet_in_more_than_f(total):
    f, quorum = compute_fault_threshold(total), compute_quorum(total)
    assert 2 * quorum - total > f, "two quorums meet in an honest validator"
    assert total - f >= quorum, "the honest alone are a quorum"
    assert 3 * f < total
