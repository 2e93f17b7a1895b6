"""B30: a proposal that is proposed again in a later view keeps its digest (R-DIG-1)."""

from lowu.consensus.certificates import select_reproposals
from tests.unit import consensus_kit as kit


def test_the_digest_does_not_depend_on_view_or_voters():
    item = kit.proposal()
    certificates = [kit.prepared(item, 0), kit.prepared(item, 3, (1, 2, 3))]
    changes = [
        kit.view_change(i, 4, certificates=[certificate])
        for i, certificate in enumerate(certificates)
    ]
    (again,) = select_reproposals(kit.DOMAIN, changes).proposals
    assert kit.digest_of(again) == kit.digest_of(item)
