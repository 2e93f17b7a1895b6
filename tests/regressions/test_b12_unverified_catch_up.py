"""B12: certificates that come with a view change or a block are verified (R-CU-3)."""

from dataclasses import replace

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()


@pytest.mark.parametrize(
    "change",
    [{"block_hash": b"x" * 32}, {"digest": b"x" * 32}, {"height": 2}, {"signatures": ()}],
)
def test_a_forged_stable_certificate_is_refused(change):
    forged = replace(kit.committed(ITEM), **change)
    with pytest.raises(InvalidMessage):
        kit.VERIFIER.verify_commit(forged)
    with pytest.raises(InvalidMessage):
        kit.verified(kit.view_change(1, 1, forged))
