"""L25: the opener of a view leads its first height, as it is alive (docs/adr/0007, R-LEAD-3)."""

from lowu.consensus.effects import BuildProposal
from lowu.consensus.leaders import select_passed_over
from tests.unit import consensus_kit as kit

NAMES = [(2, 16)]


def test_the_opener_is_not_passed_over():
    changes = [kit.view_change(i, 1, passed_over=NAMES) for i in (0, 1, 3)]
    assert select_passed_over(kit.VALIDATORS, changes, 2) == {}
    assert select_passed_over(kit.VALIDATORS, changes, 3) == {2: 16}


def test_it_proposes_in_its_view():
    replica = kit.replica(2)
    kit.pending(replica)
    effects = []
    for sender in (0, 1, 3):
        effects += kit.deliver(replica, kit.view_change(sender, 1, passed_over=NAMES))
    (build,) = kit.only(BuildProposal, effects)
    assert (build.view, build.height) == (1, 1)
