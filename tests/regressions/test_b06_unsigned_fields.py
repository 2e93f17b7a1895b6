"""B06: every field of VIEW-CHANGE and NEW-VIEW is covered by the signature (R-SIG-1)."""

from dataclasses import replace

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()
ABOVE = kit.proposal(2, kit.digest_of(ITEM), b"b", 2, 6)
CHANGE = kit.view_change(1, 2, kit.committed(ITEM), [kit.prepared(ABOVE)])


@pytest.mark.parametrize(
    "change", [{"prepared": ()}, {"stable": kit.GENESIS}, {"view": 3}, {"sender": 2}]
)
def test_a_changed_view_change_is_refused(change):
    kit.verified(CHANGE)
    with pytest.raises(InvalidMessage):
        kit.verified(replace(CHANGE, **change))


def test_a_changed_new_view_is_refused():
    message = kit.new_view(1)
    for change in ({"view": 5}, {"view_changes": message.view_changes[:2]}):
        with pytest.raises(InvalidMessage):
            kit.verified(replace(message, **change))
