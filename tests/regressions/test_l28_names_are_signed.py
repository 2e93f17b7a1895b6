"""L28: nobody can change the names in a VIEW-CHANGE, not even its forwarder (R-SIG-1)."""

from dataclasses import replace

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


def test_names_are_covered_by_the_signature():
    change = kit.view_change(0, passed_over=[(1, 16)])
    kit.verified(change)
    for names in ((), ((1, 17),), ((2, 16),)):
        with pytest.raises(InvalidMessage, match="bad signature"):
            kit.verified(replace(change, passed_over=names))


def test_an_opener_cannot_take_them_out():
    changes = [kit.view_change(i, 1, passed_over=[(1, 16)]) for i in (0, 2, 3)]
    kit.verified(kit.new_view(1, changes))
    changes[0] = replace(changes[0], passed_over=())
    with pytest.raises(InvalidMessage, match="bad signature"):
        kit.verified(kit.new_view(1, changes))
