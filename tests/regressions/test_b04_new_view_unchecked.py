"""B04: a NEW-VIEW cannot drop, swap or invent prepared proposals (R-NV-1, R-NV-2)."""

from dataclasses import replace

import pytest

from lowu.consensus.certificates import select_reproposals
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import NewView
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()
CHANGES = [
    kit.view_change(i, 1, certificates=[kit.prepared(ITEM)] if i == 0 else []) for i in (0, 1, 2)
]


def test_a_view_change_without_its_certificate_is_refused():
    stripped = replace(CHANGES[0], prepared=())
    with pytest.raises(InvalidMessage, match="bad signature"):
        kit.verified(kit.signed(NewView(1, (stripped, *CHANGES[1:]), 2)))


def test_a_view_change_signed_by_the_leader_for_another_is_refused():
    forged = replace(kit.view_change(2, 1), sender=0)
    with pytest.raises(InvalidMessage, match="bad signature"):
        kit.verified(kit.signed(NewView(1, (forged, *CHANGES[1:]), 2)))


def test_the_prepared_proposal_is_derived_by_everybody():
    assert select_reproposals(kit.DOMAIN, CHANGES).proposals == (ITEM,)
